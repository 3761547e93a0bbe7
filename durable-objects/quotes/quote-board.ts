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
import { RealtimeObject } from '../realtime-object.ts'
import { Hub } from '../sockets/hub.ts'
import { QuoteChannels } from './channels.ts'
import { QuoteEngine } from './engine.ts'
import { PortfolioSubscribers } from './portfolio-subscribers.ts'
import { PublishedQuotes } from './published.ts'
import { type QuoteDatabase, quoteDatabase } from './remotes.ts'
import type { QuoteSubscription } from './subscription.ts'
import { WatchCounts } from './watch-counts.ts'

/**
 * The live prices of one shard of the assets: refreshed by the plan, cached in SQLite, sent to clients and to users'
 * objects, and written behind to Postgres.
 */
export class QuoteBoard extends RealtimeObject implements QuoteBoardObject {
  readonly #engine: QuoteEngine
  readonly #published: PublishedQuotes
  readonly #channels: QuoteChannels
  protected override readonly hub: Hub<QuoteSubscription, true>
  readonly #subscribers: PortfolioSubscribers
  protected readonly watches = new WatchCounts()
  /** When the next quote that is published as fresh becomes stale, unix milliseconds; null: not computed yet. */
  #staleAt: number | null = null

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, { board: ctx.id.name ?? '' })
    const context = {
      ...this.context,
      gate: () => this.gate(),
      database: () => this.database(),
      slots: () => this.slots(),
      product: (id: string) => this.product(id),
    }
    const engine = new QuoteEngine(context, parseShardName(ctx.id.name ?? ''), this.watches, {
      isSubscribed: (id) => this.#subscribers.isSubscribed(id),
      announce: (ids, dropped, before) => this.#announce(ids, dropped, before),
    })
    this.#engine = engine
    this.#published = new PublishedQuotes(engine.cache)
    this.#channels = new QuoteChannels(engine, this.#published, {
      maxChannels: this.settings.MAX_CHANNELS,
      watches: this.watches,
      publishStale: () => this.#publishStale(),
    })
    this.hub = new Hub(ctx, this.#channels, context)
    this.#subscribers = new PortfolioSubscribers(
      context,
      ctx.storage,
      this.#published,
      this.watches,
      (user, prices, gone) => this.sendPrices(user, prices, gone),
    )
    this.scheduleAlarm()
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
    return userPortfolio(this.env, user).updatePrices(prices, gone)
  }

  async lookup(names: string[]): Promise<LookupResult[]> {
    return this.#engine.lookup.lookup(names)
  }

  async discover(name: string): Promise<LookupResult> {
    return this.#engine.discover(name)
  }

  async setPlan(plan: QuotePlan): Promise<void> {
    this.#engine.setPlan(plan)
    // Cron calls this every minute: an alarm that was lost is set again.
    this.runDue()
  }

  async subscribe(user: string, assetIds: number[], watched: number[]): Promise<PortfolioPrice[]> {
    await this.#engine.loadMissing(assetIds)
    this.#subscribers.subscribe(user, assetIds, watched)
    // Quotes that have become stale are changes too, and part of the result.
    this.#publishStale()
    this.scheduleAlarm()
    return assetIds.flatMap((id) => this.#published.get(id)?.price ?? [])
  }

  async refresh(names: string[] | null): Promise<RefreshReport> {
    return this.#engine.refresh(names)
  }

  async status(): Promise<QuoteBoardStatus> {
    const { cache, symbols, counts, lagMs, writeBehind } = this.#engine
    return {
      assets: symbols.planned.size,
      quotes: [...cache.ids()].filter((id) => cache.quote(id) !== null).length,
      watchers: this.hub.connections.viewers,
      position: this.hub.position,
      ...counts,
      looks: { ...counts.looks },
      lagMs,
      unflushed: writeBehind.pending.length,
      flushFailures: writeBehind.failures,
      conflations: this.hub.conflations,
      closedReaders: { ...this.hub.closedConnections },
    }
  }

  /** Sends a batch of changes to connections and subscribers; `dropped` assets are gone. */
  #announce(ids: readonly number[], dropped: readonly number[], before: number): void {
    this.#staleAt = null
    this.#channels.advance(ids, before)
    if (dropped.length > 0) {
      const gone = new Set(dropped)
      this.hub.reviseSubscriptions((subscription) => this.#channels.withoutAssets(subscription, gone))
    }
    if (ids.length > 0 || dropped.length > 0) this.hub.broadcast()
    this.#subscribers.broadcast([...ids, ...dropped])
    // Connections that were not ready have a turn to come.
    this.scheduleAlarm()
  }

  protected override tick(): void {
    // New and ended subscriptions change times to live; each tick computes them anew.
    if (this.#engine.tick()) this.#staleAt = null
    this.#publishStale()
    this.hub.tick()
    this.#subscribers.tick()
  }

  /** Announces the quotes that have become stale, if any. */
  #publishStale(): void {
    if (this.now() < this.#nextStaleAt()) return
    this.#engine.publishStale()
    this.#staleAt = null
  }

  #nextStaleAt(): number {
    if (this.hub.connections.size === 0 && this.#subscribers.isEmpty) return Number.POSITIVE_INFINITY
    this.#staleAt ??= this.#engine.cache.nextStaleAt()
    return this.#staleAt
  }

  protected override get dueAt(): number {
    return Math.min(this.hub.dueAt, this.#subscribers.dueAt, this.#nextStaleAt(), this.#engine.dueAt)
  }
}
