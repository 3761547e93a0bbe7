import type { Gap } from '../../protocol/candle.ts'

/** Gaps cut to [from, to), ascending; those that touch become one. */
export function clipGaps(gaps: readonly Gap[], from: number, to: number): Gap[] {
  const joined: Gap[] = []
  for (const [a, b] of [...gaps].sort((x, y) => x[0] - y[0])) {
    const gap: Gap = [Math.max(a, from), Math.min(b, to)]
    const last = joined.at(-1)
    if (gap[0] >= gap[1]) continue
    if (last && gap[0] <= last[1]) last[1] = Math.max(last[1], gap[1])
    else joined.push(gap)
  }
  return joined
}
