const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/**
 * Real milliseconds: `pauseMs` between two checks, and `stallMs` without progress until the wait is given up. `signal`
 * ends the wait at once.
 */
export type WaitOptions = { pauseMs: number; stallMs: number; signal?: AbortSignal }

/**
 * Waits until `left` is 0, for as long as it keeps reaching new lows. Gives up when `stallMs` have passed without one, and
 * half as many checks as fit into that time if a check took none: on a busy machine a check takes longer, and so does
 * what it waits for.
 * @returns true when `left` is 0
 */
export async function waitWhileProgressing(
  left: () => number | Promise<number>,
  { pauseMs, stallMs, signal }: WaitOptions,
): Promise<boolean> {
  let least = Number.POSITIVE_INFINITY
  let progressAt = Date.now()
  let checks = 0
  while (!signal?.aborted) {
    const now = await left()
    if (now === 0) return true
    if (now < least) {
      least = now
      progressAt = Date.now()
      checks = 0
    } else if (++checks >= stallMs / pauseMs / 2 && Date.now() - progressAt >= stallMs) return false
    await sleep(pauseMs)
  }
  return false
}
