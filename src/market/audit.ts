import type { Candle } from '../protocol/candle.ts'
import { GRANULARITIES, GRANULARITY_SECONDS, type Granularity } from '../protocol/granularity.ts'
import { type Bar, barFromExchange, foldMinutes, type Ohlcv } from './bar.ts'
import { compareDecimals, formatUnits } from './decimal.ts'

/** A candle from the exchange's REST; `start` is unix seconds. */
type ExchangeOhlcv = Ohlcv & { start: number }

/** Counts of one product, day and granularity. `compared` counts the candles that either side has. */
export type CandleComparison = { compared: number; equal: number; missingHere: number; missingThere: number }

/** A candle with its correct numbers. */
export type CandleRepair = Ohlcv & { granularity: Granularity; timestamp: number }

const hasSameValues = (a: Ohlcv, b: Ohlcv): boolean =>
  (['open', 'high', 'low', 'close', 'volume'] as const).every((key) => compareDecimals(a[key], b[key]) === 0)

/**
 * Compares closed candles with the exchange's own of the same range and granularity (C13). Decimals are compared by
 * value: `1.50` equals `1.5`. A candle of ours that still forms counts as missing.
 */
export function compareCandles(ours: readonly Candle[], theirs: readonly ExchangeOhlcv[]): CandleComparison {
  const closed = new Map(ours.filter((candle) => candle.is_complete).map((candle) => [candle.timestamp, candle]))
  const found = { equal: 0, different: 0, missingHere: 0 }
  for (const candle of theirs) {
    const candleHere = closed.get(candle.start)
    closed.delete(candle.start)
    found[candleHere === undefined ? 'missingHere' : hasSameValues(candleHere, candle) ? 'equal' : 'different']++
  }
  const { equal, different, missingHere } = found
  const missingThere = closed.size
  return { compared: equal + different + missingHere + missingThere, equal, missingHere, missingThere }
}

/** The share of equal candles as decimal text with at most six decimals, rounded down; null if none was compared. */
export function matchRate(equal: number, compared: number): string | null {
  if (compared === 0) return null
  if (equal === compared) return '1'
  const digits = String(Math.floor((equal * 1_000_000) / compared)).padStart(6, '0')
  return `0.${digits}`.replace(/\.?0+$/, '')
}

/**
 * The candles to write so that a day has the exchange's minutes and larger candles folded from them (C7): those with
 * wrong numbers or coverage, and those not complete. A minute that only we have stays and is folded too.
 * @param ours the day's candles of all granularities.
 * @param minutes the exchange's own of the same day, ascending.
 */
export function findRepairs(ours: readonly Candle[], minutes: readonly ExchangeOhlcv[]): CandleRepair[] {
  const known = new Map(ours.map((candle) => [`${candle.granularity}/${candle.timestamp}`, candle]))
  const theirs = new Set(minutes.map(({ start }) => start))
  const ownMinutes = ours
    .filter(({ granularity, is_complete, timestamp }) => {
      return granularity === 'ONE_MINUTE' && is_complete && !theirs.has(timestamp)
    })
    .map(({ timestamp, ...own }) => barFromExchange(timestamp, own, ''))
  const bars = [...minutes.map((minute) => barFromExchange(minute.start, minute, '')), ...ownMinutes]
  bars.sort((a, b) => a.start - b.start)
  return GRANULARITIES.flatMap((granularity) => foldInto(granularity, bars))
    .filter((bar) => bar.granularity !== 'ONE_MINUTE' || theirs.has(bar.start))
    .map(toRepair)
    .filter((repair) => {
      const own = known.get(`${repair.granularity}/${repair.timestamp}`)
      return !(own?.is_complete && own.coverage === 'full' && hasSameValues(own, repair))
    })
}

function foldInto(granularity: Granularity, minutes: readonly Bar[]): Bar[] {
  const groups = Map.groupBy(minutes, ({ start }) => start - (start % GRANULARITY_SECONDS[granularity]))
  return [...groups.values()].map((group) => foldMinutes(granularity, group) as Bar)
}

const toRepair = ({ granularity, start, open, high, low, close, volume }: Bar): CandleRepair => ({
  granularity,
  timestamp: start,
  open,
  high,
  low,
  close,
  volume: formatUnits(volume),
})
