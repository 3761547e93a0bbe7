import type { Gap } from '../protocol/candle.ts'

/** The union of gaps, cut to [from, to): ascending, not touching each other. */
export function unionGaps(gaps: readonly Gap[], from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY): Gap[] {
  const union: Gap[] = []
  for (const [start, end] of [...gaps].sort((a, b) => a[0] - b[0])) {
    const gap: Gap = [Math.max(start, from), Math.min(end, to)]
    const last = union.at(-1)
    if (gap[0] >= gap[1]) continue
    if (last && gap[0] <= last[1]) last[1] = Math.max(last[1], gap[1])
    else union.push(gap)
  }
  return union
}
