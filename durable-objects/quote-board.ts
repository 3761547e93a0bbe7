import { DurableObject } from 'cloudflare:workers'
import { type Settings, settings } from '../src/config.ts'
import type { QuotePlan, RefreshSettings } from '../src/pricing/asset-plan.ts'
import { type Candidate, dueAssets, FIRST_SETTINGS } from '../src/pricing/due.ts'
import { effectiveInterval, freshUntil } from '../src/pricing/freshness.ts'
import { type FeedPrice, type HeldQuote, quoteOf, streamedQuote } from '../src/pricing/quote.ts'
import { type Entry, QuoteBook } from '../src/pricing/quote-book.ts'
import { availableSources, sourcesOf } from '../src/pricing/sources.ts'
import type { Asset } from '../src/protocol/asset.ts'
import { type QuoteSource, quoteText } from '../src/protocol/quote.ts'
import { QuoteAudience } from './quote-audience.ts'
import { type QuoteDatabase, quoteDatabase } from './quote-database.ts'
import { QuoteDiscovery } from './quote-discovery.ts'
import { QuoteFeeds } from './quote-feeds.ts'
import { type Named, QuoteNames } from './quote-names.ts'
import { type Landed, QuoteRefresh } from './quote-refresh.ts'
import { type Head, QuoteStore } from './quote-store.ts'
import { symbolsOf } from './quote-subscription.ts'
import {
  type BoardStatus,
  feedSlots,
  type Look,
  type ProviderGateObject,
  productCandles,
  providerGate,
  type QuoteBoardObject,
  type RefreshReport,
  shardOfName,
} from './stubs.ts'

/** A database that did not answer is left alone for this long, milliseconds. */
const REST_MS = 2_000

/** A write to Postgres of which nothing was heard for so long is lost, milliseconds. */
const FLUSH_LOST_MS = 60_000

/** Seconds after which to ask again for a price that is being asked for. */
const RETRY_S = 2

/**
 * The hot layer of quotes: what the plan names is refreshed by the beat, kept in SQLite, told to sockets and written to
 * Postgres. All it does is bring these together; what they do is theirs. It has one clock, `now`, and one timer,
 * `wakeAt`.
 */
export class QuoteBoard extends DurableObject<Env> implements QuoteBoardObject {
  readonly #settings: Settings
  readonly #simulated: boolean
  readonly #store: QuoteStore
  readonly #head: Head
  #plan: QuotePlan | null
  readonly #names: QuoteNames
  readonly #book: QuoteBook
  readonly #refresh: QuoteRefresh
  readonly #feeds: QuoteFeeds
  readonly #discovery: QuoteDiscovery
  readonly #audience: QuoteAudience
  /** Work that goes on between events. */
  protected readonly work = new Set<Promise<unknown>>()
  /** The beat that is to come: a multiple of QUOTE_BEAT_MS, so that a restart keeps its time. */
  #beatAt: number
  #wakeAt = Number.POSITIVE_INFINITY
  /** Those who wait for a provider, and until when. */
  readonly #waiters = new Set<{ until: number; resolve: () => void }>()
  /** Assets being read from Postgres, and those that it has no price of. */
  readonly #loading = new Map<number, Promise<void>>()
  readonly #unstored = new Set<number>()
  #restUntil = 0
  #mayFlush = true
  #flushingSince = 0
  /** When a quote that was told as fresh will not be fresh any more. */
  #staleAt = 0
  /** Texts of quotes as they stand, each written once. */
  readonly #texts = new WeakMap<Entry, string>()
  readonly #counts = {
    looks: { cache: 0, database: 0, provider: 0, none: 0 } as Record<QuoteSource | 'none', number>,
    lagMs: 0,
    beats: 0,
    refreshed: 0,
    failed: 0,
    flushFailures: 0,
  }
  readonly #startedAt: number

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = settings(env)
    this.#settings = config
    this.#simulated = config.EXCHANGE === 'simulated'
    this.#startedAt = this.now()
    this.#beatAt = this.#beatOf(this.#startedAt)
    this.#store = new QuoteStore(ctx.storage)
    const batches = this.#store.batches()
    const head = this.#store.head()
    this.#head = head ?? { epoch: crypto.randomUUID().replaceAll('-', '').slice(0, 16), floor: 0, flushed: 0 }
    if (head === null) this.#store.saveHead(this.#head)
    this.#book = new QuoteBook((quote) => this.#freshUntil(quote), batches, this.#head.floor)
    const host = {
      now: () => this.now(),
      gate: () => this.gate(),
      database: () => this.database(),
      track: (work: Promise<unknown>) => this.#track(work),
      log: (event: string, fields: Record<string, unknown>) => this.#log(event, fields),
    }
    const shard = shardOfName(ctx.id.name ?? '')
    this.#names = new QuoteNames({ ...host, shard, shards: config.QUOTE_SHARDS, unknownFor: config.UNKNOWN_MS })
    this.#plan = this.#store.plan()
    if (this.#plan) this.#names.plan(this.#plan.assets)
    const available = availableSources(config)
    this.#refresh = new QuoteRefresh({
      ...host,
      sourcesOf: (asset) => sourcesOf(asset, available),
      land: (landed, at, askedAt) => this.#land(landed, at, askedAt),
    })
    this.#discovery = new QuoteDiscovery({ ...host, perDay: config.NEW_ASSETS_PER_DAY })
    this.#feeds = new QuoteFeeds({
      ...host,
      products: new Set(config.PRODUCTS),
      every: config.STREAMED_MS,
      slots: () => this.slots(),
      product: (id) => this.product(id),
      told: (prices) => this.#hear(prices),
    })
    this.#audience = new QuoteAudience(ctx, {
      ...host,
      epoch: this.#head.epoch,
      limits: {
        window: config.READER_WINDOW,
        beat: config.READER_BEAT_MS,
        silence: config.READER_SILENCE_MS,
        dead: config.READER_DEAD_MS,
      },
      maxChannels: config.MAX_CHANNELS,
      offset: () => this.#book.n,
      floor: () => this.#book.floor,
      symbolOf: (id) => this.#names.asset(id)?.symbol ?? this.#book.quote(id)?.symbol ?? String(id),
      all: () => this.#book.ids(),
      told: (id) => this.#told(id),
      find: (channels) => {
        const unknown = symbolsOf(channels).filter((symbol) => this.#names.atHand(symbol) === null)
        return unknown.length === 0 ? null : this.#names.find(unknown)
      },
      named: (symbol) => this.#names.now(symbol),
      settle: () => this.#settle(),
    })
    this.#arm()
  }

  /** Unix milliseconds. */
  protected now(): number {
    return Date.now()
  }

  /** Has `alarm` called at `at`, unix milliseconds, instead of when it was to be called before. */
  protected wakeAt(at: number): void {
    // One that is set for the very time of the alarm that is running is never called.
    void this.ctx.storage.setAlarm(Math.max(at, Date.now() + 1))
  }

  protected gate(): Pick<ProviderGateObject, 'quotes' | 'find'> {
    return providerGate(this.env)
  }

  protected database(): QuoteDatabase {
    return quoteDatabase(this.env)
  }

  protected slots(): Pick<ReturnType<typeof feedSlots>, 'open'> {
    return feedSlots(this.env)
  }

  protected product(id: string): Pick<ReturnType<typeof productCandles>, 'status'> {
    return productCandles(this.env, id)
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const client = request.headers.get('kerb-client') ?? ''
    if (client !== '' && this.#audience.socketsOf(client) >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#audience.accept(theirs, client, new URL(request.url).searchParams.get('passive') === 'true')
    this.#tick()
    return new Response(null, { status: 101, webSocket: ours })
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    await this.#audience.receive(socket, data)
    this.#arm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#audience.leave(socket)
    this.#arm()
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override alarm(): void {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async look(names: string[]): Promise<Look[]> {
    const from = new Map<number, QuoteSource>()
    if (names.some((name) => !this.#isAtHand(name))) await this.#inTime(this.#fetch(names, from))
    const looks = names.map((name) => this.#tell(name, from))
    for (const look of looks) this.#counts.looks[look.kind === 'quote' ? look.source : 'none']++
    this.#renew(names)
    return looks
  }

  async discover(name: string): Promise<Look> {
    const [look] = (await this.look([name])) as [Look]
    if (look.kind !== 'unknown' || look.asked) return look
    const found = await this.#discovery.discover(name)
    if (found.kind === 'unknown') {
      this.#names.noteUnknown(name)
      return { name, kind: 'unknown', asked: true }
    }
    if (found.kind === 'failed') {
      const retryAfter = this.#secondsTo(found.retryAt)
      return { name, kind: 'unpriced', symbol: name, reason: found.reason, retryAfter }
    }
    this.#names.forget(name)
    this.#names.host(found.asset)
    return ((await this.look([name])) as [Look])[0]
  }

  async plan(plan: QuotePlan): Promise<void> {
    if (this.#plan !== null && plan.at < this.#plan.at) return
    if (isSamePlan(plan, this.#plan)) this.#plan = plan
    else {
      this.#follow(plan)
      this.#track(this.#prime())
    }
    this.#tick()
  }

  async refresh(names: string[] | null): Promise<RefreshReport> {
    const report = { refreshed: 0, failed: 0, waiting: 0 }
    let assets: Asset[] = [...this.#names.planned.values()]
    if (names !== null) {
      const found = [...(await this.#names.find(names)).values()]
      assets = found.flatMap((named) => (named.kind === 'asset' ? [named.asset] : []))
      report.failed = found.length - assets.length
    }
    await this.#refresh.ask(assets, this.now())
    for (const { asset_id } of assets) {
      const trouble = this.#book.entry(asset_id)?.trouble
      if (trouble === null) report.refreshed++
      else if (trouble === 'rate_limited') report.waiting++
      else report.failed++
    }
    this.#flush()
    this.#arm()
    return report
  }

  async status(): Promise<BoardStatus> {
    let quotes = 0
    for (const [, { quote }] of this.#book.entries()) if (quote) quotes++
    return {
      since: this.#startedAt,
      assets: this.#names.planned.size,
      quotes,
      watchers: this.#audience.viewers,
      position: this.#audience.position,
      ...this.#counts,
      looks: { ...this.#counts.looks },
      unflushed: this.#book.broughtAfter(this.#head.flushed).length,
    }
  }

  // --- what is told

  #intervalOf(id: number): number {
    return this.#names.planned.get(id)?.interval ?? this.#rules.refresh_max_seconds
  }

  get #rules(): RefreshSettings {
    return this.#plan?.settings ?? FIRST_SETTINGS
  }

  /** How often an asset is refreshed: one that a socket follows as often as any is (Q2). Seconds. */
  #paceOf(id: number): number {
    const rules = this.#rules
    return effectiveInterval([this.#intervalOf(id), rules.refresh_min_seconds], rules)
  }

  /** Who has just subscribed is not the reason that a price is stale: it has the time of one refresh. */
  #freshUntil(quote: HeldQuote): number {
    const { QUOTE_BEAT_MS } = this.#settings
    const planned = freshUntil(quote, this.#intervalOf(quote.asset_id), this.#rules, QUOTE_BEAT_MS)
    const since = this.#audience?.watchedSince(quote.asset_id) ?? null
    if (since === null) return planned
    const pace = this.#paceOf(quote.asset_id)
    const watched = freshUntil(quote, pace, this.#rules, QUOTE_BEAT_MS)
    const grace = since + pace * 1_000 + 2 * QUOTE_BEAT_MS
    return Math.max(watched, Math.min(planned, grace))
  }

  #told(id: number): { text: string; changed: number } | null {
    const entry = this.#book.entry(id)
    if (!entry?.quote || !entry.told) return null
    let text = this.#texts.get(entry)
    if (text === undefined) {
      text = quoteText(entry.quote, 'cache', entry.told.stale)
      this.#texts.set(entry, text)
    }
    return { text, changed: entry.changed }
  }

  #secondsTo(at: number | null): number {
    return at === null ? RETRY_S : Math.max(1, Math.ceil((at - this.now()) / 1_000))
  }

  #isAtHand(name: string): boolean {
    const named = this.#names.atHand(name)
    return named !== null && (named.kind !== 'asset' || this.#book.quote(named.asset.asset_id) !== null)
  }

  #tell(name: string, from: ReadonlyMap<number, QuoteSource>): Look {
    const named: Named = this.#names.now(name)
    if (named.kind === 'unread')
      return { name, kind: 'unpriced', symbol: name, reason: 'unavailable', retryAfter: RETRY_S }
    if (named.kind !== 'asset') return { name, ...named }
    const { asset_id, symbol } = named.asset
    const entry = this.#book.entry(asset_id)
    if (entry?.quote) {
      const { market: _, ...quote } = entry.quote
      const source = from.get(asset_id) ?? 'cache'
      return { name, kind: 'quote', quote, source, freshUntil: this.#freshUntil(entry.quote), trouble: entry.trouble }
    }
    const reason = named.asset.provider === 'manual' ? 'unknown' : (entry?.trouble ?? 'expired')
    return { name, kind: 'unpriced', symbol, reason, retryAfter: this.#secondsTo(entry?.retryAt ?? null) }
  }

  // --- where prices come from

  /** Brings prices of what these names mean, from Postgres or else a provider, and notes which it was. */
  async #fetch(names: readonly string[], from: Map<number, QuoteSource>): Promise<void> {
    const missing = (assets: readonly Asset[]) => assets.filter(({ asset_id }) => this.#book.quote(asset_id) === null)
    const named = [...(await this.#names.find(names)).values()]
    const asked = missing(named.flatMap((one) => (one.kind === 'asset' ? [one.asset] : [])))
    if (asked.length === 0) return
    const note = (assets: readonly Asset[], source: QuoteSource) => {
      for (const { asset_id } of assets) if (this.#book.quote(asset_id)) from.set(asset_id, source)
    }
    await this.#load(asked.map(({ asset_id }) => asset_id).filter((id) => !this.#unstored.has(id)))
    note(asked, 'database')
    const mayAsk = (id: number) => this.#refresh.isAsking(id) || this.#mayAsk(id)
    const left = missing(asked).filter((asset) => asset.provider !== 'manual' && mayAsk(asset.asset_id))
    await this.#refresh.ask(left, this.now())
    note(left, 'provider')
  }

  /** Over when `work` is, or after LOOK_WAIT_MS; then it goes on by itself. */
  #inTime(work: Promise<unknown>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiter = { until: this.now() + this.#settings.LOOK_WAIT_MS, resolve }
    this.#waiters.add(waiter)
    const over = () => {
      this.#waiters.delete(waiter)
      resolve()
    }
    this.#track(work.finally(over))
    this.#arm()
    return promise
  }

  /** Reads what Postgres has of these. One that it has no price of is not asked for again. */
  async #load(ids: readonly number[]): Promise<void> {
    const waits = new Set<Promise<void>>()
    const missing: number[] = []
    for (const id of ids) {
      const other = this.#loading.get(id)
      if (other) waits.add(other)
      else missing.push(id)
    }
    if (missing.length > 0 && this.now() >= this.#restUntil) {
      const loading = this.#read(missing).finally(() => {
        for (const id of missing) this.#loading.delete(id)
      })
      for (const id of missing) this.#loading.set(id, loading)
      waits.add(loading)
    }
    await Promise.all(waits)
  }

  async #read(ids: number[]): Promise<void> {
    try {
      const quotes = await this.database().readPrices(ids)
      for (const id of ids) this.#unstored.add(id)
      for (const quote of quotes) {
        // Prices that are made up are never told with those of a market.
        if ((quote.provider === 'simulated') !== this.#simulated) continue
        const { price, change24h } = quote
        if (!this.#book.offer(quote, { price, change24h }, true)) continue
        // Of what nobody is asked for, this was the try.
        const isManual = this.#names.asset(quote.asset_id)?.provider === 'manual'
        const at = isManual ? this.now() : Date.parse(quote.updated_at)
        this.#book.tried(quote.asset_id, { at, trouble: null, retryAt: null })
      }
      this.#commit()
    } catch (error) {
      this.#restUntil = this.now() + REST_MS
      this.#log('prices_unread', { assets: ids.length, error: String(error) })
    }
  }

  /** Whether a provider may be asked now for an asset that a look wants. */
  #mayAsk(id: number): boolean {
    const { triedAt = null, trouble = null, retryAt = null } = this.#book.entry(id) ?? {}
    if (triedAt === null) return true
    const least = trouble === null ? this.#rules.refresh_min_seconds : this.#intervalOf(id)
    return this.now() >= (trouble === null || retryAt === null ? triedAt + least * 1_000 : retryAt)
  }

  /** Has what these names mean renewed, where it is stale or has a feed; nobody waits for it. */
  #renew(names: readonly string[]): void {
    const now = this.now()
    const stale: Asset[] = []
    const streamed: Asset[] = []
    for (const name of names) {
      const named = this.#names.now(name)
      if (named.kind !== 'asset') continue
      const { asset } = named
      const quote = this.#book.quote(asset.asset_id)
      if (this.#feeds.has(asset)) streamed.push(asset)
      if (quote && this.#freshUntil(quote) < now && this.#mayAsk(asset.asset_id)) stale.push(asset)
    }
    this.#feeds.want(streamed)
    const manual = stale.filter(({ provider }) => provider === 'manual')
    if (manual.length > 0) this.#track(this.#load(manual.map(({ asset_id }) => asset_id)))
    const asked = stale.filter(({ provider }) => provider !== 'manual')
    if (asked.length > 0) this.#track(this.#refresh.ask(asked, now))
  }

  #land(landed: readonly Landed[], at: number, askedAt: number): void {
    const now = this.now()
    for (const { asset, outcome } of landed) {
      const { asset_id } = asset
      const known = this.#names.asset(asset_id)
      if (known === undefined) continue
      if (outcome.ok) {
        this.#counts.refreshed++
        const provider = this.#simulated ? 'simulated' : outcome.provider
        const quote = quoteOf(known, outcome.quote, provider, askedAt, now)
        const anchor = { price: quote.price, change24h: quote.change24h }
        if (outcome.provider === 'coinbase' && this.#feeds.isLive(known)) this.#book.offerBeside(quote, anchor)
        else this.#book.offer(quote, anchor)
        this.#book.tried(asset_id, { at, trouble: null, retryAt: null })
      } else {
        this.#counts.failed++
        this.#book.tried(asset_id, { at, trouble: outcome.reason, retryAt: outcome.retryAt })
      }
    }
    this.#commit()
  }

  #hear(prices: readonly { asset: Asset; price: FeedPrice }[]): void {
    const provider = this.#simulated ? 'simulated' : 'coinbase'
    for (const { asset, price } of prices) {
      const { quote = null, anchor = null } = this.#book.entry(asset.asset_id) ?? {}
      this.#book.offer(streamedQuote(asset, price, provider, quote, anchor))
    }
    // That a price is the same still is news for the next beat.
    if (this.#book.hasNews) this.#commit()
  }

  // --- the plan and the beat

  /** Takes a plan in that is not the one in force. */
  #follow(plan: QuotePlan): void {
    const ids = new Set(plan.assets.map(({ asset_id }) => asset_id))
    const isWatched = (id: number) => this.#audience.watchedSince(id) !== null
    this.#names.forgetGuests(isWatched)
    for (const id of this.#names.planned.keys()) if (!ids.has(id)) this.#book.drop(id)
    for (const [id] of [...this.#book.entries()])
      if (!ids.has(id) && this.#names.asset(id) === undefined && !isWatched(id)) this.#book.drop(id)
    this.#commit()
    this.#names.plan(plan.assets)
    this.#plan = plan
    for (const { asset_id, symbol } of plan.assets) this.#book.rename(asset_id, symbol)
    this.#store.savePlan(plan)
    this.#commit()
  }

  /** Assets that have no price yet: from Postgres, if it has one, else they are due. */
  async #prime(): Promise<void> {
    const missing = [...this.#names.planned.keys()].filter((id) => this.#book.quote(id) === null)
    await this.#load(missing.filter((id) => !this.#unstored.has(id)))
    await this.#askDue(this.now())
  }

  #beatOf(now: number): number {
    const { QUOTE_BEAT_MS } = this.#settings
    return Math.floor(now / QUOTE_BEAT_MS) * QUOTE_BEAT_MS
  }

  #beat(at: number): void {
    this.#counts.beats++
    if (this.#mayFlush) this.#flush()
    this.#mayFlush = true
    this.#staleAt = 0
    this.#track(this.#askDue(at).then(() => this.#flush()))
  }

  /** Asks for what is due at `at`, and is not being asked for. */
  async #askDue(at: number): Promise<void> {
    const planned = this.#names.planned
    const followed = [...this.#audience.watched()].filter((id) => !planned.has(id))
    const assets = [...planned.keys(), ...followed].flatMap((id) => this.#names.asset(id) ?? [])
    const candidates = assets.filter(({ provider }) => provider !== 'manual').map((asset) => this.#candidate(asset))
    const due = dueAssets(candidates, at, this.#book.opened, this.#rules)
    this.#counts.lagMs = due.reduce((most, { lag }) => Math.max(most, lag), 0)
    const free = due.filter(({ asset_id }) => !this.#refresh.isAsking(asset_id))
    await this.#refresh.ask(
      free.flatMap(({ asset_id }) => this.#names.asset(asset_id) ?? []),
      at,
    )
  }

  #candidate(asset: Asset): Candidate {
    const { asset_id } = asset
    const entry = this.#book.entry(asset_id)
    // What a feed tells needs REST for the rest alone.
    const isFollowed = this.#audience.watchedSince(asset_id) !== null && !this.#feeds.isLive(asset)
    return {
      asset_id,
      interval: isFollowed ? this.#paceOf(asset_id) : this.#intervalOf(asset_id),
      triedAt: entry?.triedAt ?? null,
      failed: (entry?.trouble ?? null) !== null,
      retryAt: entry?.retryAt ?? null,
      market: entry?.quote?.market ?? null,
      market_state: entry?.quote?.market_state ?? null,
    }
  }

  // --- what is kept, announced and written

  /** Stores what has changed, then tells it. */
  #commit(): void {
    const made = this.#book.commit(this.now())
    if (made === null) return
    const { batch, changed } = made
    this.#store.save(batch, () => this.#book.whole())
    if (this.#head.floor !== this.#book.floor) {
      this.#head.floor = this.#book.floor
      this.#store.saveHead(this.#head)
    }
    this.#staleAt = 0
    this.#audience.broadcast(changed, batch.dropped, batch.n - 1)
  }

  /** Tells what has become stale. */
  #settle(): void {
    this.#book.expire(this.now())
    this.#commit()
  }

  /** Writes to Postgres what it lacks, the last state of each; once a beat at most. */
  #flush(): void {
    const now = this.now()
    if (!this.#mayFlush || now < this.#flushingSince + FLUSH_LOST_MS) return
    const quotes = this.#book.broughtAfter(this.#head.flushed)
    if (quotes.length === 0) return
    this.#mayFlush = false
    this.#flushingSince = now
    this.#track(this.#write(quotes, this.#book.n))
  }

  async #write(quotes: HeldQuote[], upTo: number): Promise<void> {
    try {
      await this.database().writePrices(quotes, this.#rules)
      this.#head.flushed = Math.max(this.#head.flushed, upTo)
      this.#store.saveHead(this.#head)
    } catch (error) {
      this.#counts.flushFailures++
      this.#log('flush_failed', { quotes: quotes.length, error: String(error) })
    } finally {
      this.#flushingSince = 0
    }
  }

  // --- time

  /** Does what is due. */
  #tick(): void {
    const now = this.now()
    for (const { until, resolve } of [...this.#waiters]) if (until <= now) resolve()
    if (this.#plan !== null && now >= this.#beatAt) {
      const at = this.#beatOf(now)
      this.#beatAt = at + this.#settings.QUOTE_BEAT_MS
      this.#beat(at)
    }
    const followed = this.#streamed()
    if (this.#feeds.dueOf(followed) <= now) this.#feeds.want(followed)
    if (now >= this.#nextStale()) this.#settle()
    this.#audience.tick()
    this.#arm()
  }

  /** Assets with a feed that sockets follow. */
  #streamed(): Asset[] {
    const ids = this.#audience.wantsAll ? this.#names.planned.keys() : this.#audience.watched()
    return [...ids].flatMap((id) => this.#names.asset(id) ?? []).filter((asset) => this.#feeds.has(asset))
  }

  #nextStale(): number {
    if (this.#audience.isEmpty) return Number.POSITIVE_INFINITY
    if (this.#staleAt === 0) this.#staleAt = this.#book.staleAt()
    return this.#staleAt
  }

  /** Sets the alarm to the least of everything due. */
  #arm(): void {
    let due = Math.min(this.#audience.due, this.#nextStale(), this.#feeds.dueOf(this.#streamed()))
    if (this.#plan !== null) due = Math.min(due, this.#beatAt)
    for (const { until } of this.#waiters) due = Math.min(due, until)
    if (due >= this.#wakeAt) return
    this.#wakeAt = due
    this.wakeAt(Math.max(due, this.now()))
  }

  #track(work: Promise<unknown>): void {
    const tracked: Promise<unknown> = work
      .catch((error: unknown) =>
        this.#log('work_failed', { detail: error instanceof Error ? error.message : String(error) }),
      )
      .finally(() => {
        this.work.delete(tracked)
        this.#arm()
      })
    this.work.add(tracked)
  }

  #log(event: string, fields: Record<string, unknown>): void {
    console.log(JSON.stringify({ event, board: this.ctx.id.name, ...fields }))
  }
}

function isSamePlan(a: QuotePlan, b: QuotePlan | null): boolean {
  const text = ({ settings, assets }: QuotePlan) => JSON.stringify([settings, assets])
  return b !== null && text(a) === text(b)
}
