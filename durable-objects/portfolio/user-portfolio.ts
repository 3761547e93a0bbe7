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
import { RealtimeObject } from '../realtime-object.ts'
import type { SocketOptions } from '../sockets/connection.ts'
import { Hub } from '../sockets/hub.ts'
import { PortfolioChannels, type PreparedChannels } from './channels.ts'
import { type PortfolioDatabase, portfolioDatabase } from './database.ts'
import { PortfolioEngine } from './engine.ts'
import { QuoteSubscriptions } from './quote-subscriptions.ts'
import { PortfolioStore } from './store.ts'
import type { AssetMatch, PortfolioSubscription } from './subscription.ts'
import { PortfolioTickets } from './tickets.ts'

/** A requested refresh that did not come within this long is lost. */
const REFRESH_TIMEOUT_MS = 60_000

/** One user's connections and portfolio with its live values. The alarm is set for connections alone. */
export class UserPortfolio extends RealtimeObject implements UserPortfolioObject {
  readonly #store: PortfolioStore
  readonly #engine: PortfolioEngine
  readonly #quoteSubscriptions: QuoteSubscriptions
  readonly #channels: PortfolioChannels
  protected override readonly hub: Hub<PortfolioSubscription, PreparedChannels>
  readonly #tickets: PortfolioTickets
  /** Assets that a connection is about to subscribe to. */
  readonly #pendingSubscriptions = new Set<ReadonlyMap<number, { symbol: string }>>()
  #activeUntil: number

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, { portfolio: ctx.id.name ?? '' })
    const store = new PortfolioStore(ctx.storage)
    this.#store = store
    this.#activeUntil = store.loadTimestamp('active_until')
    const context = {
      ...this.context,
      user: parseUserName(ctx.id.name ?? ''),
      database: () => this.database(),
      board: (shard: number) => this.board(shard),
    }
    this.#tickets = new PortfolioTickets(context)
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
    this.#quoteSubscriptions = new QuoteSubscriptions(context, store, engine)
    this.#channels = new PortfolioChannels(context, engine, {
      resolve: (symbols) => this.#resolve(symbols),
      subscribeQuotes: (assets) => this.#subscribeQuotes(assets),
      onUnsubscribe: () => context.track(this.#quoteSubscriptions.sync()),
    })
    this.hub = new Hub(ctx, this.#channels, context)
    this.scheduleAlarm()
  }

  protected database(): PortfolioDatabase {
    return portfolioDatabase(this.env, parseUserName(this.ctx.id.name ?? ''))
  }

  protected board(shard: number): Pick<QuoteBoardObject, 'subscribe' | 'lookup'> {
    return quoteBoard(this.env, shard)
  }

  /** The limit of sockets is one per user, whatever the address. */
  protected override socketOptions(request: Request): SocketOptions {
    return { client: 'user', passive: false, authorizedUntil: Number(request.headers.get('kerb-until')) }
  }

  protected override tick(): void {
    this.hub.tick()
    // Boards that were unreachable, or that have dropped the subscription since.
    this.context.track(this.#syncQuotes())
  }

  async issueTicket(until: number): Promise<string> {
    return this.#tickets.issue(until)
  }

  async redeemTicket(ticket: string): Promise<number | null> {
    return this.#tickets.redeem(ticket)
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
    const { state } = this.#engine
    if (state === null) return null
    this.#extendActive()
    await this.#quoteSubscriptions.sync()
    const enriched: EnrichedPortfolio = {
      portfolio: state.totals,
      positions: state.positions(),
      refreshed_at: new Date(state.lastPriceAt).toISOString(),
      age_seconds: Math.max(0, (this.now() - state.lastPriceAt) / 1_000),
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
    // New holdings need prices.
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
    const { state, frames } = this.#engine
    return {
      sockets: this.hub.connections.size,
      positions: state?.totals.positions ?? 0,
      version: state?.head.version ?? 0,
      loads: state?.head.loads ?? 0,
      position: frames?.position ?? '',
    }
  }

  get #isActive(): boolean {
    return this.hub.connections.size > 0 || this.now() < this.#activeUntil
  }

  /** After a read, the values stay current for a while. Stored seldom: each row written costs money. */
  #extendActive(): void {
    const { PORTFOLIO_ACTIVE_MS } = this.settings
    const now = this.now()
    if (this.#activeUntil > now + PORTFOLIO_ACTIVE_MS / 2) return
    this.#activeUntil = now + PORTFOLIO_ACTIVE_MS
    this.#store.saveTimestamp('active_until', this.#activeUntil)
  }

  /** Subscribes to the prices of the current holdings, if they are in use. Never rejects. */
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

  /** The assets that connections subscribe to by name, or are about to. */
  #watched(): Map<number, string> {
    const subscribed = this.hub.connections.subscriptions.map(({ assets }) => assets)
    const named = [...subscribed, ...this.#pendingSubscriptions].flatMap((assets) => [...assets])
    return new Map(named.filter(([id]) => id > 0).map(([id, { symbol }]) => [id, symbol]))
  }

  async #resolve(symbols: readonly string[]): Promise<ReadonlyMap<string, AssetMatch>> {
    const state = await this.#engine.ensureLoaded()
    const found = new Map<string, AssetMatch>()
    for (const symbol of symbols) {
      const asset_id = state.findHolding(symbol)
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
