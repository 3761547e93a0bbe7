import type { Candle } from '../protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../protocol/granularity.ts'
import { type Bar, barOfExchange, foldMinutes, type Ohlcv, SIZES } from './bar.ts'
import { compareDecimals, unitsText } from './decimal.ts'

/** A candle as the exchange's REST tells it; `start` is unix seconds. */
type Theirs = Ohlcv & { start: number }

/** Candles of one product, day and granularity by what the audit found; `compared` are those that either side has. */
export type Comparison = { compared: number; equal: number; missingHere: number; missingThere: number }

/** A candle as it ought to be. */
export type Repair = Ohlcv & { granularity: Granularity; timestamp: number }

const sameNumbers = (a: Ohlcv, b: Ohlcv): boolean =>
  (['open', 'high', 'low', 'close', 'volume'] as const).every((key) => compareDecimals(a[key], b[key]) === 0)

/**
 * Compares closed candles with the exchange's own of the same stretch and granularity (C13). Decimals are compared, not
 * their texts: `1.50` is `1.5`. A candle of ours that is still forming counts as none.
 */
export function compareCandles(ours: readonly Candle[], theirs: readonly Theirs[]): Comparison {
  const closed = new Map(ours.filter((candle) => candle.is_complete).map((candle) => [candle.timestamp, candle]))
  const found = { equal: 0, different: 0, missingHere: 0 }
  for (const candle of theirs) {
    const own = closed.get(candle.start)
    closed.delete(candle.start)
    found[own === undefined ? 'missingHere' : sameNumbers(own, candle) ? 'equal' : 'different']++
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
export function repairs(ours: readonly Candle[], minutes: readonly Theirs[]): Repair[] {
  const known = new Map(ours.map((candle) => [`${candle.granularity}/${candle.timestamp}`, candle]))
  const theirs = new Set(minutes.map(({ start }) => start))
  const ownMinutes = ours
    .filter(({ granularity, is_complete, timestamp }) => {
      return granularity === 'ONE_MINUTE' && is_complete && !theirs.has(timestamp)
    })
    .map(({ timestamp, ...own }) => barOfExchange(timestamp, own, ''))
  const bars = [...minutes.map((minute) => barOfExchange(minute.start, minute, '')), ...ownMinutes]
  bars.sort((a, b) => a.start - b.start)
  return SIZES.flatMap((length, size) => fold(size, length, bars))
    .filter((bar) => bar.size > 0 || theirs.has(bar.start))
    .map(toRepair)
    .filter((repair) => {
      const own = known.get(`${repair.granularity}/${repair.timestamp}`)
      return !(own?.is_complete && own.coverage === 'full' && sameNumbers(own, repair))
    })
}

function fold(size: number, length: number, minutes: readonly Bar[]): Bar[] {
  const groups = Map.groupBy(minutes, ({ start }) => start - (start % length))
  return [...groups.values()].map((group) => foldMinutes(size, group) as Bar)
}

const toRepair = ({ size, start, open, high, low, close, volume }: Bar): Repair => ({
  granularity: GRANULARITIES[size] as Granularity,
  timestamp: start,
  open,
  high,
  low,
  close,
  volume: unitsText(volume),
})
