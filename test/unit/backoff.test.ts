import { expect, test } from 'vitest'
import { backoffMs } from '../../src/backoff.ts'

test('the ceiling of the backoff starts at the minimum, doubles with each failure and stops at the maximum', () => {
  const ceilings = [0, 1, 2, 3, 4, 1_000].map((failures) => backoffMs(failures, 100, 1_000, 1))
  expect(ceilings).toEqual([100, 200, 400, 800, 1_000, 1_000])
})

test('the backoff has full jitter: the pause is a random share of the ceiling, from nothing on', () => {
  expect(backoffMs(3, 100, 10_000, 0)).toBe(0)
  expect(backoffMs(3, 100, 10_000, 0.25)).toBe(200)
})
