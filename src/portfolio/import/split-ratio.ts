import { compare, minus, positive, times } from './amount.ts'

/** Splits are told in small whole numbers; brokers round the shares that follow from them. */
const MOST = 1_000
const NEAR = '0.0002'

/**
 * So many new shares for so many old ones: the smallest whole numbers that give `now` of `before`, to the part of a
 * share that brokers round; where there are none, the two as they are.
 */
export function splitRatio(now: string, before: string): { numerator: string; denominator: string } {
  const allowed = times(now, NEAR)
  for (let denominator = 1; denominator <= MOST; denominator++) {
    const exact = (Number(now) / Number(before)) * denominator
    const numerator = Math.round(exact)
    if (numerator < 1 || numerator > MOST) continue
    const off = positive(minus(times(before, `${numerator}`), times(now, `${denominator}`)))
    if (compare(off, times(allowed, `${denominator}`)) <= 0)
      return { numerator: `${numerator}`, denominator: `${denominator}` }
  }
  return { numerator: now, denominator: before }
}
