import { afterEach, describe, expect, test } from 'vitest'
import { startExchange } from '../../../simulators/exchange/server.ts'
import { divideRatios, parseRatio } from '../../../src/pricing/ratio.ts'
import { binanceProvider } from '../../../src/providers/binance.ts'
import { coinbaseProvider } from '../../../src/providers/coinbase-quotes.ts'
import { coinMarketCapProvider } from '../../../src/providers/coinmarketcap.ts'
import { twelveDataProvider } from '../../../src/providers/twelvedata.ts'
import { fixture, fixtureLines } from '../../support/recordings.ts'
import { type Canned, canned } from './contract.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 1, 4, 10)
const now = () => NOW

const ending: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ending.splice(0)) await end()
})

describe('Binance', () => {
  const make = (answer: (url: URL) => Canned) => {
    const { fetch, sent } = canned((url) => answer(new URL(url)))
    const provider = binanceProvider({ fetch, url: 'https://api.binance.com', now })
    return { provider, sent }
  }
  const errors: { endpoint: string; status: number; body: object }[] = JSON.parse(
    fixture('errors/error-bodies.json'),
  ).binance
  const unknown = errors.find((error) => error.status === 400) as Canned
  const limited = errors.find((error) => error.status === 429) as Canned

  test('Q5 one bad pair spoils a request, which the caller can halve; alone it is unknown', async () => {
    const { provider, sent } = make(() => unknown)
    expect(await provider.quotes(['BTCUSDT', 'NOPEUSDT'])).toMatchObject({ ok: false, reason: 'invalid', status: 400 })
    expect(await provider.quotes(['NOPEUSDT'])).toMatchObject({
      ok: true,
      value: [{ id: 'NOPEUSDT', price: null, reason: 'unknown' }],
    })
    expect(await provider.find('NOPEUSDT')).toEqual({ ok: true, value: null })
    expect(await provider.dailyHistory('NOPEUSDT', null)).toMatchObject({ ok: false, reason: 'not_found' })
    expect(decodeURIComponent(sent[0]?.url ?? '')).toBe(
      'https://api.binance.com/api/v3/ticker/24hr?symbols=["BTCUSDT","NOPEUSDT"]',
    )
  })

  test('another 400 of a single pair does not mean that it is unknown', async () => {
    const { provider } = make(() => ({ status: 400, body: { code: -1100, msg: 'Illegal characters' } }))
    expect(await provider.quotes(['BTCUSDT'])).toMatchObject({ ok: false, reason: 'invalid', status: 400 })
  })

  test('Q4 a refusal for weight has the time to wait, and so has a ban', async () => {
    const of = (status: number) => make(() => ({ ...limited, status, headers: { 'retry-after': '30' } })).provider
    for (const status of [429, 418])
      expect(await of(status).quotes(['BTCUSDT'])).toMatchObject({
        reason: 'rate_limited',
        status,
        retryAfter: 30_000,
        detail: expect.stringContaining('-1003'),
      })
  })

  test('Q4 weights equal the ones in the documentation of Binance', () => {
    const { provider } = make(() => limited)
    expect([1, 20, 21, 100].map((ids) => provider.weight(ids))).toEqual([2, 2, 40, 40])
    expect(provider.maxBatch).toBe(100)
  })

  test.each([
    ['BTCUSDT', 'USDT'],
    ['BTCUSDC', 'USDC'],
    ['BTCFDUSD', 'FDUSD'],
    ['BTCTUSD', 'TUSD'],
    ['BTCEUR', 'EUR'],
    ['TUSDT', 'USDT'],
    ['EURUSDT', 'USDT'],
    ['ETHBTC', 'BTC'],
    ['BNBETH', 'ETH'],
    ['SOLBNB', 'BNB'],
    ['USDTTRY', 'TRY'],
    ['BTCBRL', 'BRL'],
  ])('Q6 %s is priced in %s', async (symbol, currency) => {
    const body = [{ ...JSON.parse(fixture('binance/ticker24hr-BTCUSDT-2021-12-17.json')), symbol }]
    expect(await make(() => ({ body })).provider.quotes([symbol])).toMatchObject({ value: [{ id: symbol, currency }] })
  })

  const rows = fixtureLines('binance/klines-ADABTC-1m-2021-11-27.csv').map((line) =>
    // The recorded minutes as days: the columns are the same.
    line.split(',').map((text, i) => ([0, 6, 8].includes(i) ? Number(text) : text)),
  )
  const klines = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => [from + i * DAY, ...(rows[i % rows.length] ?? []).slice(1)])

  test('Q7 days come in pages of a thousand, ascending, without the current one', async () => {
    const first = Date.UTC(2020, 0, 1)
    const count = (Date.UTC(2026, 1, 4) - first) / DAY + 1
    const all = klines(first, count)
    const { provider, sent } = make((url) => {
      const start = Number(url.searchParams.get('startTime'))
      return { body: all.filter(([at]) => Number(at) >= start).slice(0, Number(url.searchParams.get('limit'))) }
    })
    const result = await provider.dailyHistory('ADABTC', null)
    if (!result.ok) throw new Error(result.detail)
    const { currency, days, actions } = result.value
    expect([currency, actions, days.length]).toEqual(['BTC', [], count - 1])
    expect(days[0]).toEqual({
      date: '2020-01-01',
      open: '0.00002853',
      high: '0.00002854',
      low: '0.00002851',
      close: '0.00002854',
      volume: '36304.2',
    })
    expect(days.at(-1)?.date).toBe('2026-02-03')
    expect(days.map((day) => day.date)).toEqual([...new Set(days.map((day) => day.date))].sort())
    expect(sent).toHaveLength(Math.ceil(count / 1_000))
    const some = await provider.dailyHistory('ADABTC', '2026-02-02')
    expect(some.ok && some.value.days.map((day) => day.date)).toEqual(['2026-02-02', '2026-02-03'])
  })

  test('a page that does not advance ends the history', async () => {
    const { provider, sent } = make(() => ({ body: klines(Date.UTC(2017, 0, 1), 1_000) }))
    expect(await provider.dailyHistory('ADABTC', '2020-01-01')).toMatchObject({ ok: true })
    expect(sent).toHaveLength(1)
    const empty = make(() => ({ body: [] }))
    expect(await empty.provider.dailyHistory('ADABTC', null)).toEqual({
      ok: true,
      value: { currency: 'BTC', days: [], actions: [] },
    })
    expect(await empty.provider.dailyHistory('ADAQQQ', null)).toMatchObject({ ok: false, reason: 'not_found' })
    expect(empty.sent).toHaveLength(1)
  })

  test('a failed page fails the whole history', async () => {
    let pages = 0
    const { provider } = make(() => (pages++ === 0 ? { body: klines(Date.UTC(2020, 0, 1), 1_000) } : limited))
    expect(await provider.dailyHistory('ADABTC', null)).toMatchObject({ ok: false, reason: 'rate_limited' })
  })
})

describe('Coinbase', () => {
  const products = JSON.parse(fixture('coinbase-rest/advanced-trade-products-2026-08-09-even.json.gz'))
    .products as Record<string, string>[]

  test('the previous close is the price that the change is relative to, to the tick', async () => {
    const { fetch } = canned(() => ({ body: { products } }))
    const provider = coinbaseProvider({ fetch, url: 'https://x', now })
    const pairs = products.filter((one) => one.product_type === 'SPOT')
    const result = await provider.quotes(pairs.map((one) => String(one.product_id)))
    if (!result.ok) throw new Error(result.detail)
    let compared = 0
    for (const [i, quote] of result.value.entries()) {
      const pair = pairs[i] as Record<string, string>
      if (quote.price === null || quote.previous_close === null) continue
      compared++
      const decimals = (pair.quote_increment ?? '').split('.')[1]?.length ?? 0
      expect(quote.previous_close.split('.')[1]?.length ?? 0, quote.id).toBeLessThanOrEqual(decimals)
      const change = divideRatios(parseRatio(quote.price), parseRatio(quote.previous_close))
      const percent = (Number(change.numerator) / Number(change.denominator) - 1) * 100
      expect(percent).toBeCloseTo(Number(quote.change24h), 8)
    }
    expect(compared).toBeGreaterThan(400)
  })

  test.each([
    ['-100', null],
    ['-150', null],
    ['0', '65086.18'],
    ['', null],
    ['100', '32543.09'],
  ])('a change of %s per cent gives the previous close %s', async (change, expected) => {
    const one = { ...products.find((p) => p.product_id === 'BTC-USD'), price_percentage_change_24h: change }
    const { fetch } = canned(() => ({ body: { products: [one] } }))
    const provider = coinbaseProvider({ fetch, url: 'https://x', now })
    expect(await provider.quotes(['BTC-USD'])).toMatchObject({ value: [{ previous_close: expected }] })
  })

  test('Q7 the whole history is read from its end back, until a page is empty', async () => {
    const first = Date.UTC(2024, 5, 1) / 1000
    const { fetch, sent } = canned((url) => {
      const { searchParams } = new URL(url)
      const [start, end] = [Number(searchParams.get('start')), Number(searchParams.get('end'))]
      const candles = []
      for (let at = Math.max(first, start); at <= end; at += 86_400)
        candles.unshift({ start: String(at), open: '1.50', high: '2', low: '1', close: '1.75', volume: '10' })
      return { body: { candles } }
    })
    const provider = coinbaseProvider({ fetch, url: 'https://x', now })
    const result = await provider.dailyHistory('BTC-EUR', null)
    if (!result.ok) throw new Error(result.detail)
    expect(result.value).toMatchObject({ currency: 'EUR', actions: [] })
    expect(result.value.days).toHaveLength((Date.UTC(2026, 1, 4) - first * 1000) / DAY)
    expect(result.value.days[0]).toEqual({
      date: '2024-06-01',
      open: '1.5',
      high: '2',
      low: '1',
      close: '1.75',
      volume: '10',
    })
    expect(result.value.days.at(-1)?.date).toBe('2026-02-03')
    expect(result.value.days.map((day) => day.date)).toEqual(
      [...new Set(result.value.days.map((day) => day.date))].sort(),
    )
    expect(sent).toHaveLength(3)
    const some = await provider.dailyHistory('BTC-EUR', '2026-02-03')
    expect(some.ok && some.value.days.map((day) => day.date)).toEqual(['2026-02-03'])
  })

  test('quotes and history of the simulated exchange are read', async () => {
    const exchange = await startExchange({ now })
    ending.push(() => exchange.close())
    const provider = coinbaseProvider({ fetch, url: exchange.url, now })
    const quotes = await provider.quotes(['BTC-USD', 'NU-USD', 'NO-SUCH'])
    expect(quotes).toMatchObject({
      ok: true,
      value: [
        { id: 'BTC-USD', price: expect.stringMatching(/^\d+(\.\d+)?$/), currency: 'USD' },
        { id: 'NU-USD', price: null, reason: 'no_price' },
        { id: 'NO-SUCH', price: null, reason: 'unknown' },
      ],
    })
    const days = await provider.dailyHistory('BTC-USD', '2026-02-01')
    expect(days.ok && days.value.days.map((day) => day.date)).toEqual(['2026-02-01', '2026-02-02', '2026-02-03'])
    expect(await provider.dailyHistory('NO-SUCH', null)).toMatchObject({ ok: false, reason: 'not_found' })
  })
})

describe('providers with a key', () => {
  const coins = (code: string, currency: string) => ({
    status: { error_code: 0, error_message: null },
    data: {
      [code]: [
        {
          symbol: code,
          is_active: 1,
          cmc_rank: 1,
          quote: { [currency]: { price: 1.5, percent_change_24h: 1, last_updated: '2026-02-04T09:59:00.000Z' } },
        },
      ],
    },
  })

  test('CoinMarketCap gets one request for each currency', async () => {
    const { fetch, sent } = canned((url) => {
      const { searchParams } = new URL(url)
      return { body: coins(String(searchParams.get('symbol')), String(searchParams.get('convert'))) }
    })
    const provider = coinMarketCapProvider({ fetch, url: 'https://x', now, key: 'k' })
    expect(await provider.quotes(['BTC-USD', 'ETH-USDT'])).toMatchObject({
      ok: true,
      value: [
        { id: 'BTC-USD', price: '1.5', currency: 'USD' },
        { id: 'ETH-USDT', price: '1.5', currency: 'USDT' },
      ],
    })
    expect(sent).toHaveLength(2)
  })

  test.each([
    [1_001, 401, 'unavailable'],
    [1_006, 403, 'unavailable'],
    [1_008, 429, 'rate_limited'],
    [1_008, 200, 'rate_limited'],
    [1_010, 200, 'rate_limited'],
    [400, 400, 'invalid'],
    [500, 500, 'unavailable'],
  ])('CoinMarketCap: error %i with status %i is %s, without the key', async (code, status, reason) => {
    const body = { status: { error_code: code, error_message: 'not with k-123' } }
    const { fetch } = canned(() => ({ status, body }))
    const result = await coinMarketCapProvider({ fetch, url: 'https://x', now, key: 'k-123' }).quotes(['BTC-USD'])
    expect(result).toMatchObject({ ok: false, reason })
    expect(JSON.stringify(result)).not.toContain('k-123')
  })

  test.each([
    [401, 'unavailable'],
    [429, 'rate_limited'],
    [400, 'invalid'],
    [500, 'unavailable'],
  ])('Twelve Data: error %i is %s, also in a body of 200, without the key', async (code, reason) => {
    const body = { code, message: 'not with k-123', status: 'error' }
    for (const status of [200, code]) {
      const { fetch } = canned(() => ({ status, body }))
      const provider = twelveDataProvider({ fetch, url: 'https://x', now, key: 'k-123' })
      const result = await provider.quotes(['AAPL', 'MSFT'])
      expect(result).toMatchObject({ ok: false, reason, status: code })
      expect(JSON.stringify(result)).not.toContain('k-123')
    }
  })

  test('Twelve Data: a single unknown symbol is unknown, with any status', async () => {
    const body = { code: 404, message: '**symbol** not found: NOPE.', status: 'error' }
    for (const status of [200, 404]) {
      const { fetch } = canned(() => ({ status, body }))
      const provider = twelveDataProvider({ fetch, url: 'https://x', now, key: 'k' })
      expect(await provider.quotes(['NOPE'])).toMatchObject({ ok: true, value: [{ price: null, reason: 'unknown' }] })
    }
  })

  test('Twelve Data: each symbol costs a credit', () => {
    const provider = twelveDataProvider({ fetch: canned(() => ({ body: '' })).fetch, url: 'https://x', now, key: 'k' })
    expect([provider.maxBatch, provider.weight(1), provider.weight(8)]).toEqual([8, 1, 8])
  })
})
