import { candlesOf, type Verdict } from './compare.ts'
import { untilNothingIsLeft } from './progress.ts'

/** Real milliseconds between two comparisons. */
const PAUSE_MS = 100

/**
 * `withinMs`: real milliseconds after which what is not right yet is late. As long may nothing get better before the
 * wait is given up. `now` is the market's clock, unix milliseconds.
 */
export type HealOptions = { withinMs: number; now(): number; signal?: AbortSignal }

/**
 * The last comparison; when it was right, by the market's clock, null if it never was; and the candles, by product and
 * key, that were not right in time but were in the end.
 */
export type Healing = { verdict: Verdict; healedAt: number | null; late: string[] }

/**
 * Compares until nothing is lost or wrong, for as long as that gets less.
 * @param compareAll throws while something cannot be read
 * @throws Error when nothing could be read in the end
 */
export async function heal(
  compareAll: () => Promise<Verdict>,
  { withinMs, now, signal }: HealOptions,
): Promise<Healing> {
  const began = Date.now()
  let verdict: Verdict = { compared: 0, lost: [], wrong: [] }
  let healedAt: number | null = null
  let lateCandles: Set<string> | null = null
  let failure: unknown = null
  const left = async (): Promise<number> => {
    const isInTime = Date.now() - began < withinMs
    const at = now()
    try {
      verdict = await compareAll()
      failure = null
    } catch (error) {
      // Something is still coming back.
      failure = error
      return Number.POSITIVE_INFINITY
    }
    if (!isInTime) lateCandles ??= candlesOf([...verdict.lost, ...verdict.wrong])
    if (verdict.compared === 0) return Number.POSITIVE_INFINITY
    const findings = verdict.lost.length + verdict.wrong.length
    if (findings === 0) healedAt = at
    return findings
  }
  await untilNothingIsLeft(left, { pauseMs: PAUSE_MS, stallMs: withinMs, signal })
  if (failure !== null) throw new Error('the candles could not be read at the end', { cause: failure })
  const never = candlesOf([...verdict.lost, ...verdict.wrong])
  const late = [...(lateCandles ?? [])].filter((candle) => !never.has(candle))
  return { verdict, healedAt, late }
}
