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
import { offsetInStream } from '../../../src/protocol/stream-position.ts'

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

describe('D2 resuming from the update log', () => {
  test('D2 resuming from any offset gives exactly the frames that came after it, byte for byte', () => {
    const log = new UpdateLog('e', 100)
    const frames: string[] = []
    for (let i = 1; i <= 100; i++) {
      const candles = [candle(60 * Math.floor(i / 10), i), candle(0, i, 'FIVE_MINUTES')]
      log.append(candles)
      frames.push(frame(`e-${i}`, ...candles))
    }
    for (let from = 0; from <= 100; from++) expect(log.framesSince(from, BOTH)).toEqual(frames.slice(from))
  })

  test('D2 updates without a subscribed granularity are left out', () => {
    const log = new UpdateLog('e', 100)
    log.append([candle(0, 1)])
    log.append([candle(0, 2, 'FIVE_MINUTES')])
    log.append([candle(0, 3), candle(0, 3, 'FIVE_MINUTES')])
    expect(log.framesSince(0, FIVE)).toEqual([
      frame('e-2', candle(0, 2, 'FIVE_MINUTES')),
      frame('e-3', candle(0, 3, 'FIVE_MINUTES')),
    ])
  })

  test.each([1, 7, 1_000])('D2 the last %i updates can be resumed, and no position before them', (frames) => {
    const log = new UpdateLog('e', frames)
    for (let i = 1; i <= 2_500; i++) {
      log.append([candle(0, i)])
      if (i > 10 && i % 97 > 1) continue
      expect(log.framesSince(Math.max(0, i - frames), MINUTE)).toHaveLength(Math.min(i, frames))
      if (i > frames) expect(log.framesSince(i - frames - 1, MINUTE)).toBeNull()
    }
  })

  test('D2 a log of length 0 resumes from the newest position only', () => {
    const log = new UpdateLog('e', 0)
    log.append([candle(0, 1)])
    expect([log.framesSince(1, MINUTE), log.framesSince(0, MINUTE)]).toEqual([[], null])
    expect(log.conflatedFrame(0, MINUTE)).toBe(frame('e-1', candle(0, 1)))
  })

  test('D2 a position of another epoch, one still ahead, and any other text cannot be resumed', () => {
    const stream = { epoch: 'e', offset: 1 }
    expect(['e-0', 'e-1'].map((text) => offsetInStream(text, stream))).toEqual([0, 1])
    for (const text of ['f-0', 'e-2', 'e', '', 'e--1', 'e-0.5', 'BTC-USD:e-0'])
      expect(offsetInStream(text, stream), text).toBeNull()
  })
})

describe('D3 conflated updates', () => {
  test('D3 a conflated frame has the latest text of each changed candle and the newest position', () => {
    const log = new UpdateLog('e', 100)
    log.append([candle(0, 1), candle(0, 1, 'FIVE_MINUTES')])
    log.append([candle(0, 2)])
    log.append([candle(60, 3), candle(0, 3, 'FIVE_MINUTES')])
    expect(log.conflatedFrame(0, BOTH)).toBe(frame('e-3', candle(0, 2), candle(60, 3), candle(0, 3, 'FIVE_MINUTES')))
    expect(log.conflatedFrame(1, MINUTE)).toBe(frame('e-3', candle(0, 2), candle(60, 3)))
    expect(log.conflatedFrame(2, FIVE)).toBe(frame('e-3', candle(0, 3, 'FIVE_MINUTES')))
    expect(log.conflatedFrame(3, BOTH)).toBeNull()
  })

  test('D3 conflation reaches further back than the log of single updates', () => {
    const log = new UpdateLog('e', 10)
    for (let i = 1; i <= 10_000; i++) log.append([candle(0, i)])
    expect(log.conflatedFrame(0, MINUTE)).toBe(frame('e-10000', candle(0, 10_000)))
  })

  test('D3 beyond the stored candles a connection gets a snapshot, never part of the changes', () => {
    const log = new UpdateLog('e', 10, 4)
    for (let i = 1; i <= 4; i++) log.append([candle(i * 60, i)])
    expect(log.conflatedFrame(0, MINUTE)).toContain('"timestamp":60,')
    log.append([candle(300, 5)])
    expect(log.conflatedFrame(0, MINUTE)).toBeUndefined()
    expect(log.conflatedFrame(1, MINUTE)).toBe(frame('e-5', ...[2, 3, 4, 5].map((i) => candle(i * 60, i))))
  })

  test('D3 a connection that lacks one update gets it whole, however many candles it has', () => {
    const log = new UpdateLog('e', 10, 4)
    log.append([candle(0, 1)])
    const many = Array.from({ length: 9 }, (_, i) => candle(i * 60, i))
    log.append(many)
    expect(log.conflatedFrame(1, MINUTE)).toBe(frame('e-2', ...many))
    expect(log.conflatedFrame(0, MINUTE)).toBeUndefined()
    expect(log.framesSince(1, MINUTE)).toEqual([frame('e-2', ...many)])
  })
})

const LIMITS = {
  MAX_UNACKED_FRAMES: 3,
  UNACKED_SEND_INTERVAL_MS: 100,
  CONNECTION_IDLE_TIMEOUT_MS: 600_000,
  ACK_TIMEOUT_MS: 60_000,
}

describe('D3 a connection that acks', () => {
  test('D3 a connection that acks gets frames while its window is open, and acks open it', () => {
    const state = newDeliveryState(0)
    recordAck(state, null)
    for (let offset = 1; offset <= 3; offset++) {
      expect(canSend(state, 0, LIMITS)).toBe(true)
      recordSent(state, offset, 100)
    }
    expect(canSend(state, 1_000_000, LIMITS)).toBe(false)
    recordAck(state, 1)
    expect(canSend(state, 0, LIMITS)).toBe(true)
    recordSent(state, 200, 100)
    expect(canSend(state, 0, LIMITS)).toBe(false)
    // One frame that held many updates is one of the window.
    recordAck(state, 3)
    expect(state.unackedOffsets).toEqual([200])
  })

  test('D3 a connection that acks is closed when an update has waited too long for an ack, whatever else it sends', () => {
    const state = newDeliveryState(0)
    recordAck(state, null)
    for (let offset = 1; offset <= 3; offset++) recordSent(state, offset, 100)
    expect([getCloseReason(state, 1e9, LIMITS), getDueAt(state, LIMITS)]).toEqual([null, Number.POSITIVE_INFINITY])
    markBehind(state, 5_000)
    markBehind(state, 9_000)
    recordMessage(state, 64_000, 0)
    expect(getDueAt(state, LIMITS)).toBe(65_000)
    expect([getCloseReason(state, 64_999, LIMITS), getCloseReason(state, 65_000, LIMITS)]).toEqual([null, 'slow'])
    recordSent(state, 4, 0)
    expect(getCloseReason(state, 1e9, LIMITS)).toBeNull()
  })
})

describe('D3 a connection that never acks', () => {
  test('D3 a connection that never acks gets the first frame at once and the next after the interval', () => {
    const state = newDeliveryState(0)
    expect(canSend(state, 50, LIMITS)).toBe(true)
    recordSent(state, 1, 150)
    expect(canSend(state, 149, LIMITS)).toBe(false)
    markBehind(state, 149)
    expect(getDueAt(state, LIMITS)).toBe(150)
    expect(canSend(state, 150, LIMITS)).toBe(true)
  })

  test('D3 a connection that never acks is closed after the idle timeout, and not before', () => {
    const state = newDeliveryState(1_000)
    expect([getCloseReason(state, 600_999, LIMITS), getCloseReason(state, 601_000, LIMITS)]).toEqual([null, 'silent'])
    recordMessage(state, 600_000, 0)
    expect(getDueAt(state, LIMITS)).toBe(1_200_000)
    recordAck(state, null)
    expect(getCloseReason(state, 1e9, LIMITS)).toBeNull()
  })

  test('D3 a connection that says nothing is slowed down, at moments that all such connections share', () => {
    const states = [newDeliveryState(0), newDeliveryState(0)]
    const times = states.map((state, i) => {
      let now = i * 1_234
      let frames = 0
      while (now < LIMITS.CONNECTION_IDLE_TIMEOUT_MS) {
        now = Math.max(now, state.nextSendAt)
        recordSent(state, ++frames, now + LIMITS.UNACKED_SEND_INTERVAL_MS)
      }
      expect(frames).toBeLessThan(SLOWDOWN_AFTER_FRAMES + LIMITS.CONNECTION_IDLE_TIMEOUT_MS / SLOW_SEND_INTERVAL_MS)
      return state.nextSendAt % SLOW_SEND_INTERVAL_MS
    })
    expect(times).toEqual([0, 0])
    const [state = newDeliveryState(0)] = states
    recordMessage(state, 600_000, 600_050)
    expect(state.nextSendAt).toBe(600_050)
  })

  test('D3 a connection is current when nothing it subscribes to has changed', () => {
    const state = newDeliveryState(0)
    markBehind(state, 10)
    skipTo(state, 7)
    expect(state).toMatchObject({
      progress: { kind: 'current', offset: 7 },
      framesSinceMessage: 0,
      nextSendAt: 0,
    })
  })
})
