import { afterEach, describe, expect, test } from 'vitest'
import { manualProduct, PRODUCTS } from '../../../simulators/exchange/products.ts'
import { type ExchangeOptions, startExchange } from '../../../simulators/exchange/server.ts'
import { productSchema } from '../../../src/protocol/product.ts'
import { fetchCandles, fetchProducts, fetchTrades, toProduct } from '../../../src/providers/coinbase.ts'
import type { Fetch } from '../../../src/providers/result.ts'
import { fixture } from '../../support/recordings.ts'

const START = Date.UTC(2026, 7, 9, 21, 5, 48)
const SECOND = START / 1000

const ending: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ending.splice(0)) await end()
})

async function start(options: ExchangeOptions = {}) {
  const exchange = await startExchange({ now: () => START, ...options })
  ending.push(() => exchange.close())
  return exchange
}

/** A fetch that responds with these bodies in turn, and records the requests. */
function canned(...answers: { status?: number; body: string; headers?: Record<string, string> }[]) {
  const urls: string[] = []
  const fetch: Fetch = async (url) => {
    const answer = answers[Math.min(urls.length, answers.length - 1)]
    urls.push(url)
    return new Response(answer?.body, { status: answer?.status ?? 200, headers: answer?.headers })
  }
  return { fetch, urls }
}

const trade = {
  trade_id: 7,
  side: 'buy',
  price: '1.50000000',
  size: '20.00000000',
  time: '2026-08-09T21:05:48.100000Z',
}
const trades = (...list: object[]) => canned({ body: JSON.stringify(list) }).fetch

describe('recorded bodies', () => {
  test('C3 trades of Exchange REST have all their digits, without padding zeros', async () => {
    const recorded = JSON.parse(fixture('coinbase-rest/exchange-rest-BTC-USDT-2024-03-13.json')).trades
    // The recording has the ids in quotes; Coinbase sends them as numbers.
    const body = recorded.map((t: { trade_id: string }) => ({ ...t, trade_id: Number(t.trade_id) }))
    expect(await fetchTrades(trades(...body), 'https://x', 'BTC-USDT', { after: 9, limit: 1 })).toEqual({
      ok: true,
      value: [{ tradeId: 18_502_034, price: '73271.63', size: '0.00007448', time: '2024-03-13T11:00:17.710679Z' }],
    })
  })

  test('products of Advanced Trade REST are read, delisted ones too', async () => {
    const body = fixture('coinbase-rest/advanced-trade-products-2026-08-09-even.json.gz')
    const result = await fetchProducts(canned({ body }).fetch, 'https://x')
    if (!result.ok) throw new Error(result.detail)
    expect(result.value).toHaveLength(460)
    const rest = { exchange: 'coinbase', active: true, at: '2026-08-09T21:05:48Z' }
    const products = result.value.map((product) => toProduct(product, rest))
    for (const product of products) expect(productSchema.parse(product)).toEqual(product)
    expect(products.find((p) => p.product_id === 'BTC-USD')).toEqual({
      exchange: 'coinbase',
      product_id: 'BTC-USD',
      base_currency: 'BTC',
      quote_currency: 'USD',
      status: 'online',
      min_size: '0.00000001',
      max_size: '3400',
      active: true,
      price: '65086.18',
      price_at: '2026-08-09T21:05:48Z',
      change_24h: '0.09601107287722',
      price_source: 'rest',
    })
    const dai = products.find((p) => p.product_id === 'DAI-USD')
    expect([dai?.status, dai?.price, dai?.change_24h]).toEqual(['delisted', '0.9985', null])
    expect(products.filter((p) => p.status === 'delisted')).toHaveLength(4)
  })

  test('a disabled product is offline, and an empty price is unknown', async () => {
    const one = JSON.parse(fixture('coinbase-rest/advanced-trade-http_product-BTC-USD.json'))
    const of = async (change: object) => {
      const body = JSON.stringify({ products: [{ ...one, ...change }] })
      const result = await fetchProducts(canned({ body }).fetch, 'https://x', ['BTC-USD'])
      if (!result.ok) throw new Error(result.detail)
      return toProduct(result.value[0] as (typeof result.value)[0], { exchange: 'coinbase', active: false, at: 'now' })
    }
    expect((await of({})).status).toBe('online')
    expect((await of({ trading_disabled: true })).status).toBe('offline')
    expect((await of({ is_disabled: true })).status).toBe('offline')
    expect((await of({ status: 'delisted', trading_disabled: true })).status).toBe('delisted')
    expect((await of({ status: '' })).status).toBe('online')
    expect(await of({ price: '' })).toMatchObject({ price: null, price_at: null, price_source: null })
    expect((await of({})).change_24h).toBe('-0.28560028286595')
  })
})

describe('requests', () => {
  test('trades are requested as a page below an id', async () => {
    const { fetch, urls } = canned({ body: '[]' })
    await fetchTrades(fetch, 'https://api.exchange.coinbase.com', 'BTC-USD', { after: 1001, limit: 1000 })
    expect(urls).toEqual(['https://api.exchange.coinbase.com/products/BTC-USD/trades?after=1001&limit=1000'])
  })

  test('products are requested by name, a hundred at a time', async () => {
    const { fetch, urls } = canned({ body: '{"products":[]}' })
    await fetchProducts(
      fetch,
      'https://x',
      Array.from({ length: 101 }, (_, i) => `A${i}-USD`),
    )
    expect(urls.map((url) => url.split('product_ids=').length - 1)).toEqual([100, 1])
    expect(await fetchProducts(fetch, 'https://x', [])).toEqual({ ok: true, value: [] })
    expect(urls).toHaveLength(2)
  })
})

describe('failures are values', () => {
  const ask = (fetch: Fetch) => fetchTrades(fetch, 'https://x', 'BTC-USD', { after: 9, limit: 1 })

  test.each([
    [429, 'rate_limited'],
    [404, 'not_found'],
    [400, 'invalid'],
    [500, 'unavailable'],
    [403, 'unavailable'],
    [302, 'unavailable'],
  ])('status %i is %s', async (status, reason) => {
    const answer = { status, body: '{"message":"no"}', headers: { 'retry-after': '3' } }
    expect(await ask(canned(answer).fetch)).toEqual({
      ok: false,
      reason,
      status,
      retryAfter: 3_000,
      detail: '{"message":"no"}',
    })
  })

  test('a network error is unavailable, without a status', async () => {
    const fetch: Fetch = async () => {
      throw new TypeError('connection refused')
    }
    const failure = { ok: false, reason: 'unavailable', status: null, retryAfter: null }
    expect(await ask(fetch)).toMatchObject({ ...failure, detail: 'TypeError: connection refused' })
  })

  test('C4 a body of another shape is invalid, and the detail names the field', async () => {
    expect(await ask(canned({ body: '<html>' }).fetch)).toMatchObject({ reason: 'invalid', detail: 'not JSON: <html>' })
    expect(await ask(canned({ body: '{"surprise":1}' }).fetch)).toMatchObject({ reason: 'invalid', status: 200 })
    for (const wrong of [
      { price: 'NaN' },
      { price: '0.00000000' },
      { price: 1.5 },
      { price: '-1' },
      { price: '1e5' },
      { size: '0' },
      { trade_id: '7' },
      { trade_id: 7.5 },
      { time: 'never' },
    ]) {
      const field = Object.keys(wrong)[0]
      const result = await ask(trades(trade, { ...trade, ...wrong }))
      expect(result).toMatchObject({ ok: false, reason: 'invalid', detail: expect.stringMatching(`^1/${field}: `) })
    }
  })

  test('the detail of a long body is short', async () => {
    const result = await ask(canned({ status: 500, body: 'x'.repeat(100_000) }).fetch)
    expect(result.ok ? 0 : result.detail.length).toBeLessThanOrEqual(200)
  })
})

describe('against the simulated exchange', () => {
  test('C9 pages of trades join to the trades of the market', async () => {
    const exchange = await start()
    const sent = exchange.sent('XRP-USD', START - 10 * 60_000, START + 1).reverse()
    const read = []
    for (let after = Number(sent[0]?.trade_id) + 1; read.length < sent.length; after = read.at(-1)?.tradeId as number) {
      const page = await fetchTrades(fetch, exchange.url, 'XRP-USD', { after, limit: 100 })
      if (!page.ok) throw new Error(page.detail)
      read.push(...page.value)
    }
    for (const [i, { trade_id, price, size, time }] of sent.entries()) {
      expect(read[i]).toMatchObject({ tradeId: Number(trade_id), price, size })
      expect(Date.parse(read[i]?.time as string)).toBe(Date.parse(time))
    }
  })

  test('C9 candles of any range are complete: no page repeats or skips one, and the end is exclusive', async () => {
    const exchange = await start()
    const end = SECOND - (SECOND % 60)
    const of = async (minutes: number, offset = 0) => {
      const range = { granularity: 'ONE_MINUTE' as const, start: end - minutes * 60 + offset, end: end + offset }
      const result = await fetchCandles(fetch, exchange.url, 'BTC-USD', range)
      if (!result.ok) throw new Error(result.detail)
      return result.value
    }
    for (const minutes of [0, 1, 347, 348, 349, 697, 1_440]) {
      const starts = (await of(minutes)).map((c) => c.start)
      expect(starts).toEqual(Array.from({ length: minutes }, (_, i) => end - (minutes - i) * 60))
    }
    expect((await of(2, 30)).map((c) => c.start)).toEqual([end - 60, end])
    const requests = exchange.requests.length
    await of(1_440)
    expect(exchange.requests.length - requests).toBe(5)
    expect((await of(1))[0]).toEqual({
      start: end - 60,
      open: expect.stringMatching(/^\d+\.\d+$/),
      high: expect.any(String),
      low: expect.any(String),
      close: expect.any(String),
      volume: expect.any(String),
    })
  })

  test.each([
    'FIVE_MINUTES',
    'FIFTEEN_MINUTES',
    'THIRTY_MINUTES',
    'ONE_HOUR',
    'TWO_HOURS',
    'SIX_HOURS',
    'ONE_DAY',
  ] as const)('C1 Coinbase knows %s by its own name', async (granularity) => {
    const exchange = await start()
    const range = { granularity, start: SECOND - 86_400, end: SECOND }
    expect(await fetchCandles(fetch, exchange.url, 'LTC-USD', range)).toMatchObject({ ok: true })
  })

  test('products are listed by name and all at once', async () => {
    const exchange = await start()
    const some = await fetchProducts(fetch, exchange.url, ['BTC-EUR', 'NU-USD', 'NO-SUCH'])
    expect(some.ok && some.value.map((p) => [p.product_id, p.status])).toEqual([
      ['BTC-EUR', 'online'],
      ['NU-USD', 'offline'],
    ])
    const all = await fetchProducts(fetch, exchange.url)
    expect(all.ok && all.value.map((p) => p.product_id)).toEqual(PRODUCTS.map((p) => p.id))
  })

  test('each fault of the exchange has its reason', async () => {
    const exchange = await start({ products: [manualProduct('ONE-USD')] })
    const ask = (signal?: AbortSignal) => fetchTrades(fetch, exchange.url, 'ONE-USD', { after: 9, limit: 10 }, signal)
    exchange.fault({ kind: 'rest', answer: '429', retryAfter: 2 })
    expect(await ask()).toMatchObject({ reason: 'rate_limited', status: 429, retryAfter: 2_000 })
    exchange.fault({ kind: 'rest', answer: '500' })
    expect(await ask()).toMatchObject({ reason: 'unavailable', status: 500, retryAfter: null })
    exchange.fault({ kind: 'rest', answer: 'wrong' })
    expect(await ask()).toMatchObject({ reason: 'invalid', status: 200 })
    exchange.fault({ kind: 'rest', answer: 'hang' })
    expect(await ask(AbortSignal.timeout(50))).toMatchObject({ reason: 'unavailable', status: null })
    expect(await ask()).toEqual({ ok: true, value: [] })
    const missing = { granularity: 'ONE_MINUTE' as const, start: SECOND - 60, end: SECOND }
    expect(await fetchCandles(fetch, exchange.url, 'NO-SUCH', missing)).toMatchObject({ reason: 'not_found' })
    exchange.fault({ kind: 'rest', answer: '500', path: 'candles' })
    const failed = await fetchCandles(fetch, exchange.url, 'ONE-USD', { ...missing, start: SECOND - 86_400 })
    expect(failed).toMatchObject({ ok: false, status: 500 })
  })
})
