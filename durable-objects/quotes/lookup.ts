import type { LookupResult } from '../../src/objects.ts'
import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { QuoteLayer } from '../../src/protocol/quote.ts'
import type { FeedPrices } from './feed-prices.ts'
import type { PriceLoader } from './load.ts'
import type { QuoteRefresh } from './refresh.ts'
import type { RefreshPolicy } from './refresh-policy.ts'
import type { SymbolResolver } from './symbol-resolver.ts'

/** Seconds after which to ask again for a price that is being asked for. */
const RETRY_S = 2

/** Longest that a look waits for what an open feed says now, milliseconds: an object answers within a few. */
const FEED_TIMEOUT_MS = 250

/** What looks need of the object that holds them. Times are unix milliseconds. */
export type LookupHost = {
  names: SymbolResolver
  book: QuoteCache
  load: PriceLoader
  refresh: QuoteRefresh
  feeds: FeedPrices
  refreshPolicy: RefreshPolicy
  /** See LOOKUP_TIMEOUT_MS. */
  timeoutMs: number
  /** Where answers are counted, by the layer that gave them; `none` had no price. */
  counts: Record<QuoteLayer | 'none', number>
  now(): number
  /** Sees to it that `tick` is called when something is due. */
  arm(): void
  track(work: Promise<unknown>): void
}

/** Answers looks: from memory, else from Postgres, else by a provider (Q1); what is stale is renewed behind the answer. */
export class QuoteLookup {
  readonly #host: LookupHost
  /** Those who wait, and until when. */
  readonly #waiters = new Set<{ until: number; over: () => void }>()

  constructor(host: LookupHost) {
    this.#host = host
  }

  /** In the order of `names`. */
  async lookup(names: readonly string[]): Promise<LookupResult[]> {
    const from = new Map<number, QuoteLayer>()
    const { timeoutMs: wait, feeds } = this.#host
    if (names.some((name) => !this.#isCached(name))) await this.#withTimeout(this.#loadPrices(names, from), wait)
    const streamed = this.#assetsWithFeed(names)
    const told = streamed.length === 0 ? null : feeds.request(streamed)
    if (told) await this.#withTimeout(told, FEED_TIMEOUT_MS)
    const looks = names.map((name) => this.#toResult(name, from))
    for (const look of looks) this.#host.counts[look.kind === 'quote' ? look.source : 'none']++
    this.#refreshStale(names)
    return looks
  }

  /** When `tick` is to be called, unix milliseconds. */
  get dueAt(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { until } of this.#waiters) due = Math.min(due, until)
    return due
  }

  /** Lets those go who have waited long enough. */
  tick(): void {
    const now = this.#host.now()
    for (const { until, over } of [...this.#waiters]) if (until <= now) over()
  }

  /** Seconds to a moment; where it is not known, a little while. */
  secondsUntil(at: number | null): number {
    return at === null ? RETRY_S : Math.max(1, Math.ceil((at - this.#host.now()) / 1_000))
  }

  #isCached(name: string): boolean {
    const named = this.#host.names.resolveCached(name)
    return named !== null && (named.kind !== 'asset' || this.#host.book.quote(named.asset.asset_id) !== null)
  }

  /** What these names mean that has a feed. */
  #assetsWithFeed(names: readonly string[]): Asset[] {
    return names.flatMap((name) => {
      const named = this.#host.names.resolveLocally(name)
      return named.kind === 'asset' && this.#host.feeds.hasFeed(named.asset) ? [named.asset] : []
    })
  }

  /** Over when `work` is, or after `wait` milliseconds; then it goes on by itself. */
  #withTimeout(work: Promise<unknown>, wait: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const over = () => {
      this.#waiters.delete(waiter)
      resolve()
    }
    const waiter = { until: this.#host.now() + wait, over }
    this.#waiters.add(waiter)
    this.#host.track(work.finally(over))
    this.#host.arm()
    return promise
  }

  #toResult(name: string, from: ReadonlyMap<number, QuoteLayer>): LookupResult {
    const { names, book, refreshPolicy: pace } = this.#host
    const named = names.resolveLocally(name)
    if (named.kind === 'unread')
      return { name, kind: 'unpriced', symbol: name, reason: 'unavailable', retryAfter: RETRY_S }
    if (named.kind !== 'asset') return { name, ...named }
    const { asset_id, symbol, provider } = named.asset
    const entry = book.entry(asset_id)
    if (entry?.quote) {
      const { market: _, ...quote } = entry.quote
      const source = from.get(asset_id) ?? 'cache'
      return { name, kind: 'quote', quote, source, freshUntil: pace.freshUntil(entry.quote), trouble: entry.trouble }
    }
    const reason = provider === 'manual' ? 'unknown' : (entry?.trouble ?? 'expired')
    return { name, kind: 'unpriced', symbol, reason, retryAfter: this.secondsUntil(entry?.retryAt ?? null) }
  }

  /** Brings prices of what these names mean, from Postgres or else a provider, and notes which it was. */
  async #loadPrices(names: readonly string[], from: Map<number, QuoteLayer>): Promise<void> {
    const { book, load, refresh, refreshPolicy: pace, now } = this.#host
    const missing = (assets: readonly Asset[]) => assets.filter(({ asset_id }) => book.quote(asset_id) === null)
    const note = (assets: readonly Asset[], source: QuoteLayer) => {
      for (const { asset_id } of assets)
        if (book.quote(asset_id) !== null && !from.has(asset_id)) from.set(asset_id, source)
    }
    const named = [...(await this.#host.names.resolve(names)).values()]
    const asked = missing(named.flatMap((one) => (one.kind === 'asset' ? [one.asset] : [])))
    if (asked.length === 0) return
    await load.loadOnce(asked.map(({ asset_id }) => asset_id))
    note(asked, 'database')
    const left = missing(asked).filter(({ asset_id, provider }) => {
      if (provider === 'manual') return false
      return refresh.isRefreshing(asset_id) || pace.canRefresh(asset_id, book.entry(asset_id), now())
    })
    await refresh.refresh(left, now())
    note(left, 'provider')
  }

  /** Has what these names mean renewed, where it is stale; nobody waits for it. */
  #refreshStale(names: readonly string[]): void {
    const { book, load, refresh, refreshPolicy: pace, track } = this.#host
    const now = this.#host.now()
    const stale: Asset[] = []
    for (const name of names) {
      const named = this.#host.names.resolveLocally(name)
      if (named.kind !== 'asset') continue
      const { asset } = named
      const entry = book.entry(asset.asset_id)
      const isStale = entry?.quote && pace.freshUntil(entry.quote) < now
      if (isStale && pace.canRefresh(asset.asset_id, entry, now)) stale.push(asset)
    }
    const manual = stale.filter(({ provider }) => provider === 'manual')
    if (manual.length > 0) track(load.load(manual.map(({ asset_id }) => asset_id)))
    const asked = stale.filter(({ provider }) => provider !== 'manual')
    if (asked.length > 0) track(refresh.refresh(asked, now))
  }
}
