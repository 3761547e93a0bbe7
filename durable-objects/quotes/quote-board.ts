import { DurableObject } from 'cloudflare:workers'
import { readSettings, type Settings } from '../../src/config.ts'
import {
  type FeedSlotsObject,
  feedSlots,
  type LookupResult,
  type ProductObject,
  type ProviderGateObject,
  parseShardName,
  productCandles,
  providerGate,
  type QuoteBoardObject,
  type QuoteBoardStatus,
  type RefreshReport,
  userPortfolio,
} from '../../src/objects.ts'
import type { QuoteEntry } from '../../src/pricing/quote-cache.ts'
import type { QuotePlan } from '../../src/pricing/refresh-settings.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { formatQuote } from '../../src/protocol/quote.ts'
import { QuoteHub } from './channels.ts'
import { type QuoteDatabase, quoteDatabase } from './database.ts'
import { QuoteEngine } from './engine.ts'
import { toPortfolioPrice } from './portfolio-price.ts'
import { PortfolioSubscribers } from './portfolio-subscribers.ts'
import { QuoteStore } from './store.ts'
import { getChannelSymbols } from './subscription.ts'

/**
 * The hot layer of quotes: what the plan names is refreshed by the beat, kept in SQLite, told to sockets and users' objects,
 * and written to Postgres. All it does is bring desk, audience and followers together. It has one clock, `now`, and one timer, `wakeAt`.
 */
export class QuoteBoard extends DurableObject<Env> implements QuoteBoardObject {
  readonly #settings: Settings
  readonly #engine: QuoteEngine
  readonly #hub: QuoteHub
  readonly #subscribers: PortfolioSubscribers
  /** Work that goes on between events. */
  protected readonly work = new Set<Promise<unknown>>()
  #wakeAt = Number.POSITIVE_INFINITY
  /** When a quote that was told as fresh will not be fresh any more; null: to be found out. */
  #staleAt: number | null = null
  /** Texts of quotes as they stand, each written once (D1). */
  readonly #quoteTexts = new WeakMap<QuoteEntry, string>()
  readonly #portfolioPrices = new WeakMap<QuoteEntry, PortfolioPrice>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = readSettings(env)
    this.#settings = config
    const now = () => this.now()
    const desk = new QuoteEngine({
      config,
      shard: parseShardName(ctx.id.name ?? ''),
      store: new QuoteStore(ctx.storage),
      now,
      gate: () => this.gate(),
      database: () => this.database(),
      slots: () => this.slots(),
      product: (id) => this.product(id),
      watched: () => new Set([...this.#hub.watched(), ...this.#subscribers.watched()]),
      watchedSince: (id) => this.watchedSince(id),
      isWatchingAll: () => this.#hub.isWatchingAll,
      isSubscribed: (id) => this.#subscribers.isSubscribed(id),
      announce: (ids, dropped, before) => {
        this.#staleAt = null
        this.#hub.broadcast(ids, dropped, before)
        this.#subscribers.broadcast([...ids, ...dropped])
        // Readers that were not ready have a turn to come.
        this.#arm()
      },
      arm: () => this.#arm(),
      track: (work) => this.#track(work),
      log: (event, fields) => this.#log(event, fields),
    })
    this.#engine = desk
    this.#hub = new QuoteHub(ctx, {
      epoch: desk.epoch,
      limits: {
        maxUnackedFrames: config.MAX_UNACKED_FRAMES,
        sendIntervalMs: config.UNACKED_SEND_INTERVAL_MS,
        idleTimeoutMs: config.CONNECTION_IDLE_TIMEOUT_MS,
        ackTimeoutMs: config.ACK_TIMEOUT_MS,
      },
      maxChannels: config.MAX_CHANNELS,
      now,
      offset: () => desk.cache.lastBatch,
      floor: () => desk.cache.minResumableBatch,
      symbolOf: (id) => desk.symbols.asset(id)?.symbol ?? desk.cache.quote(id)?.symbol ?? String(id),
      assetIds: () => desk.cache.ids(),
      publishedQuote: (id) => this.#publishedQuote(id),
      loadSymbols: (channels) => {
        const unknown = getChannelSymbols(channels).filter((symbol) => desk.symbols.resolveCached(symbol) === null)
        return unknown.length === 0 ? null : desk.symbols.resolve(unknown)
      },
      resolve: (symbol) => desk.symbols.resolveLocally(symbol),
      publishStale: () => this.#publishStale(),
    })
    this.#subscribers = new PortfolioSubscribers(ctx.storage, {
      now,
      offset: () => desk.cache.lastBatch,
      price: (id) => this.#publishedPrice(id),
      sendPrices: (user, prices, gone) => this.sendPrices(user, prices, gone),
      track: (work) => this.#track(work),
      log: (event, fields) => this.#log(event, fields),
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

  protected slots(): Pick<FeedSlotsObject, 'open'> {
    return feedSlots(this.env)
  }

  protected product(id: string): Pick<ProductObject, 'status'> {
    return productCandles(this.env, id)
  }

  /** Tells a user's object of prices, and of assets that have none any more; false: it wants no more. */
  protected sendPrices(user: string, prices: PortfolioPrice[], gone: number[]): Promise<boolean> {
    return userPortfolio(this.env, user).prices(prices, gone)
  }

  /** Since when a socket, or a page of a user, has an asset open by name, unix milliseconds; null: none has. */
  protected watchedSince(id: number): number | null {
    const moments = [this.#hub.watchedSince(id), this.#subscribers.watchedSince(id)].filter((at) => at !== null)
    return moments.length === 0 ? null : Math.min(...moments)
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const client = request.headers.get('kerb-client') ?? ''
    if (client !== '' && this.#hub.countSockets(client) >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#hub.accept(theirs, client, new URL(request.url).searchParams.get('passive') === 'true')
    this.#arm()
    return new Response(null, { status: 101, webSocket: ours })
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    await this.#hub.onMessage(socket, data)
    this.#arm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#hub.remove(socket)
    this.#arm()
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override alarm(): void {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async lookup(names: string[]): Promise<LookupResult[]> {
    return this.#engine.lookup.lookup(names)
  }

  async discover(name: string): Promise<LookupResult> {
    return this.#engine.discover(name)
  }

  async setPlan(plan: QuotePlan): Promise<void> {
    this.#engine.setPlan(plan)
    // Cron is the guard of the alarm: if that was lost, this sets another.
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async subscribe(user: string, assetIds: number[], watched: number[]): Promise<PortfolioPrice[]> {
    await this.#engine.loadMissing(assetIds)
    this.#subscribers.subscribe(user, assetIds, watched)
    // What has become stale is a change too, and is told in this answer.
    this.#publishStale()
    this.#arm()
    return assetIds.flatMap((id) => this.#publishedPrice(id)?.price ?? [])
  }

  async refresh(names: string[] | null): Promise<RefreshReport> {
    return this.#engine.refresh(names)
  }

  async status(): Promise<QuoteBoardStatus> {
    const { cache: book, symbols: names, counts, lagMs, writeBehind: flush } = this.#engine
    return {
      assets: names.planned.size,
      quotes: [...book.ids()].filter((id) => book.quote(id) !== null).length,
      watchers: this.#hub.viewers,
      position: this.#hub.position,
      ...counts,
      looks: { ...counts.looks },
      lagMs,
      unflushed: flush.pending.length,
      flushFailures: flush.failures,
      conflations: this.#hub.conflations,
      closedReaders: { ...this.#hub.closedConnections },
    }
  }

  #publishedQuote(id: number): { text: string; changed: number } | null {
    const entry = this.#engine.cache.entry(id)
    if (!entry?.quote || !entry.told) return null
    let text = this.#quoteTexts.get(entry)
    if (text === undefined) {
      text = formatQuote(entry.quote, 'cache', entry.told.stale)
      this.#quoteTexts.set(entry, text)
    }
    return { text, changed: entry.changed }
  }

  #publishedPrice(id: number): { price: PortfolioPrice; changed: number } | null {
    const entry = this.#engine.cache.entry(id)
    if (!entry?.quote || !entry.told) return null
    let price = this.#portfolioPrices.get(entry)
    if (price === undefined) {
      price = toPortfolioPrice(entry.quote, entry.told.stale)
      this.#portfolioPrices.set(entry, price)
    }
    return { price, changed: entry.changed }
  }

  /** Does what is due. */
  #tick(): void {
    // With each beat the time to live of what sockets have begun or ceased to follow is looked at anew.
    if (this.#engine.tick()) this.#staleAt = null
    this.#publishStale()
    this.#hub.tick()
    this.#subscribers.tick()
    this.#arm()
  }

  /** Tells what has become stale, if anything has. */
  #publishStale(): void {
    if (this.now() < this.#nextStaleAt()) return
    this.#engine.publishStale()
    this.#staleAt = null
  }

  #nextStaleAt(): number {
    if (this.#hub.isEmpty && this.#subscribers.isEmpty) return Number.POSITIVE_INFINITY
    this.#staleAt ??= this.#engine.cache.nextStaleAt()
    return this.#staleAt
  }

  /** Sets the alarm to the least of everything due. */
  #arm(): void {
    const due = Math.min(this.#hub.dueAt, this.#subscribers.dueAt, this.#nextStaleAt(), this.#engine.dueAt)
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
