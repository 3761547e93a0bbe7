import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { CandleStore } from '../../../../durable-objects/candles/store.ts'
import { CandleWriteBehind } from '../../../../durable-objects/candles/write-behind.ts'
import type { ObjectContext } from '../../../../durable-objects/object-context.ts'
import type { Settings } from '../../../../src/config.ts'
import type { CandleAggregator } from '../../../../src/market/aggregator.ts'
import type { Bar } from '../../../../src/market/bar.ts'

const NOW = Date.UTC(2026, 10, 21)

const bar = (start: number, complete: boolean) => ({ granularity: 'ONE_MINUTE', start, rev: 0, complete }) as Bar

beforeEach(() => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
})
afterEach(() => vi.restoreAllMocks())

/** A write-behind whose clock moves by `tick` alone, and the starts of the candles of each write. */
function open() {
  let now = NOW
  const writes: number[][] = []
  const work: Promise<unknown>[] = []
  const database = { isOpen: true }
  const context: Pick<ObjectContext, 'now' | 'settings' | 'track' | 'log'> = {
    settings: { FLUSH_CLOSED_MS: 100, FLUSH_ROWS: 50, FLUSH_FORMING_MS: 5_000 } as Settings,
    now: () => now,
    track: (promise) => void work.push(promise),
    log: () => {},
  }
  const aggregator = {
    oldestOpenDay: () => 0,
    tradeCoverage: { gaps: () => [] },
    toCandle: ({ start }: Bar) => ({ timestamp: start }),
  } as unknown as CandleAggregator
  const store = { loadRevisions: () => [], markFlushed: () => {} } as unknown as CandleStore
  const pending = new CandleWriteBehind(context as ObjectContext, aggregator, store, async (candles) => {
    if (!database.isOpen) throw new Error('Postgres is unreachable')
    writes.push(candles.map(({ timestamp }) => timestamp))
  })
  /** Runs what is due at this many milliseconds. */
  const tick = async (ms: number) => {
    now = NOW + ms
    pending.tick()
    await Promise.all(work.splice(0))
  }
  return { pending, writes, tick, database }
}

test('C12 a complete candle is written after FLUSH_CLOSED_MS, a forming one after FLUSH_FORMING_MS', async () => {
  const { pending, writes, tick } = open()
  pending.add([bar(60, true), bar(120, false)])
  expect(pending.dueAt).toBe(NOW + 100)
  await tick(99)
  expect(writes).toEqual([])
  await tick(100)
  expect(writes).toEqual([[60]])
  expect(pending.dueAt).toBe(NOW + 5_000)
  await tick(5_000)
  expect(writes).toEqual([[60], [120]])
  expect(pending.dueAt).toBe(Number.POSITIVE_INFINITY)
})

test('C12 FLUSH_ROWS complete candles are written at once', async () => {
  const { pending, writes, tick } = open()
  pending.add(Array.from({ length: 49 }, (_, i) => bar(i * 60, true)))
  expect(pending.dueAt).toBe(NOW + 100)
  pending.add([bar(49 * 60, true)])
  expect(pending.dueAt).toBe(NOW)
  await tick(0)
  expect(writes.map((rows) => rows.length)).toEqual([50])
})

test('C12 a failed write is retried after a pause that doubles, with the latest state of each candle', async () => {
  const { pending, writes, tick, database } = open()
  pending.add([bar(60, true)])
  database.isOpen = false
  await tick(100)
  expect([pending.failures, pending.pendingCount, pending.dueAt]).toEqual([1, 1, NOW + 100 + 500])
  await tick(600)
  expect([pending.failures, pending.dueAt]).toEqual([2, NOW + 600 + 1_000])
  database.isOpen = true
  pending.add([bar(60, true), bar(120, true)])
  await tick(1_600)
  expect(writes).toEqual([[60, 120]])
  expect(pending.pendingCount).toBe(0)
})
