import { compareDecimals } from '../market/decimal.ts'
import type { Asset } from '../protocol/asset.ts'
import type { Quote } from '../protocol/quote.ts'
import type { ProviderQuote } from './provider-quote.ts'

/** A quote with the provider's name of its market, which is null for a market that never closes. */
export type CachedQuote = Quote & { market: string | null }

/** A price and its change in per cent as the exchange sent them: the change of a later price is derived from these. */
export type Anchor = { price: string; change24h: string | null }

/** A price of an open feed: the last trade's price and time (RFC 3339), and the feed's last message (unix milliseconds). */
export type FeedPrice = { price: string; time: string; heardAt: number }

/**
 * The change in per cent at `price`, when it was `change` at `anchorPrice`: both are relative to the same price of 24 hours
 * ago. A percentage for display, so a float is enough; null where it cannot be derived.
 */
export function deriveChange(price: string, anchorPrice: string | null, change: string | null): string | null {
  if (anchorPrice === null || change === null) return null
  const before = Number(anchorPrice) / (1 + Number(change) / 100)
  const percent = (Number(price) / before - 1) * 100
  return Number.isFinite(percent) ? percent.toFixed(4).replace(/\.?0+$/, '') : null
}

/**
 * A provider's quote of an asset, ready for the cache.
 * @param provider its name, or `simulated`
 * @param askedAt when the request was sent, unix milliseconds; the quote is at least as new
 * @param now unix milliseconds; replaces a market time in the future
 */
export function toCachedQuote(
  { asset_id, symbol }: Pick<Asset, 'asset_id' | 'symbol'>,
  quote: ProviderQuote,
  provider: string,
  askedAt: number,
  now: number,
): CachedQuote {
  const { id: _, as_of, ...rest } = quote
  const updated_at = new Date(askedAt).toISOString()
  return {
    asset_id,
    symbol,
    ...rest,
    pe_as_of: quote.eps === null && quote.pe_ratio === null ? null : updated_at,
    provider,
    as_of: Date.parse(as_of) > now ? new Date(now).toISOString() : as_of,
    updated_at,
  }
}

/**
 * Whether a quote may replace the cached one: neither its update nor its market time may go back. RFC 3339 times of
 * different precision do not compare as text.
 */
export const supersedes = (next: CachedQuote, cached: CachedQuote | null): boolean =>
  cached === null ||
  (Date.parse(next.updated_at) >= Date.parse(cached.updated_at) && Date.parse(next.as_of) >= Date.parse(cached.as_of))

/** The fields of a quote that may change without a change that clients see. */
const HIDDEN_FIELDS = new Set<string>(['asset_id', 'market', 'pe_as_of', 'updated_at'] satisfies (keyof CachedQuote)[])

/** Whether two quotes are equal to clients, apart from the time of the update. */
export const hasSameVisibleFields = (a: CachedQuote, b: CachedQuote): boolean =>
  (Object.keys(a) as (keyof CachedQuote)[]).every((key) => HIDDEN_FIELDS.has(key) || a[key] === b[key])

const maxDecimal = (a: string | null, b: string): string | null => (a !== null && compareDecimals(b, a) > 0 ? b : a)
const minDecimal = (a: string | null, b: string): string | null => (a !== null && compareDecimals(b, a) < 0 ? b : a)

/**
 * A quote by the last trade of an open feed. Fields that a feed does not have are copied from `cached`; the change is
 * derived from `anchor`.
 */
export function feedQuote(
  asset: Pick<Asset, 'asset_id' | 'symbol' | 'currency'>,
  { price, time, heardAt }: FeedPrice,
  provider: string,
  cached: CachedQuote | null,
  anchor: Anchor | null,
): CachedQuote {
  const { asset_id, symbol, currency } = asset
  // A REST price has the time of its response: a feed without a trade since then confirms that price.
  const isSince = cached !== null && heardAt >= Date.parse(cached.as_of) && Date.parse(cached.as_of) > Date.parse(time)
  const empty = { previous_close: null, open: null, high: null, low: null, volume: null }
  const { previous_close, open, high, low, volume } = cached ?? empty
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
    as_of: isSince ? cached.as_of : time,
    updated_at: new Date(heardAt).toISOString(),
    market: null,
  }
}

/** A REST quote while a feed is open: the price is the feed's, since REST lags behind trades, all else is of REST. */
export function mergeBesideFeed(provided: CachedQuote, cached: CachedQuote): CachedQuote {
  const { price, as_of, updated_at } = cached
  return {
    ...provided,
    price,
    change24h: deriveChange(price, provided.price, provided.change24h),
    high: maxDecimal(provided.high, price),
    low: minDecimal(provided.low, price),
    as_of,
    updated_at,
  }
}
