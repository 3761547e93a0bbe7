import { type ComparisonResult, candlesOf } from './compare.ts'
import { waitWhileProgressing } from './progress.ts'

/** Real milliseconds between two comparisons. */
const POLL_INTERVAL_MS = 100

/**
 * `withinMs`: real milliseconds within which everything must be right, and without progress until the wait is given up.
 * `now` is the market's clock, unix milliseconds.
 */
export type HealingOptions = { withinMs: number; now(): number; signal?: AbortSignal }

/**
 * `verdict` is the last comparison, and `healedAt` when it was right (unix milliseconds of the market), null: never.
 * `late` names the candles, by product and key, that became right after `withinMs`.
 */
export type Healing = { verdict: ComparisonResult; healedAt: number | null; late: string[] }

/**
 * Compares until nothing is lost or wrong, for as long as that gets less.
 * @param compareAll throws while a place cannot be read
 * @throws Error when a place could not be read in the end
 */
export async function waitForHealing(
  compareAll: () => Promise<ComparisonResult>,
  { withinMs, now, signal }: HealingOptions,
): Promise<Healing> {
  const began = Date.now()
  let verdict: ComparisonResult = { compared: 0, lost: [], wrong: [] }
  let healedAt: number | null = null
  let unhealedInTime: Set<string> | null = null
  let failure: unknown = null
  const countFindings = async (): Promise<number> => {
    const isInTime = Date.now() - began < withinMs
    const at = now()
    try {
      verdict = await compareAll()
      failure = null
    } catch (error) {
      // The Worker or Postgres is still coming back.
      failure = error
      return Number.POSITIVE_INFINITY
    }
    const findings = [...verdict.lost, ...verdict.wrong]
    if (!isInTime) unhealedInTime ??= candlesOf(findings)
    if (verdict.compared === 0) return Number.POSITIVE_INFINITY
    if (findings.length === 0) healedAt = at
    return findings.length
  }
  await waitWhileProgressing(countFindings, { pauseMs: POLL_INTERVAL_MS, stallMs: withinMs, signal })
  if (failure !== null) throw new Error('the candles could not be read at the end', { cause: failure })
  const unhealed = candlesOf([...verdict.lost, ...verdict.wrong])
  const late = [...(unhealedInTime ?? [])].filter((candle) => !unhealed.has(candle))
  return { verdict, healedAt, late }
}
