import { expect, test } from 'vitest'
import { Flush } from '../../durable-objects/flush.ts'
import type { Bar } from '../../src/market/bar.ts'
import type { Candle } from '../../src/protocol/candle.ts'

const NOW = Date.UTC(2026, 10, 21)

const bar = (start: number, complete: boolean): Bar => ({ size: 0, start, rev: 0, complete }) as unknown as Bar

/** A flush on a clock that stands still, and the starts of the candles of each write. */
function open() {
  const clock = { ms: NOW }
  const writes: number[][] = []
  const work: Promise<unknown>[] = []
  let refuses = false
  const flush = new Flush({
    closedWithin: 100,
    rows: 50,
    formingWithin: 5_000,
    now: () => clock.ms,
    random: () => 0.5,
    track: (promise) => work.push(promise),
    candle: ({ start }) => ({ timestamp: start }) as unknown as Candle,
    gaps: () => null,
    write: async (candles) => {
      if (refuses) throw new Error('Postgres is away')
      writes.push(candles.map(({ timestamp }) => timestamp))
    },
    flushed: () => {},
    log: () => {},
  })
  const tick = async (ms: number) => {
    clock.ms = NOW + ms
    flush.tick()
    await Promise.all(work.splice(0))
  }
  return { flush, writes, tick, refuse: (does: boolean) => (refuses = does) }
}

test('C12 a closed candle is written after FLUSH_CLOSED_MS, a forming one after FLUSH_FORMING_MS', async () => {
  const { flush, writes, tick } = open()
  flush.add([bar(60, true), bar(120, false)])
  expect(flush.due).toBe(NOW + 100)
  await tick(99)
  expect(writes).toEqual([])
  await tick(100)
  expect(writes).toEqual([[60]])
  expect(flush.due).toBe(NOW + 5_000)
  await tick(5_000)
  expect(writes).toEqual([[60], [120]])
  expect(flush.due).toBe(Number.POSITIVE_INFINITY)
})

test('C12 FLUSH_ROWS closed candles are written at once', async () => {
  const { flush, writes, tick } = open()
  flush.add(Array.from({ length: 49 }, (_, i) => bar(i * 60, true)))
  expect(flush.due).toBe(NOW + 100)
  flush.add([bar(49 * 60, true)])
  expect(flush.due).toBe(NOW)
  await tick(0)
  expect(writes.map((rows) => rows.length)).toEqual([50])
})

test('C12 a refused write is tried again after a pause that doubles, with the newest state of each candle', async () => {
  const { flush, writes, tick, refuse } = open()
  flush.add([bar(60, true)])
  refuse(true)
  await tick(100)
  expect([flush.failures, flush.waiting, flush.due]).toEqual([1, 1, NOW + 100 + 500])
  await tick(600)
  expect([flush.failures, flush.due]).toEqual([2, NOW + 600 + 1_000])
  refuse(false)
  flush.add([bar(60, true), bar(120, true)])
  await tick(1_600)
  expect(writes).toEqual([[60, 120]])
  expect(flush.waiting).toBe(0)
})
