import type { Candle, Coverage, Gap } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity } from '../../protocol/granularity.ts'

/** Options of `fillFlat`. Times in Unix seconds. */
export type FlatFillOptions = {
  granularity: Granularity
  /** The range to fill; nothing after `now` is filled. */
  from: number
  to: number
  now: number
  /** An interval is complete this long after its end. */
  graceS: number
  gaps: readonly Gap[]
  /** Until when the market is known: a dead feed knows nothing later. */
  knownUntil: number
}

/**
 * Fills every empty interval in [from, min(to, now)) with a flat candle (C10): all four prices are the close before it, and
 * its volume is 0. Intervals before the first candle stay empty, because no price is known there. A flat candle in a gap
 * has the coverage `gap`, so that a dead feed never looks like a quiet market (C8).
 * @param candles ascending; one before `from` only provides the first price
 */
export function fillFlat(candles: readonly Candle[], fill: FlatFillOptions): Candle[] {
  const sizeS = GRANULARITY_SECONDS[fill.granularity]
  const end = Math.min(fill.to, fill.now)
  const filled: Candle[] = []
  let previous: Candle | undefined
  const fillTo = (limit: number, next?: Candle) => {
    if (!previous) return
    // Between two partial candles, coverage cannot be better than partial.
    const best: Coverage = previous.coverage === 'partial' && next?.coverage === 'partial' ? 'partial' : 'full'
    const first = Math.max(previous.timestamp + sizeS, Math.ceil(fill.from / sizeS) * sizeS)
    for (let start = first; start < limit; start += sizeS) filled.push(flatCandle(previous, start, best, fill))
  }
  for (const candle of candles) {
    fillTo(candle.timestamp, candle)
    if (candle.timestamp >= fill.from) filled.push(candle)
    previous = candle
  }
  fillTo(end)
  return filled
}

function flatCandle(previous: Candle, start: number, best: Coverage, fill: FlatFillOptions): Candle {
  const end = start + GRANULARITY_SECONDS[fill.granularity]
  const unknown = Math.min(end, fill.now) > fill.knownUntil || fill.gaps.some(([a, b]) => a < end && b > start)
  const { close } = previous
  return {
    ...previous,
    timestamp: start,
    open: close,
    high: close,
    low: close,
    volume: '0',
    is_complete: end + fill.graceS <= fill.now,
    coverage: unknown ? 'gap' : best,
    rev: 0,
  }
}
