import type { Settings } from '../../src/config.ts'
import type {
  FeedSlotsObject,
  LookupResult,
  ProductObject,
  ProviderGateObject,
  RefreshReport,
} from '../../src/objects.ts'
import { DEFAULT_REFRESH_SETTINGS, dueAssets } from '../../src/pricing/due.ts'
import { type FeedPrice, feedQuote, toCachedQuote } from '../../src/pricing/quote.ts'
import { QuoteCache } from '../../src/pricing/quote-cache.ts'
import { availableProviders, providersFor } from '../../src/pricing/quote-providers.ts'
import type { QuotePlan, RefreshSettings } from '../../src/pricing/refresh-settings.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { QuoteDatabase } from './database.ts'
import { QuoteDiscovery } from './discovery.ts'
import { FeedPrices } from './feed-prices.ts'
import { PriceLoader } from './load.ts'
import { QuoteLookup } from './lookup.ts'
import { QuoteRefresh, type RefreshResult } from './refresh.ts'
import { RefreshPolicy } from './refresh-policy.ts'
import type { BoardCounts, QuoteHead, QuoteStore } from './store.ts'
import { SymbolResolver } from './symbol-resolver.ts'
import { QuoteWriteBehind } from './write-behind.ts'

/** What a desk needs of the object that holds it. Times are unix milliseconds. */
export type QuoteEngineHost = {
  config: Settings
  shard: number
  store: QuoteStore
  now(): number
  gate(): Pick<ProviderGateObject, 'quotes' | 'find'>
  database(): QuoteDatabase
  slots(): Pick<FeedSlotsObject, 'open'>
  product(id: string): Pick<ProductObject, 'status'>
  /** The assets that sockets, or pages of users, have open by name, and since when one has; null: none has. */
  watched(): Iterable<number>
  watchedSince(id: number): number | null
  /** Whether a socket follows every asset. */
  isWatchingAll(): boolean
  /** Whether a user's object follows an asset. */
  isSubscribed(id: number): boolean
  /** A batch is stored that came after the offset `before`: clients see a change of `ids`, and `dropped` are gone. */
  announce(ids: readonly number[], dropped: readonly number[], before: number): void
  /** Sees to it that `tick` is called when something is due. */
  arm(): void
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Everything of a board but its sockets: the plan, the beat, what comes of them, and looks. It sets no timers. */
export class QuoteEngine {
  readonly #host: QuoteEngineHost
  readonly #head: QuoteHead
  #plan: QuotePlan | null
  readonly symbols: SymbolResolver
  readonly cache: QuoteCache
  readonly refreshPolicy: RefreshPolicy
  readonly writeBehind: QuoteWriteBehind
  readonly lookup: QuoteLookup
  readonly #priceLoader: PriceLoader
  readonly #refresh: QuoteRefresh
  readonly #feedPrices: FeedPrices
  readonly #discovery: QuoteDiscovery
  /** The beat that is to come: a multiple of QUOTE_REFRESH_TICK_MS, so that a restart keeps its time. */
  #nextTickAt: number
  readonly counts: BoardCounts
  /** Longest that a due asset has waited beyond its interval at the last beat, milliseconds. */
  lagMs = 0

  constructor(host: QuoteEngineHost) {
    const { config, shard, store } = host
    this.#host = host
    const simulated = config.EXCHANGE === 'simulated'
    const rules = () => this.#refreshSettings
    const commit = () => this.#commit()
    const batches = store.loadBatches()
    const head = store.loadHead()
    this.#head = head ?? { epoch: crypto.randomUUID().replaceAll('-', '').slice(0, 16), floor: 0, flushed: 0 }
    if (head === null) store.saveHead(this.#head)
    this.#plan = store.loadPlan()
    const looks = { cache: 0, database: 0, provider: 0, none: 0 }
    this.counts = store.loadCounts() ?? { since: host.now(), looks, beats: 0, refreshed: 0, failed: 0 }
    this.#nextTickAt = this.#tickStart(host.now())
    this.symbols = new SymbolResolver({
      ...host,
      shards: config.QUOTE_SHARDS,
      shard,
      unknownTtlMs: config.UNKNOWN_SYMBOL_TTL_MS,
    })
    if (this.#plan) this.symbols.setPlanned(this.#plan.assets)
    const planned = (id: number) => this.symbols.planned.get(id)
    this.refreshPolicy = new RefreshPolicy({
      tickMs: config.QUOTE_REFRESH_TICK_MS,
      refreshSettings: rules,
      plannedAsset: planned,
      watchedSince: host.watchedSince,
    })
    const book = new QuoteCache((quote) => this.refreshPolicy.freshUntil(quote), batches, this.#head.floor)
    this.cache = book
    const isManual = (id: number) => this.symbols.asset(id)?.provider === 'manual'
    this.#priceLoader = new PriceLoader({ ...host, cache: book, simulated, isManual, commit })
    const save = (flushed: number) => store.saveHead(Object.assign(this.#head, { flushed }))
    this.writeBehind = new QuoteWriteBehind({
      ...host,
      cache: book,
      writtenBatch: this.#head.flushed,
      refreshSettings: rules,
      save,
    })
    const available = availableProviders(config)
    this.#refresh = new QuoteRefresh({
      ...host,
      sourcesOf: (asset) => providersFor(asset, available),
      onResults: (landed, at, askedAt) => this.#applyResults(landed, at, askedAt),
    })
    this.#feedPrices = new FeedPrices({
      ...host,
      products: new Set(config.PRODUCTS),
      intervalMs: config.FEED_PRICE_INTERVAL_MS,
      onPrices: (prices) => this.#applyFeedPrices(prices),
    })
    this.#discovery = new QuoteDiscovery({ ...host, maxPerDay: config.NEW_ASSETS_PER_DAY })
    const parts = {
      names: this.symbols,
      book,
      load: this.#priceLoader,
      refresh: this.#refresh,
      feeds: this.#feedPrices,
    }
    this.lookup = new QuoteLookup({
      ...host,
      ...parts,
      refreshPolicy: this.refreshPolicy,
      timeoutMs: config.LOOKUP_TIMEOUT_MS,
      counts: this.counts.looks,
    })
  }

  get epoch(): string {
    return this.#head.epoch
  }

  get #refreshSettings(): RefreshSettings {
    return this.#plan?.settings ?? DEFAULT_REFRESH_SETTINGS
  }

  async discover(name: string): Promise<LookupResult> {
    const [look] = (await this.lookup.lookup([name])) as [LookupResult]
    if (look.kind !== 'unknown' || look.asked) return look
    const found = await this.#discovery.discover(name)
    if (found.kind === 'unknown') {
      this.symbols.saveUnknown(name)
      return { name, kind: 'unknown', asked: true }
    }
    if (found.kind === 'failed') {
      const retryAfter = this.lookup.secondsUntil(found.retryAt)
      return { name, kind: 'unpriced', symbol: name, reason: found.reason, retryAfter }
    }
    this.symbols.invalidate(name)
    this.symbols.addUnplanned(found.asset)
    return ((await this.lookup.lookup([name])) as [LookupResult])[0]
  }

  /** Brings prices of these from Postgres where they were never looked for. Never rejects. */
  loadMissing(ids: readonly number[]): Promise<void> {
    return this.#priceLoader.loadOnce(ids.filter((id) => this.cache.quote(id) === null))
  }

  /** Takes a plan in; one that is older than that in force, or says the same, changes nothing. */
  setPlan(plan: QuotePlan): void {
    if (this.#plan !== null && plan.at < this.#plan.at) return
    if (isSamePlan(plan, this.#plan)) this.#plan = plan
    else {
      this.#applyPlan(plan)
      this.#host.track(this.#loadUnpriced())
    }
  }

  /** Refreshes these assets now, or all, and says what came of it. */
  async refresh(names: readonly string[] | null): Promise<RefreshReport> {
    const report = { refreshed: 0, failed: 0, waiting: 0 }
    let assets: Asset[] = [...this.symbols.planned.values()]
    if (names !== null) {
      const found = [...(await this.symbols.resolve(names)).values()]
      assets = found.flatMap((named) => (named.kind === 'asset' ? [named.asset] : []))
      report.failed = found.length - assets.length
    }
    const asked = assets.filter(({ provider }) => provider !== 'manual')
    report.failed += assets.length - asked.length
    await this.#refresh.refresh(asked, this.#host.now())
    for (const { asset_id } of asked) {
      const trouble = this.cache.entry(asset_id)?.trouble
      if (trouble === null) report.refreshed++
      else if (trouble === 'rate_limited') report.waiting++
      else report.failed++
    }
    this.writeBehind.writePending()
    return report
  }

  #applyResults(landed: readonly RefreshResult[], at: number, askedAt: number): void {
    const now = this.#host.now()
    for (const { asset, outcome } of landed) {
      const { asset_id } = asset
      const known = this.symbols.asset(asset_id)
      // It has left the plan meanwhile.
      if (known === undefined) continue
      if (outcome.ok) {
        this.counts.refreshed++
        const quote = toCachedQuote(known, outcome.quote, this.#providerName(outcome.provider), askedAt, now)
        const anchor = { price: quote.price, change24h: quote.change24h }
        if (outcome.provider === 'coinbase' && this.#feedPrices.isLive(known)) this.cache.putBesideFeed(quote, anchor)
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
    return this.#host.config.EXCHANGE === 'simulated' ? 'simulated' : provider
  }

  #applyFeedPrices(prices: readonly { asset: Asset; price: FeedPrice }[]): void {
    for (const { asset, price } of prices) {
      const { quote = null, anchor = null } = this.cache.entry(asset.asset_id) ?? {}
      this.cache.put(feedQuote(asset, price, this.#providerName('coinbase'), quote, anchor))
    }
    // That a price is still the same is news for the next batch.
    if (this.cache.hasVisibleChanges) this.#commit()
  }

  #applyPlan(plan: QuotePlan): void {
    const { watchedSince, isSubscribed: isFollowed, store } = this.#host
    const ids = new Set(plan.assets.map(({ asset_id }) => asset_id))
    const isWatched = (id: number) => watchedSince(id) !== null || isFollowed(id)
    this.symbols.evictUnplanned(isWatched)
    for (const id of this.symbols.planned.keys()) if (!ids.has(id)) this.cache.remove(id)
    for (const id of [...this.cache.ids()])
      if (!ids.has(id) && this.symbols.asset(id) === undefined && !isWatched(id)) this.cache.remove(id)
    this.#commit()
    this.symbols.setPlanned(plan.assets)
    this.#plan = plan
    for (const { asset_id, symbol } of plan.assets) this.cache.setSymbol(asset_id, symbol)
    store.savePlan(plan)
    this.#commit()
  }

  /** Assets that have no price yet: from Postgres, if it has one, else they are due. */
  async #loadUnpriced(): Promise<void> {
    await this.#priceLoader.loadOnce([...this.symbols.planned.keys()].filter((id) => this.cache.quote(id) === null))
    await this.#refreshDue(this.#host.now())
  }

  #tickStart(now: number): number {
    const { QUOTE_REFRESH_TICK_MS } = this.#host.config
    return Math.floor(now / QUOTE_REFRESH_TICK_MS) * QUOTE_REFRESH_TICK_MS
  }

  /** Asks for what is due at `at`, and is not being asked for. */
  async #refreshDue(at: number): Promise<void> {
    const { symbols: names, cache: book } = this
    const guests = [...this.#host.watched()].filter((id) => !names.planned.has(id))
    const assets = [...names.planned.keys(), ...guests].flatMap((id) => names.asset(id) ?? [])
    // Those that Postgres is asked for have their turn when it has answered.
    const candidates = assets
      .filter(({ asset_id, provider }) => provider !== 'manual' && !this.#priceLoader.isLoading(asset_id))
      .map((asset) =>
        this.refreshPolicy.candidate(asset.asset_id, book.entry(asset.asset_id), this.#feedPrices.isLive(asset)),
      )
    const due = dueAssets(candidates, at, book.marketOpenedAt, this.#refreshSettings)
    this.lagMs = due.reduce((most, { lagMs: lag }) => Math.max(most, lag), 0)
    const free = due.filter(({ asset_id }) => !this.#refresh.isRefreshing(asset_id))
    await this.#refresh.refresh(
      free.flatMap(({ asset_id }) => names.asset(asset_id) ?? []),
      at,
    )
  }

  /** Stores what has changed, then has it announced. */
  #commit(): void {
    const { store, announce } = this.#host
    const made = this.cache.commit(this.#host.now())
    if (made === null) return
    store.saveBatch(made.batch, () => this.cache.toBatch())
    if (this.#head.floor !== this.cache.minResumableBatch)
      store.saveHead(Object.assign(this.#head, { floor: this.cache.minResumableBatch }))
    announce(made.changed, made.batch.dropped, made.batch.n - 1)
  }

  /** Tells what has become stale. */
  publishStale(): void {
    this.cache.markStale(this.#host.now())
    this.#commit()
  }

  /** When `tick` is to be called, unix milliseconds. */
  get dueAt(): number {
    const due = Math.min(this.lookup.dueAt, this.#feedPrices.getDueAt(this.#feedAssets()))
    return this.#plan === null ? due : Math.min(due, this.#nextTickAt)
  }

  /** Does what is due; gives whether a beat has begun. */
  tick(): boolean {
    const now = this.#host.now()
    this.lookup.tick()
    const followed = this.#feedAssets()
    if (this.#feedPrices.getDueAt(followed) <= now) this.#feedPrices.request(followed)
    if (this.#plan === null || now < this.#nextTickAt) return false
    const at = this.#tickStart(now)
    this.#nextTickAt = at + this.#host.config.QUOTE_REFRESH_TICK_MS
    this.counts.beats++
    this.#host.store.saveCounts(this.counts)
    this.writeBehind.onRefreshTick()
    this.#host.track(this.#refreshDue(at).then(() => this.writeBehind.writePending()))
    return true
  }

  /** Assets with a feed that sockets follow. */
  #feedAssets(): Asset[] {
    const ids = this.#host.isWatchingAll() ? this.symbols.planned.keys() : this.#host.watched()
    return [...ids].flatMap((id) => this.symbols.asset(id) ?? []).filter((asset) => this.#feedPrices.hasFeed(asset))
  }
}

function isSamePlan(a: QuotePlan, b: QuotePlan | null): boolean {
  const text = ({ settings, assets }: QuotePlan) => JSON.stringify([settings, assets])
  return b !== null && text(a) === text(b)
}
