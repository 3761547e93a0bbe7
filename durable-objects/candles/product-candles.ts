import { DurableObject } from 'cloudflare:workers'
import { coinbaseKey } from '../../src/auth/coinbase-jwt.ts'
import { type Settings, settings } from '../../src/config.ts'
import { replaceGaps, upsertCandles } from '../../src/db/candles.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { insertRevisions } from '../../src/db/revisions.ts'
import { granularitiesOf } from '../../src/delivery/channel-mask.ts'
import { CandleBook, type ExchangeCandle } from '../../src/market/aggregator.ts'
import type { Bar } from '../../src/market/bar.ts'
import { Intake } from '../../src/market/feed-processor.ts'
import type { Revision } from '../../src/market/revision.ts'
import { type CandleQuery, feedSlots, type HeldCandles, type ProductObject, productOfName } from '../../src/objects.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import { GRANULARITIES, SECONDS } from '../../src/protocol/granularity.ts'
import { feedFrame } from '../../src/protocol/messages.ts'
import type { FeedState, ProductStatus } from '../../src/protocol/product.ts'
import { Backfill } from './backfill.ts'
import { Audience } from './channels.ts'
import { ExchangeFeed } from './exchange-feed.ts'
import { History, type Loaded } from './history-loader.ts'
import { BarStore } from './store.ts'
import { Flush } from './write-behind.ts'

/** An open feed's alarm comes at least this often: the outgoing socket alone does not keep an object for long. */
const GUARD_MS = 30_000

/** The leave to keep a feed open is renewed this often; it lasts two minutes. */
const LEASE_MS = 60_000

/** Bars that one reader can have loaded at once: as many as one answer holds. */
const HISTORY_BARS = 1_000

/** Bars of each granularity in a snapshot. */
const SNAPSHOT_BARS = 100

const MINUTE = 60
const DAY = 86_400

/** Holes are healed at most this many days back: more minutes than that are no object's matter. */
const REACH_DAYS = 7

/** Key under which it is kept that the exchange does not trade the pair. */
const OFFLINE = 'offline'

/** Key under which it is kept which history was loaded. */
const LOADED = 'loaded'

/**
 * One product: its feed, its candles, its viewers, its way to Postgres. All it does is bring these together; what they
 * do is theirs. It has one clock, `now`, and one timer, `wakeAt`.
 */
export class ProductCandles extends DurableObject<Env> implements ProductObject {
  readonly #settings: Settings
  readonly #product: string
  readonly #store: BarStore
  readonly #book: CandleBook
  readonly #intake: Intake
  readonly #feed: ExchangeFeed
  readonly #backfill: Backfill
  readonly #flush: Flush
  readonly #history: History
  readonly #audience: Audience
  /** Bars that SQLite lacks. */
  readonly #unsaved = new Set<Bar>()
  #unsavedSince = 0
  /** Work that goes on between events: dialling, backfill, flush, the lease. */
  protected readonly work = new Set<Promise<unknown>>()
  readonly #alwaysOn: boolean
  #online: boolean
  #viewersLeftAt = 0
  #leaseAt = 0
  #refusedUntil = 0
  readonly #startedAt: number
  readonly #refusals = { exchange: 0, slots: 0 }
  #wakeAt = Number.POSITIVE_INFINITY
  /** The feed's state and the gaps as the viewers were last told. */
  #told = ''
  #day = 0
  #flushedGaps = ''

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const config = settings(env)
    this.#settings = config
    this.#product = productOfName(ctx.id.name ?? '')
    this.#startedAt = this.now()
    this.#alwaysOn = config.ALWAYS_ON.includes(this.#product)
    this.#online = ctx.storage.kv.get<boolean>(OFFLINE) !== true
    this.#store = new BarStore(ctx.storage)
    const stored = this.#store.state()
    const options = {
      exchange: config.EXCHANGE,
      product: this.#product,
      grace: config.CLOSE_GRACE_MS,
      kept: config.KEPT_MS,
    }
    this.#book = new CandleBook(options, stored?.ledger)
    this.#intake = new Intake(this.#book, config.CLOSE_GRACE_MS, stored?.lastGoodAt)
    const host = {
      now: () => this.now(),
      random: Math.random,
      track: (work: Promise<unknown>) => this.#track(work),
      log: (event: string, fields: Record<string, unknown>) => this.#log(event, fields),
    }
    this.#flush = new Flush({
      ...host,
      closedWithin: config.FLUSH_CLOSED_MS,
      rows: config.FLUSH_ROWS,
      formingWithin: config.FLUSH_FORMING_MS,
      candle: (bar) => this.#book.candle(bar),
      gaps: () => this.#changedGaps(),
      write: async (candles, gaps) => {
        await this.write(candles, gaps, this.#store.revisions(candles))
        if (gaps) this.#flushedGaps = JSON.stringify(gaps.gaps)
      },
      flushed: (bars) => this.#store.markFlushed(bars),
    })
    this.#backfill = new Backfill({
      ...host,
      book: this.#book,
      limits: {
        kept: config.KEPT_MS,
        pages: config.BACKFILL_PAGES,
        delay: config.BACKFILL_DELAY_MS,
        settle: config.RECONCILE_SETTLE_MS,
      },
      restUrl: config.COINBASE_REST_URL,
      exchangeUrl: config.COINBASE_EXCHANGE_URL,
      healed: () => this.#publish(),
    })
    this.#history = new History({
      ...host,
      exchange: config.EXCHANGE,
      product: this.#product,
      restUrl: config.COINBASE_REST_URL,
      retention: config.RETENTION,
      loaded: () => ctx.storage.kv.get<Loaded>(LOADED) ?? {},
      save: (loaded) => ctx.storage.kv.put(LOADED, loaded),
      write: (candles) => this.write(candles, null, []),
    })
    this.#feed = new ExchangeFeed({
      ...host,
      url: config.COINBASE_WS_URL,
      product: this.#product,
      silence: config.FEED_SILENCE_MS,
      dial: config.FEED_DIAL_MS,
      redialMin: config.REDIAL_MIN_MS,
      redialMax: config.REDIAL_MAX_MS,
      sign: () => this.#sign(),
      opened: () => this.#intake.opened(),
      received: (text) => this.received(text),
      lost: (reason) => {
        this.#intake.closed()
        this.#log('feed_lost', { reason })
      },
      changed: () => this.#publish(),
    })
    // A position of an object that has died proves nothing: the epoch is new.
    const epoch = crypto.randomUUID().replaceAll('-', '').slice(0, 16)
    this.#audience = new Audience(
      ctx,
      {
        product: this.#product,
        resumeFrames: config.RESUME_FRAMES,
        limits: {
          window: config.READER_WINDOW,
          beat: config.READER_BEAT_MS,
          silence: config.READER_SILENCE_MS,
          dead: config.READER_DEAD_MS,
        },
        now: () => this.now(),
        snapshot: (mask) => this.#snapshot(mask),
        feedFrame: () => this.#feedFrame(),
        left: () => this.#viewersLeft(),
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
  protected received(text: string): void {
    this.#feed.heard()
    const message = this.#intake.receive(text, this.now())
    if (message.kind === 'refused') {
      this.#refusals.exchange++
      this.#log('feed_refused', { detail: message.detail })
    }
    this.#publish()
  }

  /** Connects to the exchange now, whatever pause there is. */
  protected redial(): void {
    this.#feed.redial()
  }

  protected get feedIsLive(): boolean {
    return this.#feed.isLive
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const client = request.headers.get('kerb-client') ?? ''
    if (client !== '' && this.#audience.socketsOf(client) >= this.#settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': '10' } })
    const [ours, theirs] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.#audience.accept(theirs, client, new URL(request.url).searchParams.get('passive') === 'true')
    this.#tick()
    return new Response(null, { status: 101, webSocket: ours })
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#audience.receive(socket, data)
    this.#arm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.#audience.leave(socket)
    this.#viewersLeft()
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
  async guard(online: boolean): Promise<void> {
    this.ctx.storage.kv.put(OFFLINE, !online)
    this.#online = online
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#tick()
  }

  async candles(query: CandleQuery): Promise<HeldCandles> {
    await this.#ensureHistory(query)
    this.#publish()
    const { granularity, start = 0, end = Number.MAX_SAFE_INTEGER, limit } = query
    const size = GRANULARITIES.indexOf(granularity)
    const candles = this.#book.range(size, start, end, limit).map((bar) => this.#book.candle(bar))
    const now = Math.floor(this.now() / 1000)
    const from = candles.length === limit && candles[0] ? Math.max(start, candles[0].timestamp) : start
    const gaps = this.#book.ledger.gaps(from, Math.min(end, now + 1))
    return { candles, gaps, since: this.#since(), position: this.#audience.position }
  }

  /** What a reader wants from before our own record is loaded before the answer: then Postgres has it. */
  async #ensureHistory({ granularity, start = 0, end = Number.MAX_SAFE_INTEGER, limit }: CandleQuery): Promise<void> {
    const size = SECONDS[granularity]
    const now = Math.floor(this.now() / 1000)
    const to = Math.min(end, now)
    const from = Math.max(start, to - Math.min(limit, HISTORY_BARS) * size)
    const since = this.#since() ?? now
    if (this.#online && from < since) await this.#history.ensure(granularity, from, Math.min(to, since))
  }

  /** Every candle of the day that begins at `day` (unix seconds); null where this object's record is not the authority. */
  async heldDay(day: number): Promise<Candle[] | null> {
    if (!this.#holds(day)) return null
    this.#publish()
    return GRANULARITIES.flatMap((_, size) =>
      this.#book.range(size, day, day + DAY, Number.MAX_SAFE_INTEGER).map((bar) => this.#book.candle(bar)),
    )
  }

  /**
   * The audit's way in (C13): the exchange's own minutes of the day that begins at `day`, as far as they are over, are
   * taken as they are, and what was not so becomes a revision.
   * @returns false where this object's record is not the authority: then nothing has changed.
   */
  async repair(day: number, minutes: ExchangeCandle[]): Promise<boolean> {
    if (!this.#holds(day)) return false
    this.#publish()
    const closed = this.now() - this.#settings.CLOSE_GRACE_MS
    const over = Math.min(day + DAY, closed / 1000 - ((closed / 1000) % MINUTE)) - MINUTE
    this.#book.reconcile(day, over, minutes, this.now(), 'audit')
    this.#publish()
    return true
  }

  #holds(day: number): boolean {
    const since = this.#since()
    return since !== null && since <= day
  }

  async status(): Promise<ProductStatus> {
    return {
      product_id: this.#product,
      exchange: this.#settings.EXCHANGE,
      feed: { ...this.#feedState(), reconnects: this.#feed.reconnects, reason: this.#feed.reason },
      viewers: this.#audience.viewers,
      position: this.#audience.position,
      last: this.#book.last(),
      unflushed: this.#flush.waiting,
      flushFailures: this.#flush.failures,
      trades: { socket: this.#intake.counts.trades, rest: this.#backfill.trades },
      dropped: this.#intake.counts.dropped,
      counters: {
        since: this.#startedAt,
        messages: this.#intake.counts.messages,
        holes: this.#intake.counts.holes,
        backfill: { pages: this.#backfill.pages, refused: this.#backfill.refused },
        reconciliations: this.#backfill.reconciliations,
        reconnects: { ...this.#feed.losses },
        refused: { ...this.#refusals },
        sockets: this.ctx.getWebSockets().length,
        conflations: this.#audience.conflations,
        closedReaders: { ...this.#audience.closedReaders },
      },
    }
  }

  /** From here on this object's own record is the authority; null: it never had a feed. */
  #since(): number | null {
    const [oldest] = this.#book.range(0, 0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    return oldest ? oldest.start - (oldest.start % DAY) : null
  }

  #restore(): void {
    const bars = this.#store.bars()
    this.#book.restore(bars.map(({ bar }) => bar))
    // The restored bars themselves are kept by the book; what Postgres lacks is looked up there.
    const lacking = bars.filter(({ unflushed, bar }) => unflushed && bar.complete)
    this.#flush.add(lacking.map(({ bar }) => this.#book.bar(bar.size, bar.start) ?? bar))
    this.#intake.closed()
    this.#viewersLeftAt = this.now()
    this.#arm()
  }

  /** Everything that is due now, then the alarm for what comes next. */
  #tick(): void {
    this.#watchFeed()
    this.#feed.tick()
    this.#backfill.tick()
    this.#publish()
    this.#audience.tick()
    this.#flush.tick()
    this.#forgetOld()
    this.#arm()
  }

  #viewersLeft(): void {
    if (this.#audience.viewers === 0) this.#viewersLeftAt = this.now()
  }

  get #wanted(): boolean {
    return this.#online && (this.#alwaysOn || this.#audience.viewers > 0)
  }

  /** Opens the feed for viewers or an always-on product, closes it a while after the last viewer has left. */
  #watchFeed(): void {
    const now = this.now()
    const wanted = this.#wanted
    if (wanted && now >= Math.max(this.#leaseAt, this.#refusedUntil)) this.#lease(now)
    const linger = this.#online ? this.#viewersLeftAt + this.#settings.FEED_LINGER_MS : 0
    if (wanted || this.#feed.isClosed || now < linger) return
    this.#feed.close(this.#online ? 'no viewers' : 'not traded')
    this.#leaseAt = 0
    this.#track(feedSlots(this.env).release(this.#product))
  }

  #lease(now: number): void {
    this.#leaseAt = now + LEASE_MS
    this.#track(
      feedSlots(this.env)
        .acquire(this.#product, now)
        .then((granted) => {
          this.#refusedUntil = granted ? 0 : this.now() + GUARD_MS
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
    const bars = this.#book.drain(this.now())
    if (bars.length > 0) {
      for (const bar of bars) if (bar.size === 0 || bar.complete) this.#unsaved.add(bar)
      if (bars.some((bar) => bar.complete)) this.#checkpoint()
      else if (this.#unsavedSince === 0) this.#unsavedSince = this.now()
      this.#flush.add(bars)
      this.#audience.broadcast(bars.map((bar) => this.#book.candle(bar)))
    }
    this.#tellFeed()
    this.#arm()
  }

  #checkpoint(): void {
    const state = { ledger: this.#book.ledger.state(), lastGoodAt: this.#intake.lastGoodAt }
    this.#store.save(this.#unsaved, state, this.now())
    this.#unsaved.clear()
    this.#unsavedSince = 0
  }

  /** Sets the alarm to the least of everything due. */
  #arm(): void {
    const now = this.now()
    if (this.#unsavedSince !== 0 && now >= this.#unsavedSince + this.#settings.CHECKPOINT_MS) this.#checkpoint()
    let due = Math.min(this.#book.nextClose, this.#feed.due, this.#backfill.due, this.#flush.due, this.#audience.due)
    if (this.#unsavedSince !== 0) due = Math.min(due, this.#unsavedSince + this.#settings.CHECKPOINT_MS)
    if (!this.#feed.isClosed) due = Math.min(due, now + GUARD_MS)
    if (this.#wanted) due = Math.min(due, Math.max(this.#leaseAt, this.#refusedUntil))
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
    const feed = this.#feed.describe()
    return this.#refusedUntil > this.now() ? { ...feed, state: 'refused' } : feed
  }

  #feedFrame(): string {
    const { state, since } = this.#feedState()
    const gaps_from = this.#book.horizon(this.now())
    return feedFrame({
      product_id: this.#product,
      exchange: this.#settings.EXCHANGE,
      state,
      since: new Date(since).toISOString(),
      gaps_from,
      gaps: this.#book.ledger.gaps(gaps_from, Math.floor(this.now() / 1000) + 1),
    })
  }

  #tellFeed(): void {
    // A gap that still goes on has no end that could change with every second.
    const gaps = this.#book.ledger.gaps(this.#book.horizon(this.now()), Number.MAX_SAFE_INTEGER)
    const told = `${this.#feedState().state} ${gaps}`
    if (told === this.#told) return
    this.#told = told
    this.#audience.announce(this.#feedFrame())
  }

  #snapshot(mask: number): { candles: Candle[]; gaps: Gap[] } {
    const now = Math.floor(this.now() / 1000)
    const candles: Candle[] = []
    let oldest = now
    for (const granularity of granularitiesOf(mask)) {
      const bars = this.#book.range(GRANULARITIES.indexOf(granularity), 0, Number.MAX_SAFE_INTEGER, SNAPSHOT_BARS)
      oldest = Math.min(oldest, now - SNAPSHOT_BARS * SECONDS[granularity], bars[0]?.start ?? now)
      for (const bar of bars) candles.push(this.#book.candle(bar))
    }
    return { candles, gaps: this.#book.ledger.gaps(oldest, now + 1) }
  }

  #changedGaps(): { range: Gap; gaps: Gap[] } | null {
    const range: Gap = [this.#book.horizon(this.now()), Math.floor(this.now() / 1000) + 1]
    const gaps = this.#book.ledger.gaps(...range)
    return JSON.stringify(gaps) === this.#flushedGaps ? null : { range, gaps }
  }

  /** Once a day, and after a restart: what no trade and no hole can change any more, and Postgres has, is let go. */
  #forgetOld(): void {
    const day = Math.floor(this.now() / 1000 / DAY)
    if (day === this.#day || this.#flush.waiting > 0) return
    this.#day = day
    // A feed that was closed for longer begins anew; what lies between is loaded as history when a reader wants it.
    this.#book.ledger.giveUp((day - REACH_DAYS) * DAY)
    const horizon = this.#book.horizon(this.now())
    this.#book.forget(horizon)
    this.#store.forget(horizon)
  }

  async #sign(): Promise<string | null> {
    const { COINBASE_API_KEY: name, COINBASE_PRIVATE_KEY: key } = this.#settings
    if (name === undefined || key === undefined) return null
    const pair = await coinbaseKey(name, key)
    if (pair.ok) return pair.sign(this.now())
    // Market data needs no token.
    this.#log('bad_key', { detail: pair.message })
    return null
  }

  #log(event: string, fields: Record<string, unknown>): void {
    console.log(JSON.stringify({ event, product: this.#product, ...fields }))
  }
}
