import { expect, test } from 'vitest'
import { unionGaps } from '../../../src/market/gaps.ts'

test('C8 gaps are cut to the range, sorted, and joined where they touch', () => {
  expect(
    unionGaps(
      [
        [300, 400],
        [0, 100],
        [90, 200],
        [200, 220],
        [500, 600],
      ],
      50,
      350,
    ),
  ).toEqual([
    [50, 220],
    [300, 350],
  ])
})
