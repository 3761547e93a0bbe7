import type { Activity, Split } from './activity.ts'
import { type Decimal, parseDecimal } from './decimal.ts'
import { parseMicros } from './time.ts'

/** A split as it is applied: at the first instant of its day (UTC), in microseconds. */
export type AppliedSplit = { at: number; numerator: Decimal; denominator: Decimal }

const DAY_US = 86_400e6
/** The dates of one split, as entered and as reported by the provider, may differ by so much. */
const SAME_SPLIT_DAYS = 7

const parseSplit = (
  at: number,
  { numerator, denominator }: Pick<Split, 'numerator' | 'denominator'>,
): AppliedSplit => ({
  at,
  numerator: parseDecimal(numerator),
  denominator: parseDecimal(denominator),
})

const isSameSplit = (a: AppliedSplit, b: AppliedSplit): boolean =>
  Math.abs(a.at - b.at) <= SAME_SPLIT_DAYS * DAY_US &&
  a.numerator.times(b.denominator).eq(b.numerator.times(a.denominator))

/** A total order, also within a day, because each split is rounded. */
const compareSplits = (a: AppliedSplit, b: AppliedSplit): number =>
  a.at - b.at || a.numerator.cmp(b.numerator) || a.denominator.cmp(b.denominator)

/**
 * The splits of one asset up to `now` (microseconds), ascending. The same ratio within seven days is the same split;
 * reported splits take precedence over entered ones.
 */
export function splitsUntil(activities: readonly Activity[], market: readonly Split[], now: number): AppliedSplit[] {
  const reported = market.map((split) => parseSplit(Date.parse(split.ex_date) * 1000, split))
  const entered = activities.flatMap(({ kind, split, traded_at }) => {
    if (kind !== 'split' || split === null || parseMicros(traded_at) > now) return []
    const at = parseMicros(traded_at)
    return [parseSplit(at - (((at % DAY_US) + DAY_US) % DAY_US), split)]
  })
  const applied: AppliedSplit[] = []
  for (const split of [...reported.sort(compareSplits), ...entered.sort(compareSplits)])
    if (split.at <= now && !applied.some((known) => isSameSplit(known, split))) applied.push(split)
  return applied.sort(compareSplits)
}
