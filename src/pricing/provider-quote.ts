import type { QuoteProviderName } from '../protocol/asset.ts'
import type { CorporateAction } from '../protocol/price-history.ts'
import type { MarketState } from '../protocol/quote.ts'

/** One provider's id of an asset. */
export type ProviderAssetId = { provider: QuoteProviderName; id: string }

/** A provider's quote of one of its ids. Amounts are plain decimal text in `currency`, never a minor unit (Q6). */
export type ProviderQuote = {
  id: string
  price: string
  currency: string
  previous_close: string | null
  /** Per cent; for crypto against 24 hours before, for all else against the previous close. */
  change24h: string | null
  market_state: MarketState | null
  /** The provider's name of the market: its assets open and close together. Null for one that never closes. */
  market: string | null
  open: string | null
  high: string | null
  low: string | null
  volume: string | null
  eps: string | null
  pe_ratio: string | null
  /** The market's time of the price, RFC 3339. */
  as_of: string
}

/** An id of a batch without a price: unknown to the provider, or known without a usable price. */
export type MissingQuote = { id: string; price: null; reason: 'unknown' | 'no_price'; detail: string }

/** A provider's listing of an asset that is not in the database yet. */
export type ProviderListing = {
  id: string
  symbol: string
  name: string
  type: string
  code: string
  currency: string
  isin: string | null
}

/** One day of trading, on the basis of that day (raw): `date` is the exchange's own day, `2025-12-03`. */
export type DailyBar = {
  date: string
  open: string
  high: string
  low: string
  close: string
  volume: string
}

/**
 * Days of one asset, ascending, and the corporate actions among them; all raw, in `currency`.
 * The current day is left out.
 */
export type DailyHistory = { currency: string; days: DailyBar[]; actions: CorporateAction[] }
