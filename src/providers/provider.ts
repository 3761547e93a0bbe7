import type { DailyHistory, MissingQuote, ProviderListing, ProviderQuote } from '../pricing/provider-quote.ts'
import type { ProviderName } from '../protocol/asset.ts'
import type { Fetch, Result } from './result.ts'

/** What a provider is made with. `url` is its base without a slash at the end, `now` gives unix milliseconds. */
export type ProviderDeps = { fetch: Fetch; url: string; now: () => number }
/** Of those that ask for a key, which goes into a header and nowhere else. */
export type KeyedProviderDeps = ProviderDeps & { key: string }

/**
 * A source of quotes. Every method makes as many requests as its doc says, each through the `fetch` that it was made
 * with, and gives failures as values.
 */
export type QuoteProvider = {
  name: Exclude<ProviderName, 'manual'>
  /** The most ids of one request. */
  maxBatch: number
  /** Weight of a request for so many ids, in the provider's own unit; 1 where it has none. */
  weight(ids: number): number
  /**
   * The quotes of at most `batch` ids in one request, in any order; what the provider does not know is told so.
   * `invalid` with status 400: one of the ids spoils the whole request (Q5: the caller halves it).
   */
  quotes(ids: readonly string[], signal?: AbortSignal): Promise<Result<(ProviderQuote | MissingQuote)[]>>
  /** The days from `from` (inclusive, `2025-12-03`; null: from the first) up to the last that is over. */
  dailyHistory(id: string, from: string | null, signal?: AbortSignal): Promise<Result<DailyHistory>>
  /** What the provider knows under exactly this name (`NFLX`, `PEPE-USD`), or null. */
  find(name: string, signal?: AbortSignal): Promise<Result<ProviderListing | null>>
}

/** Stocks, funds, indices, currencies (brief 000). */
export type StockProvider = QuoteProvider & { readonly kind: 'stock' }
/** Crypto pairs (brief 000). */
export type CryptoProvider = QuoteProvider & { readonly kind: 'crypto' }
