import { describe, expect, test } from 'vitest'
import {
  type BackfillLimits,
  NOTHING_REFUSED,
  nextBackfillStep,
  type RefusedRequests,
  TRADES_PER_PAGE,
} from '../../../src/market/backfill.ts'
import type { MissingTrades } from '../../../src/market/coverage.ts'

const HOUR = 3_600
/** 2026-03-01, 12:00 UTC, in seconds. */
const NOON = Date.UTC(2026, 2, 1, 12) / 1000
const NOW = NOON * 1000 + 30_000
const limits: BackfillLimits = { tradeWindowMs: 2 * HOUR * 1000, maxPages: 10, delayMs: 2_000, settleMs: 60_000 }

/** A hole of `missing` ids in the minutes [from, to], minutes after noon. */
function hole(missing: number, from: number, to: number, more: Partial<MissingTrades> = {}): MissingTrades {
  const [first, last] = [NOON + from * 60, NOON + to * 60]
  return {
    after: 1_000,
    before: 1_001 + missing,
    from: first,
    to: last,
    low: first,
    high: last,
    start: false,
    seenAt: NOW - limits.delayMs,
    pages: 0,
    failures: 0,
    pausedUntil: 0,
    ...more,
  }
}
const start = (missing: number, from: number, to: number, more: Partial<MissingTrades> = {}) =>
  hole(missing, from, to, { after: 0, before: missing + 1, start: true, ...more })

const step = (holes: MissingTrades[], refused: Partial<RefusedRequests> = {}, now = NOW) =>
  nextBackfillStep(holes, now, limits, () => ({ ...NOTHING_REFUSED, ...refused }))

/** A step with its minutes after noon. */
function summarize(found: ReturnType<typeof nextBackfillStep>): unknown {
  const minutes = (seconds: number) => (seconds - NOON) / 60
  if (found?.kind === 'trades') return ['trades', found.limit, found.floor === 0 ? null : minutes(found.floor)]
  if (found?.kind === 'candles') return ['candles', minutes(found.from), minutes(found.to)]
  return found && ['wait', minutes(found.until / 1000)]
}

describe('C9 the next backfill request', () => {
  // At 12:00:30, with a minute for the exchange to settle, the candle of 11:58 is the last that is surely written.
  test.each<[string, MissingTrades[], Partial<RefusedRequests>, unknown]>([
    ['nothing is missing', [], {}, null],
    ['the past before any trade is no hole', [start(Number.MAX_SAFE_INTEGER - 1, -720, 0)], {}, null],
    ['a few young trades', [hole(3, -5, -4)], {}, ['trades', 3, null]],
    ['a page and more', [hole(TRADES_PER_PAGE + 1, -5, -4)], {}, ['trades', TRADES_PER_PAGE, null]],
    ['as many as ten pages hold', [hole(10 * TRADES_PER_PAGE, -5, -4)], {}, ['trades', TRADES_PER_PAGE, null]],
    ['more than ten pages hold', [hole(10 * TRADES_PER_PAGE + 1, -50, -4)], {}, ['candles', -50, -4]],
    [
      'more, of minutes that are not written yet',
      [hole(10 * TRADES_PER_PAGE + 1, -1, 0)],
      {},
      ['trades', TRADES_PER_PAGE, -1],
    ],
    ['more, the minutes that are written first', [hole(10 * TRADES_PER_PAGE + 1, -9, 0)], {}, ['candles', -9, -2]],
    ['pages that are used up', [hole(5, -9, -3, { pages: 10 })], {}, ['candles', -9, -3]],
    ['pages that are nearly used up', [hole(TRADES_PER_PAGE + 1, -9, -3, { pages: 9 })], {}, ['candles', -9, -3]],
    ['just inside the trade window', [hole(5, -119, -118)], {}, ['trades', 5, null]],
    ['older than the trade window', [hole(5, -120, -118)], {}, ['candles', -120, -118]],
    ['at most a day of candles at once', [hole(5, -3000, -3)], {}, ['candles', -3000, -1560]],
    ['trades refused: candles', [hole(5, -9, -3)], { trades: true }, ['candles', -9, -3]],
    ['both refused: wait', [hole(5, -9, -3)], { trades: true, candles: true }, ['wait', 1]],
    ['trades refused, candles not written yet: wait', [hole(5, 0, 0)], { trades: true }, ['wait', 2]],
    ['the start: candles first', [start(500, -720, -10)], {}, ['candles', -720, -10]],
    ['the start, its newest minutes: trades down to there', [start(500, -1, 0)], {}, ['trades', 500, -1]],
    [
      'the start, candles refused: its newest minutes by trades',
      [start(500, -720, 0)],
      { candles: true },
      ['trades', 500, -1],
    ],
    ['the start, candles refused, nothing new', [start(500, -720, -10)], { candles: true }, ['wait', 1]],
    ['just found: wait for late messages', [hole(3, -5, -4, { seenAt: NOW })], {}, ['wait', 0.5 + 2 / 60]],
    ['paused: wait', [hole(3, -5, -4, { pausedUntil: NOW + 30_000 })], {}, ['wait', 1]],
    ['one waits, another is due', [hole(3, -5, -4, { seenAt: NOW }), hole(7, -9, -8)], {}, ['trades', 7, null]],
    [
      'several wait: until the first is due',
      [hole(3, -5, -4, { seenAt: NOW + 9_000 }), hole(7, -9, -8, { seenAt: NOW })],
      {},
      ['wait', 0.5 + 2 / 60],
    ],
  ])('C9 the next backfill request with missing trades: %s', (_, holes, refused, expected) => {
    expect(summarize(step(holes, refused))).toEqual(expected)
  })

  test('C9 a request that failed for some missing trades is made for the next ones', () => {
    const [first, second] = [start(500, -720, -300), hole(5, -200, -190)]
    const found = nextBackfillStep([first, second], NOW, limits, (one) =>
      one === first ? { trades: true, candles: true } : NOTHING_REFUSED,
    )
    expect(found).toMatchObject({ kind: 'candles', missing: second })
  })

  test('C9 after a wait there is a request to make', () => {
    for (const one of [hole(5, 0, 0), hole(5, -9, -3), hole(10 * TRADES_PER_PAGE + 1, -1, 0), start(9, -1, 0)]) {
      const waiting = step([one], { trades: true, candles: one.from < NOON - 60 })
      if (waiting?.kind !== 'wait') continue
      expect(waiting.until).toBeGreaterThan(NOW)
      expect(step([one], {}, waiting.until)?.kind).not.toBe('wait')
    }
  })
})
