import { mix, seededRandom } from '../../simulators/exchange/random.ts'

/** Random values, the same ones for the same seed. */
export function createRandom(seed: number, of = 0) {
  const next = seededRandom(mix(seed, of))
  const under = (n: number): number => Math.floor(next() * n)
  const letters = (alphabet: string, length: number): string =>
    Array.from({ length }, () => alphabet[under(alphabet.length)]).join('')
  return {
    /** A whole number from 0 to `n` - 1. */
    under,
    chance: (p: number): boolean => next() < p,
    pick: <T>(of: readonly T[]): T => of[under(of.length)] as T,
    /** A random item, drawn by weight. */
    weighed<T extends { weight: number }>(of: readonly T[]): T {
      let at = next() * of.reduce((sum, { weight }) => sum + weight, 0)
      return of.find(({ weight }) => {
        at -= weight
        return at < 0
      }) as T
    },
    word: (length = 14): string => letters('abcdefghijkmnpqrstuvwxyz23456789', length),
    symbol: (length = 12): string => letters('ABCDEFGHJKLMNPQRSTUVWXYZ', length),
    digits: (length: number): string => letters('0123456789', length - 1) + letters('123456789', 1),
    uuid: (): string =>
      `${letters('0123456789abcdef', 8)}-${letters('0123456789abcdef', 4)}-4${letters('0123456789abcdef', 3)}-a${letters('0123456789abcdef', 3)}-${letters('0123456789abcdef', 12)}`,
  }
}
export type Random = ReturnType<typeof createRandom>
