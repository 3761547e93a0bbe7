import type { DailyHistory, MissingQuote, ProviderListing, ProviderQuote } from '../pricing/provider-quote.ts'
import { PROVIDER_LABELS, type QuoteProviderName } from '../protocol/asset.ts'
import { type Failure, type Fetch, failure, type Result } from './result.ts'

/** What a provider needs besides its settings. `now` returns unix milliseconds. */
export type ProviderDeps = { fetch: Fetch; now: () => number }
/** With its base URL, without a slash at the end. */
export type ReachableProviderDeps = ProviderDeps & { url: string }
/** With its API key, which goes into a header and nowhere else; empty for a provider without one. */
export type KeyedProviderDeps = ReachableProviderDeps & { key: string }

/**
 * A provider of quotes. Each method makes as many requests as its provider's comment says, each through the given
 * `fetch`, and returns failures as values.
 */
export type QuoteProvider = {
  name: QuoteProviderName
  /** The most ids of one request. */
  maxBatch: number
  /** The weight of a request for this many ids, in the provider's own unit; 1 where it has none. */
  weight(ids: number): number
  /**
   * The quotes of at most `maxBatch` ids in one request, in the order of `ids`; an id that the provider does not know is
   * a `MissingQuote`. `invalid` with status 400: one of the ids spoils the whole request (Q5: the caller halves it).
   */
  quotes(ids: readonly string[], signal?: AbortSignal): Promise<Result<(ProviderQuote | MissingQuote)[]>>
  /** The days from `from` (inclusive, `2025-12-03`; null: from the first) up to the last that has ended. */
  dailyHistory(id: string, from: string | null, signal?: AbortSignal): Promise<Result<DailyHistory>>
  /** The provider's listing under exactly this name (`NFLX`, `PEPE-USD`), or null. */
  find(name: string, signal?: AbortSignal): Promise<Result<ProviderListing | null>>
}

/** The methods of a provider that is asked for quotes alone. */
export const quotesOnly = (name: QuoteProviderName): Pick<QuoteProvider, 'dailyHistory' | 'find'> => ({
  dailyHistory: async () => failure('not_found', `${PROVIDER_LABELS[name]} is not asked for history`),
  find: async () => ({ ok: true, value: null }),
})

/**
 * Makes a provider's `quotes`: fetches the distinct valid ids, none of which costs no request, and restores the order.
 * @param fetchQuotes what the provider says of each id that it knows
 */
export const quotesInOrder =
  <T>(
    name: QuoteProviderName,
    validId: RegExp,
    fetchQuotes: (ids: string[], signal?: AbortSignal) => Promise<Result<ReadonlyMap<string, T>>>,
    toQuote: (id: string, quote: T) => ProviderQuote | MissingQuote,
  ): QuoteProvider['quotes'] =>
  async (ids, signal) => {
    const asked = [...new Set(ids.filter((id) => validId.test(id)))]
    const result = asked.length === 0 ? null : await fetchQuotes(asked, signal)
    if (result?.ok === false) return result
    const value = ids.map((id) => {
      const quote = result?.value.get(id)
      return quote === undefined
        ? missingQuote(id, 'unknown', `unknown to ${PROVIDER_LABELS[name]}`)
        : toQuote(id, quote)
    })
    return { ok: true, value }
  }

export const missingQuote = (id: string, reason: MissingQuote['reason'], detail: string): MissingQuote => ({
  id,
  price: null,
  reason,
  detail,
})

/** The fields of a quote that a pair of a market without closing hours does not have. */
export const CRYPTO_FIELDS = { market_state: 'open', market: null, eps: null, pe_ratio: null } as const

/** A failure whose text may repeat the API key, without it. */
export const redactKey = (failed: Failure, key: string): Failure => ({
  ...failed,
  detail: failed.detail.replaceAll(key, '…'),
})
