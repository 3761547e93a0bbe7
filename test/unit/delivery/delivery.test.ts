import { describe, expect, test } from 'vitest'
import {
  canSend,
  getCloseReason,
  getDueAt,
  markBehind,
  newDeliveryState,
  recordAck,
  recordMessage,
  recordSent,
  SLOW_SEND_INTERVAL_MS,
  SLOWDOWN_AFTER_FRAMES,
  skipTo,
} from '../../../src/delivery/delivery-state.ts'
import { UpdateLog } from '../../../src/delivery/update-log.ts'
import { type Candle, formatCandle } from '../../../src/protocol/candle.ts'
import type { Granularity } from '../../../src/protocol/granularity.ts'
import { candleUpdateFrame } from '../../../src/protocol/messages.ts'

const MINUTE = 1
const FIVE = 2
const BOTH = MINUTE | FIVE

const candle = (timestamp: number, close: number, granularity: Granularity = 'ONE_MINUTE'): Candle => ({
  exchange: 'simulated',
  product_id: 'BTC-USD',
  granularity,
  timestamp,
  open: '1',
  high: '2',
  low: '0.5',
  close: String(close),
  volume: '3',
  is_complete: false,
  coverage: 'full',
  rev: 0,
  last_update: '2024-01-06T19:00:31.52Z',
  source: 'trades',
})
const frame = (position: string, ...candles: Candle[]) => candleUpdateFrame(position, candles.map(formatCandle))

describe('D2 the log of updates', () => {
  test('gives from every offset exactly what came after it, to the last byte', () => {
    const log = new UpdateLog('e', 100)
    const frames: string[] = []
    for (let i = 1; i <= 100; i++) {
      const candles = [candle(60 * Math.floor(i / 10), i), candle(0, i, 'FIVE_MINUTES')]
      log.append(candles)
      frames.push(frame(`e-${i}`, ...candles))
    }
    for (let from = 0; from <= 100; from++) expect(log.framesSince(`e-${from}`, BOTH)).toEqual(frames.slice(from))
  })

  test('leaves out updates that hold nothing of what is wanted', () => {
    const log = new UpdateLog('e', 100)
    log.append([candle(0, 1)])
    log.append([candle(0, 2, 'FIVE_MINUTES')])
    log.append([candle(0, 3), candle(0, 3, 'FIVE_MINUTES')])
    expect(log.framesSince('e-0', FIVE)).toEqual([
      frame('e-2', candle(0, 2, 'FIVE_MINUTES')),
      frame('e-3', candle(0, 3, 'FIVE_MINUTES')),
    ])
  })

  test.each([1, 7, 1_000])('keeps the last %i updates, and proves nothing beyond them', (frames) => {
    const log = new UpdateLog('e', frames)
    for (let i = 1; i <= 2_500; i++) {
      log.append([candle(0, i)])
      if (i > 10 && i % 97 > 1) continue
      expect(log.framesSince(`e-${Math.max(0, i - frames)}`, MINUTE)).toHaveLength(Math.min(i, frames))
      if (i > frames) expect(log.framesSince(`e-${i - frames - 1}`, MINUTE)).toBeNull()
    }
  })

  test('without a length gives nothing but the present', () => {
    const log = new UpdateLog('e', 0)
    log.append([candle(0, 1)])
    expect([log.framesSince('e-1', MINUTE), log.framesSince('e-0', MINUTE)]).toEqual([[], null])
    expect(log.conflatedFrame(0, MINUTE)).toBe(frame('e-1', candle(0, 1)))
  })

  test('knows no other epoch, nothing that is not sent yet, and no other text', () => {
    const log = new UpdateLog('e', 100)
    log.append([candle(0, 1)])
    for (const text of ['f-0', 'e-2', 'e', '', 'e--1', 'e-0.5', 'BTC-USD:e-0'])
      expect(log.framesSince(text, MINUTE), text).toBeNull()
  })
})

describe('D3 the state of now', () => {
  test('is one frame with the last text of each candle that has changed, at the newest position', () => {
    const log = new UpdateLog('e', 100)
    log.append([candle(0, 1), candle(0, 1, 'FIVE_MINUTES')])
    log.append([candle(0, 2)])
    log.append([candle(60, 3), candle(0, 3, 'FIVE_MINUTES')])
    expect(log.conflatedFrame(0, BOTH)).toBe(frame('e-3', candle(0, 2), candle(60, 3), candle(0, 3, 'FIVE_MINUTES')))
    expect(log.conflatedFrame(1, MINUTE)).toBe(frame('e-3', candle(0, 2), candle(60, 3)))
    expect(log.conflatedFrame(2, FIVE)).toBe(frame('e-3', candle(0, 3, 'FIVE_MINUTES')))
    expect(log.conflatedFrame(3, BOTH)).toBeNull()
  })

  test('reaches past the log of single updates, for as long as its candles are known', () => {
    const log = new UpdateLog('e', 10)
    for (let i = 1; i <= 10_000; i++) log.append([candle(0, i)])
    expect(log.conflatedFrame(0, MINUTE)).toBe(frame('e-10000', candle(0, 10_000)))
  })

  test('is bounded by candles: beyond them it is not known, never partly known', () => {
    const log = new UpdateLog('e', 10, 4)
    for (let i = 1; i <= 4; i++) log.append([candle(i * 60, i)])
    expect(log.conflatedFrame(0, MINUTE)).toContain('"timestamp":60,')
    log.append([candle(300, 5)])
    expect(log.conflatedFrame(0, MINUTE)).toBeUndefined()
    expect(log.conflatedFrame(1, MINUTE)).toBe(frame('e-5', ...[2, 3, 4, 5].map((i) => candle(i * 60, i))))
  })

  test('is one update of whatever length for who lacks that alone', () => {
    const log = new UpdateLog('e', 10, 4)
    log.append([candle(0, 1)])
    const many = Array.from({ length: 9 }, (_, i) => candle(i * 60, i))
    log.append(many)
    expect(log.conflatedFrame(1, MINUTE)).toBe(frame('e-2', ...many))
    expect(log.conflatedFrame(0, MINUTE)).toBeUndefined()
    expect(log.framesSince('e-1', MINUTE)).toEqual([frame('e-2', ...many)])
  })
})

const LIMITS = { maxUnackedFrames: 3, sendIntervalMs: 100, idleTimeoutMs: 600_000, ackTimeoutMs: 60_000 }

describe('D3 a reader that acks', () => {
  test('gets frames while its window is open, and its window opens by what it acks', () => {
    const reader = newDeliveryState(0)
    recordAck(reader, null)
    for (let offset = 1; offset <= 3; offset++) {
      expect(canSend(reader, 0, LIMITS)).toBe(true)
      recordSent(reader, offset, 100)
    }
    expect(canSend(reader, 1_000_000, LIMITS)).toBe(false)
    recordAck(reader, 1)
    expect(canSend(reader, 0, LIMITS)).toBe(true)
    recordSent(reader, 200, 100)
    expect(canSend(reader, 0, LIMITS)).toBe(false)
    // One frame that held many updates is one of the window.
    recordAck(reader, 3)
    expect(reader.unackedOffsets).toEqual([200])
  })

  test('is let go when an update has waited for its acks for too long, however often it says something else', () => {
    const reader = newDeliveryState(0)
    recordAck(reader, null)
    for (let offset = 1; offset <= 3; offset++) recordSent(reader, offset, 100)
    expect([getCloseReason(reader, 1e9, LIMITS), getDueAt(reader, LIMITS)]).toEqual([null, Number.POSITIVE_INFINITY])
    markBehind(reader, 5_000)
    markBehind(reader, 9_000)
    recordMessage(reader, 64_000, 0)
    expect(getDueAt(reader, LIMITS)).toBe(65_000)
    expect([getCloseReason(reader, 64_999, LIMITS), getCloseReason(reader, 65_000, LIMITS)]).toEqual([null, 'slow'])
    recordSent(reader, 4, 0)
    expect(getCloseReason(reader, 1e9, LIMITS)).toBeNull()
  })
})

describe('D3 a reader that never acks', () => {
  test('gets the first frame at once, and the next when the beat is over', () => {
    const reader = newDeliveryState(0)
    expect(canSend(reader, 50, LIMITS)).toBe(true)
    recordSent(reader, 1, 150)
    expect(canSend(reader, 149, LIMITS)).toBe(false)
    markBehind(reader, 149)
    expect(getDueAt(reader, LIMITS)).toBe(150)
    expect(canSend(reader, 150, LIMITS)).toBe(true)
  })

  test('is let go after so long without a word, and not before', () => {
    const reader = newDeliveryState(1_000)
    expect([getCloseReason(reader, 600_999, LIMITS), getCloseReason(reader, 601_000, LIMITS)]).toEqual([null, 'silent'])
    recordMessage(reader, 600_000, 0)
    expect(getDueAt(reader, LIMITS)).toBe(1_200_000)
    recordAck(reader, null)
    expect(getCloseReason(reader, 1e9, LIMITS)).toBeNull()
  })

  test('gets few frames once nothing was heard of it for long, at moments that all such readers share', () => {
    const readers = [newDeliveryState(0), newDeliveryState(0)]
    const times = readers.map((reader, i) => {
      let now = i * 1_234
      let frames = 0
      while (now < LIMITS.idleTimeoutMs) {
        now = Math.max(now, reader.nextSendAt)
        recordSent(reader, ++frames, now + LIMITS.sendIntervalMs)
      }
      expect(frames).toBeLessThan(SLOWDOWN_AFTER_FRAMES + LIMITS.idleTimeoutMs / SLOW_SEND_INTERVAL_MS)
      return reader.nextSendAt % SLOW_SEND_INTERVAL_MS
    })
    expect(times).toEqual([0, 0])
    const [reader = newDeliveryState(0)] = readers
    recordMessage(reader, 600_000, 600_050)
    expect(reader.nextSendAt).toBe(600_050)
  })

  test('is not behind when nothing that it wants has changed', () => {
    const reader = newDeliveryState(0)
    markBehind(reader, 10)
    skipTo(reader, 7)
    expect(reader).toMatchObject({ sentOffset: 7, behindSince: null, framesSinceMessage: 0, nextSendAt: 0 })
  })
})
