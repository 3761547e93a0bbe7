import type { Settings } from '../../src/config.ts'
import type { FeedSlotsObject, Look, ProductObject, ProviderGateObject, RefreshReport } from '../../src/objects.ts'
import { dueAssets, FIRST_SETTINGS } from '../../src/pricing/due.ts'
import { type FeedPrice, quoteOf, streamedQuote } from '../../src/pricing/quote.ts'
import { QuoteBook } from '../../src/pricing/quote-cache.ts'
import type { QuotePlan, RefreshSettings } from '../../src/pricing/refresh-settings.ts'
import { availableSources, sourcesOf } from '../../src/pricing/sources.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { QuoteDatabase } from './database.ts'
import { QuoteDiscovery } from './discovery.ts'
import { QuoteFeeds } from './feed-prices.ts'
import { QuoteLoad } from './load.ts'
import { QuoteLookup } from './lookup.ts'
import { type Landed, QuoteRefresh } from './refresh.ts'
import { QuotePace } from './refresh-policy.ts'
import type { Counts, Head, QuoteStore } from './store.ts'
import { QuoteNames } from './symbols.ts'
import { QuoteFlush } from './write-behind.ts'

/** What a desk needs of the object that holds it. Times are unix milliseconds. */
export type QuoteDeskHost = {
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
  wantsAll(): boolean
  /** Whether a user's object follows an asset. */
  isFollowed(id: number): boolean
  /** A batch is stored that came after the offset `before`: clients see a change of `ids`, and `dropped` are gone. */
  announce(ids: readonly number[], dropped: readonly number[], before: number): void
  /** Sees to it that `tick` is called when something is due. */
  arm(): void
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Everything of a board but its sockets: the plan, the beat, what comes of them, and looks. It sets no timers. */
export class QuoteDesk {
  readonly #host: QuoteDeskHost
  readonly #head: Head
  #plan: QuotePlan | null
  readonly names: QuoteNames
  readonly book: QuoteBook
  readonly pace: QuotePace
  readonly flush: QuoteFlush
  readonly lookup: QuoteLookup
  readonly #load: QuoteLoad
  readonly #refresh: QuoteRefresh
  readonly #feeds: QuoteFeeds
  readonly #discovery: QuoteDiscovery
  /** The beat that is to come: a multiple of QUOTE_BEAT_MS, so that a restart keeps its time. */
  #beatAt: number
  readonly counts: Counts
  /** Longest that a due asset has waited beyond its interval at the last beat, milliseconds. */
  lagMs = 0

  constructor(host: QuoteDeskHost) {
    const { config, shard, store } = host
    this.#host = host
    const simulated = config.EXCHANGE === 'simulated'
    const rules = () => this.#rules
    const commit = () => this.#commit()
    const batches = store.batches()
    const head = store.head()
    this.#head = head ?? { epoch: crypto.randomUUID().replaceAll('-', '').slice(0, 16), floor: 0, flushed: 0 }
    if (head === null) store.saveHead(this.#head)
    this.#plan = store.plan()
    const looks = { cache: 0, database: 0, provider: 0, none: 0 }
    this.counts = store.counts() ?? { since: host.now(), looks, beats: 0, refreshed: 0, failed: 0 }
    this.#beatAt = this.#beatOf(host.now())
    this.names = new QuoteNames({ ...host, shards: config.QUOTE_SHARDS, shard, unknownFor: config.UNKNOWN_MS })
    if (this.#plan) this.names.plan(this.#plan.assets)
    const planned = (id: number) => this.names.planned.get(id)
    this.pace = new QuotePace({ beat: config.QUOTE_BEAT_MS, rules, planned, watchedSince: host.watchedSince })
    const book = new QuoteBook((quote) => this.pace.freshUntil(quote), batches, this.#head.floor)
    this.book = book
    const isManual = (id: number) => this.names.asset(id)?.provider === 'manual'
    this.#load = new QuoteLoad({ ...host, book, simulated, isManual, commit })
    const save = (flushed: number) => store.saveHead(Object.assign(this.#head, { flushed }))
    this.flush = new QuoteFlush({ ...host, book, flushed: this.#head.flushed, rules, save })
    const available = availableSources(config)
    this.#refresh = new QuoteRefresh({
      ...host,
      sourcesOf: (asset) => sourcesOf(asset, available),
      land: (landed, at, askedAt) => this.#land(landed, at, askedAt),
    })
    this.#feeds = new QuoteFeeds({
      ...host,
      products: new Set(config.PRODUCTS),
      every: config.STREAMED_MS,
      told: (prices) => this.#hear(prices),
    })
    this.#discovery = new QuoteDiscovery({ ...host, perDay: config.NEW_ASSETS_PER_DAY })
    const parts = { names: this.names, book, load: this.#load, refresh: this.#refresh, feeds: this.#feeds }
    this.lookup = new QuoteLookup({
      ...host,
      ...parts,
      pace: this.pace,
      wait: config.LOOK_WAIT_MS,
      counts: this.counts.looks,
    })
  }

  get epoch(): string {
    return this.#head.epoch
  }

  get #rules(): RefreshSettings {
    return this.#plan?.settings ?? FIRST_SETTINGS
  }

  async discover(name: string): Promise<Look> {
    const [look] = (await this.lookup.look([name])) as [Look]
    if (look.kind !== 'unknown' || look.asked) return look
    const found = await this.#discovery.discover(name)
    if (found.kind === 'unknown') {
      this.names.noteUnknown(name)
      return { name, kind: 'unknown', asked: true }
    }
    if (found.kind === 'failed') {
      const retryAfter = this.lookup.secondsTo(found.retryAt)
      return { name, kind: 'unpriced', symbol: name, reason: found.reason, retryAfter }
    }
    this.names.forget(name)
    this.names.host(found.asset)
    return ((await this.lookup.look([name])) as [Look])[0]
  }

  /** Brings prices of these from Postgres where they were never looked for. Never rejects. */
  know(ids: readonly number[]): Promise<void> {
    return this.#load.first(ids.filter((id) => this.book.quote(id) === null))
  }

  /** Takes a plan in; one that is older than that in force, or says the same, changes nothing. */
  plan(plan: QuotePlan): void {
    if (this.#plan !== null && plan.at < this.#plan.at) return
    if (isSamePlan(plan, this.#plan)) this.#plan = plan
    else {
      this.#follow(plan)
      this.#host.track(this.#prime())
    }
  }

  /** Refreshes these assets now, or all, and says what came of it. */
  async refresh(names: readonly string[] | null): Promise<RefreshReport> {
    const report = { refreshed: 0, failed: 0, waiting: 0 }
    let assets: Asset[] = [...this.names.planned.values()]
    if (names !== null) {
      const found = [...(await this.names.find(names)).values()]
      assets = found.flatMap((named) => (named.kind === 'asset' ? [named.asset] : []))
      report.failed = found.length - assets.length
    }
    const asked = assets.filter(({ provider }) => provider !== 'manual')
    report.failed += assets.length - asked.length
    await this.#refresh.ask(asked, this.#host.now())
    for (const { asset_id } of asked) {
      const trouble = this.book.entry(asset_id)?.trouble
      if (trouble === null) report.refreshed++
      else if (trouble === 'rate_limited') report.waiting++
      else report.failed++
    }
    this.flush.run()
    return report
  }

  #land(landed: readonly Landed[], at: number, askedAt: number): void {
    const now = this.#host.now()
    for (const { asset, outcome } of landed) {
      const { asset_id } = asset
      const known = this.names.asset(asset_id)
      // It has left the plan meanwhile.
      if (known === undefined) continue
      if (outcome.ok) {
        this.counts.refreshed++
        const quote = quoteOf(known, outcome.quote, this.#providerText(outcome.provider), askedAt, now)
        const anchor = { price: quote.price, change24h: quote.change24h }
        if (outcome.provider === 'coinbase' && this.#feeds.isLive(known)) this.book.offerBeside(quote, anchor)
        else this.book.offer(quote, anchor)
        this.book.tried(asset_id, { at, trouble: null, retryAt: null })
      } else {
        this.counts.failed++
        this.book.tried(asset_id, { at, trouble: outcome.reason, retryAt: outcome.retryAt })
      }
    }
    this.#commit()
  }

  #providerText(provider: string): string {
    return this.#host.config.EXCHANGE === 'simulated' ? 'simulated' : provider
  }

  #hear(prices: readonly { asset: Asset; price: FeedPrice }[]): void {
    for (const { asset, price } of prices) {
      const { quote = null, anchor = null } = this.book.entry(asset.asset_id) ?? {}
      this.book.offer(streamedQuote(asset, price, this.#providerText('coinbase'), quote, anchor))
    }
    // That a price is still the same is news for the next batch.
    if (this.book.hasNews) this.#commit()
  }

  #follow(plan: QuotePlan): void {
    const { watchedSince, isFollowed, store } = this.#host
    const ids = new Set(plan.assets.map(({ asset_id }) => asset_id))
    const isWatched = (id: number) => watchedSince(id) !== null || isFollowed(id)
    this.names.forgetGuests(isWatched)
    for (const id of this.names.planned.keys()) if (!ids.has(id)) this.book.drop(id)
    for (const id of [...this.book.ids()])
      if (!ids.has(id) && this.names.asset(id) === undefined && !isWatched(id)) this.book.drop(id)
    this.#commit()
    this.names.plan(plan.assets)
    this.#plan = plan
    for (const { asset_id, symbol } of plan.assets) this.book.rename(asset_id, symbol)
    store.savePlan(plan)
    this.#commit()
  }

  /** Assets that have no price yet: from Postgres, if it has one, else they are due. */
  async #prime(): Promise<void> {
    await this.#load.first([...this.names.planned.keys()].filter((id) => this.book.quote(id) === null))
    await this.#askDue(this.#host.now())
  }

  #beatOf(now: number): number {
    const { QUOTE_BEAT_MS } = this.#host.config
    return Math.floor(now / QUOTE_BEAT_MS) * QUOTE_BEAT_MS
  }

  /** Asks for what is due at `at`, and is not being asked for. */
  async #askDue(at: number): Promise<void> {
    const { names, book } = this
    const guests = [...this.#host.watched()].filter((id) => !names.planned.has(id))
    const assets = [...names.planned.keys(), ...guests].flatMap((id) => names.asset(id) ?? [])
    // Those that Postgres is asked for have their turn when it has answered.
    const candidates = assets
      .filter(({ asset_id, provider }) => provider !== 'manual' && !this.#load.isLoading(asset_id))
      .map((asset) => this.pace.candidate(asset.asset_id, book.entry(asset.asset_id), this.#feeds.isLive(asset)))
    const due = dueAssets(candidates, at, book.opened, this.#rules)
    this.lagMs = due.reduce((most, { lag }) => Math.max(most, lag), 0)
    const free = due.filter(({ asset_id }) => !this.#refresh.isAsking(asset_id))
    await this.#refresh.ask(
      free.flatMap(({ asset_id }) => names.asset(asset_id) ?? []),
      at,
    )
  }

  /** Stores what has changed, then has it announced. */
  #commit(): void {
    const { store, announce } = this.#host
    const made = this.book.commit(this.#host.now())
    if (made === null) return
    store.save(made.batch, () => this.book.whole())
    if (this.#head.floor !== this.book.floor) store.saveHead(Object.assign(this.#head, { floor: this.book.floor }))
    announce(made.changed, made.batch.dropped, made.batch.n - 1)
  }

  /** Tells what has become stale. */
  settle(): void {
    this.book.expire(this.#host.now())
    this.#commit()
  }

  /** When `tick` is to be called, unix milliseconds. */
  get due(): number {
    const due = Math.min(this.lookup.due, this.#feeds.dueOf(this.#streamed()))
    return this.#plan === null ? due : Math.min(due, this.#beatAt)
  }

  /** Does what is due; gives whether a beat has begun. */
  tick(): boolean {
    const now = this.#host.now()
    this.lookup.tick()
    const followed = this.#streamed()
    if (this.#feeds.dueOf(followed) <= now) this.#feeds.want(followed)
    if (this.#plan === null || now < this.#beatAt) return false
    const at = this.#beatOf(now)
    this.#beatAt = at + this.#host.config.QUOTE_BEAT_MS
    this.counts.beats++
    this.#host.store.saveCounts(this.counts)
    this.flush.beat()
    this.#host.track(this.#askDue(at).then(() => this.flush.run()))
    return true
  }

  /** Assets with a feed that sockets follow. */
  #streamed(): Asset[] {
    const ids = this.#host.wantsAll() ? this.names.planned.keys() : this.#host.watched()
    return [...ids].flatMap((id) => this.names.asset(id) ?? []).filter((asset) => this.#feeds.has(asset))
  }
}

function isSamePlan(a: QuotePlan, b: QuotePlan | null): boolean {
  const text = ({ settings, assets }: QuotePlan) => JSON.stringify([settings, assets])
  return b !== null && text(a) === text(b)
}
