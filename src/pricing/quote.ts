import { compareDecimals } from '../market/decimal.ts'
import type { Asset } from '../protocol/asset.ts'
import type { Quote } from '../protocol/quote.ts'
import type { ProviderQuote } from './provider-quote.ts'

/** A quote as it is kept: also the provider's name of the market, null for what trades day and night. */
export type CachedQuote = Quote & { market: string | null }

/** A price, and the change in per cent that was told with it: what the change of a later price follows from. */
export type Anchor = { price: string; change24h: string | null }

/** A price of an open feed: the last trade's and its time (RFC 3339), and when the feed said anything last (ms). */
export type FeedPrice = { price: string; time: string; heardAt: number }

/**
 * The change in per cent when the price is `price`, where the exchange told `change` at `told`: both are against the
 * same price of 24 hours ago. A percentage for display, so a float is enough; null where it cannot be told.
 */
export function deriveChange(price: string, told: string | null, change: string | null): string | null {
  if (told === null || change === null) return null
  const before = Number(told) / (1 + Number(change) / 100)
  const now = (Number(price) / before - 1) * 100
  return Number.isFinite(now) ? now.toFixed(4).replace(/\.?0+$/, '') : null
}

/**
 * What a provider has told of an asset, as a quote.
 * @param provider its name, or `simulated`
 * @param askedAt unix milliseconds: it was told no earlier
 * @param now a market's time that is still to come is taken for this one
 */
export function toCachedQuote(
  { asset_id, symbol }: Pick<Asset, 'asset_id' | 'symbol'>,
  told: ProviderQuote,
  provider: string,
  askedAt: number,
  now: number,
): CachedQuote {
  const { id: _, as_of, ...rest } = told
  const updated_at = new Date(askedAt).toISOString()
  return {
    asset_id,
    symbol,
    ...rest,
    pe_as_of: told.eps === null && told.pe_ratio === null ? null : updated_at,
    provider,
    as_of: Date.parse(as_of) > now ? new Date(now).toISOString() : as_of,
    updated_at,
  }
}

/**
 * Whether a quote may take the place of the one that is held: neither the provider's word nor the market's time goes
 * back. RFC 3339 times of different precision do not compare as text.
 */
export const supersedes = (next: CachedQuote, held: CachedQuote | null): boolean =>
  held === null ||
  (Date.parse(next.updated_at) >= Date.parse(held.updated_at) && Date.parse(next.as_of) >= Date.parse(held.as_of))

/** What clients see of a quote besides when it was told. */
const VISIBLE_FIELDS = [
  'symbol',
  'price',
  'currency',
  'previous_close',
  'change24h',
  'market_state',
  'open',
  'high',
  'low',
  'volume',
  'eps',
  'pe_ratio',
  'provider',
  'as_of',
] as const satisfies readonly (keyof Quote)[]

/** Whether two quotes say the same, whenever it was told. */
export const hasSameVisibleFields = (a: Quote, b: Quote): boolean => VISIBLE_FIELDS.every((key) => a[key] === b[key])

const maxDecimal = (a: string | null, b: string): string | null => (a !== null && compareDecimals(b, a) > 0 ? b : a)
const minDecimal = (a: string | null, b: string): string | null => (a !== null && compareDecimals(b, a) < 0 ? b : a)

/**
 * A quote by the last trade of an open feed. What a feed does not tell is that of `held`; the change follows from
 * `anchor`, which the exchange itself has told.
 */
export function feedQuote(
  asset: Pick<Asset, 'asset_id' | 'symbol' | 'currency'>,
  { price, time, heardAt }: FeedPrice,
  provider: string,
  held: CachedQuote | null,
  anchor: Anchor | null,
): CachedQuote {
  const { asset_id, symbol, currency } = asset
  // REST has no time but that of its answer: a feed that has heard of no trade since says that it is so still.
  const isSince = held !== null && heardAt >= Date.parse(held.as_of) && Date.parse(held.as_of) > Date.parse(time)
  const untold = { previous_close: null, open: null, high: null, low: null, volume: null }
  const { previous_close, open, high, low, volume } = held ?? untold
  return {
    asset_id,
    symbol,
    price,
    currency,
    previous_close,
    change24h: anchor && deriveChange(price, anchor.price, anchor.change24h),
    market_state: 'open',
    open,
    high: maxDecimal(high, price),
    low: minDecimal(low, price),
    volume,
    eps: null,
    pe_ratio: null,
    pe_as_of: null,
    provider,
    as_of: isSince ? held.as_of : time,
    updated_at: new Date(heardAt).toISOString(),
    market: null,
  }
}

/** What REST tells while a feed is open: the feed has the price, since REST lags behind trades, and REST all else. */
export function mergeBesideFeed(told: CachedQuote, held: CachedQuote): CachedQuote {
  const { price, as_of, updated_at } = held
  return {
    ...told,
    price,
    change24h: deriveChange(price, told.price, told.change24h),
    high: maxDecimal(told.high, price),
    low: minDecimal(told.low, price),
    as_of,
    updated_at,
  }
}
