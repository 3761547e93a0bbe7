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
import type { QuotePlan } from '../../src/pricing/refresh-settings.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import type { ObjectContext } from '../object-context.ts'
import { QuoteHub } from './channels.ts'
import { QuoteEngine } from './engine.ts'
import { PortfolioSubscribers } from './portfolio-subscribers.ts'
import { PublishedQuotes } from './published.ts'
import { type QuoteDatabase, quoteDatabase } from './remotes.ts'
import { QuoteStore } from './store.ts'
import { getChannelSymbols } from './subscription.ts'

/**
 * The live prices of one shard of the assets: refreshed by the plan, cached in SQLite, sent to clients and to users'
 * objects, and written behind to Postgres. Its clock is `now`, and its one timer `wakeAt`.
 */
export class QuoteBoard extends DurableObject<Env> implements QuoteBoardObject {
  readonly #settings: Settings
  readonly #engine: QuoteEngine
  readonly #published: PublishedQuotes
  readonly #hub: QuoteHub
  readonly #subscribers: PortfolioSubscribers
  /** Unfinished work that no event waits for. */
  protected readonly work = new Set<Promise<unknown>>()
  #wakeAt = Number.POSITIVE_INFINITY
  /** When the next quote that is published as fresh becomes stale, unix milliseconds; null: not computed yet. */
  #staleAt: number | null = null

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const settings = readSettings(env)
    this.#settings = settings
    const context: ObjectContext = {
      now: () => this.now(),
      track: (work) => this.#track(work),
      log: (event, fields) => this.#log(event, fields),
    }
    const engine = new QuoteEngine(context, settings, parseShardName(ctx.id.name ?? ''), {
      store: new QuoteStore(ctx.storage),
      remotes: {
        gate: () => this.gate(),
        database: () => this.database(),
        slots: () => this.slots(),
        product: (id) => this.product(id),
      },
      clients: {
        watched: () => new Set([...this.#hub.watched(), ...this.#subscribers.watched()]),
        watchedSince: (id) => this.watchedSince(id),
        isWatchingAll: () => this.#hub.isWatchingAll,
        isSubscribed: (id) => this.#subscribers.isSubscribed(id),
        announce: (ids, dropped, before) => {
          this.#staleAt = null
          this.#hub.broadcast(ids, dropped, before)
          this.#subscribers.broadcast([...ids, ...dropped])
          this.#arm()
        },
        arm: () => this.#arm(),
      },
    })
    this.#engine = engine
    const { cache, symbols } = engine
    const published = new PublishedQuotes(cache)
    this.#published = published
    this.#hub = new QuoteHub(ctx, {
      epoch: engine.epoch,
      limits: {
        maxUnackedFrames: settings.MAX_UNACKED_FRAMES,
        sendIntervalMs: settings.UNACKED_SEND_INTERVAL_MS,
        idleTimeoutMs: settings.CONNECTION_IDLE_TIMEOUT_MS,
        ackTimeoutMs: settings.ACK_TIMEOUT_MS,
      },
      maxChannels: settings.MAX_CHANNELS,
      now: context.now,
      offset: () => cache.lastBatch,
      floor: () => cache.minResumableBatch,
      symbolOf: (id) => symbols.asset(id)?.symbol ?? cache.quote(id)?.symbol ?? String(id),
      assetIds: () => cache.ids(),
      publishedQuote: (id) => published.quote(id),
      loadSymbols: (channels) => {
        const unknown = getChannelSymbols(channels).filter((symbol) => symbols.resolveCached(symbol) === null)
        return unknown.length === 0 ? null : symbols.resolve(unknown)
      },
      resolve: (symbol) => symbols.resolveLocally(symbol),
      publishStale: () => this.#publishStale(),
    })
    this.#subscribers = new PortfolioSubscribers(context, ctx.storage, published, (user, prices, gone) =>
      this.sendPrices(user, prices, gone),
    )
    this.#arm()
  }

  /** Unix milliseconds. */
  protected now(): number {
    return Date.now()
  }

  /** Schedules `alarm` for `at` (unix milliseconds), in place of any earlier time. */
  protected wakeAt(at: number): void {
    // The runtime never calls an alarm that is set for the time of the one that is running.
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

  /** Sends a user's object prices, and the assets that have none any more; false: it has no subscription any more. */
  protected sendPrices(user: string, prices: PortfolioPrice[], gone: number[]): Promise<boolean> {
    return userPortfolio(this.env, user).prices(prices, gone)
  }

  /** Since when a client has an asset open by name, unix milliseconds; null: none has. */
  protected watchedSince(id: number): number | null {
    const times = [this.#hub.watchedSince(id), this.#subscribers.watchedSince(id)].filter((at) => at !== null)
    return times.length === 0 ? null : Math.min(...times)
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
    // Should the alarm be lost, cron sets another.
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async subscribe(user: string, assetIds: number[], watched: number[]): Promise<PortfolioPrice[]> {
    await this.#engine.loadMissing(assetIds)
    this.#subscribers.subscribe(user, assetIds, watched)
    // Quotes that have become stale are changes too, and part of the result.
    this.#publishStale()
    this.#arm()
    return assetIds.flatMap((id) => this.#published.price(id)?.price ?? [])
  }

  async refresh(names: string[] | null): Promise<RefreshReport> {
    return this.#engine.refresh(names)
  }

  async status(): Promise<QuoteBoardStatus> {
    const { cache, symbols, counts, lagMs, writeBehind } = this.#engine
    return {
      assets: symbols.planned.size,
      quotes: [...cache.ids()].filter((id) => cache.quote(id) !== null).length,
      watchers: this.#hub.viewers,
      position: this.#hub.position,
      ...counts,
      looks: { ...counts.looks },
      lagMs,
      unflushed: writeBehind.pending.length,
      flushFailures: writeBehind.failures,
      conflations: this.#hub.conflations,
      closedReaders: { ...this.#hub.closedConnections },
    }
  }

  /** Does what is due. */
  #tick(): void {
    // New and ended subscriptions change times to live; each tick computes them anew.
    if (this.#engine.tick()) this.#staleAt = null
    this.#publishStale()
    this.#hub.tick()
    this.#subscribers.tick()
    this.#arm()
  }

  /** Announces the quotes that have become stale, if any. */
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

  /** Sets the alarm for whatever is due first. */
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
