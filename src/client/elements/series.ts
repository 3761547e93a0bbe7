import type { Coverage, Gap, WireCandle } from '../../protocol/candle.ts'
import type { LiveCandle } from '../sdk/candles.ts'

/** One candle on a chart. `t` is its start in unix seconds; prices and volume are for showing only. */
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

/** The bars of one product and granularity, ascending and each start once, and the stretches in which trades are missing. */
export type Series = { bars: readonly Bar[]; gaps: readonly Gap[] }

/** What a chart has to do: nothing, move these bars (`older`: not its last one), or draw everything anew. */
export type SeriesChange = { kind: 'none' } | { kind: 'bars'; bars: { bar: Bar; older: boolean }[] } | { kind: 'all' }

/** A slot on the time scale: a bar, or nothing but its time. */
export type Slot = { t: number; bar: Bar | null }

/** What is known of a stretch of bars: how many of each coverage, and the gaps that touch it. */
export type CoverageSummary = { full: number; partial: number; gap: number; gaps: Gap[] }

/** Empty slots drawn for one gap at most: enough to be seen, not so many that the candles beside it leave the screen. */
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

const isSameBar = (a: Bar, b: Bar): boolean =>
  a.c === b.c &&
  a.v === b.v &&
  a.h === b.h &&
  a.l === b.l &&
  a.o === b.o &&
  a.rev === b.rev &&
  a.complete === b.complete &&
  a.coverage === b.coverage

/** Index of the first bar that does not start before `t`. */
function lowerBound(bars: readonly Bar[], t: number): number {
  let low = 0
  let high = bars.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (bars[middle]!.t < t) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Merges bars of the stream into a series, keyed by start: a known start is replaced, a later one is appended, one in
 * between is put in its place. A lower revision than the known one, and a bar before the first one (it belongs to
 * history that was never loaded), changes nothing (C6, C11).
 */
export function mergeBars(series: Series, updates: readonly Bar[]): { series: Series; change: SeriesChange } {
  const bars = [...series.bars]
  const first = series.bars[0]?.t ?? Number.NEGATIVE_INFINITY
  const moved = new Map<number, Bar>()
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
    moved.set(bar.t, bar)
  }
  if (moved.size === 0) return { series, change: { kind: 'none' } }
  const next = { bars, gaps: series.gaps }
  if (inserted || series.bars.length === 0) return { series: next, change: { kind: 'all' } }
  // In order of time, so that each bar is the last one, or a known one, when its turn comes.
  const last = series.bars.at(-1)!.t
  const changed = [...moved.values()].sort((a, b) => a.t - b.t).map((bar) => ({ bar, older: bar.t < last }))
  return { series: next, change: { kind: 'bars', bars: changed } }
}

/** Puts older history before a series; where both have a start, the series keeps its own bar. */
export function prependBars(series: Series, older: Series): Series {
  const first = series.bars[0]?.t ?? Number.POSITIVE_INFINITY
  return {
    bars: [...older.bars.filter((bar) => bar.t < first), ...series.bars],
    gaps: joinGaps(older.gaps, series.gaps),
  }
}

/**
 * A snapshot replaces all that it spans. Bars before its first one stay only if it continues them; otherwise there may
 * be a hole between, and `null` says that history must be read again.
 */
export function applySnapshot(series: Series, snapshot: Series, size: number): Series | null {
  const first = snapshot.bars[0]?.t
  const last = series.bars.at(-1)?.t
  if (first === undefined) return series.bars.length === 0 ? snapshot : null
  if (last !== undefined && first > last + size) return null
  const kept = series.bars.slice(0, lowerBound(series.bars, first))
  const keptGaps = series.gaps.filter(([from]) => from < first).map(([from, to]): Gap => [from, Math.min(to, first)])
  return { bars: [...kept, ...snapshot.bars], gaps: joinGaps(keptGaps, snapshot.gaps) }
}

/** The gaps from `from` on are these: what was known of that time before is replaced. */
export const replaceGaps = (series: Series, from: number, gaps: readonly Gap[]): Series => ({
  bars: series.bars,
  gaps: joinGaps(
    series.gaps.filter((gap) => gap[0] < from).map((gap): Gap => [gap[0], Math.min(gap[1], from)]),
    gaps,
  ),
})

function joinGaps(a: readonly Gap[], b: readonly Gap[]): Gap[] {
  const joined: Gap[] = []
  for (const [from, to] of [...a, ...b].sort((x, y) => x[0] - y[0])) {
    const last = joined.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else joined.push([from, to])
  }
  return joined
}

/**
 * The slots of a time scale: every bar, and an empty slot for each interval of `size` seconds that lies in a gap and has
 * no bar. None follows the last bar, since a chart can only move on from its last slot.
 */
export function timeSlots(series: Series, size: number): Slot[] {
  const times = new Map<number, Bar | null>()
  const first = series.bars[0]?.t ?? Number.POSITIVE_INFINITY
  const last = series.bars.at(-1)?.t ?? Number.NEGATIVE_INFINITY
  for (const [from, to] of series.gaps) {
    const start = Math.max(Math.floor(from / size) * size, first)
    for (let t = start, n = 0; t < to && t < last && n < MAX_GAP_SLOTS; t += size, n++) times.set(t, null)
  }
  for (const bar of series.bars) times.set(bar.t, bar)
  return [...times].sort(([a], [b]) => a - b).map(([t, bar]) => ({ t, bar }))
}

/** What is known of the bars that start in [from, to], and which gaps touch the time up to the end of the last one. */
export function summarizeCoverage(series: Series, from: number, to: number, size: number): CoverageSummary {
  const summary: CoverageSummary = { full: 0, partial: 0, gap: 0, gaps: [] }
  for (let i = lowerBound(series.bars, from); i < series.bars.length && series.bars[i]!.t <= to; i++)
    summary[series.bars[i]!.coverage]++
  summary.gaps = series.gaps.filter((gap) => gap[1] > from && gap[0] < to + size)
  return summary
}

/** Digits after the point as a number is written; exponents (below 1e-6) are resolved. */
export function countDecimals(value: number): number {
  const [mantissa = '', exponent] = String(value).split('e')
  const fraction = mantissa.split('.')[1]?.length ?? 0
  return Math.max(0, fraction - (exponent ? Number(exponent) : 0))
}

/** The digits that prices of these bars need: the most that any of them is written with (the exchange trims zeros). */
export function priceDigits(bars: readonly Bar[]): number {
  let digits = 0
  for (const bar of bars)
    digits = Math.max(digits, countDecimals(bar.o), countDecimals(bar.h), countDecimals(bar.l), countDecimals(bar.c))
  return digits
}
