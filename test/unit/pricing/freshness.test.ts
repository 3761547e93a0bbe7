import { describe, expect, test } from 'vitest'
import { effectiveIntervalS, freshUntil, staleReason } from '../../../src/pricing/freshness.ts'

const limits = { refresh_min_seconds: 15, refresh_max_seconds: 300 }

describe('Q2 the effective interval', () => {
  test.each([
    [[], 300],
    [[60], 60],
    [[60, 20, 120], 20],
    [[1], 15],
    [[86_400], 300],
    [[0, -5], 15],
  ])('Q2 the effective interval of %j is %i s', (intervals, seconds) =>
    expect(effectiveIntervalS(intervals, limits)).toBe(seconds),
  )
})

describe('Q1 the time to live', () => {
  const updatedAt = Date.parse('2025-12-03T10:00:00Z')
  const quote = { updated_at: '2025-12-03T10:00:00Z', market_state: 'open' as const }
  const settings = { closed_refresh_seconds: 900 }

  test('Q1 the time to live is the interval and two ticks, with the longer interval in a closed market', () => {
    expect(freshUntil(quote, 60, settings, 15_000)).toBe(updatedAt + 90_000)
    expect(freshUntil({ ...quote, market_state: null }, 60, settings, 15_000)).toBe(updatedAt + 90_000)
    expect(freshUntil({ ...quote, market_state: 'closed' }, 60, settings, 15_000)).toBe(updatedAt + 930_000)
    expect(freshUntil({ ...quote, market_state: 'closed' }, 1_000, settings, 15_000)).toBe(updatedAt + 1_030_000)
  })

  test('Q1 a value is stale, with its reason, only after its time to live', () => {
    expect(staleReason({ freshUntil: updatedAt, trouble: 'unavailable' }, updatedAt)).toBeNull()
    expect(staleReason({ freshUntil: updatedAt, trouble: 'unavailable' }, updatedAt + 1)).toBe('unavailable')
    expect(staleReason({ freshUntil: updatedAt, trouble: null }, updatedAt + 1)).toBe('expired')
  })
})
