import type { LookupResult, RefreshReport } from '../../src/objects.ts'
import { dueAssets } from '../../src/pricing/due.ts'
import { feedQuote, toCachedQuote } from '../../src/pricing/quote.ts'
import { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { QuotePlan } from '../../src/pricing/refresh-settings.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import { QuoteDiscovery } from './discovery.ts'
import { type AssetFeedPrice, FeedPrices } from './feed-prices.ts'
import { QuoteLookup } from './lookup.ts'
import { PriceLoader } from './price-loader.ts'
import { QuoteRefresh, type RefreshResult } from './refresh.ts'
import { RefreshPolicy } from './refresh-policy.ts'
import type { QuoteContext } from './remotes.ts'
import { type BoardCounts, QuoteStore } from './store.ts'
import { SymbolResolver } from './symbol-resolver.ts'
import type { WatchCounts } from './watch-counts.ts'
import { QuoteWriteBehind } from './write-behind.ts'

/** The clients of a board, as its engine needs them. */
type QuoteClients = {
  /** True if a user's object has subscribed to an asset. */
  isSubscribed(id: number): boolean
  /** A batch is stored, after the offset `before`: `ids` have visibly changed, and `dropped` are removed. */
  announce(ids: readonly number[], dropped: readonly number[], before: number): void
}

/** A board without its clients: the plan, the refresh tick, the cache and lookups. It sets no timers. */
export class QuoteEngine {
  readonly #context: QuoteContext
  readonly #store: QuoteStore
  readonly #watches: WatchCounts
  readonly #clients: QuoteClients
  #plan: QuotePlan | null
  readonly symbols: SymbolResolver
  readonly cache: QuoteCache
  readonly writeBehind: QuoteWriteBehind
  readonly lookup: QuoteLookup
  readonly counts: BoardCounts
  readonly #policy: RefreshPolicy
  readonly #prices: PriceLoader
  readonly #refresh: QuoteRefresh
  readonly #feeds: FeedPrices
  readonly #discovery: QuoteDiscovery
  /** The next refresh tick: a multiple of QUOTE_REFRESH_TICK_MS, so that a restart does not move it. */
  #nextTickAt: number
  /** The longest that an asset was overdue at the last tick. */
  lagMs = 0

  constructor(context: QuoteContext, shard: number, watches: WatchCounts, clients: QuoteClients) {
    this.#context = context
    this.#watches = watches
    this.#clients = clients
    const store = new QuoteStore(context.storage)
    this.#store = store
    const looks = { cache: 0, database: 0, provider: 0, none: 0 }
    this.counts = store.loadCounts() ?? { since: context.now(), looks, beats: 0, refreshed: 0, failed: 0 }
    this.#nextTickAt = this.#tickStart(context.now())
    const symbols = new SymbolResolver(context, store, shard)
    const policy = new RefreshPolicy(symbols, watches, context.settings.QUOTE_REFRESH_TICK_MS)
    const cache = new QuoteCache((quote) => policy.freshUntil(quote), store.loadBatches(), store.head.floor)
    this.symbols = symbols
    this.#policy = policy
    this.cache = cache
    this.#plan = store.loadPlan()
    if (this.#plan) {
      symbols.setPlanned(this.#plan.assets)
      policy.settings = this.#plan.settings
    }
    this.writeBehind = new QuoteWriteBehind(context, cache, store, policy)
    const prices = new PriceLoader(context, cache, symbols, () => this.#commit())
    const refresh = new QuoteRefresh(context, (results, at, askedAt) => this.#applyResults(results, at, askedAt))
    const feeds = new FeedPrices(context, (feedPrices) => this.#applyFeedPrices(feedPrices))
    this.#prices = prices
    this.#refresh = refresh
    this.#feeds = feeds
    this.#discovery = new QuoteDiscovery(context)
    this.lookup = new QuoteLookup(context, { symbols, cache, policy, prices, refresh, feeds }, this.counts.looks)
  }

  /** Part of each stream position. */
  get epoch(): string {
    return this.#store.head.epoch
  }

  /** Looks a name up, and searches the providers for it where no asset has it. */
  async discover(name: string): Promise<LookupResult> {
    const [result] = (await this.lookup.lookup([name])) as [LookupResult]
    if (result.kind !== 'unknown' || result.asked) return result
    const discovery = await this.#discovery.discover(name)
    if (discovery.kind === 'unknown') {
      this.symbols.saveUnknown(name)
      return { name, kind: 'unknown', asked: true }
    }
    if (discovery.kind === 'failed') {
      const retryAfter = this.lookup.secondsUntil(discovery.retryAt)
      return { name, kind: 'unpriced', symbol: name, reason: discovery.reason, retryAfter }
    }
    this.symbols.invalidate(name)
    this.symbols.addUnplanned(discovery.asset)
    return ((await this.lookup.lookup([name])) as [LookupResult])[0]
  }

  /** Loads the prices of these assets from Postgres where that was not done yet. Never rejects. */
  loadMissing(ids: readonly number[]): Promise<void> {
    return this.#prices.loadOnce(ids.filter((id) => this.cache.quote(id) === null))
  }

  /** Applies a plan; one that is older than the current one, or equal to it, changes nothing. */
  setPlan(plan: QuotePlan): void {
    if (this.#plan !== null && plan.at < this.#plan.at) return
    if (isSamePlan(plan, this.#plan)) this.#plan = plan
    else {
      this.#applyPlan(plan)
      this.#context.track(this.#loadUnpriced())
    }
  }

  /** Refreshes these assets now, or all of the plan. */
  async refresh(names: readonly string[] | null): Promise<RefreshReport> {
    const report = { refreshed: 0, failed: 0, waiting: 0 }
    let assets: Asset[] = [...this.symbols.planned.values()]
    if (names !== null) {
      const matches = [...(await this.symbols.resolve(names)).values()]
      assets = matches.flatMap((match) => (match.kind === 'asset' ? [match.asset] : []))
      report.failed = matches.length - assets.length
    }
    const provided = assets.filter(({ provider }) => provider !== 'manual')
    report.failed += assets.length - provided.length
    await this.#refresh.refresh(provided, this.#context.now())
    for (const { asset_id } of provided) {
      const failure = this.cache.entry(asset_id)?.trouble
      if (failure === null) report.refreshed++
      else if (failure === 'rate_limited') report.waiting++
      else report.failed++
    }
    this.writeBehind.writePending()
    return report
  }

  #applyResults(results: readonly RefreshResult[], at: number, askedAt: number): void {
    const now = this.#context.now()
    for (const { asset, outcome } of results) {
      const { asset_id } = asset
      const known = this.symbols.asset(asset_id)
      // It has left the plan since.
      if (known === undefined) continue
      if (outcome.ok) {
        this.counts.refreshed++
        const quote = toCachedQuote(known, outcome.quote, this.#providerName(outcome.provider), askedAt, now)
        const anchor = { price: quote.price, change24h: quote.change24h }
        if (outcome.provider === 'coinbase' && this.#feeds.isLive(known)) this.cache.putBesideFeed(quote, anchor)
        else this.cache.put(quote, anchor)
        this.cache.recordAttempt(asset_id, { at, trouble: null, retryAt: null })
      } else {
        this.counts.failed++
        this.cache.recordAttempt(asset_id, { at, trouble: outcome.reason, retryAt: outcome.retryAt })
      }
    }
    this.#commit()
  }

  #providerName(provider: string): string {
    return this.#context.settings.EXCHANGE === 'simulated' ? 'simulated' : provider
  }

  #applyFeedPrices(prices: readonly AssetFeedPrice[]): void {
    for (const { asset, price } of prices) {
      const { quote = null, anchor = null } = this.cache.entry(asset.asset_id) ?? {}
      this.cache.put(feedQuote(asset, price, this.#providerName('coinbase'), quote, anchor))
    }
    // That a price has not changed can wait for the next batch.
    if (this.cache.hasVisibleChanges) this.#commit()
  }

  #applyPlan(plan: QuotePlan): void {
    const ids = new Set(plan.assets.map(({ asset_id }) => asset_id))
    const isWatched = (id: number) => this.#watches.since(id) !== null || this.#clients.isSubscribed(id)
    this.symbols.evictUnplanned(isWatched)
    for (const id of this.symbols.planned.keys()) if (!ids.has(id)) this.cache.remove(id)
    for (const id of [...this.cache.ids()])
      if (!ids.has(id) && this.symbols.asset(id) === undefined && !isWatched(id)) this.cache.remove(id)
    this.#commit()
    this.symbols.setPlanned(plan.assets)
    this.#plan = plan
    this.#policy.settings = plan.settings
    for (const { asset_id, symbol } of plan.assets) this.cache.setSymbol(asset_id, symbol)
    this.#store.savePlan(plan)
    this.#commit()
  }

  /** Loads the missing prices of the plan from Postgres; those that it does not have are due. */
  async #loadUnpriced(): Promise<void> {
    await this.loadMissing([...this.symbols.planned.keys()])
    await this.#refreshDue(this.#context.now())
  }

  #tickStart(now: number): number {
    const { QUOTE_REFRESH_TICK_MS } = this.#context.settings
    return Math.floor(now / QUOTE_REFRESH_TICK_MS) * QUOTE_REFRESH_TICK_MS
  }

  /** Refreshes what is due at `at` and not being refreshed. */
  async #refreshDue(at: number): Promise<void> {
    const { symbols, cache } = this
    const unplanned = [...this.#watches.ids()].filter((id) => !symbols.planned.has(id))
    const assets = [...symbols.planned.keys(), ...unplanned].flatMap((id) => symbols.asset(id) ?? [])
    // Those that Postgres is asked for have their turn when it has answered.
    const candidates = assets
      .filter(({ asset_id, provider }) => provider !== 'manual' && !this.#prices.isLoading(asset_id))
      .map((asset) => this.#policy.candidate(asset.asset_id, cache.entry(asset.asset_id), this.#feeds.isLive(asset)))
    const due = dueAssets(candidates, at, cache.marketOpenedAt, this.#policy.settings)
    this.lagMs = due.reduce((longest, { lagMs }) => Math.max(longest, lagMs), 0)
    const idle = due.filter(({ asset_id }) => !this.#refresh.isRefreshing(asset_id))
    await this.#refresh.refresh(
      idle.flatMap(({ asset_id }) => symbols.asset(asset_id) ?? []),
      at,
    )
  }

  /** Stores the changes as a batch, then announces it. */
  #commit(): void {
    const committed = this.cache.commit(this.#context.now())
    if (committed === null) return
    const { batch, changed } = committed
    this.#store.saveBatch(batch, () => this.cache.toBatch())
    const floor = this.cache.minResumableBatch
    if (this.#store.head.floor !== floor) this.#store.saveHead({ floor })
    this.#clients.announce(changed, batch.dropped, batch.n - 1)
  }

  /** Announces the quotes that have become stale. */
  publishStale(): void {
    this.cache.markStale(this.#context.now())
    this.#commit()
  }

  /** When `tick` is to be called, unix milliseconds. */
  get dueAt(): number {
    const due = Math.min(this.lookup.dueAt, this.#feeds.getDueAt(this.#feedAssets()))
    return this.#plan === null ? due : Math.min(due, this.#nextTickAt)
  }

  /** Does what is due; returns whether a refresh tick has begun. */
  tick(): boolean {
    const now = this.#context.now()
    this.lookup.tick()
    const streamed = this.#feedAssets()
    if (this.#feeds.getDueAt(streamed) <= now) this.#feeds.request(streamed)
    if (this.#plan === null || now < this.#nextTickAt) return false
    const at = this.#tickStart(now)
    this.#nextTickAt = at + this.#context.settings.QUOTE_REFRESH_TICK_MS
    this.counts.beats++
    this.#store.saveCounts(this.counts)
    this.writeBehind.onRefreshTick()
    this.#context.track(this.#refreshDue(at).then(() => this.writeBehind.writePending()))
    return true
  }

  /** The watched assets that have a feed. */
  #feedAssets(): Asset[] {
    const ids = this.#watches.allViewers > 0 ? this.symbols.planned.keys() : this.#watches.ids()
    return [...ids].flatMap((id) => this.symbols.asset(id) ?? []).filter((asset) => this.#feeds.hasFeed(asset))
  }
}

function isSamePlan(a: QuotePlan, b: QuotePlan | null): boolean {
  const text = ({ settings, assets }: QuotePlan) => JSON.stringify([settings, assets])
  return b !== null && text(a) === text(b)
}
