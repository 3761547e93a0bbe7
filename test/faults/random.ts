import { seededRandom } from '../../simulators/exchange/random.ts'

/** Milliseconds. */
export const SECOND_MS = 1_000
export const MINUTE_MS = 60_000

export type Random = ReturnType<typeof createRandom>

/** Draws from a seed: numbers in [0, 1), whole ones in [from, to), one of a list, true for a part of 1. */
export function createRandom(seed: number) {
  const next = seededRandom(seed)
  const between = (from: number, to: number) => from + Math.floor(next() * (to - from))
  const one = <T>(list: readonly T[]): T => list[between(0, list.length)] as T
  return { next, between, one, chance: (part: number) => next() < part }
}
