const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/**
 * Real milliseconds. `pauseMs` lies between two checks; `stallMs` is how long nothing may move before the wait is given
 * up. `signal` ends it at once.
 */
export type WaitOptions = { pauseMs: number; stallMs: number; signal?: AbortSignal }

/**
 * Checks what is `left` until that is 0, for as long as it keeps getting less. The wait is given up when it has not
 * reached a new low for `stallMs` and for half as many checks as would fit into that time if they took none of it: on a
 * busy machine a check takes longer, and so may everything that it waits for.
 * @returns whether nothing was left in the end
 */
export async function untilNothingIsLeft(
  left: () => number | Promise<number>,
  { pauseMs, stallMs, signal }: WaitOptions,
): Promise<boolean> {
  let least = Number.POSITIVE_INFINITY
  let movedAt = Date.now()
  let checks = 0
  while (!signal?.aborted) {
    const now = await left()
    if (now === 0) return true
    if (now < least) {
      least = now
      movedAt = Date.now()
      checks = 0
    } else if (++checks >= stallMs / pauseMs / 2 && Date.now() - movedAt >= stallMs) return false
    await sleep(pauseMs)
  }
  return false
}
