import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { addAsset } from '../../../src/db/assets.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { ensureHistoryPartitions, readHistoryState, storeHistory } from '../../../src/db/price-history.ts'
import { writePrices } from '../../../src/db/prices.ts'
import type { LookupResult, QuoteBoardObject, RefreshReport } from '../../../src/objects.ts'
import type { DailyBar } from '../../../src/pricing/provider-quote.ts'
import type { Asset } from '../../../src/protocol/asset.ts'
import type { Problem } from '../../../src/protocol/errors.ts'
import type { WirePriceBar } from '../../../src/protocol/price-history.ts'
import type { Quote, WireQuote } from '../../../src/protocol/quote.ts'
import { getWithEnv, get as real, setDatabaseOpen } from '../support/wire.ts'

const KEY = 'service-key-of-tests'
const PREVIOUS = 'service-key-before-that'
const DAY_MS = 86_400_000
const today = new Date().toISOString().slice(0, 10)
const dayBefore = (days: number) => new Date(Date.parse(today) - days * DAY_MS).toISOString().slice(0, 10)

const draft = (symbol: string, rest: Partial<Asset> = {}): Omit<Asset, 'asset_id'> => ({
  symbol,
  name: `Rest ${symbol}`,
  type: 'stock',
  category: 'stock',
  code: symbol,
  provider: 'yahoo',
  provider_id: symbol,
  currency: 'USD',
  isin: null,
  ...rest,
})

const assets = new Map<string, Asset>()

const quoteOf = (symbol: string, rest: Partial<Quote> = {}): Quote => ({
  asset_id: assets.get(symbol)?.asset_id ?? 0,
  symbol,
  price: '93500.00',
  currency: 'USD',
  previous_close: '91219.50',
  change24h: '2.5',
  market_state: 'open',
  open: '92000',
  high: '94000',
  low: '91000.10',
  volume: '1234567',
  eps: null,
  pe_ratio: null,
  pe_as_of: null,
  provider: 'simulated',
  as_of: new Date().toISOString(),
  updated_at: new Date().toISOString(),
  ...rest,
})

const told = (
  name: string,
  symbol: string,
  rest: Partial<Extract<LookupResult, { kind: 'quote' }>> = {},
): LookupResult => ({
  name,
  kind: 'quote',
  quote: quoteOf(symbol),
  source: 'provider',
  freshUntil: Date.now() + 60_000,
  trouble: null,
  ...rest,
})

/** What the board of these tests has been asked, and what it says of a name. */
let calls: { look: string[][]; discover: string[]; refresh: (string[] | null)[] }
let looks: Map<string, LookupResult>
let found: Map<string, LookupResult>

const board: Pick<QuoteBoardObject, 'lookup' | 'discover' | 'refresh'> = {
  async lookup(names) {
    calls.look.push(names)
    return names.map((name) => looks.get(name) ?? { name, kind: 'unknown', asked: false })
  },
  async discover(name) {
    calls.discover.push(name)
    return found.get(name) ?? { name, kind: 'unknown', asked: true }
  },
  async refresh(names): Promise<RefreshReport> {
    calls.refresh.push(names)
    return { refreshed: names?.length ?? 1_000, failed: 0, waiting: 2 }
  },
}

let here: Env
const get = (path: string, init?: RequestInit) => getWithEnv(here, path, init)
const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  get(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const json = async <T>(answer: Promise<Response>): Promise<T> => (await answer).json()

beforeAll(async () => {
  await withLiveDatabase(env, async (sql) => {
    for (const one of [
      draft('KRBX', { isin: 'US0000000001' }),
      draft('KRBY'),
      draft('KRBN'),
      draft('KRBZ.L', { code: 'KRBZ' }),
      draft('KRBZ.AS', { code: 'KRBZ', currency: 'EUR' }),
    ])
      assets.set(one.symbol, await addAsset(sql, one))
    await ensureHistoryPartitions(sql, today)
    const days: DailyBar[] = []
    for (let back = 800; back >= 1; back--) {
      const close = `${1_000 - back}.5`
      days.push({
        date: dayBefore(back),
        open: `${1_000 - back}`,
        high: `${1_001 - back}`,
        low: '1.25',
        close,
        volume: '7',
      })
    }
    // Two for one, ten days ago.
    const split = { kind: 'split', ex_date: dayBefore(10), numerator: '2', denominator: '1' } as const
    const history = { currency: 'USD', days, actions: [split] }
    const claim = { asset: assets.get('KRBX') as Asset, from: null }
    await storeHistory(sql, claim, history, { provider: 'simulated', today, now: Date.now() })
  })
})

beforeEach(() => {
  calls = { look: [], discover: [], refresh: [] }
  looks = new Map([
    ['KRBX', told('KRBX', 'KRBX')],
    ['KRBY', told('KRBY', 'KRBY', { source: 'database', freshUntil: Date.now() - 1, trouble: 'rate_limited' })],
  ])
  found = new Map()
  // A copy of its own for each test.
  here = {
    ...env,
    SUPABASE_SERVICE_ROLE_KEY: KEY,
    SUPABASE_SERVICE_ROLE_KEY_PREVIOUS: PREVIOUS,
    QUOTE_BOARD: { getByName: () => board },
    LOOKUP_LIMIT: { limit: async () => ({ success: true }) },
  } as unknown as Env
})

afterEach(() => setDatabaseOpen(true))

describe('GET /get-price', () => {
  test('Q1 a price has its main fields first, the provider’s digits, its age and its provider', async () => {
    const response = await get('/get-price?symbol=KRBX')
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/json'])
    const text = await response.text()
    expect(text).toMatch(
      /^\{"symbol":"KRBX","price":93500\.00,"change24h":2\.5,"updatedAt":"[^"]+","source":"provider"/,
    )
    expect(JSON.parse(text)).toMatchObject({
      provider: 'simulated',
      currency: 'USD',
      stale: null,
      market_state: 'open',
    })
    expect(await json<WireQuote>(get('/get-price?symbol=krbx'))).toMatchObject({ symbol: 'KRBX', source: 'cache' })
    expect(calls.look).toEqual([['KRBX']])
  })

  test('Q1 a price past its time to live says why', async () => {
    const quote = await json<WireQuote>(get('/get-price?symbol=KRBY'))
    expect(quote).toMatchObject({ source: 'database', stale: 'rate_limited' })
  })

  test('a known price is sent while Postgres is away', async () => {
    await setDatabaseOpen(false)
    expect((await get('/get-price?symbol=KRBX')).status).toBe(200)
  })

  test('an unknown symbol is looked up at the providers once; it is 404 if none of them knows it', async () => {
    found.set('NEWONE', told('NEWONE', 'NEWONE'))
    expect(await json<WireQuote>(get('/get-price?symbol=NEWONE'))).toMatchObject({ symbol: 'NEWONE' })
    for (let i = 0; i < 2; i++) {
      const response = await get('/get-price?symbol=NOSUCH')
      expect(response.status).toBe(404)
      expect(await response.json()).toMatchObject({ code: 'unknown_symbol', errors: [{ field: 'symbol' }] })
    }
    expect(calls.discover).toEqual(['NEWONE', 'NOSUCH'])
  })

  test('a client that requests too many unknown symbols gets 429 with Retry-After, and known ones still work', async () => {
    const limits: string[] = []
    const limit = async ({ key }: { key: string }) => ({ success: limits.push(key) <= 2 })
    here = { ...here, LOOKUP_LIMIT: { limit } } as Env
    const as = (symbol: string) => get(`/get-price?symbol=${symbol}`, { headers: { 'cf-connecting-ip': '192.0.2.7' } })
    expect([(await as('NOA')).status, (await as('NOB')).status]).toEqual([404, 404])
    const braked = await as('NOC')
    expect([braked.status, braked.headers.get('retry-after')]).toEqual([429, '60'])
    expect(await braked.json()).toMatchObject({ code: 'too_many_requests' })
    expect((await as('KRBX')).status).toBe(200)
    expect(calls.discover).toEqual(['NOA', 'NOB'])
    expect(limits).toEqual(['192.0.2.7', '192.0.2.7', '192.0.2.7'])
  })

  test('an ambiguous symbol is an error with candidates; a symbol without a price yet says when to try again', async () => {
    const candidate = { name_for_it: 'yahoo:KRBZ.L', symbol: 'KRBZ.L', name: 'Z', type: 'stock', currency: 'GBP' }
    looks.set('KRBZ', { name: 'KRBZ', kind: 'ambiguous', candidates: [candidate] })
    looks.set('KRBN', { name: 'KRBN', kind: 'unpriced', symbol: 'KRBN', reason: 'unavailable', retryAfter: 7.2 })
    const ambiguous = await get('/get-price?symbol=KRBZ')
    expect(ambiguous.status).toBe(409)
    expect(await ambiguous.json()).toMatchObject({ code: 'ambiguous_symbol', candidates: [candidate] })
    const unpriced = await get('/get-price?symbol=KRBN')
    expect([unpriced.status, unpriced.headers.get('retry-after')]).toEqual([503, '8'])
    expect(await unpriced.json()).toMatchObject({ code: 'unavailable' })
  })

  test.each([
    ['', 400, 'invalid_request'],
    ['?symbol=A&symbol=B', 400, 'invalid_request'],
    ['?symbol=', 404, 'unknown_symbol'],
    [`?symbol=${encodeURIComponent("'; DROP TABLE assets; --")}`, 404, 'unknown_symbol'],
    ['?symbol=%E0%A4%A', 404, 'unknown_symbol'],
  ])('D6 bad input: %s', async (query, status, code) => {
    const response = await get(`/get-price${query}`)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ status, code, errors: [{ field: 'symbol' }] })
    expect(calls).toEqual({ look: [], discover: [], refresh: [] })
  })
})

type Batch = {
  prices: ((WireQuote & { error?: undefined }) | { symbol: string; error: { code: string; message: string } })[]
  cached: number
  fetched: number
  total: number
}

describe('POST /get-batch-prices', () => {
  test('Q5 each symbol of a batch has its own status, under the name in the request, and so have duplicates', async () => {
    looks.set('KRBZ', { name: 'KRBZ', kind: 'ambiguous', candidates: [] })
    looks.set('US0000000001', told('US0000000001', 'KRBX'))
    const symbols = ['KRBX', 'nosuch', 'KRBY', "'; --", 'krbx', 'KRBZ', 'US0000000001']
    const answer = await json<Batch>(post('/get-batch-prices', { symbols }))
    expect(answer.prices.map((each) => [each.symbol, each.error?.code ?? each.error ?? 'ok'])).toEqual([
      ['KRBX', 'ok'],
      ['nosuch', 'unknown_symbol'],
      ['KRBY', 'ok'],
      ["'; --", 'unknown_symbol'],
      ['krbx', 'ok'],
      ['KRBZ', 'ambiguous_symbol'],
      ['US0000000001', 'ok'],
    ])
    expect([answer.cached, answer.fetched, answer.total]).toEqual([1, 3, 7])
    expect(calls.look).toEqual([['KRBX', 'NOSUCH', 'KRBY', 'KRBZ', 'US0000000001']])
  })

  test('of many unknown symbols a few are looked up at the providers, and the others say that they were not', async () => {
    const symbols = Array.from({ length: 20 }, (_, i) => `NONE${i}`)
    const { prices } = await json<Batch>(post('/get-batch-prices', { symbols }))
    expect(calls.discover).toHaveLength(5)
    const codes = prices.map(({ error }) => error?.code)
    expect(codes.filter((code) => code === 'unknown_symbol')).toHaveLength(5)
    // Nobody has said that there is no such thing.
    expect(codes.filter((code) => code === 'too_many_requests')).toHaveLength(15)
  })

  test.each([
    ['an empty list', { symbols: [] }, 400, 'invalid_request'],
    ['no list', {}, 400, 'invalid_request'],
    ['a list with a number', { symbols: ['KRBX', 1] }, 400, 'invalid_request'],
    ['1,001 symbols', { symbols: Array(1_001).fill('KRBX') }, 400, 'too_many_symbols'],
    ['what is not JSON', '{"symbols":', 400, 'invalid_request'],
    ['no object', '[]', 400, 'invalid_request'],
    ['too much', { symbols: ['A'.repeat(300_000)] }, 413, 'message_too_large'],
  ])('D6 %s is refused', async (_, body, status, code) => {
    const response = await post('/get-batch-prices', body)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ code })
    expect(calls.look).toEqual([])
  })

  test('D6 a batch with another content type or without a body is refused', async () => {
    const form = await post('/get-batch-prices', 'symbols=KRBX', {
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect(await form.json()).toMatchObject({ code: 'invalid_request', errors: [{ field: 'content-type' }] })
    const empty = await get('/get-batch-prices', { method: 'POST' })
    expect(await empty.json()).toMatchObject({ code: 'invalid_request' })
  })

  test('1,000 symbols are one lookup', async () => {
    const symbols = Array.from({ length: 1_000 }, (_, i) => (i % 2 ? 'KRBX' : 'KRBY'))
    const { total, cached, fetched } = await json<Batch>(post('/get-batch-prices', { symbols }))
    expect([total, cached, fetched, calls.look.length]).toEqual([1_000, 500, 500, 1])
  })
})

describe('POST /refresh-prices', () => {
  const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

  test('POST /refresh-prices without a body refreshes everything, with either of the two keys', async () => {
    for (const key of [KEY, PREVIOUS]) {
      const response = await get('/refresh-prices', { method: 'POST', headers: bearer(key) })
      expect(response.status).toBe(200)
      expect(await response.json()).toEqual({ refreshed: 1_000, failed: 0, waiting: 2 })
    }
    expect((await post('/refresh-prices', {}, bearer(KEY))).status).toBe(200)
    expect(calls.refresh).toEqual([null, null, null])
  })

  test('a refresh may name symbols; unknown ones count as failed', async () => {
    const report = await json(post('/refresh-prices', { symbols: ['krbx', 'NOSUCH', '??'] }, bearer(KEY)))
    expect(report).toEqual({ refreshed: 1, failed: 2, waiting: 2 })
    expect(calls.refresh).toEqual([['KRBX']])
  })

  test.each([
    {},
    bearer('wrong-key-of-tests'),
    bearer(''),
    bearer(`${KEY}x`),
    { authorization: KEY },
    { authorization: `Basic ${KEY}` },
  ])('D6 401 and nothing done: %j', async (headers: Record<string, string>) => {
    const response = await get('/refresh-prices', { method: 'POST', headers })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect(await response.json()).toMatchObject({ code: 'unauthorized' })
    expect(calls.refresh).toEqual([])
  })

  test('without a service key in the settings, every refresh is refused', async () => {
    const {
      SUPABASE_SERVICE_ROLE_KEY: _,
      SUPABASE_SERVICE_ROLE_KEY_PREVIOUS: __,
      ...rest
    } = here as Env & Record<string, string>
    here = rest as unknown as Env
    expect((await get('/refresh-prices', { method: 'POST', headers: bearer('undefined') })).status).toBe(401)
  })
})

type History = {
  symbol: string
  interval: string
  basis: string
  currency: string
  data: WirePriceBar[]
  count: number
  provider: string | null
  actions_version: string
}
const history = (query: string) => json<History>(get(`/get-history?symbol=KRBX&${query}`))

describe('GET /get-history', () => {
  test('Q7 each range has bars of one interval, ascending, and says which', async () => {
    const intervals: Record<string, string> = {
      '1m': 'ONE_DAY',
      '1y': 'ONE_DAY',
      '3y': 'ONE_WEEK',
      '5y': 'ONE_MONTH',
      all: 'ONE_MONTH',
    }
    for (const [range, interval] of Object.entries(intervals)) {
      const answer = await history(`range=${range}`)
      expect(answer).toMatchObject({
        symbol: 'KRBX',
        range,
        interval,
        basis: 'split',
        currency: 'USD',
        provider: 'simulated',
      })
      const dates = answer.data.map(({ date }) => date)
      expect(dates).toEqual(dates.toSorted())
      expect(new Set(dates).size).toBe(dates.length)
      expect(answer.count).toBe(dates.length)
      expect(answer.data.at(-1)?.is_complete).toBe(false)
    }
  })

  test('the current day comes from the quote until it is stored', async () => {
    const asOf = `${today}T15:00:00Z`
    looks.set('KRBX', told('KRBX', 'KRBX', { quote: quoteOf('KRBX', { as_of: asOf }) }))
    const { data } = await history('range=1m')
    expect(data.at(-1)).toEqual({
      date: today,
      open: 92000,
      high: 94000,
      low: 91000.1,
      close: 93500,
      volume: 1234567,
      is_complete: false,
    })
    expect(data.at(-2)).toMatchObject({ date: dayBefore(1), close: 999.5, is_complete: true })
    // The week and the month hold it, too.
    expect((await history('range=3y')).data.at(-1)).toMatchObject({ high: 94000, close: 93500, is_complete: false })
  })

  test('bases are not mixed: raw bars are as traded, split bars are adjusted for splits', async () => {
    const at = (answer: History, date: string) => answer.data.find((bar) => bar.date === date)
    const [raw, split] = [await history('range=1m&basis=raw'), await history('range=1m&basis=split')]
    expect(at(raw, dayBefore(20))).toMatchObject({ close: 980.5, volume: 7 })
    expect(at(split, dayBefore(20))).toMatchObject({ close: 490.25, volume: 14 })
    expect(at(split, dayBefore(5))).toEqual(at(raw, dayBefore(5)))
  })

  test('a settled raw range is immutable; other ranges are not, and are 304 while they are unchanged', async () => {
    const control = async (query: string) =>
      (await get(`/get-history?symbol=KRBX&${query}`)).headers.get('cache-control')
    expect(await control(`range=1m&basis=raw&until=${dayBefore(30)}`)).toBe('public, max-age=31536000, immutable')
    expect(await control(`range=1m&basis=raw&until=${dayBefore(3)}`)).toBe('public, max-age=15')
    expect(await control(`range=1m&basis=adjusted&until=${dayBefore(30)}`)).toBe('public, max-age=300')
    expect(await control('range=1m')).toBe('public, max-age=15')
    expect(await control('range=1d')).toBe('no-cache')
    const path = `/get-history?symbol=KRBX&range=1m&until=${dayBefore(30)}`
    const first = await get(path)
    const tag = first.headers.get('etag') ?? ''
    const { actions_version, data } = (await first.json()) as History
    expect(tag.startsWith(`"${actions_version}-`)).toBe(true)
    expect(data.at(-1)?.date).toBe(dayBefore(31))
    const again = await get(path, { headers: { 'if-none-match': `"other", W/${tag}` } })
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', tag])
    expect((await get(path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
  })

  test('a range whose daily bars were deleted has weekly bars', async () => {
    const answer = await history(`range=1m&until=${dayBefore(700)}`)
    expect(answer.interval).toBe('ONE_WEEK')
    expect(answer.count).toBeGreaterThanOrEqual(3)
  })

  test('intraday bars are built from recorded prices', async () => {
    const now = Math.floor(Date.now() / 300_000) * 300_000
    const at = (ms: number) => new Date(ms).toISOString()
    const asset = assets.get('KRBY') as Asset
    const prices = [
      [now - 3_600_000, '10.10'],
      [now - 1_800_000, '10.30'],
    ] as const
    for (const [ms, price] of prices)
      await withLiveDatabase(env, (sql) =>
        writePrices(
          sql,
          [
            {
              ...quoteOf('KRBY', { price, updated_at: at(ms), as_of: at(ms) }),
              asset_id: asset.asset_id,
              market: null,
            },
          ],
          { snapshot_seconds: 300 },
        ),
      )
    looks.set('KRBY', told('KRBY', 'KRBY', { quote: quoteOf('KRBY', { price: '10.55' }) }))
    const answer = await json<History>(get('/get-history?symbol=KRBY&range=1d'))
    expect(answer).toMatchObject({ interval: 'FIVE_MINUTES', provider: 'simulated', count: 3 })
    expect(answer.data.map(({ close, volume, is_complete }) => [close, volume, is_complete])).toEqual([
      [10.1, null, true],
      [10.3, null, true],
      [10.55, null, false],
    ])
  })

  test('D6 an invalid request, a history that is not loaded yet, and a failed read each have their problem', async () => {
    const code = async (query: string) => {
      const response = await get(`/get-history?${query}`)
      return [response.status, ((await response.json()) as Problem).code]
    }
    expect(await code('symbol=KRBX&range=2w')).toEqual([400, 'unknown_range'])
    expect(await code('symbol=KRBX')).toEqual([400, 'invalid_request'])
    expect(await code('symbol=NOSUCH&range=1m')).toEqual([404, 'unknown_symbol'])
    expect(await code('symbol=KRBZ&range=1m')).toEqual([409, 'ambiguous_symbol'])
    looks.set('KRBN', { name: 'KRBN', kind: 'unpriced', symbol: 'KRBN', reason: 'unavailable', retryAfter: 1 })
    expect(await code('symbol=KRBN&range=1m')).toEqual([503, 'unavailable'])
    const { asset_id } = assets.get('KRBN') as Asset
    // Who has asked for it has it loaded first.
    expect(await withLiveDatabase(env, (sql) => readHistoryState(sql, asset_id))).toMatchObject({ state: 'pending' })
    expect(await code('symbol=KRBN&range=1m')).toEqual([503, 'unavailable'])
    await setDatabaseOpen(false)
    expect(await code('symbol=KRBX&range=1m')).toEqual([503, 'unavailable'])
  })
})

describe('assets', () => {
  test('assets are found by symbol and name, the best matches first, page by page', async () => {
    type Page = { assets: Asset[]; next: string | null }
    const first = await json<Page>(get('/api/v1/assets?q=krb&limit=2'))
    expect(first.assets).toHaveLength(2)
    const second = await json<Page>(get(`/api/v1/assets?q=krb&limit=2&after=${encodeURIComponent(first.next ?? '')}`))
    const symbols = [...first.assets, ...second.assets].map(({ symbol }) => symbol)
    expect(new Set(symbols).size).toBe(4)
    const exact = await json<Page>(get('/api/v1/assets?q=KRBX'))
    expect(exact.assets[0]).toEqual(assets.get('KRBX'))
    expect((await json<Page>(get('/api/v1/assets?q=rest%20krb'))).assets).toHaveLength(5)
    expect(await json<Page>(get('/api/v1/assets?q=%25%27--'))).toEqual({ assets: [], next: null })
  })

  test('an asset is found under each of its names', async () => {
    for (const name of ['KRBX', 'krbx', 'yahoo:KRBX', 'US0000000001'])
      expect(await json(get(`/api/v1/assets/${name}`))).toEqual(assets.get('KRBX'))
    const ambiguous = await json<Problem>(get('/api/v1/assets/KRBZ'))
    expect(ambiguous).toMatchObject({ code: 'ambiguous_symbol', status: 409 })
    expect(ambiguous.candidates?.map(({ name_for_it }) => name_for_it)).toEqual(['yahoo:KRBZ.L', 'yahoo:KRBZ.AS'])
  })

  test.each([
    ['/api/v1/assets?limit=201', 400, 'invalid_request'],
    ['/api/v1/assets?limit=0', 400, 'invalid_request'],
    ['/api/v1/assets?after=nonsense', 400, 'invalid_request'],
    ['/api/v1/assets?q=a&q=b', 400, 'invalid_request'],
    ['/api/v1/assets/NOSUCH', 404, 'unknown_symbol'],
    ['/api/v1/assets/%27--', 404, 'unknown_symbol'],
  ])('D6 bad input: %s', async (path, status, code) => {
    const response = await get(path)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ code })
  })

  test('assets are 503 while Postgres is away', async () => {
    await setDatabaseOpen(false)
    const response = await get('/api/v1/assets?q=a')
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5'])
  })
})

describe('methods and origins', () => {
  test.each([
    ['/get-price', 'POST', 'GET, HEAD, OPTIONS'],
    ['/get-history', 'DELETE', 'GET, HEAD, OPTIONS'],
    ['/get-batch-prices', 'GET', 'POST, OPTIONS'],
    ['/refresh-prices', 'GET', 'POST, OPTIONS'],
    ['/api/v1/assets/KRBX', 'PUT', 'GET, HEAD, OPTIONS'],
  ])('%s does not take %s, and says what it does', async (path, method, allow) => {
    const response = await get(path, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([405, allow])
    expect(await response.json()).toMatchObject({ code: 'method_not_allowed' })
  })

  test('pages of any origin may read prices, one or many; no page may use the endpoint of the service key', async () => {
    const preflight = (path: string, method: string) =>
      get(path, {
        method: 'OPTIONS',
        headers: {
          origin: 'https://example.com',
          'access-control-request-method': method,
          'access-control-request-headers': 'authorization',
        },
      })
    const batch = await preflight('/get-batch-prices', 'POST')
    expect(batch.headers.get('access-control-allow-methods')).toBe('POST,OPTIONS')
    expect(batch.headers.get('access-control-allow-headers')).toContain('authorization')
    expect((await preflight('/get-price', 'GET')).headers.get('access-control-allow-methods')).toBe('GET,HEAD,OPTIONS')
    const refresh = await preflight('/refresh-prices', 'POST')
    expect([refresh.status, refresh.headers.get('access-control-allow-origin')]).toEqual([204, null])
    const read = await get('/get-price?symbol=KRBX', { headers: { origin: 'https://example.com' } })
    expect(read.headers.get('access-control-allow-origin')).toBe('*')
  })

  test('a HEAD request gets the headers of GET and no body', async () => {
    const response = await get('/get-price?symbol=KRBX', { method: 'HEAD' })
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'application/json',
      '',
    ])
  })
})

test('requests are counted by route and status in the meter; a lost count affects no request', async () => {
  const added: unknown[] = []
  const meter = { add: async (counts: unknown[]) => void added.push(...counts) }
  here = { ...here, METER: { getByName: () => meter } } as unknown as Env
  const now = vi.spyOn(Date, 'now')
  const began = Date.now()
  now.mockReturnValue(began + 20_000)
  await get('/get-price?symbol=KRBX')
  now.mockReturnValue(began + 25_000)
  await get('/api/v1/assets/NOSUCH')
  await get('/nowhere')
  const sent = added.length
  now.mockReturnValue(began + 31_000)
  await get('/get-price?symbol=KRBX')
  expect(added.slice(sent)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ route: '/api/v1/assets/:symbol', method: 'GET', status: '4xx', count: 1 }),
      expect.objectContaining({ route: 'none', method: 'GET', status: '4xx', count: 1 }),
      expect.objectContaining({ route: '/get-price', method: 'GET', status: '2xx', count: 1 }),
    ]),
  )
  here = { ...here, METER: { getByName: () => ({ add: () => Promise.reject(new Error('gone')) }) } } as unknown as Env
  now.mockReturnValue(began + 60_000)
  expect((await get('/get-price?symbol=KRBX')).status).toBe(200)
  now.mockRestore()
})

describe('with the real board and providers', () => {
  const price = (symbol: string) => real(`/get-price?symbol=${symbol}`)

  test('Q1 the first request for a price gets it from the provider, the next from the cache, even without Postgres', async () => {
    const first = await json<WireQuote>(price('AAPL'))
    expect(first).toMatchObject({
      symbol: 'AAPL',
      source: 'provider',
      provider: 'simulated',
      currency: 'USD',
      stale: null,
    })
    expect(first.price).toBeGreaterThan(0)
    await setDatabaseOpen(false)
    const { source, price: again } = await json<WireQuote>(price('aapl'))
    expect([source, again]).toEqual(['cache', first.price])
  })

  test('BTC and BTC-USD are one asset', async () => {
    const [one, other] = [await json<WireQuote>(price('BTC')), await json<WireQuote>(price('BTC-USD'))]
    expect(other.asset_id).toBe(one.asset_id)
    expect(one.currency).toBe('USD')
  })

  test('Q5 a symbol that fails at its provider fails alone in a batch', async () => {
    const symbols = ['MSFT', 'NO.SUCH', 'ETH', 'KRBZ']
    const response = await real('/get-batch-prices', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ symbols }),
    })
    const { prices } = (await response.json()) as Batch
    expect(prices.map(({ error }) => error?.code ?? null)).toEqual([null, 'unknown_symbol', null, 'ambiguous_symbol'])
  })

  test('a refresh with the service key requests prices from the providers', async () => {
    const report = await json<RefreshReport>(
      getWithEnv({ ...env, SUPABASE_SERVICE_ROLE_KEY: KEY } as unknown as Env, '/refresh-prices', {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ symbols: ['AAPL'] }),
      }),
    )
    expect(report).toEqual({ refreshed: 1, failed: 0, waiting: 0 })
  })
})
