import type { Candle, Gap } from '../protocol/candle.ts'
import type { RevisionReason } from './bar.ts'
import {
  addTrade,
  type Bar,
  barFromExchange,
  copyText,
  foldMinutes,
  hasSameValues,
  newBar,
  type Ohlcv,
  replaceValues,
  SECONDS_BY_INDEX,
  toCandle,
} from './bar.ts'
import type { Trade } from './coinbase.ts'
import { TradeCoverage, type TradeCoverageState } from './coverage.ts'
import { parseUnits, type Units } from './decimal.ts'

const MINUTE_S = 60
const DAY_S = 86_400

/** What a book needs to know. `grace` and `kept` are milliseconds, see CLOSE_GRACE_MS and TRADE_WINDOW_MS. */
export type AggregatorOptions = { exchange: string; product: string; closeGraceMs: number; tradeWindowMs: number }

/** A minute as the exchange's REST tells it; `start` is unix seconds. */
export type ExchangeCandle = Ohlcv & { start: number }

/**
 * The candles of one product in all eight granularities. Trades go in by `apply`, the exchange's own minutes by
 * `reconcile`; `drain` gives what has changed since, closing by the clock what is over. Holds the current UTC day and
 * what `kept` reaches of the one before, so that every larger candle can be folded anew from its minutes.
 */
export class CandleAggregator {
  readonly exchange: string
  readonly product: string
  readonly tradeCoverage: TradeCoverage
  readonly #closeGraceMs: number
  readonly #tradeWindowMs: number
  /** Bars by start, one map a granularity. */
  readonly #bars: Map<number, Bar>[] = SECONDS_BY_INDEX.map(() => new Map())
  /** The newest bar of each granularity: where nearly every trade goes. */
  readonly #newest: (Bar | undefined)[] = SECONDS_BY_INDEX.map(() => undefined)
  #touched: Bar[] = []
  /** Why complete bars are being changed now. */
  #reason: RevisionReason = 'late_trade'
  readonly #forming = new Set<Bar>()
  #nextCloseAt = Number.POSITIVE_INFINITY

  constructor(options: AggregatorOptions, ledger?: TradeCoverageState) {
    this.exchange = options.exchange
    this.product = options.product
    this.#closeGraceMs = options.closeGraceMs
    this.#tradeWindowMs = options.tradeWindowMs
    this.tradeCoverage = new TradeCoverage(ledger)
  }

  /**
   * Folds trades in, in whatever order and however often they come (C2). Those of other products are left out, those
   * older than the kept time are only noted as missing.
   * @param reason of the revisions that this makes.
   * @returns how many were new.
   */
  addTrades(trades: readonly Trade[], now: number, reason: 'late_trade' | 'backfill' = 'late_trade'): number {
    this.#reason = reason
    const oldest = now / 1000 - this.#tradeWindowMs / 1000 - MINUTE_S
    let added = 0
    // Events hold the newest first: from the end, nearly every id is the next one.
    for (let i = trades.length - 1; i >= 0; i--) {
      const trade = trades[i] as Trade
      if (trade.product !== this.product) continue
      if (trade.minute < oldest) this.tradeCoverage.recordTooOld(trade.id, trade.minute, now)
      else if (this.tradeCoverage.record(trade.id, trade.minute, now)) {
        added++
        this.#fold(trade)
      }
    }
    return added
  }

  #fold(trade: Trade): void {
    // What the exchange's own candle tells holds every trade of its minute.
    const current = this.#newest[0]
    const minute = current?.start === trade.minute ? current : this.#bars[0]?.get(trade.minute)
    if (minute?.source === 'exchange') return
    const price = Number(trade.price)
    const quantity: Units = parseUnits(trade.size)
    for (let size = 0; size < SECONDS_BY_INDEX.length; size++) {
      const newest = this.#newest[size]
      let bar: Bar | undefined
      if (newest !== undefined && trade.minute >= newest.start && trade.minute < newest.end) bar = newest
      else bar = this.#bars[size]?.get(trade.minute - (trade.minute % (SECONDS_BY_INDEX[size] as number)))
      if (bar === undefined) this.#add(newBar(size, trade, price, quantity))
      else {
        addTrade(bar, trade, price, quantity)
        this.#touch(bar)
      }
    }
  }

  #add(bar: Bar): void {
    this.#bars[bar.size]?.set(bar.start, bar)
    if (bar.start >= (this.#newest[bar.size]?.start ?? 0)) this.#newest[bar.size] = bar
    if (!bar.complete) {
      this.#forming.add(bar)
      this.#nextCloseAt = Math.min(this.#nextCloseAt, bar.end * 1000 + this.#closeGraceMs)
    }
    this.#touch(bar)
  }

  #touch(bar: Bar): void {
    if (bar.touched) return
    bar.touched = true
    if (bar.complete) bar.reason = this.#reason
    this.#touched.push(bar)
  }

  /**
   * The exchange's own minutes of [from, to], both inclusive, replace ours there (C9); larger candles fold from them.
   * A minute that only we have stays: the exchange omits what it has not written yet. What only the exchange has is new,
   * but for an audit, to which its absence was a state of its own: it comes complete, as revision 1.
   */
  reconcile(
    from: number,
    to: number,
    candles: readonly ExchangeCandle[],
    now: number,
    reason: 'reconciled' | 'audit' = 'reconciled',
  ): void {
    this.#reason = reason
    const time = new Date(now).toISOString()
    const starts = new Set<number>()
    for (const candle of candles) {
      if (candle.start < from || candle.start > to) continue
      const minute = barFromExchange(candle.start, candle, time)
      const ours = this.#bars[0]?.get(candle.start)
      if (ours === undefined) this.#addLate(minute, now)
      else if (hasSameValues(ours, minute)) continue
      else {
        replaceValues(ours, minute)
        this.#touch(ours)
      }
      starts.add(candle.start)
    }
    for (let size = 1; size < SECONDS_BY_INDEX.length; size++) {
      const length = SECONDS_BY_INDEX[size] as number
      for (const start of new Set([...starts].map((minute) => minute - (minute % length))))
        this.#refold(size, start, now)
    }
    this.tradeCoverage.markComplete(from, to)
  }

  /** Adds a bar that there was none of. */
  #addLate(bar: Bar, now: number): void {
    const complete = this.#reason === 'audit' && now >= bar.end * 1000 + this.#closeGraceMs
    this.#add({ ...bar, complete, rev: 0, reason: null })
  }

  #refold(size: number, start: number, now: number): void {
    const folded = foldMinutes(size, this.#minutes(start, start + (SECONDS_BY_INDEX[size] as number)))
    if (folded === null) return
    const bar = this.#bars[size]?.get(start)
    if (bar === undefined) this.#addLate(folded, now)
    else {
      replaceValues(bar, folded)
      this.#touch(bar)
    }
  }

  *#minutes(start: number, end: number): Generator<Bar> {
    for (let minute = start; minute < end; minute += MINUTE_S) {
      const bar = this.#bars[0]?.get(minute)
      if (bar) yield bar
    }
  }

  /** Unix milliseconds at which the next candle is over and its grace is out; infinite when none is forming. */
  get nextCloseAt(): number {
    return this.#nextCloseAt
  }

  /**
   * Every bar that differs from what was last told: its numbers, its coverage, or that it is complete (C5). A change of
   * a complete bar is a new revision (C6).
   */
  takeChanged(now: number): Bar[] {
    const changed = this.tradeCoverage.takeChanged()
    if (changed !== null) this.#touchMinutes(changed)
    if (now >= this.#nextCloseAt) this.#touchClosing(now)
    if (this.#touched.length === 0) return []
    const bars: Bar[] = []
    for (const bar of this.#touched) {
      bar.touched = false
      const coverage =
        bar.size === 0 && bar.source === 'exchange' ? 'full' : this.tradeCoverage.coverage(bar.start, bar.end)
      const closes = !bar.complete && now >= bar.end * 1000 + this.#closeGraceMs
      if (!bar.altered && !closes && coverage === bar.coverage) continue
      if (bar.complete) {
        bar.rev++
        if (!bar.altered) bar.reason = 'coverage'
      } else if (closes) {
        bar.complete = true
        bar.lastTime = copyText(bar.lastTime)
        this.#forming.delete(bar)
      }
      bar.coverage = coverage
      bar.altered = false
      bars.push(bar)
    }
    this.#touched = []
    if (now >= this.#nextCloseAt) {
      this.#nextCloseAt = Number.POSITIVE_INFINITY
      for (const bar of this.#forming)
        this.#nextCloseAt = Math.min(this.#nextCloseAt, bar.end * 1000 + this.#closeGraceMs)
    }
    return bars
  }

  #touchClosing(now: number): void {
    for (const bar of this.#forming) if (now >= bar.end * 1000 + this.#closeGraceMs) this.#touch(bar)
  }

  #touchMinutes([from, to]: Gap): void {
    for (let size = 0; size < SECONDS_BY_INDEX.length; size++) {
      const length = SECONDS_BY_INDEX[size] as number
      const bars = this.#bars[size] as Map<number, Bar>
      const newest = this.#newest[size]?.start ?? -1
      if ((Math.min(to, newest) - from) / length > bars.size) {
        for (const bar of bars.values()) if (bar.start <= to && bar.end > from) this.#touch(bar)
      } else
        for (let start = from - (from % length); start <= Math.min(to, newest); start += length) {
          const bar = bars.get(start)
          if (bar) this.#touch(bar)
        }
    }
  }

  /** The bars of one granularity (its index) with start in [from, to), ascending; the last `limit` of them. */
  range(size: number, from: number, to: number, limit: number): Bar[] {
    const bars = [...(this.#bars[size] as Map<number, Bar>).values()].filter(
      (bar) => bar.start >= from && bar.start < to,
    )
    return bars.sort((a, b) => a.start - b.start).slice(-limit)
  }

  /** One bar, by the index of its granularity and its start. */
  bar(size: number, start: number): Bar | undefined {
    return this.#bars[size]?.get(start)
  }

  /** The newest minute's last price and its time. */
  lastTrade(): { price: string; time: string } | null {
    const bar = this.#newest[0]
    return bar ? { price: bar.close, time: bar.lastTime } : null
  }

  toCandle(bar: Bar): Candle {
    return toCandle(bar, this.exchange, this.product)
  }

  /** Start of the oldest day that a trade or a hole may still change, unix seconds. */
  oldestOpenDay(now: number): number {
    let oldest = now / 1000 - this.#tradeWindowMs / 1000
    for (const hole of this.tradeCoverage.missing) if (hole.from > 0) oldest = Math.min(oldest, hole.from)
    // What is in doubt becomes a hole with the next trade: its day must be whole then, to be folded anew.
    if (this.tradeCoverage.uncertain !== null) oldest = Math.min(oldest, this.tradeCoverage.uncertain.from)
    return oldest - (oldest % DAY_S)
  }

  /** Forgets what is older than `start`, the start of a day. */
  dropBefore(start: number): void {
    for (const bars of this.#bars)
      for (const bar of bars.values()) {
        if (bar.start >= start) continue
        bars.delete(bar.start)
        this.#forming.delete(bar)
      }
  }

  /** Takes stored bars back: minutes with their numbers, larger ones with their lives; the larger are folded anew. */
  restore(bars: readonly Bar[]): void {
    const lives = new Map(bars.filter((bar) => bar.size > 0).map((bar) => [`${bar.size}/${bar.start}`, bar]))
    for (const bar of bars) if (bar.size === 0) this.#add({ ...bar, touched: false })
    const minutes = this.range(0, 0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
    for (let size = 1; size < SECONDS_BY_INDEX.length; size++) {
      const length = SECONDS_BY_INDEX[size] as number
      for (const start of new Set(minutes.map((minute) => minute.start - (minute.start % length)))) {
        const folded = foldMinutes(size, this.#minutes(start, start + length)) as Bar
        const life = lives.get(`${size}/${start}`)
        this.#add({
          ...folded,
          complete: life?.complete ?? false,
          rev: life?.rev ?? 0,
          reason: life?.reason ?? null,
          coverage: life?.coverage ?? 'full',
          altered: life === undefined || !hasSameValues(life, folded),
        })
      }
    }
  }
}
