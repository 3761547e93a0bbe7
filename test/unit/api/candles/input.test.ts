import { describe, expect, test } from 'vitest'
import { checkProduct, parseBarsInput, parseCandlesInput, parseStreamInput } from '../../../../src/api/candles/input.ts'
import { expandChannels } from '../../../../src/api/streams/channels.ts'
import { readSettings } from '../../../../src/config.ts'
import { CodedError } from '../../../../src/protocol/errors.ts'
import { GRANULARITIES } from '../../../../src/protocol/granularity.ts'

const SETTINGS = readSettings({ PRODUCTS: 'BTC-USD,ETH-USD' })
const query = (text: string) => new URLSearchParams(text)

/** The code and the named fields of the error that `run` throws. */
function refusal(run: () => unknown): [string, string[]] {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return [error.code, error.errors.map(({ field }) => field)]
    throw error
  }
  throw new Error('no error was thrown')
}

describe('D6 a query for candles', () => {
  test('defaults to 300 candles without bounds', () => {
    expect(parseCandlesInput(query('granularity=ONE_MINUTE'))).toEqual({ granularity: 'ONE_MINUTE', limit: 300 })
  })

  test.each([
    ['1704567600', 1_704_567_600],
    ['2024-01-06T19:00:00Z', 1_704_567_600],
    ['2024-01-06T20:00:00%2B01:00', 1_704_567_600],
    ['2024-01-06T20:00:00+01:00', 1_704_567_600],
    ['2024-01-06T18:59:59.001Z', 1_704_567_600],
    ['0', 0],
  ])('accepts %s as a time', (text, seconds) => {
    expect(parseCandlesInput(query(`granularity=ONE_HOUR&start=${text}`)).start).toBe(seconds)
  })

  test.each([
    ['', 'invalid_request', ['granularity']],
    ['granularity=', 'unknown_granularity', ['granularity']],
    ['granularity=TEN_MINUTES', 'unknown_granularity', ['granularity']],
    ['granularity=one_minute', 'unknown_granularity', ['granularity']],
    ['granularity=constructor', 'unknown_granularity', ['granularity']],
    ['granularity=ONE_DAY&limit=1000000', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&limit=1001', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&limit=0', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&limit=-1', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&limit=1e3', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&limit=ten', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&limit=', 'invalid_request', ['limit']],
    ['granularity=ONE_DAY&start=yesterday', 'invalid_request', ['start']],
    ['granularity=ONE_DAY&end=2024-02-30T00:00:00Z', 'invalid_request', ['end']],
    ['granularity=ONE_DAY&end=1e9', 'invalid_request', ['end']],
    ['granularity=ONE_DAY&end=-5', 'invalid_request', ['end']],
    ['granularity=ONE_DAY&start=200&end=100', 'invalid_request', ['start']],
    ['granularity=ONE_DAY&start=100&end=100', 'invalid_request', ['start']],
    ['granularity=ONE_DAY&fill=zero', 'invalid_request', ['fill']],
    ['granularity=ONE_DAY&limit=1&limit=2', 'invalid_request', ['limit']],
    ['start=x&limit=y', 'invalid_request', ['granularity', 'start', 'limit']],
  ])('%j is refused, and the error names each invalid field', (text, code, fields) => {
    expect(refusal(() => parseCandlesInput(query(text)))).toEqual([code, fields])
  })

  test('accepts the largest limit, both bounds and flat filling', () => {
    expect(parseCandlesInput(query('granularity=ONE_DAY&limit=1000&start=1&end=2&fill=flat'))).toEqual({
      granularity: 'ONE_DAY',
      limit: 1_000,
      start: 1,
      end: 2,
      fill: 'flat',
    })
  })
})

describe('D6 a query for a stream', () => {
  test.each([
    'product=BTC-USD&product=ETH-USD&granularity=ONE_DAY&granularity=ONE_HOUR',
    'products=BTC-USD,ETH-USD&granularities=ONE_DAY,ONE_HOUR',
    'product=BTC-USD&products=BTC-USD,%20ETH-USD&granularity=ONE_DAY,ONE_HOUR&granularities=ONE_DAY',
  ])('%s asks for two products and two granularities', (text) => {
    const input = parseStreamInput(query(text), SETTINGS)
    expect(input.products).toEqual(['BTC-USD', 'ETH-USD'])
    expect(input.granularities).toEqual(['ONE_DAY', 'ONE_HOUR'])
    expect(input).toMatchObject({ everyProduct: false, passive: false })
  })

  test('* means every active product and every granularity', () => {
    expect(parseStreamInput(query('product=*&granularity=*&passive=true'), SETTINGS)).toEqual({
      products: ['BTC-USD', 'ETH-USD'],
      everyProduct: true,
      granularities: [...GRANULARITIES],
      passive: true,
    })
  })

  test.each([
    ['', 'invalid_request', ['product', 'granularity']],
    ['product=BTC-USD', 'invalid_request', ['granularity']],
    ['granularity=ONE_DAY', 'invalid_request', ['product']],
    ['product=,&granularity=ONE_DAY', 'invalid_request', ['product']],
    ['product=NO-USD&granularity=ONE_DAY', 'unknown_product', ['product']],
    ['product=BTC-USD,NO-USD&granularity=ONE_DAY', 'unknown_product', ['product']],
    ['product=<b>&granularity=ONE_DAY', 'unknown_product', ['product']],
    ['product=BTC-USD&granularity=ONE', 'unknown_granularity', ['granularity']],
    ['product=BTC-USD&granularity=ONE_DAY&passive=yes', 'invalid_request', ['passive']],
  ])('%j is refused, and the error names each invalid field', (text, code, fields) => {
    expect(refusal(() => parseStreamInput(query(text), SETTINGS))).toEqual([code, fields])
  })

  test('bars default to 100 and are at most 1,000', () => {
    expect(parseBarsInput(query(''))).toBe(100)
    expect(parseBarsInput(query('bars=1000'))).toBe(1_000)
    expect(refusal(() => parseBarsInput(query('bars=1001')))).toEqual(['invalid_request', ['bars']])
    expect(refusal(() => parseBarsInput(query('bars=many')))).toEqual(['invalid_request', ['bars']])
  })

  test('a product that is not active is refused, and the error names its field', () => {
    expect(refusal(() => checkProduct('NO-USD', SETTINGS, 'id'))).toEqual(['unknown_product', ['id']])
    expect(() => checkProduct('BTC-USD', SETTINGS, 'id')).not.toThrow()
  })
})

describe('D4 channels of a subscribe', () => {
  const market = {
    active: ['BTC-USD', 'ETH-USD', 'OFF-USD'],
    offline: new Set(['OFF-USD']),
    boards: [],
    quotes: new Map(),
    signedIn: false,
  }

  test('* in a channel means every traded product or every granularity', () => {
    expect(expandChannels(['candles.BTC-USD.ONE_DAY'], market)).toEqual(
      new Map([['BTC-USD', ['candles.BTC-USD.ONE_DAY']]]),
    )
    expect(expandChannels(['candles.*.ONE_DAY', 'candles.BTC-USD.ONE_DAY'], market)).toEqual(
      new Map([
        ['BTC-USD', ['candles.BTC-USD.ONE_DAY']],
        ['ETH-USD', ['candles.ETH-USD.ONE_DAY']],
      ]),
    )
    expect(expandChannels(['candles.ETH-USD.*'], market)).toEqual(
      new Map([['ETH-USD', GRANULARITIES.map((size) => `candles.ETH-USD.${size}`)]]),
    )
  })

  test.each([
    ['nonsense', 'unknown_channel'],
    ['quotes.AAPL.ONE_DAY', 'unknown_symbol'],
    ['candles.BTC-USD.ONE_DAY.more', 'unknown_channel'],
    ['candles.btc-usd.ONE_DAY', 'unknown_channel'],
    ['candles.BTC-USD.TEN_DAYS', 'unknown_granularity'],
    ['candles.NO-USD.ONE_DAY', 'unknown_product'],
    ['candles.OFF-USD.ONE_DAY', 'product_offline'],
  ])('one invalid channel, %s, refuses the whole subscribe, and the error names it', (name, code) => {
    expect(expandChannels(['candles.BTC-USD.ONE_DAY', name], market)).toMatchObject({ code, field: 'channels/1' })
  })
})
