import { DurableObject } from 'cloudflare:workers'
import { readSettings, type Settings } from '../../src/config.ts'
import {
  type PortfolioChange,
  type PortfolioStatus,
  parseUserName,
  type QuoteBoardObject,
  quoteBoard,
  type UserPortfolioObject,
} from '../../src/objects.ts'
import type { EnrichedPortfolio, PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { PortfolioHub } from './channels.ts'
import { type PortfolioDatabase, portfolioDatabase } from './database.ts'
import { PortfolioEngine } from './engine.ts'
import { QuoteSubscriptions } from './quote-subscriptions.ts'
import { PortfolioStore } from './store.ts'
import type { AssetMatch } from './subscription.ts'
import { PortfolioTickets } from './tickets.ts'

/** A refresh that did not come for so long never will, milliseconds. */
const REFRESH_TIMEOUT_MS = 60_000

/**
 * One user: sockets, what they are sent, and the portfolio as it was valued last. All it does is bring desk, boards and
 * audience together. It has one clock, `now`, and one timer, `wakeAt`, which is set for readers alone.
 */
export class UserPortfolio extends DurableObject<Env> implements UserPortfolioObject {
  readonly #settings: Settings
  readonly #store: PortfolioStore
  readonly #engine: PortfolioEngine
  readonly #quoteSubscriptions: QuoteSubscriptions
  readonly #hub: PortfolioHub
  readonly #tickets: PortfolioTickets
  /** Assets that somebody is about to subscribe to. */
  readonly #pendingSubscriptions = new Set<ReadonlyMap<number, { symbol: string }>>()
  /** Work that goes on between events. */
  protected readonly work = new Set<Promise<unknown>>()
  /** When `alarm` will be called; null: that was set before this object woke up. */
  #wakeAt: number | null = null
  #activeUntil: number

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = readSettings(env)
    this.#settings = config
    const now = () => this.now()
    const track = (work: Promise<unknown>) => this.#track(work)
    const log = (event: string, fields: Record<string, unknown>) => this.#log(event, fields)
    const store = new PortfolioStore(ctx.storage)
    this.#store = store
    this.#activeUntil = store.loadTimestamp('active_until')
    this.#tickets = new PortfolioTickets(ctx.storage.kv, config.TICKET_TTL_MS)
    const desk = new PortfolioEngine({
      store,
      now,
      database: () => this.database(),
      watched: () => this.#watched(),
      announce: (change) => {
        this.#hub.broadcast(change)
        // Readers that were not ready have a turn to come.
        this.#arm()
      },
    })
    this.#engine = desk
    this.#quoteSubscriptions = new QuoteSubscriptions({
      user: parseUserName(ctx.id.name ?? ''),
      shards: config.QUOTE_SHARDS,
      subscriptions: store.loadSubscriptions(),
      now,
      board: (shard) => this.board(shard),
      save: (following) => store.saveSubscriptions(following),
      wanted: () => new Map([...(desk.state?.pricedAssets() ?? []), ...this.#watched()]),
      watched: () => this.#unheldWatched(),
      applyPrices: (prices) => desk.applyPrices(prices),
      markStale: (ids, stale) => desk.markStale(ids, stale),
      findAssets: (names) => this.database().findAssets(names),
      track,
      log,
    })
    this.#hub = new PortfolioHub(ctx, {
      limits: {
        maxUnackedFrames: config.MAX_UNACKED_FRAMES,
        sendIntervalMs: config.UNACKED_SEND_INTERVAL_MS,
        idleTimeoutMs: config.CONNECTION_IDLE_TIMEOUT_MS,
        ackTimeoutMs: config.ACK_TIMEOUT_MS,
      },
      maxChannels: config.MAX_CHANNELS,
      now,
      frames: () => desk.frames,
      offset: () => desk.state?.offset ?? 0,
      resolve: (symbols) => this.#resolve(symbols),
      subscribeQuotes: (assets) => this.#subscribeQuotes(assets),
      onUnsubscribe: () => this.#track(this.#quoteSubscriptions.sync()),
      readLots: (ids) => desk.readLots(ids),
      lotsAt: () => desk.state?.head.lotsAt ?? 0,
      track,
      log,
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

  /** When `alarm` is to be called, unix milliseconds, as `wakeAt` has it; null: it is not. */
  protected async scheduledAlarm(): Promise<number | null> {
    return this.ctx.storage.getAlarm()
  }

  protected database(): PortfolioDatabase {
    return portfolioDatabase(this.env, parseUserName(this.ctx.id.name ?? ''))
  }

  protected board(shard: number): Pick<QuoteBoardObject, 'subscribe' | 'lookup'> {
    return quoteBoard(this.env, shard)
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const until = Number(request.headers.get('kerb-until'))
    if (!(until > this.now())) return new Response(null, { status: 401 })
    this.#hub.closeExpired()
    if (this.#hub.socketCount >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#hub.open(theirs, until)
    this.#arm()
    return new Response(null, { status: 101, webSocket: ours })
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    this.#hub.closeExpired()
    await this.#hub.onMessage(socket, data)
    this.#arm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#hub.remove(socket)
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override alarm(): void {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#hub.closeExpired()
    this.#hub.tick()
    // Boards that could not be reached, or that may have given us up since.
    this.#track(this.#syncQuotes())
    this.#arm()
  }

  async ticket(until: number): Promise<string> {
    return this.#tickets.issue(until, this.now())
  }

  async redeem(ticket: string): Promise<number | null> {
    return this.#tickets.redeem(ticket, this.now())
  }

  async signedOut(): Promise<void> {
    this.#tickets.clear()
    this.#hub.closeSignedOut()
  }

  async forget(): Promise<void> {
    this.#hub.closeSignedOut()
    this.#tickets.clear()
    this.#activeUntil = 0
    this.#quoteSubscriptions.clear()
    await this.#engine.forget()
  }

  async enriched(): Promise<string | null> {
    const { state: book } = this.#engine
    if (book === null) return null
    this.#extendActive()
    await this.#quoteSubscriptions.sync()
    const enriched: EnrichedPortfolio = {
      portfolio: book.totals,
      positions: book.positions(),
      refreshed_at: new Date(book.lastPriceAt).toISOString(),
      age_seconds: Math.max(0, (this.now() - book.lastPriceAt) / 1_000),
    }
    return JSON.stringify(enriched)
  }

  async requestRefresh(): Promise<boolean> {
    const now = this.now()
    if (now < this.#store.loadTimestamp('refresh_asked') + REFRESH_TIMEOUT_MS) return false
    this.#store.saveTimestamp('refresh_asked', now)
    return true
  }

  async withdrawRefresh(): Promise<void> {
    this.#store.saveTimestamp('refresh_asked', 0)
  }

  async refresh(): Promise<void> {
    this.#hub.closeExpired()
    await this.#engine.refresh()
    if (this.#store.loadTimestamp('refresh_asked') > 0) this.#store.saveTimestamp('refresh_asked', 0)
    await this.#syncQuotes()
  }

  async changed(change: PortfolioChange): Promise<void> {
    this.#hub.closeExpired()
    await this.#engine.applyChange(change)
    // What is held since has a price to come.
    this.#track(this.#syncQuotes())
  }

  async prices(prices: PortfolioPrice[], gone: number[] = []): Promise<boolean> {
    this.#hub.closeExpired()
    if (this.#engine.state === null || !this.#isActive) {
      this.#quoteSubscriptions.clear()
      return false
    }
    this.#quoteSubscriptions.receivePrices(prices)
    this.#engine.markStale(gone, 'unknown')
    return true
  }

  async status(): Promise<PortfolioStatus> {
    const { state: book, frames } = this.#engine
    return {
      sockets: this.#hub.socketCount,
      positions: book?.totals.positions ?? 0,
      version: book?.head.version ?? 0,
      loads: book?.head.loads ?? 0,
      position: frames?.position ?? '',
    }
  }

  get #isActive(): boolean {
    return this.#hub.socketCount > 0 || this.now() < this.#activeUntil
  }

  /** Somebody has read it: it is kept up to date for a while. Noted seldom: a row written costs money. */
  #extendActive(): void {
    const { PORTFOLIO_ACTIVE_MS } = this.#settings
    const now = this.now()
    if (this.#activeUntil > now + PORTFOLIO_ACTIVE_MS / 2) return
    this.#activeUntil = now + PORTFOLIO_ACTIVE_MS
    this.#store.saveTimestamp('active_until', this.#activeUntil)
  }

  /** Assets that pages have open though they are neither held nor a rate of what is. */
  #unheldWatched(): Set<number> {
    const priced = this.#engine.state?.pricedAssets()
    return new Set([...this.#watched().keys()].filter((id) => !priced?.has(id)))
  }

  /** Follows what is held by now, if anybody looks. Never rejects. */
  async #syncQuotes(): Promise<void> {
    if (this.#engine.state !== null && this.#isActive) await this.#quoteSubscriptions.sync()
  }

  async #subscribeQuotes(assets: ReadonlyMap<number, { symbol: string }>): Promise<void> {
    this.#pendingSubscriptions.add(assets)
    try {
      await this.#quoteSubscriptions.sync()
    } finally {
      this.#pendingSubscriptions.delete(assets)
    }
  }

  /** The assets that sockets follow by name, or are about to. */
  #watched(): Map<number, string> {
    const named = [this.#hub.subscribedAssets(), ...this.#pendingSubscriptions].flatMap((assets) => [...assets])
    return new Map(named.filter(([id]) => id > 0).map(([id, { symbol }]) => [id, symbol]))
  }

  async #resolve(symbols: readonly string[]): Promise<ReadonlyMap<string, AssetMatch>> {
    const book = await this.#engine.ensureLoaded()
    const found = new Map<string, AssetMatch>()
    for (const symbol of symbols) {
      const asset_id = book.findHolding(symbol)
      if (asset_id !== null) found.set(symbol, { kind: 'asset', asset_id, symbol })
    }
    const others = symbols.filter((symbol) => !found.has(symbol))
    if (others.length === 0) return found
    return new Map([...found, ...(await this.#quoteSubscriptions.resolve(others))])
  }

  /** Sets the alarm to the least of everything due, unless it is set for before. */
  #arm(): void {
    const due = Math.min(this.#hub.dueAt, this.#isActive ? this.#quoteSubscriptions.dueAt : Number.POSITIVE_INFINITY)
    if (due === Number.POSITIVE_INFINITY) return
    if (this.#wakeAt === null) this.#track(this.#loadAlarm())
    else if (due < this.#wakeAt) {
      this.#wakeAt = due
      this.wakeAt(Math.max(due, this.now()))
    }
  }

  /** A row is written with each alarm that is set: one that was set before the object slept still stands. */
  async #loadAlarm(): Promise<void> {
    const at = await this.scheduledAlarm()
    this.#wakeAt ??= at ?? Number.POSITIVE_INFINITY
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
    console.log(JSON.stringify({ event, portfolio: this.ctx.id.name, ...fields }))
  }
}
