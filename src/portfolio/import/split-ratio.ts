import { abs, compareAmounts, multiply, subtract } from './amount.ts'
import type { ActivityDraft } from './row.ts'

/** Splits have small whole numbers; brokers round the shares that result from them. */
const MAX_RATIO_PART = 1_000
const SHARE_TOLERANCE = '0.0002'

/**
 * The ratio of a split that turned `before` shares into `now`: the smallest whole numbers that give `now`, within the part
 * of a share that brokers round; the two quantities themselves where there are none.
 */
export function splitRatio(now: string, before: string): { numerator: string; denominator: string } {
  const allowed = multiply(now, SHARE_TOLERANCE)
  for (let denominator = 1; denominator <= MAX_RATIO_PART; denominator++) {
    const exact = (Number(now) / Number(before)) * denominator
    const numerator = Math.round(exact)
    if (numerator < 1 || numerator > MAX_RATIO_PART) continue
    const off = abs(subtract(multiply(before, `${numerator}`), multiply(now, `${denominator}`)))
    if (compareAmounts(off, multiply(allowed, `${denominator}`)) <= 0)
      return { numerator: `${numerator}`, denominator: `${denominator}` }
  }
  return { numerator: now, denominator: before }
}

/** The split of a draft's asset that turned `before` shares into `now`. */
export const splitDraft = (draft: ActivityDraft, now: string, before: string): ActivityDraft => ({
  ...draft,
  kind: 'split',
  quantity: '0',
  price: '0',
  split: splitRatio(now, before),
})
