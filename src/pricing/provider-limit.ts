import type { QuoteProviderName } from '../protocol/asset.ts'

/** The state of a provider's rate limit: a row of `provider_rate_limits`. Times are unix milliseconds; null: never. */
export type ProviderLimit = {
  provider: QuoteProviderName
  window_ms: number
  /** The used requests of the window (Binance: weight), and the allowed ones. */
  used: number
  budget: number
  /** The used weight that the provider reports, where it does. */
  told_used: number | null
  in_flight: number
  concurrency: number
  breaker: 'closed' | 'open' | 'half_open'
  failures: number
  blocked_until: number | null
  last_status: number | null
  last_error: string | null
  last_request_at: number | null
  requests_total: number
  refused_total: number
  rate_limited_total: number
  since: number
}
