import type { LookupResult } from '../../src/objects.ts'
import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { QuoteLayer } from '../../src/protocol/quote.ts'
import type { FeedPrices } from './feed-prices.ts'
import type { PriceLoader } from './price-loader.ts'
import type { QuoteRefresh } from './refresh.ts'
import type { RefreshPolicy } from './refresh-policy.ts'
import type { QuoteContext } from './remotes.ts'
import type { SymbolResolver } from './symbol-resolver.ts'

/** Retry-After, in seconds, of a price that is being refreshed. */
const RETRY_S = 2

/** The longest that a lookup waits for the price of an open feed: an object answers within a few milliseconds. */
const FEED_TIMEOUT_MS = 250

/** The parts of a board that a lookup uses. */
type LookupParts = {
  symbols: SymbolResolver
  cache: QuoteCache
  prices: PriceLoader
  refresh: QuoteRefresh
  feeds: FeedPrices
  policy: RefreshPolicy
}

/** Counts of results by the layer that answered; `none` had no price. */
type LookupCounts = Record<QuoteLayer | 'none', number>

/** Looks up prices: in memory, else in Postgres, else at a provider (Q1); a stale price is refreshed after the answer. */
export class QuoteLookup {
  readonly #context: QuoteContext
  readonly #parts: LookupParts
  readonly #counts: LookupCounts
  /** The waiting lookups, and their deadlines on the object's clock. */
  readonly #waiters = new Set<{ until: number; end: () => void }>()

  constructor(context: QuoteContext, parts: LookupParts, counts: LookupCounts) {
    this.#context = context
    this.#parts = parts
    this.#counts = counts
  }

  /** The results in the order of `names`. */
  async lookup(names: readonly string[]): Promise<LookupResult[]> {
    const layers = new Map<number, QuoteLayer>()
    if (names.some((name) => !this.#isCached(name)))
      await this.#withTimeout(this.#loadPrices(names, layers), this.#context.settings.LOOKUP_TIMEOUT_MS)
    const streamed = this.#assetsOf(names).filter((asset) => this.#parts.feeds.hasFeed(asset))
    const reading = streamed.length === 0 ? null : this.#parts.feeds.request(streamed)
    if (reading) await this.#withTimeout(reading, FEED_TIMEOUT_MS)
    const results = names.map((name) => this.#toResult(name, layers))
    for (const result of results) this.#counts[result.kind === 'quote' ? result.source : 'none']++
    this.#refreshStale(names)
    return results
  }

  /** When `tick` is to be called, unix milliseconds. */
  get dueAt(): number {
    let due = Number.POSITIVE_INFINITY
    for (const { until } of this.#waiters) due = Math.min(due, until)
    return due
  }

  /** Ends the lookups whose deadline has passed. */
  tick(): void {
    const now = this.#context.now()
    for (const { until, end } of [...this.#waiters]) if (until <= now) end()
  }

  /** Seconds until a time; a short while where it is null. */
  secondsUntil(at: number | null): number {
    return at === null ? RETRY_S : Math.max(1, Math.ceil((at - this.#context.now()) / 1_000))
  }

  #isCached(name: string): boolean {
    const match = this.#parts.symbols.resolveCached(name)
    return match !== null && (match.kind !== 'asset' || this.#parts.cache.quote(match.asset.asset_id) !== null)
  }

  /** The assets that these names resolve to without the database. */
  #assetsOf(names: readonly string[]): Asset[] {
    return names.flatMap((name) => {
      const match = this.#parts.symbols.resolveLocally(name)
      return match.kind === 'asset' ? [match.asset] : []
    })
  }

  /** Resolves with `work`, or after `timeoutMs`; the work then goes on. The timeout is an alarm, on the object's clock. */
  #withTimeout(work: Promise<unknown>, timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const end = () => {
      this.#waiters.delete(waiter)
      resolve()
    }
    const waiter = { until: this.#context.now() + timeoutMs, end }
    this.#waiters.add(waiter)
    this.#context.track(work.finally(end))
    this.#context.schedule()
    return promise
  }

  #toResult(name: string, layers: ReadonlyMap<number, QuoteLayer>): LookupResult {
    const { symbols, cache, policy } = this.#parts
    const match = symbols.resolveLocally(name)
    if (match.kind === 'unread')
      return { name, kind: 'unpriced', symbol: name, reason: 'unavailable', retryAfter: RETRY_S }
    if (match.kind !== 'asset') return { name, ...match }
    const { asset_id, symbol, provider } = match.asset
    const entry = cache.entry(asset_id)
    if (entry?.quote) {
      const { market: _, ...quote } = entry.quote
      const source = layers.get(asset_id) ?? 'cache'
      return { name, kind: 'quote', quote, source, freshUntil: policy.freshUntil(entry.quote), trouble: entry.trouble }
    }
    const reason = provider === 'manual' ? 'unknown' : (entry?.trouble ?? 'expired')
    return { name, kind: 'unpriced', symbol, reason, retryAfter: this.secondsUntil(entry?.retryAt ?? null) }
  }

  /** Loads the missing prices of these names from Postgres, else from a provider, and records which layer had each. */
  async #loadPrices(names: readonly string[], layers: Map<number, QuoteLayer>): Promise<void> {
    const { symbols, cache, prices, refresh, policy } = this.#parts
    const { now } = this.#context
    const withoutPrice = (assets: readonly Asset[]) => assets.filter(({ asset_id }) => cache.quote(asset_id) === null)
    const record = (assets: readonly Asset[], layer: QuoteLayer) => {
      for (const { asset_id } of assets)
        if (cache.quote(asset_id) !== null && !layers.has(asset_id)) layers.set(asset_id, layer)
    }
    const matches = [...(await symbols.resolve(names)).values()]
    const missing = withoutPrice(matches.flatMap((match) => (match.kind === 'asset' ? [match.asset] : [])))
    if (missing.length === 0) return
    await prices.loadOnce(missing.map(({ asset_id }) => asset_id))
    record(missing, 'database')
    const left = withoutPrice(missing).filter(({ asset_id, provider }) => {
      if (provider === 'manual') return false
      return refresh.isRefreshing(asset_id) || policy.canRefresh(asset_id, cache.entry(asset_id), now())
    })
    await refresh.refresh(left, now())
    record(left, 'provider')
  }

  /** Starts to refresh the stale prices of these names. */
  #refreshStale(names: readonly string[]): void {
    const { cache, prices, refresh, policy } = this.#parts
    const { track } = this.#context
    const now = this.#context.now()
    const stale = this.#assetsOf(names).filter(({ asset_id }) => {
      const entry = cache.entry(asset_id)
      return entry?.quote && policy.freshUntil(entry.quote) < now && policy.canRefresh(asset_id, entry, now)
    })
    const manual = stale.filter(({ provider }) => provider === 'manual')
    if (manual.length > 0) track(prices.load(manual.map(({ asset_id }) => asset_id)))
    const provided = stale.filter(({ provider }) => provider !== 'manual')
    if (provided.length > 0) track(refresh.refresh(provided, now))
  }
}
