import { DurableObject } from 'cloudflare:workers'
import { type Settings, settings } from '../../src/config.ts'
import {
  type BoardStatus,
  type FeedSlotsObject,
  feedSlots,
  type Look,
  type ProductObject,
  type ProviderGateObject,
  productCandles,
  providerGate,
  type QuoteBoardObject,
  type RefreshReport,
  shardOfName,
  userPortfolio,
} from '../../src/objects.ts'
import type { Entry } from '../../src/pricing/quote-cache.ts'
import type { QuotePlan } from '../../src/pricing/refresh-settings.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { quoteText } from '../../src/protocol/quote.ts'
import { QuoteAudience } from './channels.ts'
import { type QuoteDatabase, quoteDatabase } from './database.ts'
import { QuoteDesk } from './engine.ts'
import { portfolioPrice } from './portfolio-price.ts'
import { QuoteFollowers } from './portfolio-subscribers.ts'
import { QuoteStore } from './store.ts'
import { symbolsOf } from './subscription.ts'

/**
 * The hot layer of quotes: what the plan names is refreshed by the beat, kept in SQLite, told to sockets and users' objects,
 * and written to Postgres. All it does is bring desk, audience and followers together. It has one clock, `now`, and one timer, `wakeAt`.
 */
export class QuoteBoard extends DurableObject<Env> implements QuoteBoardObject {
  readonly #settings: Settings
  readonly #desk: QuoteDesk
  readonly #audience: QuoteAudience
  readonly #followers: QuoteFollowers
  /** Work that goes on between events. */
  protected readonly work = new Set<Promise<unknown>>()
  #wakeAt = Number.POSITIVE_INFINITY
  /** When a quote that was told as fresh will not be fresh any more; null: to be found out. */
  #staleAt: number | null = null
  /** Texts of quotes as they stand, each written once (D1). */
  readonly #texts = new WeakMap<Entry, string>()
  readonly #prices = new WeakMap<Entry, PortfolioPrice>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = settings(env)
    this.#settings = config
    const now = () => this.now()
    const desk = new QuoteDesk({
      config,
      shard: shardOfName(ctx.id.name ?? ''),
      store: new QuoteStore(ctx.storage),
      now,
      gate: () => this.gate(),
      database: () => this.database(),
      slots: () => this.slots(),
      product: (id) => this.product(id),
      watched: () => new Set([...this.#audience.watched(), ...this.#followers.watched()]),
      watchedSince: (id) => this.watchedSince(id),
      wantsAll: () => this.#audience.wantsAll,
      isFollowed: (id) => this.#followers.isFollowed(id),
      announce: (ids, dropped, before) => {
        this.#staleAt = null
        this.#audience.broadcast(ids, dropped, before)
        this.#followers.broadcast([...ids, ...dropped])
        // Readers that were not ready have a turn to come.
        this.#arm()
      },
      arm: () => this.#arm(),
      track: (work) => this.#track(work),
      log: (event, fields) => this.#log(event, fields),
    })
    this.#desk = desk
    this.#audience = new QuoteAudience(ctx, {
      epoch: desk.epoch,
      limits: {
        window: config.READER_WINDOW,
        beat: config.READER_BEAT_MS,
        silence: config.READER_SILENCE_MS,
        dead: config.READER_DEAD_MS,
      },
      maxChannels: config.MAX_CHANNELS,
      now,
      offset: () => desk.book.n,
      floor: () => desk.book.floor,
      symbolOf: (id) => desk.names.asset(id)?.symbol ?? desk.book.quote(id)?.symbol ?? String(id),
      all: () => desk.book.ids(),
      told: (id) => this.#told(id),
      find: (channels) => {
        const unknown = symbolsOf(channels).filter((symbol) => desk.names.atHand(symbol) === null)
        return unknown.length === 0 ? null : desk.names.find(unknown)
      },
      named: (symbol) => desk.names.now(symbol),
      settle: () => this.#settle(),
    })
    this.#followers = new QuoteFollowers(ctx.storage, {
      now,
      offset: () => desk.book.n,
      price: (id) => this.#price(id),
      tell: (user, prices, gone) => this.tell(user, prices, gone),
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
  protected tell(user: string, prices: PortfolioPrice[], gone: number[]): Promise<boolean> {
    return userPortfolio(this.env, user).prices(prices, gone)
  }

  /** Since when a socket, or a page of a user, has an asset open by name, unix milliseconds; null: none has. */
  protected watchedSince(id: number): number | null {
    const moments = [this.#audience.watchedSince(id), this.#followers.watchedSince(id)].filter((at) => at !== null)
    return moments.length === 0 ? null : Math.min(...moments)
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const client = request.headers.get('kerb-client') ?? ''
    if (client !== '' && this.#audience.socketsOf(client) >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#audience.accept(theirs, client, new URL(request.url).searchParams.get('passive') === 'true')
    this.#arm()
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
    return this.#desk.lookup.look(names)
  }

  async discover(name: string): Promise<Look> {
    return this.#desk.discover(name)
  }

  async plan(plan: QuotePlan): Promise<void> {
    this.#desk.plan(plan)
    // Cron is the guard of the alarm: if that was lost, this sets another.
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async follow(user: string, assetIds: number[], watched: number[]): Promise<PortfolioPrice[]> {
    await this.#desk.know(assetIds)
    this.#followers.follow(user, assetIds, watched)
    // What has become stale is a change too, and is told in this answer.
    this.#settle()
    this.#arm()
    return assetIds.flatMap((id) => this.#price(id)?.price ?? [])
  }

  async refresh(names: string[] | null): Promise<RefreshReport> {
    return this.#desk.refresh(names)
  }

  async status(): Promise<BoardStatus> {
    const { book, names, counts, lagMs, flush } = this.#desk
    return {
      assets: names.planned.size,
      quotes: [...book.ids()].filter((id) => book.quote(id) !== null).length,
      watchers: this.#audience.viewers,
      position: this.#audience.position,
      ...counts,
      looks: { ...counts.looks },
      lagMs,
      unflushed: flush.waiting.length,
      flushFailures: flush.failures,
      conflations: this.#audience.conflations,
      closedReaders: { ...this.#audience.closedReaders },
    }
  }

  #told(id: number): { text: string; changed: number } | null {
    const entry = this.#desk.book.entry(id)
    if (!entry?.quote || !entry.told) return null
    let text = this.#texts.get(entry)
    if (text === undefined) {
      text = quoteText(entry.quote, 'cache', entry.told.stale)
      this.#texts.set(entry, text)
    }
    return { text, changed: entry.changed }
  }

  #price(id: number): { price: PortfolioPrice; changed: number } | null {
    const entry = this.#desk.book.entry(id)
    if (!entry?.quote || !entry.told) return null
    let price = this.#prices.get(entry)
    if (price === undefined) {
      price = portfolioPrice(entry.quote, entry.told.stale)
      this.#prices.set(entry, price)
    }
    return { price, changed: entry.changed }
  }

  /** Does what is due. */
  #tick(): void {
    // With each beat the time to live of what sockets have begun or ceased to follow is looked at anew.
    if (this.#desk.tick()) this.#staleAt = null
    this.#settle()
    this.#audience.tick()
    this.#followers.tick()
    this.#arm()
  }

  /** Tells what has become stale, if anything has. */
  #settle(): void {
    if (this.now() < this.#nextStale()) return
    this.#desk.settle()
    this.#staleAt = null
  }

  #nextStale(): number {
    if (this.#audience.isEmpty && this.#followers.isEmpty) return Number.POSITIVE_INFINITY
    this.#staleAt ??= this.#desk.book.staleAt()
    return this.#staleAt
  }

  /** Sets the alarm to the least of everything due. */
  #arm(): void {
    const due = Math.min(this.#audience.due, this.#followers.due, this.#nextStale(), this.#desk.due)
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
