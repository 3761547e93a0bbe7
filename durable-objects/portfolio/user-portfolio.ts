import {
  type PortfolioChange,
  type PortfolioStatus,
  parseUserName,
  type QuoteBoardObject,
  quoteBoard,
  type UserPortfolioObject,
} from '../../src/objects.ts'
import { CLOSE_CODES } from '../../src/protocol/errors.ts'
import type { EnrichedPortfolio, PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { RealtimeObject, type SocketOptions } from '../realtime-object.ts'
import { Hub } from '../sockets/hub.ts'
import { PortfolioChannels, type PreparedChannels } from './channels.ts'
import { type PortfolioDatabase, portfolioDatabase } from './database.ts'
import { PortfolioEngine } from './engine.ts'
import { QuoteSubscriptions } from './quote-subscriptions.ts'
import { PortfolioStore } from './store.ts'
import type { AssetMatch, PortfolioSubscription } from './subscription.ts'
import { PortfolioTickets } from './tickets.ts'

/** A refresh that did not come for so long never will, milliseconds. */
const REFRESH_TIMEOUT_MS = 60_000

/** One user: the sockets, and the portfolio as it was valued last. The alarm is set for connections alone. */
export class UserPortfolio extends RealtimeObject implements UserPortfolioObject {
  readonly #store: PortfolioStore
  readonly #engine: PortfolioEngine
  readonly #quoteSubscriptions: QuoteSubscriptions
  readonly #channels: PortfolioChannels
  protected override readonly hub: Hub<PortfolioSubscription, PreparedChannels>
  readonly #tickets: PortfolioTickets
  /** Assets that somebody is about to subscribe to. */
  readonly #pendingSubscriptions = new Set<ReadonlyMap<number, { symbol: string }>>()
  #activeUntil: number

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, { portfolio: ctx.id.name ?? '' })
    const config = this.settings
    const store = new PortfolioStore(ctx.storage)
    this.#store = store
    this.#activeUntil = store.loadTimestamp('active_until')
    this.#tickets = new PortfolioTickets(ctx.storage.kv, config.TICKET_TTL_MS)
    const context = { ...this.context, database: () => this.database(), board: (shard: number) => this.board(shard) }
    const engine = new PortfolioEngine(context, store, {
      watched: () => this.#watched(),
      onUpdate: (update) => {
        engine.frames?.advance(update)
        this.hub.broadcast()
        // A connection that was not ready is due later.
        this.scheduleAlarm()
      },
    })
    this.#engine = engine
    const identity = { user: parseUserName(ctx.id.name ?? ''), shards: config.QUOTE_SHARDS }
    this.#quoteSubscriptions = new QuoteSubscriptions(identity, context, store, engine)
    this.#channels = new PortfolioChannels({
      ...this.context,
      maxChannels: config.MAX_CHANNELS,
      frames: () => engine.frames,
      offset: () => engine.state?.offset ?? 0,
      resolve: (symbols) => this.#resolve(symbols),
      subscribeQuotes: (assets) => this.#subscribeQuotes(assets),
      onUnsubscribe: () => this.context.track(this.#quoteSubscriptions.sync()),
      readLots: (ids) => engine.readLots(ids),
      lotsAt: () => engine.state?.head.lotsAt ?? 0,
    })
    this.hub = new Hub(ctx, this.#channels, { ...this.context, limits: this.deliveryLimits })
    this.scheduleAlarm()
  }

  protected database(): PortfolioDatabase {
    return portfolioDatabase(this.env, parseUserName(this.ctx.id.name ?? ''))
  }

  protected board(shard: number): Pick<QuoteBoardObject, 'subscribe' | 'lookup'> {
    return quoteBoard(this.env, shard)
  }

  /** The limit of sockets is the user's, whatever the address. */
  protected override socketOptions(request: Request): SocketOptions {
    return { client: 'user', passive: false, authorizedUntil: Number(request.headers.get('kerb-until')) }
  }

  protected override tick(): void {
    this.hub.tick()
    // Boards that could not be reached, or that have dropped us since.
    this.context.track(this.#syncQuotes())
  }

  async issueTicket(until: number): Promise<string> {
    return this.#tickets.issue(until, this.now())
  }

  async redeemTicket(ticket: string): Promise<number | null> {
    return this.#tickets.redeem(ticket, this.now())
  }

  async closeSockets(): Promise<void> {
    this.#tickets.clear()
    this.hub.connections.closeAll(CLOSE_CODES.signed_out, 'signed out')
  }

  async forget(): Promise<void> {
    this.hub.connections.closeAll(CLOSE_CODES.signed_out, 'signed out')
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

  async cancelRefresh(): Promise<void> {
    this.#store.saveTimestamp('refresh_asked', 0)
  }

  async refresh(): Promise<void> {
    this.hub.connections.closeExpired()
    await this.#engine.refresh()
    if (this.#store.loadTimestamp('refresh_asked') > 0) this.#store.saveTimestamp('refresh_asked', 0)
    await this.#syncQuotes()
  }

  async applyChange(change: PortfolioChange): Promise<void> {
    this.hub.connections.closeExpired()
    await this.#engine.applyChange(change)
    // What is held since has a price to come.
    this.context.track(this.#syncQuotes())
  }

  async updatePrices(prices: PortfolioPrice[], gone: number[] = []): Promise<boolean> {
    this.hub.connections.closeExpired()
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
      sockets: this.hub.connections.size,
      positions: book?.totals.positions ?? 0,
      version: book?.head.version ?? 0,
      loads: book?.head.loads ?? 0,
      position: frames?.position ?? '',
    }
  }

  get #isActive(): boolean {
    return this.hub.connections.size > 0 || this.now() < this.#activeUntil
  }

  /** Somebody has read it: it is kept up to date for a while. Noted seldom: a row written costs money. */
  #extendActive(): void {
    const { PORTFOLIO_ACTIVE_MS } = this.settings
    const now = this.now()
    if (this.#activeUntil > now + PORTFOLIO_ACTIVE_MS / 2) return
    this.#activeUntil = now + PORTFOLIO_ACTIVE_MS
    this.#store.saveTimestamp('active_until', this.#activeUntil)
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
    const subscribed = this.hub.connections.subscriptions.map(({ assets }) => assets)
    const named = [...subscribed, ...this.#pendingSubscriptions].flatMap((assets) => [...assets])
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

  protected override get dueAt(): number {
    return Math.min(this.hub.dueAt, this.#isActive ? this.#quoteSubscriptions.dueAt : Number.POSITIVE_INFINITY)
  }
}
