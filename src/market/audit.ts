import type { Candle } from '../protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../protocol/granularity.ts'
import { type Bar, barFromExchange, foldMinutes, type Ohlcv, SECONDS_BY_INDEX } from './bar.ts'
import { compareDecimals, formatUnits } from './decimal.ts'

/** A candle as the exchange's REST tells it; `start` is unix seconds. */
type ExchangeOhlcv = Ohlcv & { start: number }

/** Candles of one product, day and granularity by what the audit found; `compared` are those that either side has. */
export type CandleComparison = { compared: number; equal: number; missingHere: number; missingThere: number }

/** A candle as it ought to be. */
export type CandleRepair = Ohlcv & { granularity: Granularity; timestamp: number }

const hasSameValues = (a: Ohlcv, b: Ohlcv): boolean =>
  (['open', 'high', 'low', 'close', 'volume'] as const).every((key) => compareDecimals(a[key], b[key]) === 0)

/**
 * Compares closed candles with the exchange's own of the same stretch and granularity (C13). Decimals are compared, not
 * their texts: `1.50` is `1.5`. A candle of ours that is still forming counts as none.
 */
export function compareCandles(ours: readonly Candle[], theirs: readonly ExchangeOhlcv[]): CandleComparison {
  const closed = new Map(ours.filter((candle) => candle.is_complete).map((candle) => [candle.timestamp, candle]))
  const found = { equal: 0, different: 0, missingHere: 0 }
  for (const candle of theirs) {
    const own = closed.get(candle.start)
    closed.delete(candle.start)
    found[own === undefined ? 'missingHere' : hasSameValues(own, candle) ? 'equal' : 'different']++
  }
  const { equal, different, missingHere } = found
  const missingThere = closed.size
  return { compared: equal + different + missingHere + missingThere, equal, missingHere, missingThere }
}

/** Candles that were equal among those compared, as decimal text with six digits, cut: `1` is all. Null of none. */
export function matchRate(equal: number, compared: number): string | null {
  if (compared === 0) return null
  if (equal === compared) return '1'
  const digits = String(Math.floor((equal * 1_000_000) / compared)).padStart(6, '0')
  return `0.${digits}`.replace(/\.?0+$/, '')
}

/**
 * What is to be written so that a day holds the exchange's minutes and larger candles that fold from them (C7): every
 * candle whose numbers, coverage or end are not as they ought to be. A minute that only we have stays, and is folded too.
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
  return SECONDS_BY_INDEX.flatMap((length, size) => foldInto(size, length, bars))
    .filter((bar) => bar.size > 0 || theirs.has(bar.start))
    .map(toRepair)
    .filter((repair) => {
      const own = known.get(`${repair.granularity}/${repair.timestamp}`)
      return !(own?.is_complete && own.coverage === 'full' && hasSameValues(own, repair))
    })
}

function foldInto(size: number, length: number, minutes: readonly Bar[]): Bar[] {
  const groups = Map.groupBy(minutes, ({ start }) => start - (start % length))
  return [...groups.values()].map((group) => foldMinutes(size, group) as Bar)
}

const toRepair = ({ size, start, open, high, low, close, volume }: Bar): CandleRepair => ({
  granularity: GRANULARITIES[size] as Granularity,
  timestamp: start,
  open,
  high,
  low,
  close,
  volume: formatUnits(volume),
})
