import { abs, compareAmounts, multiply, subtract } from './amount.ts'

/** Splits are told in small whole numbers; brokers round the shares that follow from them. */
const MAX_RATIO_PART = 1_000
const SHARE_TOLERANCE = '0.0002'

/**
 * So many new shares for so many old ones: the smallest whole numbers that give `now` of `before`, to the part of a
 * share that brokers round; where there are none, the two as they are.
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
