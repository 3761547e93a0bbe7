import type { Candle, CandleOrigin, Coverage } from '../protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity } from '../protocol/granularity.ts'
import type { Trade } from './coinbase.ts'
import { addUnits, compareDecimals, formatUnits, parseUnits, type Units } from './decimal.ts'

/**
 * Why a complete candle changed: a late trade, a fetched missing trade, the exchange's own candle, a change of coverage
 * alone, or a difference that the audit found.
 */
export type RevisionReason = 'late_trade' | 'backfill' | 'reconciled' | 'coverage' | 'audit'

/** A candle in the making: the trades of one interval, aggregated, and its state. Times are unix seconds. */
export type Bar = {
  granularity: Granularity
  start: number
  end: number
  open: string
  high: string
  low: string
  close: string
  /** The doubles of `high` and `low`: a trade beyond them needs no exact comparison. */
  highValue: number
  lowValue: number
  volume: Units
  /** Minute and id of the first and of the last trade; order is by minute, then by id, so that bars fold like minutes. */
  openMinute: number
  openId: number
  closeMinute: number
  closeId: number
  /** RFC 3339 time of the last trade, or of the reconciliation. */
  lastTime: string
  /** `exchange` if the exchange's own minutes are in the numbers (C9). */
  source: CandleOrigin
  complete: boolean
  rev: number
  /** The reason of the last revision; null without one. */
  reason: RevisionReason | null
  coverage: Coverage
  /** True if the numbers changed since the last `takeChanged`. */
  altered: boolean
  /** True if the next `takeChanged` has to check this bar. */
  touched: boolean
}

/** The numbers of a bar, as decimal text. */
export type Ohlcv = { open: string; high: string; low: string; close: string; volume: string }

/** A bar of one trade. */
export function newBar(granularity: Granularity, trade: Trade, price: number, quantity: Units): Bar {
  const seconds = GRANULARITY_SECONDS[granularity]
  const start = trade.minute - (trade.minute % seconds)
  return {
    granularity,
    start,
    end: start + seconds,
    open: trade.price,
    high: trade.price,
    low: trade.price,
    close: trade.price,
    highValue: price,
    lowValue: price,
    volume: quantity,
    openMinute: trade.minute,
    openId: trade.id,
    closeMinute: trade.minute,
    closeId: trade.id,
    lastTime: trade.time,
    source: 'trades',
    complete: false,
    rev: 0,
    reason: null,
    coverage: 'full',
    altered: true,
    touched: false,
  }
}

/** A minute with the exchange's own numbers. `time` is RFC 3339. */
export function barFromExchange(start: number, candle: Ohlcv, time: string): Bar {
  const trade: Trade = { product: '', id: 0, price: candle.open, size: candle.volume, time, minute: start }
  const bar = newBar('ONE_MINUTE', trade, Number(candle.open), parseUnits(candle.volume))
  const { high, low, close } = candle
  return { ...bar, high, low, close, highValue: Number(high), lowValue: Number(low), source: 'exchange' }
}

/** Adds a trade to a bar. The order of trades does not matter; each must be added once. */
export function addTrade(bar: Bar, trade: Trade, price: number, quantity: Units): void {
  updateHigh(bar, trade.price, price)
  updateLow(bar, trade.price, price)
  const { minute, id } = trade
  if (minute > bar.closeMinute || (minute === bar.closeMinute && id > bar.closeId)) {
    bar.close = trade.price
    bar.closeMinute = minute
    bar.closeId = id
    bar.lastTime = trade.time
  } else if (minute < bar.openMinute || (minute === bar.openMinute && id < bar.openId)) {
    bar.open = trade.price
    bar.openMinute = minute
    bar.openId = id
  }
  bar.volume = addUnits(bar.volume, quantity)
  bar.altered = true
}

/** Two decimals of up to 15 digits (and a point) that are the same double are equal. */
const EXACT_COMPARE_CHARS = 17

function updateHigh(bar: Bar, text: string, value: number): void {
  if (value < bar.highValue) return
  if (
    value === bar.highValue &&
    ((text.length < EXACT_COMPARE_CHARS && bar.high.length < EXACT_COMPARE_CHARS) ||
      compareDecimals(text, bar.high) <= 0)
  )
    return
  bar.high = text
  bar.highValue = value
}

function updateLow(bar: Bar, text: string, value: number): void {
  if (value > bar.lowValue) return
  if (
    value === bar.lowValue &&
    ((text.length < EXACT_COMPARE_CHARS && bar.low.length < EXACT_COMPARE_CHARS) || compareDecimals(text, bar.low) >= 0)
  )
    return
  bar.low = text
  bar.lowValue = value
}

/** Replaces the numbers of `bar` by those of `other`, of the same interval. Completeness, revision and coverage stay. */
export function replaceValues(bar: Bar, other: Bar): void {
  const { complete, rev, reason, coverage, touched } = bar
  Object.assign(bar, other, { complete, rev, reason, coverage, touched, altered: true })
}

/** One bar of a larger granularity from ascending minutes (C7); null without minutes. */
export function foldMinutes(granularity: Granularity, minutes: Iterable<Bar>): Bar | null {
  let bar: Bar | null = null
  for (const minute of minutes) {
    if (bar === null) {
      const seconds = GRANULARITY_SECONDS[granularity]
      const start = minute.start - (minute.start % seconds)
      bar = { ...minute, granularity, start, end: start + seconds, altered: true, touched: false }
      continue
    }
    updateHigh(bar, minute.high, minute.highValue)
    updateLow(bar, minute.low, minute.lowValue)
    bar.close = minute.close
    bar.closeMinute = minute.closeMinute
    bar.closeId = minute.closeId
    bar.lastTime = minute.lastTime
    bar.volume = addUnits(bar.volume, minute.volume)
    if (minute.source === 'exchange') bar.source = 'exchange'
  }
  return bar
}

/** A copy of a text. V8 makes a substring refer to the whole message, which would stay in memory with it. */
export const copyText = (text: string): string => ` ${text}`.slice(1)

/** True if two bars have the same numbers. */
export const hasSameValues = (a: Bar, b: Bar): boolean =>
  a.open === b.open &&
  a.high === b.high &&
  a.low === b.low &&
  a.close === b.close &&
  formatUnits(a.volume) === formatUnits(b.volume)

/** The candle that Kerb stores and sends. */
export function toCandle(bar: Bar, exchange: string, product: string): Candle {
  return {
    exchange,
    product_id: product,
    granularity: bar.granularity,
    timestamp: bar.start,
    open: bar.open,
    high: bar.high,
    low: bar.low,
    close: bar.close,
    volume: formatUnits(bar.volume),
    is_complete: bar.complete,
    coverage: bar.coverage,
    rev: bar.rev,
    last_update: bar.lastTime,
    source: bar.source,
  }
}
