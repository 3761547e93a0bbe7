import { PROVIDER_LABELS } from '../protocol/asset.ts'
import type { MarketState, StaleReason } from '../protocol/quote.ts'

const groupThousands = (whole: string): string => whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',')

/** A price for display: `67412.1` is `67,412.10`. It has all its digits, and at least two decimals. */
export function formatPrice(text: string): string {
  const [whole = '0', fraction = ''] = text.split('.')
  return `${groupThousands(whole)}.${fraction.padEnd(2, '0')}`
}

/** A price with more significant digits than this is a printed float; a provider's float has some seven exact ones. */
const MAX_SIGNIFICANT_DIGITS = 10
const FLOAT_DIGITS = 7

/** A historical price for display: `244.52999877929688` is `244.53`. One that is not a printed float is unchanged. */
export function trimFloatNoise(text: string): string {
  const digits = text.replace(/^-?[0.]*|\./g, '')
  if (digits.length <= MAX_SIGNIFICANT_DIGITS) return text
  const value = Number(text)
  const places = Math.min(20, Math.max(0, FLOAT_DIGITS - 1 - Math.floor(Math.log10(Math.abs(value)))))
  const rounded = value.toFixed(places)
  return places === 0 ? rounded : rounded.replace(/\.?0+$/, '')
}

/** A quantity for display: `51200000` is `51,200,000`. It has exactly its digits. */
export function formatQuantity(text: string): string {
  const [whole = '0', fraction] = text.split('.')
  return fraction === undefined ? groupThousands(whole) : `${groupThousands(whole)}.${fraction}`
}

/** A percentage with its sign: `1.234` is `+1.23%`. Null is a dash, never 0. */
export function formatPercent(percent: string | number | null): string {
  const value = percent === null ? Number.NaN : Number(percent)
  if (!Number.isFinite(value)) return '–'
  const digits = Math.abs(value).toFixed(2)
  return `${value < 0 && digits !== '0.00' ? '−' : '+'}${digits}%`
}

/** The direction of a change: `flat` where it is 0 or unknown. */
export function direction(percent: string | number | null): 'up' | 'down' | 'flat' {
  const value = Number(percent ?? 0)
  return value > 0 ? 'up' : value < 0 ? 'down' : 'flat'
}

/** A duration in its largest whole unit: `8 s`, `3 min`, `5 h`, `2 d`. A negative one is `0 s`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** A duration before now: `8 s ago`, or `just now`. */
export const formatAgo = (ms: number): string => (ms < 1_000 ? 'just now' : `${formatAge(ms)} ago`)

/** The name of a price's provider for people. */
export function providerLabel(provider: string): string {
  const labels: Record<string, string> = { ...PROVIDER_LABELS, simulated: 'Simulated price' }
  return labels[provider] ?? provider
}

/** The state of a market for display; null: unknown. */
export function marketStateLabel(state: MarketState | null): string {
  switch (state) {
    case 'open':
      return 'Market open'
    case 'closed':
      return 'Market closed'
    case 'pre':
      return 'Pre-market'
    case 'post':
      return 'After hours'
    case null:
      return 'Market hours unknown'
  }
}

/** The reason of a stale price for display. */
export function staleReasonLabel(reason: StaleReason): string {
  switch (reason) {
    case 'expired':
      return 'refreshing soon'
    case 'rate_limited':
      return 'the provider allows no more requests for now'
    case 'unavailable':
      return 'the provider does not respond'
    case 'invalid':
      return 'the provider returned invalid data'
    case 'unknown':
      return 'no longer listed by the provider'
  }
}
