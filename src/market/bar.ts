import type { Candle, CandleOrigin, Coverage } from '../protocol/candle.ts'
import { GRANULARITIES, GRANULARITY_SECONDS } from '../protocol/granularity.ts'
import type { Trade } from './coinbase.ts'
import { addUnits, compareDecimals, formatUnits, parseUnits, type Units } from './decimal.ts'

/**
 * Why a complete candle changed: a trade came late, a missing one was fetched, the exchange's candle replaced ours, only
 * the coverage changed, or the audit found a difference.
 */
export type RevisionReason = 'late_trade' | 'backfill' | 'reconciled' | 'coverage' | 'audit'

/** Seconds of each granularity, by its index in `GRANULARITIES`. */
export const SECONDS_BY_INDEX: readonly number[] = GRANULARITIES.map((granularity) => GRANULARITY_SECONDS[granularity])

/** The fold of an interval's trades, and how far its life has come. Times are unix seconds. */
export type Bar = {
  /** Index of the granularity. */
  size: number
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
  /** Whose numbers these are: the fold's alone, or the exchange's own minutes are in them (C9). */
  source: CandleOrigin
  complete: boolean
  rev: number
  /** Why the last revision was made; null while there was none. */
  reason: RevisionReason | null
  coverage: Coverage
  /** The fold has changed since the bar was last told. */
  altered: boolean
  /** The bar waits to be looked at by the next `drain`. */
  touched: boolean
}

/** What a bar tells of trades, without its life. */
export type Ohlcv = { open: string; high: string; low: string; close: string; volume: string }

/** A bar that holds one trade. */
export function newBar(size: number, trade: Trade, price: number, quantity: Units): Bar {
  const length = SECONDS_BY_INDEX[size] as number
  const start = trade.minute - (trade.minute % length)
  return {
    size,
    start,
    end: start + length,
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

/** A minute as the exchange itself tells it. */
export function barFromExchange(start: number, candle: Ohlcv, time: string): Bar {
  const trade: Trade = { product: '', id: 0, price: candle.open, size: candle.volume, time, minute: start }
  const bar = newBar(0, trade, Number(candle.open), parseUnits(candle.volume))
  bar.high = candle.high
  bar.highValue = Number(candle.high)
  bar.low = candle.low
  bar.lowValue = Number(candle.low)
  bar.close = candle.close
  bar.source = 'exchange'
  return bar
}

/** Folds one more trade in; in any order the result is the same, given that no trade comes twice. */
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

/** Up to 15 digits (and a point) two decimals that are one double are one decimal. */
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

/** Replaces what `bar` tells of trades by what `other` tells. The life of `bar` goes on. */
export function replaceValues(bar: Bar, other: Bar): void {
  bar.open = other.open
  bar.high = other.high
  bar.low = other.low
  bar.close = other.close
  bar.highValue = other.highValue
  bar.lowValue = other.lowValue
  bar.volume = other.volume
  bar.openMinute = other.openMinute
  bar.openId = other.openId
  bar.closeMinute = other.closeMinute
  bar.closeId = other.closeId
  bar.lastTime = other.lastTime
  bar.source = other.source
  bar.altered = true
}

/** The fold of ascending minutes into one bar of a larger granularity (C7); null when there is none. */
export function foldMinutes(size: number, minutes: Iterable<Bar>): Bar | null {
  let bar: Bar | null = null
  for (const minute of minutes) {
    if (bar === null) {
      const length = SECONDS_BY_INDEX[size] as number
      const start = minute.start - (minute.start % length)
      bar = { ...minute, size, start, end: start + length, altered: true, touched: false }
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

/** The same text in memory of its own: V8 cuts longer texts out of a message so that they keep all of it alive. */
export const copyText = (text: string): string => ` ${text}`.slice(1)

/** Whether two bars tell the same numbers. */
export const hasSameValues = (a: Bar, b: Bar): boolean =>
  a.open === b.open &&
  a.high === b.high &&
  a.low === b.low &&
  a.close === b.close &&
  formatUnits(a.volume) === formatUnits(b.volume)

/** The bar as it travels. */
export function toCandle(bar: Bar, exchange: string, product: string): Candle {
  return {
    exchange,
    product_id: product,
    granularity: GRANULARITIES[bar.size] as Candle['granularity'],
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
