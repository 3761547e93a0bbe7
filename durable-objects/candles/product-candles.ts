import { DurableObject } from 'cloudflare:workers'
import { readCoinbaseKey } from '../../src/auth/coinbase-jwt.ts'
import { readSettings, type Settings } from '../../src/config.ts'
import { replaceGaps, upsertCandles } from '../../src/db/candles.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { insertRevisions } from '../../src/db/revisions.ts'
import { getGranularities } from '../../src/delivery/candle-channels.ts'
import { CandleAggregator, type ExchangeCandle } from '../../src/market/aggregator.ts'
import type { Bar } from '../../src/market/bar.ts'
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
import { GRANULARITIES, GRANULARITY_SECONDS } from '../../src/protocol/granularity.ts'
import { feedFrame } from '../../src/protocol/messages.ts'
import type { FeedState, ProductStatus } from '../../src/protocol/product.ts'
import { Backfill } from './backfill.ts'
import { CandleHub } from './channels.ts'
import { ExchangeFeed } from './exchange-feed.ts'
import { HistoryLoader, type LoadedRanges } from './history-loader.ts'
import { CandleStore } from './store.ts'
import { CandleWriteBehind } from './write-behind.ts'

/** An open feed's alarm comes at least this often: the outgoing socket alone does not keep an object for long. */
const MAX_ALARM_INTERVAL_MS = 30_000

/** The leave to keep a feed open is renewed this often; it lasts two minutes. */
const LEASE_RENEWAL_MS = 60_000

/** Bars that one reader can have loaded at once: as many as one answer holds. */
const MAX_HISTORY_CANDLES = 1_000

/** Bars of each granularity in a snapshot. */
const SNAPSHOT_CANDLES = 100

const MINUTE_S = 60
const DAY_S = 86_400

/** Holes are healed at most this many days back: more minutes than that are no object's matter. */
const MAX_BACKFILL_DAYS = 7

/** Key under which it is kept that the exchange does not trade the pair. */
const OFFLINE_KEY = 'offline'

/** Key under which it is kept which history was loaded. */
const LOADED_HISTORY_KEY = 'loaded'

/**
 * One product: its feed, its candles, its viewers, its way to Postgres. All it does is bring these together; what they
 * do is theirs. It has one clock, `now`, and one timer, `wakeAt`.
 */
export class ProductCandles extends DurableObject<Env> implements ProductObject {
  readonly #settings: Settings
  readonly #product: string
  readonly #store: CandleStore
  readonly #aggregator: CandleAggregator
  readonly #feedProcessor: FeedProcessor
  readonly #feed: ExchangeFeed
  readonly #backfill: Backfill
  readonly #writeBehind: CandleWriteBehind
  readonly #historyLoader: HistoryLoader
  readonly #hub: CandleHub
  /** Bars that SQLite lacks. */
  readonly #unsaved = new Set<Bar>()
  #unsavedSince = 0
  /** Work that goes on between events: dialling, backfill, flush, the lease. */
  protected readonly work = new Set<Promise<unknown>>()
  readonly #alwaysOn: boolean
  #online: boolean
  #viewersLeftAt = 0
  #leaseRenewAt = 0
  #leaseRefusedUntil = 0
  readonly #startedAt: number
  readonly #refusals = { exchange: 0, slots: 0 }
  #wakeAt = Number.POSITIVE_INFINITY
  /** The feed's state and the gaps as the viewers were last told. */
  #publishedFeedState = ''
  #cleanedDay = 0
  #writtenGaps = ''

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = readSettings(env)
    this.#settings = config
    this.#product = parseProductName(ctx.id.name ?? '')
    this.#startedAt = this.now()
    this.#alwaysOn = config.ALWAYS_ON.includes(this.#product)
    this.#online = ctx.storage.kv.get<boolean>(OFFLINE_KEY) !== true
    this.#store = new CandleStore(ctx.storage)
    const stored = this.#store.loadState()
    const options = {
      exchange: config.EXCHANGE,
      product: this.#product,
      closeGraceMs: config.CLOSE_GRACE_MS,
      tradeWindowMs: config.TRADE_WINDOW_MS,
    }
    this.#aggregator = new CandleAggregator(options, stored?.ledger)
    this.#feedProcessor = new FeedProcessor(this.#aggregator, config.CLOSE_GRACE_MS, stored?.lastGoodAt)
    const host = {
      now: () => this.now(),
      random: Math.random,
      track: (work: Promise<unknown>) => this.#track(work),
      log: (event: string, fields: Record<string, unknown>) => this.#log(event, fields),
    }
    this.#writeBehind = new CandleWriteBehind({
      ...host,
      closedWithinMs: config.FLUSH_CLOSED_MS,
      maxRows: config.FLUSH_ROWS,
      formingWithinMs: config.FLUSH_FORMING_MS,
      toCandle: (bar) => this.#aggregator.toCandle(bar),
      gaps: () => this.#changedGaps(),
      write: async (candles, gaps) => {
        await this.write(candles, gaps, this.#store.loadRevisions(candles))
        if (gaps) this.#writtenGaps = JSON.stringify(gaps.gaps)
      },
      onWritten: (bars) => this.#store.markFlushed(bars),
    })
    this.#backfill = new Backfill({
      ...host,
      aggregator: this.#aggregator,
      limits: {
        tradeWindowMs: config.TRADE_WINDOW_MS,
        maxPages: config.BACKFILL_PAGES,
        delayMs: config.BACKFILL_DELAY_MS,
        settleMs: config.RECONCILE_SETTLE_MS,
      },
      restUrl: config.COINBASE_REST_URL,
      exchangeUrl: config.COINBASE_EXCHANGE_URL,
      onHealed: () => this.#publish(),
    })
    this.#historyLoader = new HistoryLoader({
      ...host,
      exchange: config.EXCHANGE,
      product: this.#product,
      restUrl: config.COINBASE_REST_URL,
      retentionDays: config.CANDLE_RETENTION,
      loadedRanges: () => ctx.storage.kv.get<LoadedRanges>(LOADED_HISTORY_KEY) ?? {},
      save: (loaded) => ctx.storage.kv.put(LOADED_HISTORY_KEY, loaded),
      write: (candles) => this.write(candles, null, []),
    })
    this.#feed = new ExchangeFeed({
      ...host,
      url: config.COINBASE_WS_URL,
      product: this.#product,
      silenceTimeoutMs: config.FEED_SILENCE_TIMEOUT_MS,
      connectTimeoutMs: config.FEED_CONNECT_TIMEOUT_MS,
      reconnectMinMs: config.RECONNECT_MIN_MS,
      reconnectMaxMs: config.RECONNECT_MAX_MS,
      sign: () => this.#sign(),
      onOpen: () => this.#feedProcessor.onOpen(),
      onMessage: (text) => this.onFeedMessage(text),
      onDisconnect: (reason) => {
        this.#feedProcessor.onClose()
        this.#log('feed_disconnected', { reason })
      },
      onStateChange: () => this.#publish(),
    })
    // A position of an object that has died proves nothing: the epoch is new.
    const epoch = crypto.randomUUID().replaceAll('-', '').slice(0, 16)
    this.#hub = new CandleHub(
      ctx,
      {
        product: this.#product,
        resumeFrames: config.RESUME_FRAMES,
        limits: {
          maxUnackedFrames: config.MAX_UNACKED_FRAMES,
          sendIntervalMs: config.UNACKED_SEND_INTERVAL_MS,
          idleTimeoutMs: config.CONNECTION_IDLE_TIMEOUT_MS,
          ackTimeoutMs: config.ACK_TIMEOUT_MS,
        },
        now: () => this.now(),
        snapshot: (mask) => this.#snapshot(mask),
        feedFrame: () => this.#feedFrame(),
        onDisconnect: () => this.#onViewersLeft(),
      },
      epoch,
    )
    this.#restore()
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

  /** Brings candles, gaps and revisions to Postgres; rejects when that cannot be. */
  protected async write(
    candles: Candle[],
    gaps: { range: Gap; gaps: Gap[] } | null,
    revisions: Revision[],
  ): Promise<void> {
    await withLiveDatabase(this.env, async (sql) => {
      await upsertCandles(sql, candles)
      await insertRevisions(sql, this.#settings.EXCHANGE, this.#product, revisions)
      if (gaps) await replaceGaps(sql, this.#settings.EXCHANGE, this.#product, gaps.range, gaps.gaps)
    })
  }

  /** One text of the feed. */
  protected onFeedMessage(text: string): void {
    this.#feed.recordMessage()
    const message = this.#feedProcessor.processMessage(text, this.now())
    if (message.kind === 'refused') {
      this.#refusals.exchange++
      this.#log('feed_error', { detail: message.detail })
    }
    this.#publish()
  }

  /** Connects to the exchange now, whatever pause there is. */
  protected reconnectFeed(): void {
    this.#feed.reconnectNow()
  }

  protected get isFeedLive(): boolean {
    return this.#feed.isLive
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const client = request.headers.get('kerb-client') ?? ''
    if (client !== '' && this.#hub.countSockets(client) >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#hub.accept(theirs, client, new URL(request.url).searchParams.get('passive') === 'true')
    this.#tick()
    return new Response(null, { status: 101, webSocket: ours })
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#hub.onMessage(socket, data)
    this.#arm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#hub.remove(socket)
    this.#onViewersLeft()
    this.#arm()
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override alarm(): void {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  /**
   * Cron's guard: an always-on feed is opened, and everything due is done, even if an alarm was lost. A pair that is
   * not `online` on the exchange opens none.
   */
  async ensureRunning(online: boolean): Promise<void> {
    this.ctx.storage.kv.put(OFFLINE_KEY, !online)
    this.#online = online
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async candles(query: CandleQuery): Promise<CandleQueryResult> {
    await this.#ensureHistory(query)
    this.#publish()
    const { granularity, start = 0, end = Number.MAX_SAFE_INTEGER, limit } = query
    const size = GRANULARITIES.indexOf(granularity)
    const candles = this.#aggregator.range(size, start, end, limit).map((bar) => this.#aggregator.toCandle(bar))
    const now = Math.floor(this.now() / 1000)
    const from = candles.length === limit && candles[0] ? Math.max(start, candles[0].timestamp) : start
    const gaps = this.#aggregator.tradeCoverage.gaps(from, Math.min(end, now + 1))
    return { candles, gaps, since: this.#recordStart(), position: this.#hub.position }
  }

  /** What a reader wants from before our own record is loaded before the answer: then Postgres has it. */
  async #ensureHistory({ granularity, start = 0, end = Number.MAX_SAFE_INTEGER, limit }: CandleQuery): Promise<void> {
    const size = GRANULARITY_SECONDS[granularity]
    const now = Math.floor(this.now() / 1000)
    const to = Math.min(end, now)
    const from = Math.max(start, to - Math.min(limit, MAX_HISTORY_CANDLES) * size)
    const since = this.#recordStart() ?? now
    if (this.#online && from < since) await this.#historyLoader.ensureLoaded(granularity, from, Math.min(to, since))
  }

  /** Every candle of the day that begins at `day` (unix seconds); null where this object's record is not the authority. */
  async dayCandles(day: number): Promise<Candle[] | null> {
    if (!this.#hasDay(day)) return null
    this.#publish()
    return GRANULARITIES.flatMap((_, size) =>
      this.#aggregator
        .range(size, day, day + DAY_S, Number.MAX_SAFE_INTEGER)
        .map((bar) => this.#aggregator.toCandle(bar)),
    )
  }

  /**
   * The audit's way in (C13): the exchange's own minutes of the day that begins at `day`, as far as they are over, are
   * taken as they are, and what was not so becomes a revision.
   * @returns false where this object's record is not the authority: then nothing has changed.
   */
  async repair(day: number, minutes: ExchangeCandle[]): Promise<boolean> {
    if (!this.#hasDay(day)) return false
    this.#publish()
    const closed = this.now() - this.#settings.CLOSE_GRACE_MS
    const over = Math.min(day + DAY_S, closed / 1000 - ((closed / 1000) % MINUTE_S)) - MINUTE_S
    this.#aggregator.reconcile(day, over, minutes, this.now(), 'audit')
    this.#publish()
    return true
  }

  #hasDay(day: number): boolean {
    const since = this.#recordStart()
    return since !== null && since <= day
  }

  async status(): Promise<ProductStatus> {
    return {
      product_id: this.#product,
      exchange: this.#settings.EXCHANGE,
      feed: { ...this.#feedState(), reconnects: this.#feed.reconnects, reason: this.#feed.reason },
      viewers: this.#hub.viewers,
      position: this.#hub.position,
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
        refused: { ...this.#refusals },
        sockets: this.ctx.getWebSockets().length,
        conflations: this.#hub.conflations,
        closedReaders: { ...this.#hub.closedConnections },
      },
    }
  }

  /** From here on this object's own record is the authority; null: it never had a feed. */
  #recordStart(): number | null {
    const [oldest] = this.#aggregator.range(0, 0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    return oldest ? oldest.start - (oldest.start % DAY_S) : null
  }

  #restore(): void {
    const bars = this.#store.loadBars()
    this.#aggregator.restore(bars.map(({ bar }) => bar))
    // The restored bars themselves are kept by the book; what Postgres lacks is looked up there.
    const lacking = bars.filter(({ unflushed, bar }) => unflushed && bar.complete)
    this.#writeBehind.add(lacking.map(({ bar }) => this.#aggregator.bar(bar.size, bar.start) ?? bar))
    this.#feedProcessor.onClose()
    this.#viewersLeftAt = this.now()
    this.#arm()
  }

  /** Everything that is due now, then the alarm for what comes next. */
  #tick(): void {
    this.#updateFeed()
    this.#feed.tick()
    this.#backfill.tick()
    this.#publish()
    this.#hub.tick()
    this.#writeBehind.tick()
    this.#dropOldDays()
    this.#arm()
  }

  #onViewersLeft(): void {
    if (this.#hub.viewers === 0) this.#viewersLeftAt = this.now()
  }

  get #isFeedWanted(): boolean {
    return this.#online && (this.#alwaysOn || this.#hub.viewers > 0)
  }

  /** Opens the feed for viewers or an always-on product, closes it a while after the last viewer has left. */
  #updateFeed(): void {
    const now = this.now()
    const wanted = this.#isFeedWanted
    if (wanted && now >= Math.max(this.#leaseRenewAt, this.#leaseRefusedUntil)) this.#acquireLease(now)
    const linger = this.#online ? this.#viewersLeftAt + this.#settings.FEED_LINGER_MS : 0
    if (wanted || this.#feed.isClosed || now < linger) return
    this.#feed.close(this.#online ? 'no viewers' : 'not traded')
    this.#leaseRenewAt = 0
    this.#track(feedSlots(this.env).release(this.#product))
  }

  #acquireLease(now: number): void {
    this.#leaseRenewAt = now + LEASE_RENEWAL_MS
    this.#track(
      feedSlots(this.env)
        .acquire(this.#product, now)
        .then((granted) => {
          this.#leaseRefusedUntil = granted ? 0 : this.now() + MAX_ALARM_INTERVAL_MS
          if (granted) this.#feed.open()
          else {
            this.#refusals.slots++
            this.#feed.close('too many open feeds')
          }
          this.#publish()
        }),
    )
  }

  /** Takes what has changed in the book: to SQLite when something is complete (C12), then to the viewers, then on. */
  #publish(): void {
    const bars = this.#aggregator.takeChanged(this.now())
    if (bars.length > 0) {
      for (const bar of bars) if (bar.size === 0 || bar.complete) this.#unsaved.add(bar)
      if (bars.some((bar) => bar.complete)) this.#checkpoint()
      else if (this.#unsavedSince === 0) this.#unsavedSince = this.now()
      this.#writeBehind.add(bars)
      this.#hub.broadcast(bars.map((bar) => this.#aggregator.toCandle(bar)))
    }
    this.#publishFeedState()
    this.#arm()
  }

  #checkpoint(): void {
    const state = { ledger: this.#aggregator.tradeCoverage.state(), lastGoodAt: this.#feedProcessor.lastGoodAt }
    this.#store.save(this.#unsaved, state, this.now())
    this.#unsaved.clear()
    this.#unsavedSince = 0
  }

  /** Sets the alarm to the least of everything due. */
  #arm(): void {
    const now = this.now()
    if (this.#unsavedSince !== 0 && now >= this.#unsavedSince + this.#settings.CHECKPOINT_INTERVAL_MS)
      this.#checkpoint()
    let due = Math.min(
      this.#aggregator.nextCloseAt,
      this.#feed.dueAt,
      this.#backfill.dueAt,
      this.#writeBehind.dueAt,
      this.#hub.dueAt,
    )
    if (this.#unsavedSince !== 0) due = Math.min(due, this.#unsavedSince + this.#settings.CHECKPOINT_INTERVAL_MS)
    if (!this.#feed.isClosed) due = Math.min(due, now + MAX_ALARM_INTERVAL_MS)
    if (this.#isFeedWanted) due = Math.min(due, Math.max(this.#leaseRenewAt, this.#leaseRefusedUntil))
    else if (!this.#feed.isClosed) due = Math.min(due, this.#viewersLeftAt + this.#settings.FEED_LINGER_MS)
    if (due >= this.#wakeAt) return
    this.#wakeAt = due
    this.wakeAt(Math.max(due, now))
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

  #feedState(): { state: FeedState; since: number; lastMessageAt: number | null } {
    const feed = this.#feed.getStatus()
    return this.#leaseRefusedUntil > this.now() ? { ...feed, state: 'refused' } : feed
  }

  #feedFrame(): string {
    const { state, since } = this.#feedState()
    const gaps_from = this.#aggregator.oldestOpenDay(this.now())
    return feedFrame({
      product_id: this.#product,
      exchange: this.#settings.EXCHANGE,
      state,
      since: new Date(since).toISOString(),
      gaps_from,
      gaps: this.#aggregator.tradeCoverage.gaps(gaps_from, Math.floor(this.now() / 1000) + 1),
    })
  }

  #publishFeedState(): void {
    // A gap that still goes on has no end that could change with every second.
    const gaps = this.#aggregator.tradeCoverage.gaps(
      this.#aggregator.oldestOpenDay(this.now()),
      Number.MAX_SAFE_INTEGER,
    )
    const told = `${this.#feedState().state} ${gaps}`
    if (told === this.#publishedFeedState) return
    this.#publishedFeedState = told
    this.#hub.broadcastText(this.#feedFrame())
  }

  #snapshot(mask: number): { candles: Candle[]; gaps: Gap[] } {
    const now = Math.floor(this.now() / 1000)
    const candles: Candle[] = []
    let oldest = now
    for (const granularity of getGranularities(mask)) {
      const bars = this.#aggregator.range(
        GRANULARITIES.indexOf(granularity),
        0,
        Number.MAX_SAFE_INTEGER,
        SNAPSHOT_CANDLES,
      )
      oldest = Math.min(oldest, now - SNAPSHOT_CANDLES * GRANULARITY_SECONDS[granularity], bars[0]?.start ?? now)
      for (const bar of bars) candles.push(this.#aggregator.toCandle(bar))
    }
    return { candles, gaps: this.#aggregator.tradeCoverage.gaps(oldest, now + 1) }
  }

  #changedGaps(): { range: Gap; gaps: Gap[] } | null {
    const range: Gap = [this.#aggregator.oldestOpenDay(this.now()), Math.floor(this.now() / 1000) + 1]
    const gaps = this.#aggregator.tradeCoverage.gaps(...range)
    return JSON.stringify(gaps) === this.#writtenGaps ? null : { range, gaps }
  }

  /** Once a day, and after a restart: what no trade and no hole can change any more, and Postgres has, is let go. */
  #dropOldDays(): void {
    const day = Math.floor(this.now() / 1000 / DAY_S)
    if (day === this.#cleanedDay || this.#writeBehind.pendingCount > 0) return
    this.#cleanedDay = day
    // A feed that was closed for longer begins anew; what lies between is loaded as history when a reader wants it.
    this.#aggregator.tradeCoverage.dropBefore((day - MAX_BACKFILL_DAYS) * DAY_S)
    const horizon = this.#aggregator.oldestOpenDay(this.now())
    this.#aggregator.dropBefore(horizon)
    this.#store.deleteBefore(horizon)
  }

  async #sign(): Promise<string | null> {
    const { COINBASE_API_KEY: name, COINBASE_PRIVATE_KEY: key } = this.#settings
    if (name === undefined || key === undefined) return null
    const pair = await readCoinbaseKey(name, key)
    if (pair.ok) return pair.sign(this.now())
    // Market data needs no token.
    this.#log('feed_key_invalid', { detail: pair.message })
    return null
  }

  #log(event: string, fields: Record<string, unknown>): void {
    console.log(JSON.stringify({ event, product: this.#product, ...fields }))
  }
}
