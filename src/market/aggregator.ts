import type { Candle, Gap } from '../protocol/candle.ts'
import { GRANULARITIES, GRANULARITY_SECONDS, type Granularity } from '../protocol/granularity.ts'
import { DAY_S, MINUTE_S } from '../time.ts'
import {
  addTrade,
  type Bar,
  barFromExchange,
  copyText,
  foldMinutes,
  hasSameValues,
  newBar,
  type Ohlcv,
  type RevisionReason,
  replaceValues,
  toCandle,
} from './bar.ts'
import type { Trade } from './coinbase.ts'
import { TradeCoverage, type TradeCoverageState } from './coverage.ts'
import { parseUnits, type Units } from './decimal.ts'

/** See CLOSE_GRACE_MS and TRADE_WINDOW_MS. */
export type AggregatorOptions = { exchange: string; product: string; closeGraceMs: number; tradeWindowMs: number }

/** A minute from the exchange's REST; `start` is unix seconds. */
export type ExchangeCandle = Ohlcv & { start: number }

/** The bars of one granularity, by start. `newest` is where nearly every trade goes. */
type Series = { granularity: Granularity; seconds: number; bars: Map<number, Bar>; newest: Bar | undefined }

const newSeries = (granularity: Granularity): Series => ({
  granularity,
  seconds: GRANULARITY_SECONDS[granularity],
  bars: new Map(),
  newest: undefined,
})

/**
 * Aggregates the trades of one product to candles of all granularities. `addTrades` takes trades and `reconcile` the
 * exchange's own minutes; `takeChanged` returns what changed and closes candles by the clock. Holds the current UTC day
 * and, within the trade window, the day before, so that every larger candle can be folded again from its minutes.
 */
export class CandleAggregator {
  readonly exchange: string
  readonly product: string
  readonly tradeCoverage: TradeCoverage
  readonly #closeGraceMs: number
  readonly #tradeWindowMs: number
  readonly #series = Object.fromEntries(GRANULARITIES.map((name) => [name, newSeries(name)])) as Record<
    Granularity,
    Series
  >
  readonly #allSeries: readonly Series[] = Object.values(this.#series)
  readonly #minutes: Series = this.#series.ONE_MINUTE
  readonly #largerSeries = this.#allSeries.filter((series) => series !== this.#minutes)
  #touched: Bar[] = []
  /** The reason of the revisions that the current call makes. */
  #reason: RevisionReason = 'late_trade'
  readonly #forming = new Set<Bar>()
  /** When the next candle closes, its grace period included; unix milliseconds, infinite if none is forming. */
  nextCloseAt = Number.POSITIVE_INFINITY

  constructor(options: AggregatorOptions, coverage?: TradeCoverageState) {
    this.exchange = options.exchange
    this.product = options.product
    this.#closeGraceMs = options.closeGraceMs
    this.#tradeWindowMs = options.tradeWindowMs
    this.tradeCoverage = new TradeCoverage(coverage)
  }

  /**
   * Adds trades, in any order; a repeated one counts once (C2). Skips those of other products. Those older than the
   * trade window are only recorded as missing.
   * @param reason the reason of the revisions that result
   * @returns the number of new trades
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
    // The exchange's own candle has every trade of its minute.
    const current = this.#minutes.newest
    const minute = current?.start === trade.minute ? current : this.#minutes.bars.get(trade.minute)
    if (minute?.source === 'exchange') return
    const price = Number(trade.price)
    const quantity: Units = parseUnits(trade.size)
    for (const series of this.#allSeries) {
      const { newest } = series
      let bar: Bar | undefined
      if (newest !== undefined && trade.minute >= newest.start && trade.minute < newest.end) bar = newest
      else bar = series.bars.get(trade.minute - (trade.minute % series.seconds))
      if (bar === undefined) this.#add(newBar(series.granularity, trade, price, quantity))
      else {
        addTrade(bar, trade, price, quantity)
        this.#touch(bar)
      }
    }
  }

  #add(bar: Bar): void {
    const series = this.#series[bar.granularity]
    series.bars.set(bar.start, bar)
    if (bar.start >= (series.newest?.start ?? 0)) series.newest = bar
    if (!bar.complete) {
      this.#forming.add(bar)
      this.nextCloseAt = Math.min(this.nextCloseAt, bar.end * 1000 + this.#closeGraceMs)
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
   * Replaces our minutes of [from, to], both inclusive, by the exchange's own (C9), and folds larger candles from them.
   * A minute that only we have stays: the exchange omits those it has not written yet. A minute that only the exchange
   * has is added; in an audit it is complete at once, as revision 1, since its absence was published.
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
      const ours = this.#minutes.bars.get(candle.start)
      if (ours === undefined) this.#addLate(minute, now)
      else if (hasSameValues(ours, minute)) continue
      else {
        replaceValues(ours, minute)
        this.#touch(ours)
      }
      starts.add(candle.start)
    }
    for (const series of this.#largerSeries)
      for (const start of new Set([...starts].map((minute) => minute - (minute % series.seconds))))
        this.#refold(series, start, now)
    this.tradeCoverage.markComplete(from, to)
  }

  /** Adds a bar where there was none. */
  #addLate(bar: Bar, now: number): void {
    const complete = this.#reason === 'audit' && now >= bar.end * 1000 + this.#closeGraceMs
    this.#add({ ...bar, complete, rev: 0, reason: null })
  }

  #refold(series: Series, start: number, now: number): void {
    const folded = foldMinutes(series.granularity, this.#minutesBetween(start, start + series.seconds))
    if (folded === null) return
    const bar = series.bars.get(start)
    if (bar === undefined) this.#addLate(folded, now)
    else {
      replaceValues(bar, folded)
      this.#touch(bar)
    }
  }

  *#minutesBetween(start: number, end: number): Generator<Bar> {
    for (let minute = start; minute < end; minute += MINUTE_S) {
      const bar = this.#minutes.bars.get(minute)
      if (bar) yield bar
    }
  }

  /**
   * The bars whose numbers, coverage or completeness changed since the last call (C5). A change of a complete bar is a
   * new revision (C6).
   */
  takeChanged(now: number): Bar[] {
    const changed = this.tradeCoverage.takeChanged()
    if (changed !== null) this.#touchMinutes(changed)
    if (now >= this.nextCloseAt) this.#touchClosing(now)
    if (this.#touched.length === 0) return []
    const bars: Bar[] = []
    for (const bar of this.#touched) {
      bar.touched = false
      const coverage =
        bar.granularity === 'ONE_MINUTE' && bar.source === 'exchange'
          ? 'full'
          : this.tradeCoverage.coverage(bar.start, bar.end)
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
    if (now >= this.nextCloseAt) {
      this.nextCloseAt = Number.POSITIVE_INFINITY
      for (const bar of this.#forming)
        this.nextCloseAt = Math.min(this.nextCloseAt, bar.end * 1000 + this.#closeGraceMs)
    }
    return bars
  }

  #touchClosing(now: number): void {
    for (const bar of this.#forming) if (now >= bar.end * 1000 + this.#closeGraceMs) this.#touch(bar)
  }

  #touchMinutes([from, to]: Gap): void {
    for (const { seconds, bars, newest } of this.#allSeries) {
      const last = Math.min(to, newest?.start ?? -1)
      if ((last - from) / seconds > bars.size) {
        for (const bar of bars.values()) if (bar.start <= to && bar.end > from) this.#touch(bar)
      } else
        for (let start = from - (from % seconds); start <= last; start += seconds) {
          const bar = bars.get(start)
          if (bar) this.#touch(bar)
        }
    }
  }

  /** The bars of one granularity with start in [from, to), ascending; the last `limit` of them. */
  range(granularity: Granularity, from: number, to: number, limit: number): Bar[] {
    const bars = [...this.#series[granularity].bars.values()].filter((bar) => bar.start >= from && bar.start < to)
    return bars.sort((a, b) => a.start - b.start).slice(-limit)
  }

  /** The candles of `range`. */
  candles(granularity: Granularity, from: number, to: number, limit: number): Candle[] {
    return this.range(granularity, from, to, limit).map((bar) => this.toCandle(bar))
  }

  /** Start of the first day with a minute, unix seconds; null without minutes. */
  get firstDay(): number | null {
    const oldest = Math.min(...this.#minutes.bars.keys())
    return Number.isFinite(oldest) ? oldest - (oldest % DAY_S) : null
  }

  /** The bar of a granularity that starts at `start`, unix seconds. */
  bar(granularity: Granularity, start: number): Bar | undefined {
    return this.#series[granularity].bars.get(start)
  }

  /** The price and time of the newest minute's last trade. */
  lastTrade(): { price: string; time: string } | null {
    const bar = this.#minutes.newest
    return bar ? { price: bar.close, time: bar.lastTime } : null
  }

  toCandle(bar: Bar): Candle {
    return toCandle(bar, this.exchange, this.product)
  }

  /** Start of the oldest day that can still change, unix seconds. */
  oldestOpenDay(now: number): number {
    let oldest = now / 1000 - this.#tradeWindowMs / 1000
    for (const { from } of this.tradeCoverage.missing) if (from > 0) oldest = Math.min(oldest, from)
    // The next trade may turn this range into missing trades, and its day is folded again then.
    if (this.tradeCoverage.uncertain !== null) oldest = Math.min(oldest, this.tradeCoverage.uncertain.from)
    return oldest - (oldest % DAY_S)
  }

  /** Drops the bars before `start`, the start of a day. */
  dropBefore(start: number): void {
    for (const { bars } of this.#allSeries)
      for (const bar of bars.values()) {
        if (bar.start >= start) continue
        bars.delete(bar.start)
        this.#forming.delete(bar)
      }
  }

  /** Restores stored bars. Larger ones are folded from their minutes again; only their state is used. */
  restore(bars: readonly Bar[]): void {
    const stored = new Map(bars.map((bar) => [`${bar.granularity}/${bar.start}`, bar]))
    for (const bar of bars) if (bar.granularity === 'ONE_MINUTE') this.#add({ ...bar, touched: false })
    const minutes = this.range('ONE_MINUTE', 0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY)
    for (const { granularity, seconds } of this.#largerSeries) {
      for (const start of new Set(minutes.map((minute) => minute.start - (minute.start % seconds)))) {
        const folded = foldMinutes(granularity, this.#minutesBetween(start, start + seconds)) as Bar
        const previous = stored.get(`${granularity}/${start}`)
        this.#add({
          ...folded,
          complete: previous?.complete ?? false,
          rev: previous?.rev ?? 0,
          reason: previous?.reason ?? null,
          coverage: previous?.coverage ?? 'full',
          altered: previous === undefined || !hasSameValues(previous, folded),
        })
      }
    }
  }
}
