import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import YahooFinance from 'yahoo-finance2'
import { ExtendedCookieJar } from 'yahoo-finance2/lib/cookieJar'
import { startExchange } from '../../../simulators/exchange/server.ts'
import { cryptoPair, type Instrument, yahooInstrument } from '../../../simulators/providers/instruments.ts'
import { openPrices } from '../../../simulators/providers/market.ts'
import type { Providers } from '../../../simulators/providers/providers.ts'
import { type ProvidersOptions, startProviders } from '../../../simulators/providers/server.ts'
import { dateOf, dayOf, isTradingDay, sessionOf } from '../../../simulators/providers/venues.ts'

/** A Friday in winter, 14:00 in New York: London has closed. */
const FRIDAY = Date.parse('2026-11-20T19:00:00Z')

const running = new Set<Providers>()

afterEach(async () => {
  await Promise.all([...running].map((one) => one.close()))
  running.clear()
})

async function start(options: ProvidersOptions = {}): Promise<Providers> {
  const providers = await startProviders({ seed: 'test', now: () => FRIDAY, ...options })
  running.add(providers)
  return providers
}

type Body = { status: number; headers: Headers; text: string; json: () => never }

async function get(url: string, headers: Record<string, string> = {}): Promise<Body> {
  const response = await fetch(url, { headers, redirect: 'manual' })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, json: () => JSON.parse(text) as never }
}

/** A cookie and its crumb, as a browser comes by them. */
async function enter({ urls }: Providers): Promise<{ cookie: string; crumb: string }> {
  const page = await get(`${urls.yahoo}/quote/AAPL`, { accept: 'text/html', 'x-forwarded-host': 'finance.yahoo.com' })
  const cookie = page.headers.getSetCookie().map((line) => line.slice(0, line.indexOf(';')))
  const { text } = await get(`${urls.yahoo}/v1/test/getcrumb`, { cookie: cookie.join('; ') })
  return { cookie: cookie.join('; '), crumb: text }
}

/** A client of the library that Kerb asks Yahoo with, its addresses rewritten onto the fake one. */
const client = (providers: Providers) =>
  new YahooFinance({
    // Its own jar: the library's clients share one, and another server knows nothing of its cookies.
    cookieJar: new ExtendedCookieJar(),
    suppressNotices: ['yahooSurvey'],
    fetch: (input: RequestInfo | URL, init?: RequestInit) => {
      const { host, pathname, search } = new URL(String(input))
      const headers = { ...(init?.headers as Record<string, string>), 'x-forwarded-host': host }
      return fetch(`${providers.urls.yahoo}${pathname}${search}`, { ...init, headers })
    },
  })

const instrument = (symbol: string): Instrument => yahooInstrument(symbol) as Instrument

describe('Yahoo', () => {
  const QUOTE = '/v7/finance/quote?symbols=AAPL'

  test('a quote takes a cookie and its crumb; without one the response has the recorded text', async () => {
    const providers = await start()
    const { urls } = providers
    const refused = await get(`${urls.yahoo}${QUOTE}`)
    expect([refused.status, refused.json()]).toEqual([
      401,
      {
        finance: {
          result: null,
          error: {
            code: 'Unauthorized',
            description: 'User is unable to access this feature - https://bit.ly/yahoo-finance-api-feedback',
          },
        },
      },
    ])
    expect((await get(`${urls.yahoo}/v1/test/getcrumb`)).status).toBe(401)
    expect((await get(`${urls.yahoo}/quote/AAPL`, { accept: '*/*' })).headers.getSetCookie()).toEqual([])
    const { cookie, crumb } = await enter(providers)
    for (const wrong of ['', '&crumb=wrong']) {
      const answer = await get(`${urls.yahoo}${QUOTE}${wrong}`, { cookie })
      expect([answer.status, answer.json()]).toMatchObject([
        401,
        { finance: { error: { description: 'Invalid Crumb' } } },
      ])
    }
    const other = await enter(providers)
    expect((await get(`${urls.yahoo}${QUOTE}&crumb=${encodeURIComponent(other.crumb)}`, { cookie })).status).toBe(401)
    const answer = await get(`${urls.yahoo}${QUOTE}&crumb=${encodeURIComponent(crumb)}`, { cookie })
    expect([answer.status, answer.json()]).toMatchObject([
      200,
      { quoteResponse: { result: [{ symbol: 'AAPL', currency: 'USD', marketState: 'REGULAR' }] } },
    ])
  })

  test('a path of another Yahoo host is not found', async () => {
    const { urls } = await start()
    const host = (name: string) => ({ 'x-forwarded-host': name, accept: 'text/html' })
    expect((await get(`${urls.yahoo}/quote/AAPL`, host('query2.finance.yahoo.com'))).status).toBe(404)
    expect((await get(`${urls.yahoo}/v8/finance/chart/AAPL?range=5d`, host('finance.yahoo.com'))).status).toBe(404)
    expect((await get(`${urls.yahoo}/v8/finance/chart/AAPL?range=5d`, host('query2.finance.yahoo.com'))).status).toBe(
      200,
    )
  })

  test('the library gets quotes of every kind, and none for an unknown or delisted id', async () => {
    const providers = await start()
    const symbols = ['AAPL', 'SHEL.L', 'QQQ', 'VTSAX', '^GSPC', 'EURUSD=X', 'GC=F', 'BTC-USD', '7203.T', 'M&M.NS']
    const requested = [...symbols, 'NONEXIST', 'ZZTOP', 'GONE', 'SIMP', 'SIX', 'AAPL.XX']
    const quotes = await client(providers).quote(requested)
    expect(quotes.map((quote) => [quote.symbol, quote.quoteType, quote.currency])).toEqual([
      ['AAPL', 'EQUITY', 'USD'],
      ['SHEL.L', 'EQUITY', 'GBp'],
      ['QQQ', 'ETF', 'USD'],
      ['VTSAX', 'MUTUALFUND', 'USD'],
      ['^GSPC', 'INDEX', 'USD'],
      ['EURUSD=X', 'CURRENCY', 'USD'],
      ['GC=F', 'FUTURE', 'USD'],
      ['BTC-USD', 'CRYPTOCURRENCY', 'USD'],
      ['7203.T', 'EQUITY', 'JPY'],
      ['M&M.NS', 'EQUITY', 'INR'],
    ])
    for (const { regularMarketPrice: price = 0, regularMarketDayHigh: high, regularMarketDayLow: low } of quotes) {
      expect(price).toBeGreaterThan(0)
      if (high !== undefined && low !== undefined) expect(price >= low && price <= high).toBe(true)
    }
    expect(await client(providers).quote('NONEXIST')).toBeUndefined()
    const { statuses } = providers.counts().yahoo
    expect(statuses).toEqual({ 200: 6 })
  })

  test('the library gets days with their splits, on the basis of today, at the local opening', async () => {
    const { quotes, events, meta } = await client(await start()).chart('AAPL', {
      period1: '2020-08-27',
      period2: '2020-09-02',
    })
    const split = { numerator: 4, denominator: 1, splitRatio: '4:1', date: new Date('2020-08-31T13:30:00Z') }
    expect(events?.splits).toEqual([split])
    expect(quotes.map(({ date }) => date.toISOString())).toEqual([
      '2020-08-27T13:30:00.000Z',
      '2020-08-28T13:30:00.000Z',
      '2020-08-31T13:30:00.000Z',
      '2020-09-01T13:30:00.000Z',
    ])
    // Today's offset, not the one of the rows.
    expect(meta.gmtoffset).toBe(-18_000)
    const prices = openPrices('test')
    for (const { date, close, adjclose } of quotes) {
      const day = dayOf(date.toISOString().slice(0, 10))
      const raw = (prices.day(instrument('AAPL'), day)?.close ?? 0) / 100
      expect(close).toBe(Math.fround(raw / (day < dayOf('2020-08-31') ? 4 : 1)))
      expect(adjclose).toBeLessThan(close as number)
    }
  })

  test('the clock decides which splits there were', async () => {
    const { quotes } = await client(await start({ now: () => Date.parse('2020-08-30T12:00:00Z') })).chart('AAPL', {
      period1: '2020-08-28',
      period2: '2020-08-29',
    })
    const raw = openPrices('test').day(instrument('AAPL'), dayOf('2020-08-28'))
    expect(quotes.map(({ close }) => close)).toEqual([Math.fround((raw?.close ?? 0) / 100)])
  })

  test('an empty range has no timestamps, an unknown symbol gets the recorded 404 response', async () => {
    const providers = await start()
    const { urls } = providers
    const saturday = Date.parse('2026-11-14T00:00:00Z') / 1000
    const path = `/v8/finance/chart/AAPL?interval=1m&period1=${saturday}&period2=${saturday + 86_400}`
    const [result] = ((await get(`${urls.yahoo}${path}`)).json() as { chart: { result: [object] } }).chart.result
    expect(result).not.toHaveProperty('timestamp')
    expect(result).toMatchObject({ indicators: { quote: [{}] } })
    expect((await client(providers).chart('AAPL', { period1: '2026-11-14', period2: '2026-11-15' })).quotes).toEqual([])
    const unknown = await get(`${urls.yahoo}/v8/finance/chart/NONEXIST?range=1d`)
    expect([unknown.status, unknown.json()]).toEqual([
      404,
      { chart: { result: null, error: { code: 'Not Found', description: 'No data found, symbol may be delisted' } } },
    ])
    expect((await get(`${urls.yahoo}/v8/finance/chart/AAPL?interval=1m&range=3mo`)).status).toBe(422)
    expect((await get(`${urls.yahoo}/v8/finance/chart/AAPL?interval=1wk&range=3mo`)).status).toBe(422)
  })

  test('adjclose is reduced by the ratio of each dividend to the close before it', async () => {
    const { quotes, events } = await client(await start()).chart('MSFT', { period1: '2026-01-01' })
    const dividends = events?.dividends ?? []
    expect(dividends.length).toBeGreaterThan(2)
    for (const { date, amount } of dividends) {
      const at = quotes.findIndex((quote) => quote.date.getTime() === new Date(date).getTime())
      const [before, on] = [quotes[at - 1], quotes[at]]
      const ratio = (of: typeof on) => (of?.adjclose as number) / (of?.close as number)
      expect(ratio(before) / ratio(on)).toBeCloseTo(1 - amount / (before?.close as number), 6)
    }
    expect(quotes.at(-1)?.adjclose).toBe(quotes.at(-1)?.close)
  })

  test('the current day is a row with the time of its last price', async () => {
    const { quotes } = await client(await start()).chart('AAPL', { period1: '2026-11-19' })
    expect(quotes.map(({ date }) => date.toISOString())).toEqual([
      '2026-11-19T14:30:00.000Z',
      '2026-11-20T19:00:00.000Z',
    ])
  })

  test('search finds a symbol and similar ones, and nothing for an unknown name', async () => {
    const yahoo = client(await start())
    const { quotes } = await yahoo.search('NFLX')
    expect(quotes[0]).toMatchObject({ symbol: 'NFLX', quoteType: 'EQUITY', longname: 'Netflix, Inc.' })
    expect((await yahoo.search('NONEXIST')).quotes).toEqual([])
  })
})

describe('prices', () => {
  const prices = openPrices('test')
  const SYMBOLS = ['AAPL', 'SHEL.L', '7203.T', 'EURUSD=X', 'BTC-USD', '^GSPC', 'ABCD', 'VTSAX']

  test('Q7 a day is the exact fold of its minutes', () => {
    for (const symbol of SYMBOLS.filter((one) => one !== 'VTSAX')) {
      const one = instrument(symbol)
      for (const date of ['2026-11-18', '2024-03-11', '2016-06-24']) {
        const day = dayOf(date)
        const { open, close } = sessionOf(one.venue, day)
        const bars = prices.bars(one, 60, open, close, close)
        expect(bars).toHaveLength((close - open) / 60)
        expect({
          day,
          open: bars[0]?.open,
          high: Math.max(...bars.map((bar) => bar.high)),
          low: Math.min(...bars.map((bar) => bar.low)),
          close: bars.at(-1)?.close,
          volume: bars.reduce((sum, bar) => sum + bar.volume, 0),
        }).toEqual(prices.day(one, day))
      }
    }
  })

  test('a quote is the fold of the minutes so far, and its previous close is the close of the day before', () => {
    const seconds = FRIDAY / 1000 + 437
    for (const symbol of ['AAPL', 'BTC-USD', 'EURUSD=X']) {
      const one = instrument(symbol)
      const present = prices.currentDay(one, seconds)
      const { open } = sessionOf(one.venue, dayOf('2026-11-20'))
      const bars = prices.bars(one, 15, open, seconds + 1, seconds)
      expect(present).toMatchObject({
        state: 'open',
        inSession: true,
        open: bars[0]?.open,
        high: Math.max(...bars.map((bar) => bar.high)),
        low: Math.min(...bars.map((bar) => bar.low)),
        price: bars.at(-1)?.close,
        previousClose: prices.day(one, dayOf('2026-11-19'))?.close,
        volume: bars.reduce((sum, bar) => sum + bar.volume, 0),
      })
      expect(prices.priceAt(one, seconds)).toBe(present?.price)
    }
  })

  test('the same seed gives the same prices in any order of requests, another seed gives others', () => {
    const moments = [0, 60, 3_600, 86_400, 7 * 86_400].map((ago) => FRIDAY / 1000 - ago)
    const pricesOf = (seed: string, order: number[]) => {
      const own = openPrices(seed)
      const all = order.map((at) => [at, SYMBOLS.map((symbol) => own.currentDay(instrument(symbol), at))] as const)
      return JSON.stringify([...all].sort(([a], [b]) => a - b))
    }
    expect(pricesOf('one', moments)).toBe(pricesOf('one', moments.toReversed()))
    expect(pricesOf('one', moments)).not.toBe(pricesOf('two', moments))
  })

  test('ten years of days and more for a thousand symbols, none on a weekend, none wild, at most four decimals', () => {
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
    let splits = 0
    let dividends = 0
    for (let i = 0; i < 1_000; i++) {
      const symbol = `Q${letters[i % 26]}${letters[(i * 7) % 26]}${letters[Math.floor(i / 26) % 26]}`
      const one = instrument(symbol)
      splits += one.splits.length
      dividends += prices.dividends(one, dayOf('2025-01-01'), dayOf('2025-12-31')).length
      expect(one.decimals).toBeLessThanOrEqual(4)
      expect(one.firstDay).toBeLessThan(dayOf('2016-11-20'))
      if (i % 50 !== 0) continue
      let before: { close: number; shares: number } | null = null
      for (let day = dayOf('2015-01-01'); day <= dayOf('2026-11-19'); day++) {
        const bar = prices.day(one, day)
        if (!bar) {
          expect(isTradingDay(one.venue, day) && day >= one.firstDay).toBe(false)
          continue
        }
        const { open, high, low, close } = bar
        expect(low > 0 && low <= Math.min(open, close) && high >= Math.max(open, close)).toBe(true)
        const shares = prices.sharesSince(one, day)
        if (before) expect(Math.abs(close / shares / (before.close / before.shares) - 1)).toBeLessThan(0.15)
        before = { close, shares }
      }
    }
    expect(splits).toBeGreaterThan(40)
    expect(dividends).toBeGreaterThan(1_500)
  })

  test('sessions follow the clocks of their zones: open, pre, post, closed, weekends', () => {
    const state = (symbol: string, at: string) => prices.currentDay(instrument(symbol), Date.parse(at) / 1000)?.state
    // New York changes its clocks on 8 March 2026, London on 29 March.
    expect(state('AAPL', '2026-03-06T14:29:59Z')).toBe('pre')
    expect(state('AAPL', '2026-03-06T14:30:00Z')).toBe('open')
    expect(state('AAPL', '2026-03-09T13:29:59Z')).toBe('pre')
    expect(state('AAPL', '2026-03-09T13:30:00Z')).toBe('open')
    expect(state('AAPL', '2026-03-09T20:00:00Z')).toBe('post')
    expect(state('AAPL', '2026-03-10T00:00:00Z')).toBe('closed')
    expect(state('AAPL', '2026-03-07T15:00:00Z')).toBe('closed')
    expect(state('SHEL.L', '2026-03-27T08:00:00Z')).toBe('open')
    expect(state('SHEL.L', '2026-03-30T07:00:00Z')).toBe('open')
    expect(state('SHEL.L', '2026-03-30T06:59:00Z')).toBe('closed')
    expect(state('7203.T', '2026-03-09T00:00:00Z')).toBe('open')
    expect(state('EURUSD=X', '2026-03-07T12:00:00Z')).toBe('closed')
    expect(state('BTC-USD', '2026-03-07T12:00:00Z')).toBe('open')
    const weekend = prices.currentDay(instrument('AAPL'), Date.parse('2026-03-07T15:00:00Z') / 1000)
    expect(weekend).toMatchObject({
      price: prices.day(instrument('AAPL'), dayOf('2026-03-06'))?.close,
      inSession: false,
    })
    expect(dateOf(weekend?.day ?? 0)).toBe('2026-03-06')
  })

  test('a pair costs about the same at Yahoo, Binance and the exchange of the same seed', async () => {
    const providers = await start()
    const exchange = await startExchange({ seed: 'test', now: () => FRIDAY })
    onTestFinished(() => exchange.close())
    for (const coin of ['BTC', 'ETH', 'DOT', 'PEPE']) {
      const { json } = await get(`${exchange.url}/api/v3/brokerage/market/products/${coin}-USD`)
      const price = Number((json() as { price: string }).price)
      expect(Math.abs(Number(providers.view('yahoo', `${coin}-USD`)?.price) / price - 1)).toBeLessThan(0.03)
      expect(Math.abs(Number(providers.view('binance', `${coin}USDT`)?.price) / price - 1)).toBeLessThan(0.03)
    }
    expect(cryptoPair('BTC-USDT')?.currency).toBe('USDT')
  })
})

describe('Binance', () => {
  const TICKER = '/api/v3/ticker/24hr'
  const list = (ids: string[]) => `${TICKER}?symbols=${encodeURIComponent(JSON.stringify(ids))}`

  test('a ticker covers the last 24 hours, with amounts as text, and times and counts as numbers', async () => {
    const { urls } = await start()
    const one = (await get(`${urls.binance}${TICKER}?symbol=BTCUSDT`)).json() as Record<string, string | number>
    for (const name of ['lastPrice', 'openPrice', 'highPrice', 'lowPrice', 'volume', 'prevClosePrice'])
      expect(one[name]).toMatch(/^\d+\.\d{8}$/)
    expect(one).toMatchObject({ symbol: 'BTCUSDT', closeTime: FRIDAY, openTime: FRIDAY - 86_400_000 })
    const open = openPrices('test').priceAt(cryptoPair('BTC-USDT') as Instrument, FRIDAY / 1000 - 86_400 + 15)
    expect(one.openPrice).toBe(((open ?? 0) / 100).toFixed(8))
    const several = (await get(`${urls.binance}${list(['ETHUSDT', 'BTCUSDT'])}`)).json() as { symbol: string }[]
    expect(several.map(({ symbol }) => symbol)).toEqual(['ETHUSDT', 'BTCUSDT'])
    expect(((await get(`${urls.binance}${TICKER}`)).json() as unknown[]).length).toBeGreaterThan(50)
  })

  test('Q5 one invalid symbol fails the whole request, and so does a malformed list', async () => {
    const { urls } = await start()
    const code = async (path: string) => {
      const answer = await get(`${urls.binance}${path}`)
      return [answer.status, (answer.json() as { code: number }).code]
    }
    expect(await code(list(['BTCUSDT', 'NOTASYMBOL']))).toEqual([400, -1121])
    expect(await code(`${TICKER}?symbol=ZZUSDT`)).toEqual([400, -1121])
    expect(await code(`${TICKER}?symbols=BTCUSDT,ETHUSDT`)).toEqual([400, -1100])
    expect(await code(`${TICKER}?symbols=${encodeURIComponent('["BTCUSDT", "ETHUSDT"]')}`)).toEqual([400, -1100])
    expect(await code(list(['BTCUSDT', 'BTCUSDT']))).toEqual([400, -1151])
    expect(await code(`${TICKER}?symbol=BTCUSDT&symbols=${encodeURIComponent('["BTCUSDT"]')}`)).toEqual([400, -1128])
    expect(await code('/api/v3/klines?symbol=BTCUSDT&interval=2d')).toEqual([400, -1120])
  })

  test('Q4 weights are counted and reported; above the limit the status is 429, and 418 for a client that continues', async () => {
    let now = FRIDAY
    const providers = await start({ now: () => now, binanceWeight: 130 })
    const { urls } = providers
    const many = (n: number) => Array.from({ length: n }, (_, i) => `C${i}USDT`)
    const weights: number[] = []
    for (const path of [`${TICKER}?symbol=BTCUSDT`, list(many(20)), list(many(21)), TICKER]) {
      const { headers } = await get(`${urls.binance}${path}`)
      weights.push(Number(headers.get('x-mbx-used-weight-1m')))
    }
    expect(weights).toEqual([2, 4, 44, 124])
    expect(providers.counts().binance.weight).toBe(124)
    const statuses: number[] = []
    for (let i = 0; i < 8; i++) statuses.push((await get(`${urls.binance}${list(many(100))}`)).status)
    expect(statuses).toEqual([429, 429, 429, 429, 429, 418, 418, 418])
    const banned = await get(`${urls.binance}/api/v3/ping`)
    expect([banned.status, banned.headers.get('retry-after'), banned.json()]).toMatchObject([
      418,
      '120',
      { code: -1003 },
    ])
    now += 121_000
    const free = await get(`${urls.binance}/api/v3/ping`)
    expect([free.status, free.headers.get('x-mbx-used-weight-1m')]).toEqual([200, '1'])
  })

  test('klines are arrays of twelve values, by day in UTC, including the current day', async () => {
    const { urls } = await start()
    const rows = (await get(`${urls.binance}/api/v3/klines?symbol=BTCUSDT&interval=1d&limit=3`)).json() as unknown[][]
    expect(rows.map((row) => [row.length, new Date(row[0] as number).toISOString().slice(0, 10)])).toEqual([
      [12, '2026-11-18'],
      [12, '2026-11-19'],
      [12, '2026-11-20'],
    ])
    expect(rows[1]?.[6]).toBe((rows[2]?.[0] as number) - 1)
    expect(rows[0]?.[4]).toBe(rows[1]?.[1])
    const start1m = FRIDAY - 180_000
    const minutes = (
      await get(`${urls.binance}/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=${start1m}&limit=2`)
    ).json() as unknown[][]
    expect(minutes.map(([at]) => at)).toEqual([start1m, start1m + 60_000])
    const old = (
      await get(`${urls.binance}/api/v3/klines?symbol=BTCUSDT&interval=1d&startTime=0&limit=1000`)
    ).json() as unknown[]
    expect(old).toHaveLength(1_000)
  })

  test('exchangeInfo has the assets of a pair', async () => {
    const { urls } = await start()
    const info = (await get(`${urls.binance}/api/v3/exchangeInfo?symbol=ETHBTC`)).json()
    expect(info).toMatchObject({
      symbols: [{ symbol: 'ETHBTC', baseAsset: 'ETH', quoteAsset: 'BTC', status: 'TRADING' }],
    })
  })
})

describe('providers with a key', () => {
  test('Twelve Data responds with 401 without a key, and answers and charges each symbol separately', async () => {
    const { urls } = await start()
    expect([(await get(`${urls.twelvedata}/quote?symbol=AAPL`)).status]).toEqual([401])
    expect((await get(`${urls.twelvedata}/quote?symbol=AAPL&apikey=wrong`)).json()).toMatchObject({
      code: 401,
      status: 'error',
    })
    const quotes = await get(`${urls.twelvedata}/quote?symbol=AAPL,NONE&apikey=any`)
    expect([quotes.status, quotes.json()]).toMatchObject([
      200,
      { AAPL: { symbol: 'AAPL', currency: 'USD', is_market_open: true }, NONE: { code: 404, status: 'error' } },
    ])
    expect((await get(`${urls.twelvedata}/quote?symbol=NONE&apikey=any`)).status).toBe(404)
    const series = await get(`${urls.twelvedata}/time_series?symbol=AAPL&interval=1day&outputsize=2&apikey=any`)
    expect(series.json()).toMatchObject({
      values: [{ datetime: '2026-11-20' }, { datetime: '2026-11-19' }],
      status: 'ok',
    })
    expect(series.headers.get('api-credits-left')).toBe('4')
    const spent = await get(`${urls.twelvedata}/quote?symbol=A,B,C,D,E&apikey=any`)
    expect([spent.status, spent.json()]).toMatchObject([429, { code: 429, status: 'error' }])
  })

  test('CoinMarketCap responds with 401 without a key, lists coins under each ticker, and fails all for one invalid ticker', async () => {
    const { urls } = await start()
    const path = `${urls.coinmarketcap}/v2/cryptocurrency/quotes/latest?symbol=`
    const key = { 'X-CMC_PRO_API_KEY': 'any' }
    expect((await get(`${path}BTC`)).json()).toMatchObject({ status: { error_code: 1002 } })
    const wrong = await get(`${path}BTC`, { 'X-CMC_PRO_API_KEY': 'wrong-one' })
    expect([wrong.status, wrong.json()]).toMatchObject([401, { status: { error_code: 1001 } }])
    const good = await get(`${path}BTC,ETH&convert=EUR`, key)
    expect(good.json()).toMatchObject({
      status: { error_code: 0 },
      data: { BTC: [{ id: 1, quote: { EUR: { price: expect.any(Number) } } }], ETH: [{ id: 1_027 }] },
    })
    expect((await get(`${path}BTC,ZZZ`, key)).status).toBe(400)
    expect((await get(`${path}BTC,ZZZ&skip_invalid=true`, key)).status).toBe(200)
  })
})

describe('faults and settings', () => {
  const TICKER = '/api/v3/ticker/24hr?symbol=BTCUSDT'

  test('each fault affects its provider, for a number of requests or until it is cleared', async () => {
    const providers = await start()
    const { urls } = providers
    const status = () => get(`${urls.binance}${TICKER}`).then((answer) => answer.status)
    providers.fault({ kind: '500', provider: 'binance', times: 2 })
    expect([await status(), await status(), await status()]).toEqual([500, 500, 200])
    providers.fault({ kind: '429', provider: 'binance', retryAfter: 7 })
    const refused = await get(`${urls.binance}${TICKER}`)
    expect([refused.status, refused.headers.get('retry-after'), refused.json()]).toMatchObject([
      429,
      '7',
      { code: -1003 },
    ])
    expect((await get(`${providers.urls.yahoo}/v8/finance/chart/AAPL?range=5d`)).status).toBe(200)
    providers.clearFaults('binance')
    expect(await status()).toBe(200)
    providers.fault({ kind: '418', provider: 'binance', times: 1 })
    expect([await status(), await status()]).toEqual([418, 200])
    providers.fault({ kind: '429' })
    const text = await get(`${providers.urls.yahoo}/v8/finance/chart/AAPL?range=5d`)
    expect([text.status, text.text, text.headers.get('retry-after')]).toEqual([429, 'Edge: Too Many Requests', null])
  })

  test('the fault down resets, hang never responds, slow responds late, and their durations are bounded', async () => {
    let now = FRIDAY
    const providers = await start({ now: () => now })
    const url = `${providers.urls.binance}${TICKER}`
    providers.fault({ kind: 'down', provider: 'binance', forMs: 1_000 })
    await expect(fetch(url)).rejects.toThrow()
    now += 1_000
    expect((await get(url)).status).toBe(200)
    providers.fault({ kind: 'hang', times: 1 })
    const caller = new AbortController()
    const hanging = expect(fetch(url, { signal: caller.signal })).rejects.toThrow(/abort/)
    await vi.waitUntil(() => providers.requests({ provider: 'binance' }).length === 3, { timeout: 20_000 })
    caller.abort()
    await hanging
    providers.fault({ kind: 'slow', ms: 150, times: 1 })
    const began = performance.now()
    expect((await get(url)).status).toBe(200)
    expect(performance.now() - began).toBeGreaterThan(140)
    expect(providers.requests({ provider: 'binance' }).map(({ status }) => status)).toEqual([0, 200, 0, 200])
  })

  test('the client rejects every invalid body', async () => {
    const providers = await start()
    const bodies: string[] = []
    for (const body of ['text', 'cut', 'html', 'empty', 'schema', 'none'] as const) {
      providers.fault({ kind: 'body', body, provider: 'yahoo', times: 1 })
      const answer = await get(`${providers.urls.yahoo}/v7/finance/quote?symbols=AAPL`)
      expect(answer.status).toBe(200)
      bodies.push(answer.text)
    }
    expect(new Set(bodies).size).toBe(6)
    for (const text of bodies.slice(0, 4)) expect(() => JSON.parse(text)).toThrow()
    expect(JSON.parse(bodies[5] as string)).toEqual({ quoteResponse: { result: [], error: null } })
  })

  test('an expired crumb fails every quote until another one is fetched', async () => {
    const providers = await start()
    const { cookie, crumb } = await enter(providers)
    const ask = async (with_: string) =>
      (
        await get(`${providers.urls.yahoo}/v7/finance/quote?symbols=AAPL&crumb=${encodeURIComponent(with_)}`, {
          cookie,
        })
      ).status
    expect(await ask(crumb)).toBe(200)
    providers.fault({ kind: 'crumb' })
    expect(await ask(crumb)).toBe(401)
    const fresh = (await get(`${providers.urls.yahoo}/v1/test/getcrumb`, { cookie })).text
    expect(await ask(fresh)).toBe(200)
    providers.fault({ kind: 'crumb', cookie: true })
    expect((await get(`${providers.urls.yahoo}/v1/test/getcrumb`, { cookie })).status).toBe(401)
  })

  test('Q5 a poisoned id fails every batch that contains it, or has an invalid price', async () => {
    const providers = await start()
    const { cookie, crumb } = await enter(providers)
    const ask = async (ids: string) => {
      const path = `/v7/finance/quote?symbols=${ids}&crumb=${encodeURIComponent(crumb)}`
      const answer = await get(`${providers.urls.yahoo}${path}`, { cookie })
      if (answer.status !== 200) return answer.status
      const { quoteResponse } = answer.json() as {
        quoteResponse: { result: { symbol: string; regularMarketPrice: unknown }[] }
      }
      return Object.fromEntries(quoteResponse.result.map((quote) => [quote.symbol, quote.regularMarketPrice]))
    }
    const good = (await ask('AAPL,MSFT')) as Record<string, number>
    providers.fault({ kind: 'poison', provider: 'yahoo', id: 'MSFT' })
    expect(await ask('AAPL,MSFT')).toBe(400)
    expect(await ask('AAPL')).toEqual({ AAPL: good.AAPL })
    for (const [effect, price] of [
      ['NaN', 'NaN'],
      ['negative', -5],
      ['zero', 0],
      ['text', 'n/a'],
      ['missing', undefined],
    ] as const) {
      providers.clearFaults()
      providers.fault({ kind: 'poison', provider: 'yahoo', id: 'MSFT', effect })
      expect(await ask('AAPL,MSFT')).toEqual(JSON.parse(JSON.stringify({ AAPL: good.AAPL, MSFT: price })))
    }
    providers.clearFaults()
    expect(await ask('AAPL,MSFT')).toEqual(good)
  })

  test('prices, currencies, states and the existence of a symbol can be set, for one symbol or a market', async () => {
    const providers = await start()
    const view = (id: string) => providers.view('yahoo', id)
    const before = view('AAPL')
    providers.setPrice({ id: 'AAPL', price: 999.25, currency: 'GBp', previous_close: 900 })
    expect(view('AAPL')).toMatchObject({ price: 999.25, high: 999.25, currency: 'GBp', previousClose: 900 })
    providers.setPrice({ id: 'AAPL', price: null, currency: null, previous_close: null })
    expect(view('AAPL')).toEqual(before)
    providers.setPrice({ provider: 'yahoo', id: 'MSFT', unknown: true })
    expect([view('MSFT'), providers.view('twelvedata', 'MSFT')]).toMatchObject([null, { instrument: { id: 'MSFT' } }])
    expect(view('SHEL.L')?.state).toBe('closed')
    providers.setPrice({ market: 'gb_market', market_state: 'open' })
    providers.setPrice({ market: 'NMS', market_state: 'post' })
    expect([view('SHEL.L'), view('AAPL'), view('BTC-USD')]).toMatchObject([
      { state: 'open', time: FRIDAY / 1000 },
      { state: 'post' },
      { state: 'open' },
    ])
    providers.setPrice({ market: '*', market_state: 'closed' })
    expect(view('BTC-USD')?.state).toBe('closed')
    providers.clearPrices()
    expect(view('AAPL')).toEqual(before)
    expect(() => providers.setPrice({ price: 1 })).toThrow()
  })

  test('the prices of a market that is opened on a weekend move', async () => {
    let now = Date.parse('2026-11-21T12:00:00Z')
    const providers = await start({ now: () => now })
    providers.setPrice({ market: '*', market_state: 'open' })
    const seen = new Set<unknown>()
    for (let i = 0; i < 8; i++, now += 15_000) seen.add(providers.view('yahoo', 'AAPL')?.price)
    expect(seen.size).toBeGreaterThan(3)
  })

  test('with a list of assets, only those exist', async () => {
    const providers = await start({ assets: ['AAPL', 'BTCUSDT'] })
    expect(['AAPL', 'MSFT'].map((id) => providers.view('yahoo', id)?.instrument.id)).toEqual(['AAPL', undefined])
    expect(['BTCUSDT', 'ETHUSDT'].map((id) => providers.view('binance', id)?.instrument.currency)).toEqual([
      'USDT',
      undefined,
    ])
  })

  test('requests are recorded with their times, weights and ids, and the most in flight at once', async () => {
    const providers = await start()
    providers.fault({ kind: 'slow', ms: 50 })
    await Promise.all(
      ['BTC', 'ETH', 'SOL'].map((coin) => get(`${providers.urls.binance}/api/v3/ticker/24hr?symbol=${coin}USDT`)),
    )
    const recorded = (await get(`${providers.url}/_requests?provider=binance&since=${FRIDAY}`)).json() as {
      counts: { binance: object; yahoo: object }
      requests: object[]
    }
    expect(recorded.counts.binance).toMatchObject({
      requests: 3,
      weight: 6,
      ids: 3,
      inFlight: 0,
      peak: 3,
      statuses: { 200: 3 },
    })
    expect(recorded.counts.yahoo).toMatchObject({ requests: 0 })
    expect(recorded.requests).toHaveLength(3)
    expect(recorded.requests[0]).toMatchObject({ provider: 'binance', at: FRIDAY, status: 200, weight: 2 })
    await fetch(`${providers.url}/_requests`, { method: 'DELETE' })
    expect(providers.requests()).toEqual([])
    expect(providers.counts().binance.requests).toBe(0)
  })

  test('the control paths take one or several, return what is set, and refuse unknown ones', async () => {
    const { url, urls } = await start()
    const post = (path: string, body: unknown) => fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body) })
    await post('/_faults', [
      { kind: 'down', provider: 'yahoo', times: 1 },
      { kind: '500', provider: 'binance' },
    ])
    expect((await get(`${url}/_faults`)).json()).toMatchObject({
      faults: [
        { kind: 'down', left: 1, hits: 0 },
        { kind: '500', left: null, hits: 0 },
      ],
    })
    await fetch(`${url}/_faults?provider=yahoo`, { method: 'DELETE' })
    expect((await get(`${url}/_faults`)).json()).toMatchObject({ faults: [{ kind: '500' }] })
    await post('/_prices', { id: 'AAPL', price: '12.5' })
    expect((await get(`${url}/_prices?id=AAPL`)).json()).toMatchObject({ view: { price: 12.5, currency: 'USD' } })
    expect((await post('/_faults', { kind: 'earthquake' })).status).toBe(400)
    expect((await get(`${url}/_nothing`)).status).toBe(404)
    expect((await fetch(`${urls.yahoo}/v8/finance/chart/AAPL`, { method: 'POST' })).status).toBe(405)
  })

  test('recorded responses take precedence over generated ones', async () => {
    const recorded = mkdtempSync(join(tmpdir(), 'kerb-recorded-'))
    onTestFinished(() => rmSync(recorded, { recursive: true, force: true }))
    const save = (path: string, value: unknown) => {
      mkdirSync(join(recorded, path, '..'), { recursive: true })
      writeFileSync(join(recorded, path), JSON.stringify(value))
    }
    const chart = 'https://query2.finance.yahoo.com/v8/finance/chart/AAPL?interval=1d&period1=1&period2=2'
    save('yahoo/quote-LDO.MI.json', {
      request: { url: 'https://query2.finance.yahoo.com/v7/finance/quote?symbols=LDO.MI' },
      response: {
        status: 200,
        bodyJson: { quoteResponse: { result: [{ symbol: 'LDO.MI', regularMarketPrice: 33.38 }] } },
      },
    })
    save('yahoo/chart-AAPL.json', {
      request: { url: chart },
      response: { status: 200, bodyJson: { chart: 'recorded' } },
    })
    save('binance/ticker24hr-BTCUSDT.json', { symbol: 'BTCUSDT', lastPrice: '47174.97000000' })
    const providers = await start({ recorded })
    const { cookie, crumb } = await enter(providers)
    const quotes = `${providers.urls.yahoo}/v7/finance/quote?symbols=LDO.MI,AAPL&crumb=${encodeURIComponent(crumb)}`
    expect((await get(quotes, { cookie })).json()).toMatchObject({
      quoteResponse: {
        result: [
          { symbol: 'LDO.MI', regularMarketPrice: 33.38 },
          { symbol: 'AAPL', currency: 'USD' },
        ],
      },
    })
    const path = '/v8/finance/chart/AAPL?interval=1d&period1=1'
    expect((await get(`${providers.urls.yahoo}${path}&period2=2`)).json()).toEqual({ chart: 'recorded' })
    expect((await get(`${providers.urls.yahoo}${path}&period2=3`)).json()).toMatchObject({ chart: { error: null } })
    expect((await get(`${providers.urls.binance}${TICKER}`)).json()).toMatchObject({ lastPrice: '47174.97000000' })
  })
})

test('the library accepts the recorded responses of the repository', async () => {
  const yahoo = client(await start({ recorded: join(import.meta.dirname, '../../fixtures') }))
  const quotes = await yahoo.quote(['AAPL', 'LDO.MI', 'MSFT'])
  expect(quotes.map(({ regularMarketPrice }) => regularMarketPrice).slice(0, 2)).toEqual([244.6, 33.38])
  expect(quotes[2]).toMatchObject({ symbol: 'MSFT', regularMarketTime: new Date(FRIDAY) })
  const { events } = await yahoo.chart('AAPL', { period1: 1_598_832_000, period2: 1_604_707_200 })
  expect(events?.dividends).toMatchObject([{ amount: 0.205 }])
})

describe('the exchange beside the providers', () => {
  test('the days of the exchange go back more than five years without a jump or a gap', async () => {
    const exchange = await startExchange({ seed: 'test', now: () => FRIDAY })
    onTestFinished(() => exchange.close())
    const today = dayOf('2026-11-20')
    const days: Record<'start' | 'open' | 'high' | 'low' | 'close' | 'volume', string>[] = []
    for (let last = today; last > today - 5.5 * 365; last -= 340) {
      const query = `granularity=ONE_DAY&start=${(last - 339) * 86_400}&end=${last * 86_400}`
      const { json } = await get(`${exchange.url}/api/v3/brokerage/market/products/DOT-USD/candles?${query}`)
      days.push(...(json() as { candles: typeof days }).candles)
    }
    expect(days.length).toBeGreaterThan(5 * 365)
    for (const [i, day] of days.entries()) {
      expect(Number(day.start)).toBe((today - i) * 86_400)
      const [open, high, low, close] = [day.open, day.high, day.low, day.close].map(Number) as [
        number,
        number,
        number,
        number,
      ]
      expect(low > 0 && low <= Math.min(open, close) && high >= Math.max(open, close)).toBe(true)
      expect(Number(day.volume)).toBeGreaterThan(0)
      const before = days[i + 1]
      if (before) expect(Math.abs(open / Number(before.close) - 1)).toBeLessThan(0.01)
    }
  })

  test('the exchange lists the coins of all assets', async () => {
    const exchange = await startExchange({ seed: 'test', now: () => FRIDAY })
    onTestFinished(() => exchange.close())
    const wanted = ['BTC', 'ETH', 'SOL', 'XRP', 'DOGE', 'ADA', 'LTC', 'LINK', 'AVAX'].flatMap((coin) => [
      `${coin}-USD`,
      `${coin}-EUR`,
    ])
    const { json } = await get(
      `${exchange.url}/api/v3/brokerage/market/products?${wanted.map((id) => `product_ids=${id}`).join('&')}`,
    )
    const listed = (json() as { products: { product_id: string; price: string }[] }).products
    expect(listed.map(({ product_id }) => product_id).sort()).toEqual(wanted.sort())
    for (const { price } of listed) expect(Number(price)).toBeGreaterThan(0)
  })
})
