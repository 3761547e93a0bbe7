import type { Candle, Coverage, Gap } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity } from '../../protocol/granularity.ts'

/** What is asked of `fillFlat`. All times in unix seconds. */
export type FlatFillOptions = {
  granularity: Granularity
  /** First interval that is filled, and the end (exclusive) of what was asked; never later than now is filled. */
  from: number
  to: number
  now: number
  /** How long after its end an interval counts as over. */
  graceS: number
  gaps: readonly Gap[]
  /** The last moment that is known of the market: a feed that is dead knows nothing later. */
  knownUntil: number
}

/**
 * Puts a flat candle into every interval in [from, min(to, now)) that has none (C10): all four prices are the close
 * before it, its volume is 0. Nothing is put before the first candle, since no price is known there. A flat candle in
 * a gap says so, so that a dead feed never looks like a quiet market (C8).
 * @param candles ascending; one before `from` gives the price to begin with and is not part of the answer
 */
export function fillFlat(candles: readonly Candle[], fill: FlatFillOptions): Candle[] {
  const size = GRANULARITY_SECONDS[fill.granularity]
  const end = Math.min(fill.to, fill.now)
  const filled: Candle[] = []
  let previous: Candle | undefined
  const fillTo = (limit: number, next?: Candle) => {
    if (!previous) return
    // Between two bars of a time that we did not see whole, nothing better is known than of them.
    const best: Coverage = previous.coverage === 'partial' && next?.coverage === 'partial' ? 'partial' : 'full'
    const first = Math.max(previous.timestamp + size, Math.ceil(fill.from / size) * size)
    for (let start = first; start < limit; start += size) filled.push(flatCandle(previous, start, best, fill))
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
  const over = start + GRANULARITY_SECONDS[fill.granularity]
  const unknown = Math.min(over, fill.now) > fill.knownUntil || fill.gaps.some(([a, b]) => a < over && b > start)
  const { close } = previous
  return {
    ...previous,
    timestamp: start,
    open: close,
    high: close,
    low: close,
    volume: '0',
    is_complete: over + fill.graceS <= fill.now,
    coverage: unknown ? 'gap' : best,
    rev: 0,
  }
}
