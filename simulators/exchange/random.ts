/**
 * Seeded numbers by integer arithmetic alone, so that the same seed gives the same market on every machine:
 * `Math.exp` and its kin may differ in the last bit from one engine to the next.
 */

const finalize = (value: number): number => {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** A 32-bit hash of two 32-bit numbers (the finisher of MurmurHash3). */
export const mix = (a: number, b: number): number => finalize((a ^ Math.imul(b, 0x9e3779b1)) + 0x7f4a7c15)

/** A 32-bit hash of a text (FNV-1a, finished). */
export function hashText(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return finalize(h)
}

/** A number in [-1, 1) that belongs to the integer `index`. */
export const lattice = (seed: number, index: number): number => mix(seed, index | 0) / 2_147_483_648 - 1

/** A generator of numbers in [0, 1) (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
