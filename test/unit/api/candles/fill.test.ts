import { describe, expect, test } from 'vitest'
import { type FlatFillOptions, fillFlat } from '../../../../src/api/candles/fill.ts'
import type { Candle, Coverage } from '../../../../src/protocol/candle.ts'

const candle = (timestamp: number, close = '10', coverage: Coverage = 'full'): Candle => ({
  exchange: 'coinbase',
  product_id: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  timestamp,
  open: '1',
  high: '20',
  low: '1',
  close,
  volume: '3',
  is_complete: true,
  coverage,
  rev: 2,
  last_update: '2024-01-06T19:00:31.52Z',
  source: 'trades',
})

const fill = (candles: Candle[], over: Partial<FlatFillOptions> = {}) =>
  fillFlat(candles, {
    granularity: 'ONE_MINUTE',
    from: 0,
    to: 100_000,
    now: 600,
    graceS: 1,
    gaps: [],
    knownUntil: 600,
    ...over,
  })

const starts = (candles: Candle[]) => candles.map(({ timestamp }) => timestamp)

describe('C10 flat filling', () => {
  test('an empty interval repeats the close before it, with no volume and no revision', () => {
    const [, flat] = fill([candle(60, '10.50'), candle(180)])
    expect(flat).toEqual({ ...candle(120, '10.50'), open: '10.50', high: '10.50', low: '10.50', volume: '0', rev: 0 })
  })

  test('flat filling does not change real candles', () => {
    const real = [candle(60), candle(180)]
    expect(fill(real).filter(({ volume }) => volume !== '0')).toEqual(real)
  })

  test('trailing intervals are filled up to now, with or without an end, and never past it', () => {
    const upToNow = [60, 120, 180, 240, 300, 360, 420, 480, 540]
    expect(starts(fill([candle(60)]))).toEqual(upToNow)
    expect(starts(fill([candle(60)], { to: 600 }))).toEqual(upToNow)
    expect(starts(fill([candle(60)], { to: 300 }))).toEqual([60, 120, 180, 240])
  })

  test('intervals before the first price stay empty', () => {
    expect(starts(fill([candle(300)], { to: 400 }))).toEqual([300, 360])
    expect(fill([])).toEqual([])
  })

  test('a candle before the range provides the first price and is left out', () => {
    const filled = fill([candle(0, '7'), candle(240)], { from: 90, to: 300 })
    expect(starts(filled)).toEqual([120, 180, 240])
    expect(filled[0]?.open).toBe('7')
  })

  test('the current interval is forming, and one that has just ended stays incomplete for the grace period', () => {
    const filled = fill([candle(420)], { now: 600.5, knownUntil: 600.5 })
    expect(filled.map((c) => [c.timestamp, c.is_complete])).toEqual([
      [420, true],
      [480, true],
      [540, false],
      [600, false],
    ])
  })

  test('C8 a flat candle in a gap, or after the feed’s last message, has the coverage gap', () => {
    const filled = fill([candle(60), candle(420)], { gaps: [[170, 250]], knownUntil: 500 })
    expect(filled.map((c) => [c.timestamp, c.coverage])).toEqual([
      [60, 'full'],
      [120, 'gap'],
      [180, 'gap'],
      [240, 'gap'],
      [300, 'full'],
      [360, 'full'],
      [420, 'full'],
      [480, 'gap'],
      [540, 'gap'],
    ])
  })

  test('C8 a flat candle between partial candles is partial', () => {
    const filled = fill([candle(60, '1', 'partial'), candle(180, '1', 'partial'), candle(300)], { to: 360 })
    expect(filled.map((c) => c.coverage)).toEqual(['partial', 'partial', 'partial', 'full', 'full'])
  })
})
