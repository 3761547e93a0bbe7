import { replaceGaps, upsertCandles } from '../../src/db/candles.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { insertRevisions } from '../../src/db/revisions.ts'
import { CandleAggregator, type ExchangeCandle } from '../../src/market/aggregator.ts'
import { FeedProcessor } from '../../src/market/feed-processor.ts'
import type { Revision } from '../../src/market/revision.ts'
import {
  type CandleQuery,
  type CandleQueryResult,
  feedSlots,
  type ProductObject,
  parseProductName,
} from '../../src/objects.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import { GRANULARITIES, GRANULARITY_SECONDS, type Granularity } from '../../src/protocol/granularity.ts'
import { feedFrame } from '../../src/protocol/messages.ts'
import type { FeedState, ProductStatus } from '../../src/protocol/product.ts'
import { DAY_S, MINUTE_S } from '../../src/time.ts'
import { RealtimeObject } from '../realtime-object.ts'
import { Hub } from '../sockets/hub.ts'
import { Backfill } from './backfill.ts'
import { CandleChannels } from './channels.ts'
import { Checkpoint } from './checkpoint.ts'
import { ExchangeFeed } from './exchange-feed.ts'
import { FeedControl } from './feed-control.ts'
import { HistoryLoader } from './history-loader.ts'
import { CandleStore } from './store.ts'
import { CandleWriteBehind, type GapUpdate } from './write-behind.ts'

/** Candles of each granularity in a snapshot. */
const SNAPSHOT_CANDLES = 100

/** Missing trades are fetched at most this many days back. What is older is loaded as history. */
const MAX_BACKFILL_DAYS = 7

/** One product: connects its feed, its candles, its viewers and its writes to Postgres. */
export class ProductCandles extends RealtimeObject implements ProductObject {
  readonly #product: string
  readonly #store: CandleStore
  readonly #aggregator: CandleAggregator
  readonly #feedProcessor: FeedProcessor
  readonly #feed: ExchangeFeed
  readonly #feedControl: FeedControl
  readonly #backfill: Backfill
  readonly #checkpoint: Checkpoint
  readonly #writeBehind: CandleWriteBehind
  readonly #historyLoader: HistoryLoader
  readonly #channels: CandleChannels
  protected override readonly hub: Hub<number>
  readonly #startedAt: number
  /** Errors that the exchange sent on the feed. */
  #feedErrors = 0
  /** The feed's state and the gaps of the last `feed` frame. */
  #publishedFeedState = ''
  /** The last day on which old bars were dropped, in days since 1970. */
  #cleanedDay = 0

  constructor(ctx: DurableObjectState, env: Env) {
    const product = parseProductName(ctx.id.name ?? '')
    super(ctx, env, { product })
    const { context } = this
    const { EXCHANGE: exchange, CLOSE_GRACE_MS: closeGraceMs, TRADE_WINDOW_MS: tradeWindowMs } = this.settings
    const publish = () => this.#publish()
    this.#product = product
    this.#startedAt = this.now()
    this.#store = new CandleStore(ctx.storage)
    const stored = this.#store.loadState()
    const aggregator = new CandleAggregator({ exchange, product, closeGraceMs, tradeWindowMs }, stored?.coverage)
    this.#aggregator = aggregator
    this.#feedProcessor = new FeedProcessor(aggregator, closeGraceMs, stored?.lastGoodAt)
    this.#checkpoint = new Checkpoint(context, this.#store, this.#feedProcessor)
    this.#writeBehind = new CandleWriteBehind(context, aggregator, this.#store, (candles, gaps, revisions) =>
      this.write(candles, gaps, revisions),
    )
    this.#backfill = new Backfill(context, aggregator, publish)
    this.#historyLoader = new HistoryLoader(context, product, (candles) => this.write(candles, null, []))
    this.#feed = new ExchangeFeed(context, this.#feedProcessor, {
      onMessage: (text) => this.onFeedMessage(text),
      onStateChange: publish,
    })
    this.#channels = new CandleChannels({
      product,
      // The update log starts empty, so positions of an earlier start are not of this stream.
      epoch: crypto.randomUUID().replaceAll('-', '').slice(0, 16),
      resumeFrames: this.settings.RESUME_FRAMES,
      snapshot: (granularities) => this.#snapshot(granularities),
      feedFrame: () => this.#feedFrame(),
    })
    const onRemove = () => this.#feedControl.onViewerLeft()
    this.hub = new Hub(ctx, this.#channels, { ...context, onRemove })
    const slots = () => feedSlots(env)
    this.#feedControl = new FeedControl(context, product, this.#feed, slots, this.hub.connections, publish)
    this.#restore()
  }

  /** Writes candles, gaps and revisions to Postgres. Rejects when Postgres cannot take them. */
  protected async write(candles: Candle[], gaps: GapUpdate | null, revisions: Revision[]): Promise<void> {
    await withLiveDatabase(this.env, async (sql) => {
      await upsertCandles(sql, candles)
      await insertRevisions(sql, this.settings.EXCHANGE, this.#product, revisions)
      if (gaps) await replaceGaps(sql, this.settings.EXCHANGE, this.#product, gaps.range, gaps.gaps)
    })
  }

  /** Processes one text of the feed. */
  protected onFeedMessage(text: string): void {
    this.#feed.recordMessage()
    const message = this.#feedProcessor.processMessage(text, this.now())
    if (message.kind === 'refused') {
      this.#feedErrors++
      this.context.log('feed_error', { detail: message.detail })
    }
    this.#publish()
  }

  /** Connects to the exchange without waiting for the end of the pause. */
  protected reconnectFeed(): void {
    this.#feed.reconnectNow()
  }

  protected get isFeedLive(): boolean {
    return this.#feed.isLive
  }

  override async fetch(request: Request): Promise<Response> {
    const response = await super.fetch(request)
    // A first viewer opens the feed.
    this.tick()
    this.scheduleAlarm()
    return response
  }

  /** Does everything that is due, in case an alarm was lost. A pair has no feed unless the exchange has it `online`. */
  async ensureRunning(online: boolean): Promise<void> {
    this.#feedControl.isTraded = online
    this.runDue()
  }

  async candles(query: CandleQuery): Promise<CandleQueryResult> {
    if (this.#feedControl.isTraded) await this.#historyLoader.ensureLoaded(query, this.#aggregator.firstDay)
    this.#publish()
    const { granularity, start = 0, end = Number.MAX_SAFE_INTEGER, limit } = query
    const candles = this.#aggregator.candles(granularity, start, end, limit)
    const now = Math.floor(this.now() / 1000)
    const from = candles.length === limit && candles[0] ? Math.max(start, candles[0].timestamp) : start
    const gaps = this.#aggregator.tradeCoverage.gaps(from, Math.min(end, now + 1))
    return { candles, gaps, since: this.#aggregator.firstDay, position: this.hub.position }
  }

  /** All candles of the day that starts at `day` (unix seconds); null if this object's record starts later. */
  async dayCandles(day: number): Promise<Candle[] | null> {
    if (!this.#hasDay(day)) return null
    this.#publish()
    return GRANULARITIES.flatMap((granularity) =>
      this.#aggregator.candles(granularity, day, day + DAY_S, Number.MAX_SAFE_INTEGER),
    )
  }

  /**
   * Replaces the closed minutes of the day that starts at `day` (unix seconds) by the exchange's own, for the audit
   * (C13). Each candle that differs gets a revision.
   * @returns false, and changes nothing, if this object's record starts later.
   */
  async repair(day: number, minutes: ExchangeCandle[]): Promise<boolean> {
    if (!this.#hasDay(day)) return false
    this.#publish()
    const closed = this.now() - this.settings.CLOSE_GRACE_MS
    const last = Math.min(day + DAY_S, closed / 1000 - ((closed / 1000) % MINUTE_S)) - MINUTE_S
    this.#aggregator.reconcile(day, last, minutes, this.now(), 'audit')
    this.#publish()
    return true
  }

  #hasDay(day: number): boolean {
    return (this.#aggregator.firstDay ?? Number.POSITIVE_INFINITY) <= day
  }

  async status(): Promise<ProductStatus> {
    return {
      product_id: this.#product,
      exchange: this.settings.EXCHANGE,
      feed: { ...this.#feedState(), reconnects: this.#feed.reconnects, reason: this.#feed.reason },
      viewers: this.hub.connections.viewers,
      position: this.hub.position,
      last: this.#aggregator.lastTrade(),
      unflushed: this.#writeBehind.pendingCount,
      flushFailures: this.#writeBehind.failures,
      trades: { socket: this.#feedProcessor.counts.trades, rest: this.#backfill.trades },
      dropped: this.#feedProcessor.counts.dropped,
      counters: {
        since: this.#startedAt,
        messages: this.#feedProcessor.counts.messages,
        holes: this.#feedProcessor.counts.sequenceGaps,
        backfill: { pages: this.#backfill.pages, refused: this.#backfill.refused },
        reconciliations: this.#backfill.reconciliations,
        reconnects: { ...this.#feed.reconnectsByReason },
        refused: { exchange: this.#feedErrors, slots: this.#feedControl.refusals },
        sockets: this.ctx.getWebSockets().length,
        conflations: this.hub.conflations,
        closedReaders: { ...this.hub.closedConnections },
      },
    }
  }

  #restore(): void {
    const bars = this.#store.loadBars()
    this.#aggregator.restore(bars.map(({ bar }) => bar))
    // The aggregator makes bars of its own of the stored ones.
    const unwritten = bars.filter(({ unflushed, bar }) => unflushed && bar.complete)
    this.#writeBehind.add(unwritten.map(({ bar }) => this.#aggregator.bar(bar.granularity, bar.start) ?? bar))
    this.#feedProcessor.onClose()
    this.scheduleAlarm()
  }

  protected override tick(): void {
    this.#feedControl.tick()
    this.#feed.tick()
    this.#backfill.tick()
    this.#publish()
    this.hub.tick()
    this.#checkpoint.tick()
    this.#writeBehind.tick()
    this.#dropOldDays()
  }

  /** Saves changed candles (C12), sends them to the viewers, and hands them to the write-behind. */
  #publish(): void {
    const bars = this.#aggregator.takeChanged(this.now())
    if (bars.length > 0) {
      this.#checkpoint.add(bars)
      this.#writeBehind.add(bars)
      this.#channels.append(bars.map((bar) => this.#aggregator.toCandle(bar)))
      this.hub.broadcast()
    }
    this.#publishFeedState()
    this.scheduleAlarm()
  }

  protected override get dueAt(): number {
    return Math.min(
      this.#aggregator.nextCloseAt,
      this.#feedControl.dueAt,
      this.#feed.dueAt,
      this.#backfill.dueAt,
      this.#checkpoint.dueAt,
      this.#writeBehind.dueAt,
      this.hub.dueAt,
    )
  }

  #feedState(): { state: FeedState; since: number; lastMessageAt: number | null } {
    const status = this.#feed.getStatus()
    return this.#feedControl.isRefused ? { ...status, state: 'refused' } : status
  }

  #feedFrame(): string {
    const { state, since } = this.#feedState()
    const gaps_from = this.#aggregator.oldestOpenDay(this.now())
    return feedFrame({
      product_id: this.#product,
      exchange: this.settings.EXCHANGE,
      state,
      since: new Date(since).toISOString(),
      gaps_from,
      gaps: this.#aggregator.tradeCoverage.gaps(gaps_from, Math.floor(this.now() / 1000) + 1),
    })
  }

  #publishFeedState(): void {
    // The end of a gap that still grows is left out: it changes every second.
    const oldest = this.#aggregator.oldestOpenDay(this.now())
    const gaps = this.#aggregator.tradeCoverage.gaps(oldest, Number.MAX_SAFE_INTEGER)
    const state = `${this.#feedState().state} ${gaps}`
    if (state === this.#publishedFeedState) return
    this.#publishedFeedState = state
    this.hub.broadcastText(this.#feedFrame())
  }

  #snapshot(granularities: readonly Granularity[]): { candles: Candle[]; gaps: Gap[] } {
    const now = Math.floor(this.now() / 1000)
    const candles: Candle[] = []
    let oldest = now
    for (const granularity of granularities) {
      const newest = this.#aggregator.candles(granularity, 0, Number.MAX_SAFE_INTEGER, SNAPSHOT_CANDLES)
      oldest = Math.min(oldest, now - SNAPSHOT_CANDLES * GRANULARITY_SECONDS[granularity], newest[0]?.timestamp ?? now)
      candles.push(...newest)
    }
    return { candles, gaps: this.#aggregator.tradeCoverage.gaps(oldest, now + 1) }
  }

  /** Drops the bars that nothing can change any more and that Postgres has; once a day and after a restart. */
  #dropOldDays(): void {
    const day = Math.floor(this.now() / 1000 / DAY_S)
    if (day === this.#cleanedDay || this.#writeBehind.pendingCount > 0) return
    this.#cleanedDay = day
    this.#aggregator.tradeCoverage.dropBefore((day - MAX_BACKFILL_DAYS) * DAY_S)
    const oldestOpenDay = this.#aggregator.oldestOpenDay(this.now())
    this.#aggregator.dropBefore(oldestOpenDay)
    this.#store.deleteBefore(oldestOpenDay)
  }
}
