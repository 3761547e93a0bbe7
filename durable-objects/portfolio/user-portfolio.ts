import { DurableObject } from 'cloudflare:workers'
import { type Settings, settings } from '../../src/config.ts'
import {
  type PortfolioChange,
  type PortfolioStatus,
  type QuoteBoardObject,
  quoteBoard,
  type UserPortfolioObject,
  userOfName,
} from '../../src/objects.ts'
import type { Enriched, PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { PortfolioAudience } from './channels.ts'
import { type PortfolioDatabase, portfolioDatabase } from './database.ts'
import { PortfolioDesk } from './engine.ts'
import { PortfolioBoards } from './quote-subscriptions.ts'
import { PortfolioStore } from './store.ts'
import type { NamedAsset } from './subscription.ts'
import { PortfolioTickets } from './tickets.ts'

/** A refresh that did not come for so long never will, milliseconds. */
const REFRESH_LOST_MS = 60_000

/**
 * One user: sockets, what they are sent, and the portfolio as it was valued last. All it does is bring desk, boards and
 * audience together. It has one clock, `now`, and one timer, `wakeAt`, which is set for readers alone.
 */
export class UserPortfolio extends DurableObject<Env> implements UserPortfolioObject {
  readonly #settings: Settings
  readonly #store: PortfolioStore
  readonly #desk: PortfolioDesk
  readonly #boards: PortfolioBoards
  readonly #audience: PortfolioAudience
  readonly #tickets: PortfolioTickets
  /** Assets that somebody is about to subscribe to. */
  readonly #coming = new Set<ReadonlyMap<number, { symbol: string }>>()
  /** Work that goes on between events. */
  protected readonly work = new Set<Promise<unknown>>()
  /** When `alarm` will be called; null: that was set before this object woke up. */
  #wakeAt: number | null = null
  #activeUntil: number

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = settings(env)
    this.#settings = config
    const now = () => this.now()
    const track = (work: Promise<unknown>) => this.#track(work)
    const log = (event: string, fields: Record<string, unknown>) => this.#log(event, fields)
    const store = new PortfolioStore(ctx.storage)
    this.#store = store
    this.#activeUntil = store.moment('active_until')
    this.#tickets = new PortfolioTickets(ctx.storage.kv, config.TICKET_MS)
    const desk = new PortfolioDesk({
      store,
      now,
      database: () => this.database(),
      watched: () => this.#watched(),
      announce: (change) => {
        this.#audience.broadcast(change)
        // Readers that were not ready have a turn to come.
        this.#arm()
      },
    })
    this.#desk = desk
    this.#boards = new PortfolioBoards({
      user: userOfName(ctx.id.name ?? ''),
      shards: config.QUOTE_SHARDS,
      following: store.following(),
      now,
      board: (shard) => this.board(shard),
      save: (following) => store.saveFollowing(following),
      wanted: () => new Map([...(desk.book?.priced() ?? []), ...this.#watched()]),
      watched: () => this.#lookedAt(),
      learn: (prices) => desk.hear(prices),
      lost: (ids, stale) => desk.lost(ids, stale),
      findAssets: (names) => this.database().findAssets(names),
      track,
      log,
    })
    this.#audience = new PortfolioAudience(ctx, {
      limits: {
        window: config.READER_WINDOW,
        beat: config.READER_BEAT_MS,
        silence: config.READER_SILENCE_MS,
        dead: config.READER_DEAD_MS,
      },
      maxChannels: config.MAX_CHANNELS,
      now,
      frames: () => desk.frames,
      offset: () => desk.book?.n ?? 0,
      find: (symbols) => this.#find(symbols),
      watch: (assets) => this.#watch(assets),
      unwatch: () => this.#track(this.#boards.follow()),
      readLots: (ids) => desk.readLots(ids),
      lotsAt: () => desk.book?.head.lotsAt ?? 0,
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
  protected async waking(): Promise<number | null> {
    return this.ctx.storage.getAlarm()
  }

  protected database(): PortfolioDatabase {
    return portfolioDatabase(this.env, userOfName(this.ctx.id.name ?? ''))
  }

  protected board(shard: number): Pick<QuoteBoardObject, 'follow' | 'look'> {
    return quoteBoard(this.env, shard)
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const until = Number(request.headers.get('kerb-until'))
    if (!(until > this.now())) return new Response(null, { status: 401 })
    this.#audience.expire()
    if (this.#audience.sockets >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#audience.open(theirs, until)
    this.#arm()
    return new Response(null, { status: 101, webSocket: ours })
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    this.#audience.expire()
    await this.#audience.receive(socket, data)
    this.#arm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#audience.leave(socket)
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override alarm(): void {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#audience.expire()
    this.#audience.tick()
    // Boards that could not be reached, or that may have given us up since.
    this.#track(this.#follow())
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
    this.#audience.signedOut()
  }

  async forget(): Promise<void> {
    this.#audience.signedOut()
    this.#tickets.clear()
    this.#activeUntil = 0
    this.#boards.stop()
    await this.#desk.forget()
  }

  async enriched(): Promise<string | null> {
    const { book } = this.#desk
    if (book === null) return null
    this.#read()
    await this.#boards.follow()
    const enriched: Enriched = {
      portfolio: book.totals,
      positions: book.positions(),
      refreshed_at: new Date(book.heardAt).toISOString(),
      age_seconds: Math.max(0, (this.now() - book.heardAt) / 1_000),
    }
    return JSON.stringify(enriched)
  }

  async requestRefresh(): Promise<boolean> {
    const now = this.now()
    if (now < this.#store.moment('refresh_asked') + REFRESH_LOST_MS) return false
    this.#store.saveMoment('refresh_asked', now)
    return true
  }

  async withdrawRefresh(): Promise<void> {
    this.#store.saveMoment('refresh_asked', 0)
  }

  async refresh(): Promise<void> {
    this.#audience.expire()
    await this.#desk.refresh()
    if (this.#store.moment('refresh_asked') > 0) this.#store.saveMoment('refresh_asked', 0)
    await this.#follow()
  }

  async changed(change: PortfolioChange): Promise<void> {
    this.#audience.expire()
    await this.#desk.changed(change)
    // What is held since has a price to come.
    this.#track(this.#follow())
  }

  async prices(prices: PortfolioPrice[], gone: number[] = []): Promise<boolean> {
    this.#audience.expire()
    if (this.#desk.book === null || !this.#isActive) {
      this.#boards.stop()
      return false
    }
    this.#boards.told(prices)
    this.#desk.lost(gone, 'unknown')
    return true
  }

  async status(): Promise<PortfolioStatus> {
    const { book, frames } = this.#desk
    return {
      sockets: this.#audience.sockets,
      positions: book?.totals.positions ?? 0,
      version: book?.head.version ?? 0,
      loads: book?.head.loads ?? 0,
      position: frames?.position ?? '',
    }
  }

  get #isActive(): boolean {
    return this.#audience.sockets > 0 || this.now() < this.#activeUntil
  }

  /** Somebody has read it: it is kept up to date for a while. Noted seldom: a row written costs money. */
  #read(): void {
    const { ACTIVE_MS } = this.#settings
    const now = this.now()
    if (this.#activeUntil > now + ACTIVE_MS / 2) return
    this.#activeUntil = now + ACTIVE_MS
    this.#store.saveMoment('active_until', this.#activeUntil)
  }

  /** Assets that pages have open though they are neither held nor a rate of what is. */
  #lookedAt(): Set<number> {
    const priced = this.#desk.book?.priced()
    return new Set([...this.#watched().keys()].filter((id) => !priced?.has(id)))
  }

  /** Follows what is held by now, if anybody looks. Never rejects. */
  async #follow(): Promise<void> {
    if (this.#desk.book !== null && this.#isActive) await this.#boards.follow()
  }

  async #watch(assets: ReadonlyMap<number, { symbol: string }>): Promise<void> {
    this.#coming.add(assets)
    try {
      await this.#boards.follow()
    } finally {
      this.#coming.delete(assets)
    }
  }

  /** The assets that sockets follow by name, or are about to. */
  #watched(): Map<number, string> {
    const named = [this.#audience.watched(), ...this.#coming].flatMap((assets) => [...assets])
    return new Map(named.filter(([id]) => id > 0).map(([id, { symbol }]) => [id, symbol]))
  }

  async #find(symbols: readonly string[]): Promise<ReadonlyMap<string, NamedAsset>> {
    const book = await this.#desk.ready()
    const found = new Map<string, NamedAsset>()
    for (const symbol of symbols) {
      const asset_id = book.heldAs(symbol)
      if (asset_id !== null) found.set(symbol, { kind: 'asset', asset_id, symbol })
    }
    const others = symbols.filter((symbol) => !found.has(symbol))
    if (others.length === 0) return found
    return new Map([...found, ...(await this.#boards.find(others))])
  }

  /** Sets the alarm to the least of everything due, unless it is set for before. */
  #arm(): void {
    const due = Math.min(this.#audience.due, this.#isActive ? this.#boards.due : Number.POSITIVE_INFINITY)
    if (due === Number.POSITIVE_INFINITY) return
    if (this.#wakeAt === null) this.#track(this.#lookAtAlarm())
    else if (due < this.#wakeAt) {
      this.#wakeAt = due
      this.wakeAt(Math.max(due, this.now()))
    }
  }

  /** A row is written with each alarm that is set: one that was set before the object slept still stands. */
  async #lookAtAlarm(): Promise<void> {
    const at = await this.waking()
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
