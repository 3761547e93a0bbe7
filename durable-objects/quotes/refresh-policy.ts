import type { RefreshCandidate } from '../../src/pricing/due.ts'
import { effectiveIntervalS, freshUntil } from '../../src/pricing/freshness.ts'
import type { CachedQuote } from '../../src/pricing/quote.ts'
import type { QuoteEntry } from '../../src/pricing/quote-cache.ts'
import type { PlannedAsset, RefreshSettings } from '../../src/pricing/refresh-settings.ts'

/** What pace needs of the object that holds it. Times are unix milliseconds. */
export type RefreshPolicyHost = {
  /** See QUOTE_REFRESH_TICK_MS. */
  tickMs: number
  refreshSettings(): RefreshSettings
  plannedAsset(id: number): PlannedAsset | undefined
  /** Since when a socket has been subscribed to an asset by name; null: none is. */
  watchedSince(id: number): number | null
}

/** How often assets are refreshed, and how long their prices hold (Q1, Q2). */
export class RefreshPolicy {
  readonly #host: RefreshPolicyHost

  constructor(host: RefreshPolicyHost) {
    this.#host = host
  }

  /** By the plan, seconds; what is in no plan is watched by nobody. */
  plannedIntervalS(id: number): number {
    return this.#host.plannedAsset(id)?.interval ?? this.#host.refreshSettings().refresh_max_seconds
  }

  /** What a socket follows is refreshed as often as anything is. Seconds. */
  #watchedIntervalS(id: number): number {
    const rules = this.#host.refreshSettings()
    return effectiveIntervalS([this.plannedIntervalS(id), rules.refresh_min_seconds], rules)
  }

  /**
   * Until when a quote is within its time to live, unix milliseconds. Who has just subscribed is no reason that it is
   * stale: it has the time of one refresh.
   */
  freshUntil(quote: CachedQuote): number {
    const { tickMs: beat } = this.#host
    const rules = this.#host.refreshSettings()
    const planned = freshUntil(quote, this.plannedIntervalS(quote.asset_id), rules, beat)
    const since = this.#host.watchedSince(quote.asset_id)
    if (since === null) return planned
    const pace = this.#watchedIntervalS(quote.asset_id)
    const grace = since + pace * 1_000 + 2 * beat
    return Math.max(freshUntil(quote, pace, rules, beat), Math.min(planned, grace))
  }

  /**
   * What decides when an asset is due.
   * @param isStreamed a feed has its price: of REST only the rest is needed
   */
  candidate(asset_id: number, entry: QuoteEntry | undefined, isStreamed: boolean): RefreshCandidate {
    const isFollowed = this.#host.watchedSince(asset_id) !== null && !isStreamed
    return {
      asset_id,
      interval: isFollowed ? this.#watchedIntervalS(asset_id) : this.plannedIntervalS(asset_id),
      triedAt: entry?.triedAt ?? null,
      failed: (entry?.trouble ?? null) !== null,
      retryAt: entry?.retryAt ?? null,
      market: entry?.quote?.market ?? null,
      market_state: entry?.quote?.market_state ?? null,
    }
  }

  /** Whether a provider may be asked for an asset that a look wants, outside of its turn. */
  canRefresh(id: number, entry: QuoteEntry | undefined, now: number): boolean {
    const { triedAt = null, trouble = null, retryAt = null } = entry ?? {}
    if (triedAt === null) return true
    if (trouble !== null && retryAt !== null) return now >= retryAt
    const least = trouble === null ? this.#host.refreshSettings().refresh_min_seconds : this.plannedIntervalS(id)
    return now >= triedAt + least * 1_000
  }
}
