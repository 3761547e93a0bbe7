import { unionGaps } from '../../market/gaps.ts'
import type { Coverage, Gap, WireCandle } from '../../protocol/candle.ts'
import type { LiveCandle } from '../sdk/candles.ts'

/** One candle of a chart. `t` is its start in unix seconds; prices and volume are floats, for display only. */
export type Bar = {
  t: number
  o: number
  h: number
  l: number
  c: number
  v: number
  coverage: Coverage
  complete: boolean
  rev: number
}

/** The bars of one product and granularity, ascending by start without duplicates, and its gaps. */
export type Series = { bars: readonly Bar[]; gaps: readonly Gap[] }

/** What a chart must draw: nothing, these bars (`older`: not the last one), or everything. */
export type SeriesChange = { kind: 'none' } | { kind: 'bars'; bars: { bar: Bar; older: boolean }[] } | { kind: 'all' }

/** A slot on the time scale; empty if `bar` is null. */
export type Slot = { t: number; bar: Bar | null }

/** The coverage of a range of bars: how many have each coverage, and the gaps that touch the range. */
export type CoverageSummary = { full: number; partial: number; gap: number; gaps: Gap[] }

/** Most empty slots for one gap: enough to be visible, without moving the candles beside it off screen. */
const MAX_GAP_SLOTS = 30

export const toBar = (candle: WireCandle | LiveCandle): Bar => ({
  t: candle.timestamp,
  o: Number(candle.open),
  h: Number(candle.high),
  l: Number(candle.low),
  c: Number(candle.close),
  v: Number(candle.volume),
  coverage: candle.coverage,
  complete: candle.is_complete,
  rev: candle.rev,
})

const isSameBar = (a: Bar, b: Bar): boolean => (Object.keys(a) as (keyof Bar)[]).every((key) => a[key] === b[key])

/** Index of the first bar that does not start before `t`. Searches from the end: most updates are of the last bar. */
const lowerBound = (bars: readonly Bar[], t: number): number => bars.findLastIndex((bar) => bar.t < t) + 1

/**
 * Merges streamed bars into a series by their start: a bar replaces the one with the same start, otherwise it is inserted.
 * A bar with a lower revision, and a bar before the first one (it belongs to history that is not loaded), changes nothing
 * (C6, C11).
 */
export function mergeBars(series: Series, updates: readonly Bar[]): { series: Series; change: SeriesChange } {
  const bars = [...series.bars]
  const first = series.bars[0]?.t ?? Number.NEGATIVE_INFINITY
  const merged = new Map<number, Bar>()
  let inserted = false
  for (const bar of updates) {
    if (bar.t < first) continue
    const index = lowerBound(bars, bar.t)
    const known = bars[index]
    if (known?.t !== bar.t) {
      if (index < bars.length) inserted = true
      bars.splice(index, 0, bar)
    } else if (bar.rev < known.rev || isSameBar(known, bar)) {
      continue
    } else {
      bars[index] = bar
    }
    merged.set(bar.t, bar)
  }
  if (merged.size === 0) return { series, change: { kind: 'none' } }
  const next = { bars, gaps: series.gaps }
  if (inserted || series.bars.length === 0) return { series: next, change: { kind: 'all' } }
  // In order of time, since a chart only takes bars that it knows or that follow its last one.
  const last = series.bars.at(-1)!.t
  const changed = [...merged.values()].sort((a, b) => a.t - b.t).map((bar) => ({ bar, older: bar.t < last }))
  return { series: next, change: { kind: 'bars', bars: changed } }
}

/** Prepends older history to a series. For a start that both have, the bar of the series stays. */
export function prependBars(series: Series, older: Series): Series {
  const first = series.bars[0]?.t ?? Number.POSITIVE_INFINITY
  return {
    bars: [...older.bars.filter((bar) => bar.t < first), ...series.bars],
    gaps: unionGaps([...older.gaps, ...series.gaps]),
  }
}

/**
 * Replaces the part of a series that a snapshot spans. Returns null if bars may be missing between the series and the
 * snapshot: then history must be read again.
 */
export function applySnapshot(series: Series, snapshot: Series, sizeS: number): Series | null {
  const first = snapshot.bars[0]?.t
  const last = series.bars.at(-1)?.t
  if (first === undefined) return series.bars.length === 0 ? snapshot : null
  if (last !== undefined && first > last + sizeS) return null
  const earlier = series.bars.slice(0, lowerBound(series.bars, first))
  return { bars: [...earlier, ...snapshot.bars], gaps: replaceGapsFrom(series.gaps, first, snapshot.gaps) }
}

/** Replaces the gaps since `from`, unix seconds. */
export const replaceGaps = (series: Series, from: number, gaps: readonly Gap[]): Series => ({
  bars: series.bars,
  gaps: replaceGapsFrom(series.gaps, from, gaps),
})

const replaceGapsFrom = (known: readonly Gap[], from: number, gaps: readonly Gap[]): Gap[] =>
  unionGaps([...unionGaps(known, Number.NEGATIVE_INFINITY, from), ...gaps])

/**
 * The slots of a time scale: every bar, and an empty slot for each interval of `sizeS` seconds that lies in a gap and has
 * no bar. None follows the last bar, since a chart can only append after its last slot.
 */
export function timeSlots(series: Series, sizeS: number): Slot[] {
  const times = new Map<number, Bar | null>()
  const first = series.bars[0]?.t ?? Number.POSITIVE_INFINITY
  const last = series.bars.at(-1)?.t ?? Number.NEGATIVE_INFINITY
  for (const [from, to] of series.gaps) {
    const start = Math.max(Math.floor(from / sizeS) * sizeS, first)
    for (let t = start, n = 0; t < to && t < last && n < MAX_GAP_SLOTS; t += sizeS, n++) times.set(t, null)
  }
  for (const bar of series.bars) times.set(bar.t, bar)
  return [...times].sort(([a], [b]) => a - b).map(([t, bar]) => ({ t, bar }))
}

/** The coverage of the bars that start in [from, to], and the gaps that touch the time up to the end of the last one. */
export function summarizeCoverage(series: Series, from: number, to: number, sizeS: number): CoverageSummary {
  const summary: CoverageSummary = { full: 0, partial: 0, gap: 0, gaps: [] }
  for (const { t, coverage } of series.bars) if (t >= from && t <= to) summary[coverage]++
  summary.gaps = series.gaps.filter((gap) => gap[1] > from && gap[0] < to + sizeS)
  return summary
}

/** The number of decimals of a number. */
export function countDecimals(value: number): number {
  const [mantissa = '', exponent] = String(value).split('e')
  const fraction = mantissa.split('.')[1]?.length ?? 0
  return Math.max(0, fraction - (exponent ? Number(exponent) : 0))
}

/** The decimals that the prices of these bars need: the most that any of them has (the exchange trims zeros). */
export function priceDigits(bars: readonly Bar[]): number {
  let digits = 0
  for (const bar of bars)
    digits = Math.max(digits, countDecimals(bar.o), countDecimals(bar.h), countDecimals(bar.l), countDecimals(bar.c))
  return digits
}
