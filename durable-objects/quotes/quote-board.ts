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
import { RealtimeObject } from '../realtime-object.ts'
import { Hub } from '../sockets/hub.ts'
import { QuoteChannels } from './channels.ts'
import { type QuoteDatabase, quoteDatabase } from './database.ts'
import { QuoteEngine } from './engine.ts'
import { toPortfolioPrice } from './portfolio-price.ts'
import { PortfolioSubscribers } from './portfolio-subscribers.ts'
import { QuoteStore } from './store.ts'
import type { QuoteSubscription } from './subscription.ts'

/**
 * The hot layer of quotes: refreshes the planned assets, keeps their quotes in SQLite, sends them to sockets and users'
 * objects, and writes them to Postgres.
 */
export class QuoteBoard extends RealtimeObject implements QuoteBoardObject {
  readonly #engine: QuoteEngine
  readonly #channels: QuoteChannels
  protected override readonly hub: Hub<QuoteSubscription, true>
  readonly #subscribers: PortfolioSubscribers
  /** When a quote that was told as fresh will not be fresh any more; null: to be found out. */
  #staleAt: number | null = null
  /** Texts of quotes as they stand, each written once (D1). */
  readonly #quoteTexts = new WeakMap<QuoteEntry, string>()
  readonly #portfolioPrices = new WeakMap<QuoteEntry, PortfolioPrice>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, { board: ctx.id.name ?? '' })
    const config = this.settings
    const desk = new QuoteEngine({
      config,
      shard: parseShardName(ctx.id.name ?? ''),
      store: new QuoteStore(ctx.storage),
      ...this.context,
      gate: () => this.gate(),
      database: () => this.database(),
      slots: () => this.slots(),
      product: (id) => this.product(id),
      watched: () => new Set([...this.#channels.watched(), ...this.#subscribers.watched()]),
      watchedSince: (id) => this.watchedSince(id),
      isWatchingAll: () => this.#channels.isWatchingAll,
      isSubscribed: (id) => this.#subscribers.isSubscribed(id),
      announce: (ids, dropped, before) => {
        this.#staleAt = null
        this.#channels.advance(ids, before)
        if (dropped.length > 0) {
          const gone = new Set(dropped)
          this.hub.reviseSubscriptions((subscription) => this.#channels.withoutAssets(subscription, gone))
        }
        if (ids.length > 0 || dropped.length > 0) this.hub.broadcast()
        this.#subscribers.broadcast([...ids, ...dropped])
        // Readers that were not ready have a turn to come.
        this.scheduleAlarm()
      },
      arm: () => this.scheduleAlarm(),
    })
    this.#engine = desk
    this.#channels = new QuoteChannels({
      epoch: desk.epoch,
      maxChannels: config.MAX_CHANNELS,
      offset: () => desk.cache.lastBatch,
      minResumableOffset: () => desk.cache.minResumableBatch,
      symbolOf: (id) => desk.symbols.asset(id)?.symbol ?? desk.cache.quote(id)?.symbol ?? String(id),
      assetIds: () => desk.cache.ids(),
      publishedQuote: (id) => this.#publishedQuote(id),
      loadSymbols: (symbols) => {
        const unknown = symbols.filter((symbol) => desk.symbols.resolveCached(symbol) === null)
        return unknown.length === 0 ? undefined : desk.symbols.resolve(unknown)
      },
      resolve: (symbol) => desk.symbols.resolveLocally(symbol),
      publishStale: () => this.#publishStale(),
    })
    this.hub = new Hub(ctx, this.#channels, { ...this.context, limits: this.deliveryLimits })
    this.#subscribers = new PortfolioSubscribers(ctx.storage, {
      ...this.context,
      offset: () => desk.cache.lastBatch,
      price: (id) => this.#publishedPrice(id),
      sendPrices: (user, prices, gone) => this.sendPrices(user, prices, gone),
    })
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

  /** Tells a user's object of prices, and of assets that have none any more; false: it wants no more. */
  protected sendPrices(user: string, prices: PortfolioPrice[], gone: number[]): Promise<boolean> {
    return userPortfolio(this.env, user).prices(prices, gone)
  }

  /** Since when a socket, or a page of a user, has an asset open by name, unix milliseconds; null: none has. */
  protected watchedSince(id: number): number | null {
    const moments = [this.#channels.watchedSince(id), this.#subscribers.watchedSince(id)].filter((at) => at !== null)
    return moments.length === 0 ? null : Math.min(...moments)
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
    // What has become stale is a change too, and is told in this answer.
    this.#publishStale()
    this.scheduleAlarm()
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
      watchers: this.hub.connections.viewers,
      position: this.hub.position,
      ...counts,
      looks: { ...counts.looks },
      lagMs,
      unflushed: flush.pending.length,
      flushFailures: flush.failures,
      conflations: this.hub.conflations,
      closedReaders: { ...this.hub.closedConnections },
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

  protected override tick(): void {
    // With each beat the time to live of what sockets have begun or ceased to follow is looked at anew.
    if (this.#engine.tick()) this.#staleAt = null
    this.#publishStale()
    this.hub.tick()
    this.#subscribers.tick()
  }

  /** Tells what has become stale, if anything has. */
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
