/**
 * Milliseconds to wait before the next attempt: exponential backoff with full jitter, anywhere between 0 and a ceiling
 * that starts at `minMs`, doubles with each failure and stops at `maxMs`.
 * @param failures failures in a row before this attempt, from 0
 * @param random a number in [0, 1)
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export const backoffMs = (failures: number, minMs: number, maxMs: number, random: number): number =>
  random * Math.min(maxMs, minMs * 2 ** Math.min(failures, 30))
