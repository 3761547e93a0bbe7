import type { MarketState, StaleReason } from '../protocol/quote.ts'

const groupThousands = (whole: string): string => whole.replace(/\B(?=(\d{3})+(?!\d))/g, ',')

/** Decimal text for reading: `67412.1` is `67,412.10`. No digit is lost; two stand after the point at least. */
export function formatPrice(text: string): string {
  const [whole = '0', fraction = ''] = text.split('.')
  return `${groupThousands(whole)}.${fraction.padEnd(2, '0')}`
}

/** A price with more significant digits than this is a float written out; a provider's float has some seven true ones. */
const MAX_SIGNIFICANT_DIGITS = 10
const FLOAT_DIGITS = 7

/** A price of history for showing: `244.52999877929688` is `244.53`. One that is no float written out stays as it is. */
export function trimFloatNoise(text: string): string {
  const digits = text.replace(/^-?[0.]*|\./g, '')
  if (digits.length <= MAX_SIGNIFICANT_DIGITS) return text
  const value = Number(text)
  const places = Math.min(20, Math.max(0, FLOAT_DIGITS - 1 - Math.floor(Math.log10(Math.abs(value)))))
  const rounded = value.toFixed(places)
  return places === 0 ? rounded : rounded.replace(/\.?0+$/, '')
}

/** A quantity for reading: `51200000` is `51,200,000`. No digit is lost, none is added. */
export function formatQuantity(text: string): string {
  const [whole = '0', fraction] = text.split('.')
  return fraction === undefined ? groupThousands(whole) : `${groupThousands(whole)}.${fraction}`
}

/** Per cent as text with its sign: `1.234` is `+1.23%`. Null stays unknown, a dash, and is never 0. */
export function formatPercent(percent: string | null): string {
  const value = percent === null ? Number.NaN : Number(percent)
  if (!Number.isFinite(value)) return '–'
  const digits = Math.abs(value).toFixed(2)
  return `${value < 0 && digits !== '0.00' ? '−' : '+'}${digits}%`
}

/** Where a change points: `up`, `down`, or `flat` where it is 0 or unknown. */
export function direction(percent: string | null): 'up' | 'down' | 'flat' {
  const value = Number(percent ?? 0)
  return value > 0 ? 'up' : value < 0 ? 'down' : 'flat'
}

/** How long ago, in the largest whole unit: `8 s`, `3 min`, `5 h`, `2 d`. A time that is still to come counts as now. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** The same as a time before now: `8 s ago`, or `just now`. */
export const formatAgo = (ms: number): string => (ms < 1_000 ? 'just now' : `${formatAge(ms)} ago`)

/** Who tells a price, as people write it. */
export function providerLabel(provider: string): string {
  const known: Record<string, string> = {
    yahoo: 'Yahoo Finance',
    coinbase: 'Coinbase',
    binance: 'Binance',
    twelvedata: 'Twelve Data',
    coinmarketcap: 'CoinMarketCap',
    simulated: 'Simulated: made up, not a real price',
  }
  return known[provider] ?? provider
}

/** How a market is, in words; null is not known. */
export function marketStateLabel(state: MarketState | null): string {
  switch (state) {
    case 'open':
      return 'Market open'
    case 'closed':
      return 'Market closed'
    case 'pre':
      return 'Before the opening'
    case 'post':
      return 'After the close'
    case null:
      return 'Market hours not known'
  }
}

/** Why a price is not current, in words. */
export function staleReasonLabel(reason: StaleReason): string {
  switch (reason) {
    case 'expired':
      return 'it is about to be renewed'
    case 'rate_limited':
      return 'the provider allows no more requests for now'
    case 'unavailable':
      return 'the provider does not answer'
    case 'invalid':
      return 'the provider answers what cannot be used'
    case 'unknown':
      return 'the provider does not know it any more'
  }
}
