import type { RefreshCandidate } from '../../src/pricing/due.ts'
import { effectiveIntervalS, freshUntil } from '../../src/pricing/freshness.ts'
import type { CachedQuote } from '../../src/pricing/quote.ts'
import type { QuoteEntry } from '../../src/pricing/quote-cache.ts'
import { DEFAULT_REFRESH_SETTINGS, type RefreshSettings } from '../../src/pricing/refresh-settings.ts'
import type { SymbolResolver } from './symbol-resolver.ts'
import type { WatchCounts } from './watch-counts.ts'

/** Decides how often assets are refreshed, and how long their prices are fresh (Q1, Q2). */
export class RefreshPolicy {
  readonly #symbols: SymbolResolver
  readonly #watches: WatchCounts
  readonly #tickMs: number
  /** The settings of the current plan. */
  settings: RefreshSettings = DEFAULT_REFRESH_SETTINGS

  /** @param tickMs see QUOTE_REFRESH_TICK_MS */
  constructor(symbols: SymbolResolver, watches: WatchCounts, tickMs: number) {
    this.#symbols = symbols
    this.#watches = watches
    this.#tickMs = tickMs
  }

  /** The interval of the plan; an asset outside of it has the longest. */
  plannedIntervalS(id: number): number {
    return this.#symbols.planned.get(id)?.interval ?? this.settings.refresh_max_seconds
  }

  /** The interval of a watched asset: the shortest that the settings allow. */
  #watchedIntervalS(id: number): number {
    return effectiveIntervalS([this.plannedIntervalS(id), this.settings.refresh_min_seconds], this.settings)
  }

  /**
   * The end of a quote's time to live, unix milliseconds. A new subscription shortens it, but must not make a quote stale
   * at once: it leaves time for one refresh.
   */
  freshUntil(quote: CachedQuote): number {
    const planned = freshUntil(quote, this.plannedIntervalS(quote.asset_id), this.settings, this.#tickMs)
    const since = this.#watches.since(quote.asset_id)
    if (since === null) return planned
    const interval = this.#watchedIntervalS(quote.asset_id)
    const grace = since + interval * 1_000 + 2 * this.#tickMs
    return Math.max(freshUntil(quote, interval, this.settings, this.#tickMs), Math.min(planned, grace))
  }

  /**
   * The facts that decide when an asset is due.
   * @param isStreamed whether a feed has its price, so that providers are needed for the other fields only
   */
  candidate(asset_id: number, entry: QuoteEntry | undefined, isStreamed: boolean): RefreshCandidate {
    const isWatched = this.#watches.since(asset_id) !== null && !isStreamed
    return {
      asset_id,
      interval: isWatched ? this.#watchedIntervalS(asset_id) : this.plannedIntervalS(asset_id),
      triedAt: entry?.triedAt ?? null,
      failed: (entry?.trouble ?? null) !== null,
      retryAt: entry?.retryAt ?? null,
      market: entry?.quote?.market ?? null,
      market_state: entry?.quote?.market_state ?? null,
    }
  }

  /** Whether a lookup may refresh an asset now, between its turns. */
  canRefresh(id: number, entry: QuoteEntry | undefined, now: number): boolean {
    const { triedAt = null, trouble = null, retryAt = null } = entry ?? {}
    if (triedAt === null) return true
    if (trouble !== null && retryAt !== null) return now >= retryAt
    const intervalS = trouble === null ? this.settings.refresh_min_seconds : this.plannedIntervalS(id)
    return now >= triedAt + intervalS * 1_000
  }
}
