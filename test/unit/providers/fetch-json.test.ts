import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { divideRatios, multiplyRatios, parseRatio, roundRatio } from '../../../src/pricing/ratio.ts'
import type { Asset } from '../../../src/protocol/asset.ts'
import { formatNumber, formatRatio, majorCurrency, movePoint } from '../../../src/providers/amounts.ts'
import { fetchJson } from '../../../src/providers/fetch-json.ts'
import { availableProviders, providersFor } from '../../../src/providers/registry.ts'
import { canned } from './contract.ts'

const decimal = fc
  .tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.nat({ max: 18 }))
  .map(([units, decimals]) => roundRatio({ numerator: units, denominator: 10n ** BigInt(decimals) }, decimals))

describe('C3 decimals are exact', () => {
  test('C3 a number becomes its shortest text, without an exponent', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        const text = formatNumber(value)
        expect(text).toMatch(/^-?\d+(\.\d+)?$/)
        expect(Number(text)).toBe(value === 0 ? 0 : value)
        if (!String(value).includes('e')) expect(text).toBe(String(value))
      }),
    )
    expect([1e-7, 1.25e-9, 5e-324, 1e21, 1.5e21, -2.5e-8].map(formatNumber)).toEqual([
      '0.0000001',
      '0.00000000125',
      `0.${'0'.repeat(323)}5`,
      `1${'0'.repeat(21)}`,
      `15${'0'.repeat(20)}`,
      '-0.000000025',
    ])
  })

  test('C3 moving the point back and forth changes nothing', () => {
    fc.assert(
      fc.property(decimal, fc.integer({ min: -12, max: 12 }), (text, places) => {
        const moved = movePoint(text, places)
        expect(movePoint(moved, -places)).toBe(text)
        const [a, b] = [multiplyRatios(parseRatio(text), { numerator: 10n ** 12n, denominator: 1n }), parseRatio(moved)]
        const factor = 10n ** BigInt(12 - places)
        expect(a.numerator * b.denominator).toBe(b.numerator * factor * a.denominator)
      }),
    )
    expect(['7205.5', '5', '100', '0.5', '-12.3', '0'].map((text) => movePoint(text, -2))).toEqual([
      '72.055',
      '0.05',
      '1',
      '0.005',
      '-0.123',
      '0',
    ])
  })

  test('C3 a quotient that ends is exact, and others are rounded to ten decimals', () => {
    const positive = decimal.filter((text) => /^[^-]*[1-9]/.test(text))
    fc.assert(
      fc.property(decimal, positive, (a, b) => {
        const product = formatRatio(multiplyRatios(parseRatio(a), parseRatio(b)))
        expect(formatRatio(divideRatios(parseRatio(product), parseRatio(b)))).toBe(a)
      }),
    )
    const of = (numerator: bigint, denominator: bigint) => formatRatio({ numerator, denominator })
    expect([of(1n, 3n), of(2n, 3n), of(-2n, 3n), of(7n, 6n), of(1n, 4n), of(3n, 1n), of(0n, 7n)]).toEqual([
      '0.3333333333',
      '0.6666666667',
      '-0.6666666667',
      '1.1666666667',
      '0.25',
      '3',
      '0',
    ])
    expect(of(1n, 2n ** 20n)).toBe('0.00000095367431640625')
    expect([
      roundRatio({ numerator: 125n, denominator: 1000n }, 2),
      roundRatio({ numerator: -5n, denominator: 1000n }, 2),
    ]).toEqual(['0.13', '-0.01'])
  })
})

test('Q6 amounts in a minor unit are divided by a hundred, and others are unchanged', () => {
  const of = (code: string) => {
    const { currency, amount } = majorCurrency(code)
    return [currency, amount('7205.5')]
  }
  expect(['GBp', 'GBX', 'ZAc', 'ZAX', 'ILA', 'GBP', 'USD', 'USDT', 'toString'].map(of)).toEqual([
    ['GBP', '72.055'],
    ['GBP', '72.055'],
    ['ZAR', '72.055'],
    ['ZAR', '72.055'],
    ['ILS', '72.055'],
    ['GBP', '7205.5'],
    ['USD', '7205.5'],
    ['USDT', '7205.5'],
    ['toString', '7205.5'],
  ])
})

describe('Q4 Retry-After', () => {
  const DATE = 'Wed, 04 Feb 2026 10:00:00 GMT'
  test.each<[string | null, string | null, number | null]>([
    ['7', null, 7_000],
    ['0', null, 0],
    ['Wed, 04 Feb 2026 10:01:00 GMT', DATE, 60_000],
    ['Wed, 04 Feb 2026 09:00:00 GMT', DATE, 0],
    ['Wed, 04 Feb 2026 10:01:00 GMT', 'not a date', 0],
    [null, DATE, null],
    ['', DATE, null],
    ['soon', DATE, null],
    ['-5', DATE, null],
    ['1.5', DATE, null],
    ['99999999', DATE, 99_999_999_000],
    ['9999999999', DATE, null],
  ])('Q4 Retry-After %s, sent at %s, is %s ms', async (header, date, expected) => {
    const headers = { ...(header !== null && { 'retry-after': header }), ...(date !== null && { date }) }
    const { fetch } = canned(() => ({ status: 429, body: '', headers }))
    expect(await fetchJson(fetch, 'https://x', z.unknown())).toMatchObject({
      reason: 'rate_limited',
      retryAfter: expected,
    })
  })
})

describe('the registry of providers', () => {
  const all = availableProviders({ STOCK_PROVIDER_API_KEY: 'a', CRYPTO_PROVIDER_API_KEY: 'b' })
  const of = (asset: Partial<Asset>) => {
    const given = { asset_id: 1, symbol: '', name: '', category: '', code: '', currency: 'USD', isin: null }
    const whole = { ...given, type: 'stock', provider: 'yahoo', provider_id: '', ...asset } as Asset
    return providersFor(whole, all).map(({ provider, id }) => `${provider}:${id}`)
  }
  const coin = (code: string, provider: Asset['provider'], provider_id: string, currency = 'USD') =>
    of({ type: 'crypto', code, provider, provider_id, currency })

  test('a provider that needs a key is available only with it', () => {
    expect([...availableProviders({})]).toEqual(['yahoo', 'coinbase', 'binance'])
    expect(all.size).toBe(5)
  })

  test('Q4 an asset is requested from its own provider, then from those that price it in the same currency', () => {
    expect(of({ provider_id: 'AAPL' })).toEqual(['yahoo:AAPL', 'twelvedata:AAPL'])
    expect(of({ provider_id: 'SHEL.L', currency: 'GBP' })).toEqual(['yahoo:SHEL.L'])
    // Five letters are a ticker of New York only in dollars.
    expect(of({ provider_id: 'RHM', currency: 'EUR' })).toEqual(['yahoo:RHM'])
    expect(of({ provider: 'manual', provider_id: 'HOUSE' })).toEqual([])
    expect(coin('BTC', 'coinbase', 'BTC-USD')).toEqual(['coinbase:BTC-USD', 'yahoo:BTC-USD', 'coinmarketcap:BTC-USD'])
    expect(coin('ETH', 'yahoo', 'ETH-USD')).toEqual(['yahoo:ETH-USD', 'coinbase:ETH-USD', 'coinmarketcap:ETH-USD'])
  })

  test('Q6 a pair in USDT is never requested in USD', () => {
    expect(coin('BTC', 'binance', 'BTCUSDT', 'USDT')).toEqual([
      'binance:BTCUSDT',
      'coinbase:BTC-USDT',
      'coinmarketcap:BTC-USDT',
    ])
  })

  test('a ticker that is another coin at Yahoo is not requested there', () => {
    expect(coin('UNI', 'coinbase', 'UNI-USD')).toEqual(['coinbase:UNI-USD', 'coinmarketcap:UNI-USD'])
    expect(coin('UNI', 'yahoo', 'UNI7083-USD')).toContain('yahoo:UNI7083-USD')
  })
})
