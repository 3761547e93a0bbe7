import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  candleKey,
  candleTexts,
  framePosition,
  frameType,
  parseCandle,
  withPosition,
} from '../../../../src/api/streams/frames.ts'
import { renderSpotCandle, renderSpotChart, tenDecimals } from '../../../../src/pages/market/elements.ts'
import { type Candle, formatCandle } from '../../../../src/protocol/candle.ts'
import { candleSnapshotFrame, candleUpdateFrame, subscribedFrame } from '../../../../src/protocol/messages.ts'

const candle = (over: Partial<Candle> = {}): Candle => ({
  exchange: 'coinbase',
  product_id: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  timestamp: 1_704_567_600,
  open: '42000.5',
  high: '42500',
  low: '41800',
  close: '42200',
  volume: '123.45',
  is_complete: false,
  coverage: 'full',
  rev: 0,
  last_update: '2024-01-06T19:00:31.52Z',
  source: 'trades',
  ...over,
})

describe('C3 frames are cut as text', () => {
  // More digits than any float holds.
  const fine = candle({ open: '0.12345678901234567890', volume: '98765432109876543210.000000001' })

  test('an update and a snapshot give back the exact texts of their candles', () => {
    const texts = [candle(), fine].map(formatCandle)
    expect(candleTexts(candleUpdateFrame('a-1', texts))).toEqual(texts)
    expect(candleTexts(candleSnapshotFrame('a-1', [candle(), fine], [[60, 120]]))).toEqual(texts)
    expect(candleTexts(candleSnapshotFrame('a-1', [], [[60, 120]]))).toEqual([])
  })

  test('a candle is parsed with every digit', () => {
    expect(parseCandle(formatCandle(fine))).toEqual(fine)
    expect(() => parseCandle('{"open":1}')).toThrow('not a candle')
  })

  test('type and position are read, and the position is replaced without changing a digit', () => {
    const frame = candleUpdateFrame('abc-12', [formatCandle(fine)])
    expect(frameType(frame)).toBe('update')
    expect(frameType('hello')).toBeNull()
    expect(framePosition(frame)).toBe('abc-12')
    expect(withPosition(frame, 'BTC-USD:abc-12,ETH-USD:d-1')).toBe(
      candleUpdateFrame('BTC-USD:abc-12,ETH-USD:d-1', [formatCandle(fine)]),
    )
    expect(frameType(subscribedFrame(['a'], 'x-1', true, 1))).toBe('subscribed')
  })

  test('D2 a position over 8 KB becomes empty, so that the client resumes with a snapshot', () => {
    expect(framePosition(withPosition(candleUpdateFrame('a-1', []), 'p'.repeat(8_193)))).toBe('')
    expect(framePosition(withPosition(candleUpdateFrame('a-1', []), 'p'.repeat(8_192)))).toHaveLength(8_192)
  })

  test('a key is the same for two states of a candle and differs for two candles', () => {
    const key = (over: Partial<Candle>) => candleKey(formatCandle(candle(over)))
    expect(key({ close: '1', rev: 3 })).toBe(key({}))
    expect(
      new Set([key({}), key({ timestamp: 60 }), key({ granularity: 'ONE_DAY' }), key({ product_id: 'A-B' })]).size,
    ).toBe(4)
  })
})

describe('D7 ten decimals', () => {
  test.each([
    ['42000.5', '42000.5000000000'],
    ['42500', '42500.0000000000'],
    ['0.00000001', '0.0000000100'],
    ['0.00000000005', '0.0000000001'],
    ['0.00000000004999', '0.0000000000'],
    ['9.99999999995', '10.0000000000'],
    ['12345678901234567890.12345678905', '12345678901234567890.1234567891'],
    ['0.1', '0.1000000000'],
  ])('%s is written %s', (text, written) => {
    expect(tenDecimals(text)).toBe(written)
  })

  test('any decimal is off by at most half of the last digit', () => {
    const digits = (length: number) =>
      fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: length })
    fc.assert(
      fc.property(digits(20), digits(20), (left, right) => {
        const whole = BigInt(left).toString()
        const written = tenDecimals(`${whole}.${right}`)
        expect(written).toMatch(/^\d+\.\d{10}$/)
        const exact = BigInt(whole + right.padEnd(30, '0'))
        const rounded = BigInt(written.replace('.', '')) * 10n ** 20n
        const off = rounded > exact ? rounded - exact : exact - rounded
        expect(off <= 5n * 10n ** 19n).toBe(true)
      }),
    )
  })
})

describe('elements', () => {
  test('D7 <spot-candle> has its attributes in their order, one a line', () => {
    expect(renderSpotCandle(candle())).toBe(`<spot-candle id="BTC-USD-ONE_MINUTE"
    data-product="BTC-USD"
    data-granularity="ONE_MINUTE"
    data-timestamp="1704567600"
    data-open="42000.5000000000"
    data-high="42500.0000000000"
    data-low="41800.0000000000"
    data-close="42200.0000000000"
    data-volume="123.4500000000"
    data-complete="false"
></spot-candle>`)
  })

  test('D7 <spot-chart> has its attributes and keys, with every digit', () => {
    const chart = {
      product: 'BTC-USD',
      granularity: 'ONE_MINUTE' as const,
      candles: [candle({ open: '0.12345678901234567890' })],
    }
    expect(renderSpotChart(chart, { 'data-since': 'a"b' })).toBe(`<spot-chart id="chart-BTC-USD-ONE_MINUTE"
    data-product="BTC-USD"
    data-granularity="ONE_MINUTE"
    data-since="a&quot;b">
  <canvas data-candles='[{"t":1704567600,"o":0.12345678901234567890,"h":42500,"l":41800,"c":42200,"v":123.45}]'></canvas>
</spot-chart>`)
  })

  test('an invalid product id is escaped in its attribute', () => {
    expect(renderSpotCandle(candle({ product_id: '"><script>' }))).not.toContain('<script>')
    expect(renderSpotChart({ product: '\'"<', granularity: 'ONE_DAY', candles: [] })).toContain(
      'data-product="&#39;&quot;&lt;"',
    )
  })
})
