import type { Candidate } from '../../src/pricing/due.ts'
import { effectiveInterval, freshUntil } from '../../src/pricing/freshness.ts'
import type { HeldQuote } from '../../src/pricing/quote.ts'
import type { Entry } from '../../src/pricing/quote-cache.ts'
import type { PlannedAsset, RefreshSettings } from '../../src/pricing/refresh-settings.ts'

/** What pace needs of the object that holds it. Times are unix milliseconds. */
export type PaceHost = {
  /** See QUOTE_BEAT_MS. */
  beat: number
  rules(): RefreshSettings
  planned(id: number): PlannedAsset | undefined
  /** Since when a socket has been subscribed to an asset by name; null: none is. */
  watchedSince(id: number): number | null
}

/** How often assets are refreshed, and how long their prices hold (Q1, Q2). */
export class QuotePace {
  readonly #host: PaceHost

  constructor(host: PaceHost) {
    this.#host = host
  }

  /** By the plan, seconds; what is in no plan is watched by nobody. */
  planned(id: number): number {
    return this.#host.planned(id)?.interval ?? this.#host.rules().refresh_max_seconds
  }

  /** What a socket follows is refreshed as often as anything is. Seconds. */
  #followed(id: number): number {
    const rules = this.#host.rules()
    return effectiveInterval([this.planned(id), rules.refresh_min_seconds], rules)
  }

  /**
   * Until when a quote is within its time to live, unix milliseconds. Who has just subscribed is no reason that it is
   * stale: it has the time of one refresh.
   */
  freshUntil(quote: HeldQuote): number {
    const { beat } = this.#host
    const rules = this.#host.rules()
    const planned = freshUntil(quote, this.planned(quote.asset_id), rules, beat)
    const since = this.#host.watchedSince(quote.asset_id)
    if (since === null) return planned
    const pace = this.#followed(quote.asset_id)
    const grace = since + pace * 1_000 + 2 * beat
    return Math.max(freshUntil(quote, pace, rules, beat), Math.min(planned, grace))
  }

  /**
   * What decides when an asset is due.
   * @param isStreamed a feed has its price: of REST only the rest is needed
   */
  candidate(asset_id: number, entry: Entry | undefined, isStreamed: boolean): Candidate {
    const isFollowed = this.#host.watchedSince(asset_id) !== null && !isStreamed
    return {
      asset_id,
      interval: isFollowed ? this.#followed(asset_id) : this.planned(asset_id),
      triedAt: entry?.triedAt ?? null,
      failed: (entry?.trouble ?? null) !== null,
      retryAt: entry?.retryAt ?? null,
      market: entry?.quote?.market ?? null,
      market_state: entry?.quote?.market_state ?? null,
    }
  }

  /** Whether a provider may be asked for an asset that a look wants, outside of its turn. */
  mayAsk(id: number, entry: Entry | undefined, now: number): boolean {
    const { triedAt = null, trouble = null, retryAt = null } = entry ?? {}
    if (triedAt === null) return true
    if (trouble !== null && retryAt !== null) return now >= retryAt
    const least = trouble === null ? this.#host.rules().refresh_min_seconds : this.planned(id)
    return now >= triedAt + least * 1_000
  }
}
