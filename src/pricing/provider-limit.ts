import type { QuoteProviderName } from './quote-providers.ts'

/** How a provider stands, as `provider_rate_limits` shows it. Times are unix milliseconds, null is never. */
export type ProviderLimit = {
  provider: QuoteProviderName
  window_ms: number
  /** Requests (Binance: weight) of the window that are used, and how many there are. */
  used: number
  budget: number
  /** What the provider itself says is used, where it does. */
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
