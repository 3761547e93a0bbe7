import type { Asset, QuoteProviderName } from '../protocol/asset.ts'
import type { CorporateAction, PriceBar } from '../protocol/price-history.ts'
import type { Quote } from '../protocol/quote.ts'

/** One provider's id of an asset. */
export type ProviderAssetId = { provider: QuoteProviderName; id: string }

/** A provider's quote of one of its ids. Amounts are plain decimal text in `currency`, never a minor unit (Q6). */
export type ProviderQuote = Omit<Quote, 'asset_id' | 'symbol' | 'pe_as_of' | 'provider' | 'updated_at'> & {
  id: string
  /** The provider's name of the market: its assets open and close together. Null for one that never closes. */
  market: string | null
}

/** An id of a batch without a price: unknown to the provider, or known without a usable price. */
export type MissingQuote = { id: string; price: null; reason: 'unknown' | 'no_price'; detail: string }

/** A provider's listing of an asset that is not in the database yet. */
export type ProviderListing = { id: string } & Pick<Asset, 'symbol' | 'name' | 'type' | 'code' | 'currency' | 'isin'>

/** One day of trading, on the basis of that day (raw): `date` is the exchange's own day, `2025-12-03`. */
export type DailyBar = Omit<PriceBar, 'volume' | 'is_complete'> & { volume: string }

/**
 * Days of one asset, ascending, and the corporate actions among them; all raw, in `currency`.
 * The current day is left out.
 */
export type DailyHistory = { currency: string; days: DailyBar[]; actions: CorporateAction[] }
