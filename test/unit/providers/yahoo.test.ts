import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { yahooProvider } from '../../../src/providers/yahoo.ts'
import { fixture } from '../../support/recordings.ts'
import { type Canned, CUT, canned, expectSound, HANGS } from './contract.ts'
import { COOKIE, CRUMB, session, yahooBody } from './yahoo-answers.ts'

const URL_OF_YAHOO = 'https://query2.finance.yahoo.com'
const now = () => Date.UTC(2026, 1, 4)
const aapl = yahooBody('quote-AAPL.json') as { quoteResponse: { result: Record<string, unknown>[] } }
const errors: { endpoint: string; status: number; body: unknown }[] = JSON.parse(
  fixture('errors/error-bodies.json'),
).yahoo

type Answer = Canned | typeof HANGS | typeof CUT

function yahoo(answer: (url: string, n: number) => Answer | null, url = URL_OF_YAHOO) {
  let n = 0
  const { fetch, sent } = canned((asked) => answer(asked, n++) ?? session(asked) ?? { body: aapl })
  const provider = yahooProvider({ fetch, url, now })
  return { provider, sent, paths: () => sent.map((one) => new URL(one.url).pathname) }
}
const isQuote = (url: string) => url.includes('/v7/finance/quote')
const isCrumb = (url: string) => url.includes('/getcrumb')
const isPage = (url: string) => url.includes('/quote/AAPL')

const PAGE = '/quote/AAPL'
const GET_CRUMB = '/v1/test/getcrumb'
const QUOTE = '/v7/finance/quote'

describe('cookie and crumb', () => {
  test('cookie and crumb are fetched once, by the first request that needs them, and sent with each', async () => {
    const { provider, sent, paths } = yahoo(() => null)
    const first = await Promise.all([provider.quotes(['AAPL']), provider.quotes(['AAPL']), provider.find('AAPL')])
    expect(first.every((result) => result.ok)).toBe(true)
    await provider.quotes(['AAPL'])
    expect(paths()).toEqual([PAGE, GET_CRUMB, QUOTE, QUOTE, QUOTE, QUOTE])
    for (const { url, init } of sent.filter((one) => isQuote(one.url))) {
      expect(new URL(url).searchParams.get('crumb')).toBe(CRUMB)
      expect(init.headers.cookie).toContain(COOKIE.split(';')[0])
    }
  })

  test('history needs neither cookie nor crumb', async () => {
    const { provider, paths } = yahoo((url) =>
      url.includes('/chart/') ? { body: yahooBody('chart-AAPL.json') } : null,
    )
    expect(await provider.dailyHistory('AAPL', '2022-01-01')).toMatchObject({ ok: true })
    expect(paths()).toEqual(['/v8/finance/chart/AAPL'])
  })

  test.each(errors.filter((error) => error.status === 401))(
    'a refused crumb is replaced: $endpoint',
    async ({ status, body }) => {
      let refusals = 0
      const { provider, paths } = yahoo((url) => (isQuote(url) && refusals++ === 0 ? { status, body } : null))
      expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true, value: [{ price: '244.6' }] })
      expect(paths()).toEqual([PAGE, GET_CRUMB, QUOTE, PAGE, GET_CRUMB, QUOTE])
    },
  )

  test('concurrent requests with a refused crumb get one new crumb', async () => {
    let given = 0
    const { provider, paths } = yahoo((url) => {
      if (isCrumb(url)) return { body: `crumb-${++given}` }
      if (!isQuote(url)) return null
      return url.includes('crumb=crumb-2') ? { body: aapl } : (errors[1] as Canned)
    })
    const all = await Promise.all(Array.from({ length: 5 }, () => provider.quotes(['AAPL'])))
    expect(all.every((result) => result.ok)).toBe(true)
    expect(paths().filter((path) => path === GET_CRUMB)).toHaveLength(2)
  })

  test('a crumb that is refused again is a failure after one retry', async () => {
    const { provider, paths } = yahoo((url) => (isQuote(url) ? (errors[1] as Canned) : null))
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: false, reason: 'unavailable', status: 401 })
    expect(paths()).toEqual([PAGE, GET_CRUMB, QUOTE, PAGE, GET_CRUMB, QUOTE])
  })

  test.each([
    ['Too Many Requests', 'rate_limited'],
    ['Edge: Too Many Requests', 'rate_limited'],
    ['<html><body>Will be right back', 'unavailable'],
    ['{"finance":{"error":null}}', 'unavailable'],
    ['', 'unavailable'],
  ])('%s never becomes a crumb, even with 200', async (text, reason) => {
    let limited = true
    const { provider, sent } = yahoo((url) => (isCrumb(url) && limited ? { body: text } : null))
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: false, reason })
    expect(sent.some((one) => isQuote(one.url))).toBe(false)
    limited = false
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true })
  })

  test.each([
    ['the page', isPage],
    ['the crumb', isCrumb],
  ])('%s refused with 429 is a rate limit with its time to wait, and the next request succeeds', async (_, matches) => {
    let limited = true
    const { provider } = yahoo((url) =>
      matches(url) && limited ? { status: 429, body: 'Too Many Requests', headers: { 'retry-after': '60' } } : null,
    )
    const failure = { ok: false, reason: 'rate_limited', status: 429, retryAfter: 60_000 }
    expect(await provider.quotes(['AAPL'])).toMatchObject(failure)
    limited = false
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true })
  })

  test.each([
    ['the page', isPage],
    ['the crumb', isCrumb],
  ])('%s that hangs ends with the request that waits for it, and the next request succeeds', async (_, matches) => {
    let hangs = true
    const { provider } = yahoo((url) => (matches(url) && hangs ? HANGS : null))
    expect(await provider.quotes(['AAPL'], AbortSignal.timeout(20))).toMatchObject({
      reason: 'unavailable',
      status: null,
    })
    hangs = false
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true })
  })

  test('a request that waits for the crumb of one that times out gets its own', async () => {
    let crumbRequests = 0
    const { provider } = yahoo((url) => (isCrumb(url) && crumbRequests++ === 0 ? HANGS : null))
    const [impatient, patient] = await Promise.all([
      provider.quotes(['AAPL'], AbortSignal.timeout(20)),
      provider.quotes(['AAPL']),
    ])
    expect(impatient).toMatchObject({ ok: false, reason: 'unavailable' })
    expect(patient).toMatchObject({ ok: true })
  })

  test('a page without a cookie, or with a redirect, is a failure, not an exception', async () => {
    const odd: Canned[] = [
      { body: '<html></html>' },
      { status: 302, body: '', headers: { location: 'https://guce.yahoo.com/consent?sessionId=1' } },
      { status: 404, body: 'gone' },
    ]
    for (const page of odd) {
      const { provider } = yahoo((url) => (isPage(url) ? page : url.includes('guce') ? { body: '' } : null))
      expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: false, reason: 'unavailable' })
    }
  })

  test('the consent page is accepted', async () => {
    const redirect = (location: string, cookie?: string): Canned => ({
      status: 302,
      body: '',
      headers: { location, ...(cookie && { 'set-cookie': cookie }) },
    })
    let agreed = false
    const { provider, sent } = yahoo((url) => {
      const { hostname, pathname } = new URL(url)
      if (isPage(url) && !agreed)
        return redirect('https://guce.yahoo.com/consent?x=1', 'GUCS=AA; Domain=.yahoo.com; Path=/; Secure')
      if (hostname === 'guce.yahoo.com' && pathname === '/consent')
        return redirect('https://consent.yahoo.com/v2/collectConsent?sessionId=1', 'C=1; Path=/; Secure')
      if (hostname === 'consent.yahoo.com' && sent.at(-1)?.init.method !== 'POST')
        return { body: '<input type="hidden" name="csrfToken" value="t&#x2F;1">' }
      if (hostname === 'consent.yahoo.com') {
        agreed = true
        return redirect(
          'https://guce.yahoo.com/copyConsent?sessionId=1',
          'CFC=1; Domain=consent.yahoo.com; Path=/; Secure',
        )
      }
      if (pathname === '/copyConsent') return redirect('https://finance.yahoo.com/quote/AAPL?guccounter=1', COOKIE)
      return null
    })
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true })
    const posted = sent.find((one) => one.init.method === 'POST')
    expect(posted?.init.body).toBe('csrfToken=t%2F1&agree=agree&agree=agree')
    expect(posted?.init.redirect).toBe('manual')
  })

  test('a cookie of another domain beside data is ignored', async () => {
    const headers = { 'set-cookie': 'B=1; Domain=.example.com; Path=/' }
    const { provider } = yahoo((url) => (isQuote(url) ? { body: aapl, headers } : null))
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true })
    // An unhandled rejection would fail the run by now.
    await new Promise((resolve) => setImmediate(resolve))
  })

  test('another YAHOO_URL receives the requests to all hosts of Yahoo', async () => {
    const { provider, sent } = yahoo((url) => session(url.replace('/yahoo/', '/')), 'http://127.0.0.1:9/yahoo')
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: true })
    expect(sent.map(({ url, init }) => [url.split('?')[0], init.headers['x-forwarded-host']])).toEqual([
      ['http://127.0.0.1:9/yahoo/quote/AAPL', 'finance.yahoo.com'],
      ['http://127.0.0.1:9/yahoo/v1/test/getcrumb', 'query1.finance.yahoo.com'],
      ['http://127.0.0.1:9/yahoo/v7/finance/quote', 'query2.finance.yahoo.com'],
    ])
  })
})

describe('failures', () => {
  const expected: Record<number, object> = {
    404: { reason: 'not_found', status: 404 },
    401: { reason: 'unavailable', status: 401 },
    429: { reason: 'rate_limited', status: 429 },
  }
  test.each(errors)('status $status of $endpoint becomes a failure with its reason', async ({ status, body }) => {
    const { provider } = yahoo((url) => (url.includes('/finance/') ? { status, body } : null))
    expect(await provider.quotes(['AAPL'])).toMatchObject({ ok: false, ...expected[status] })
    expect(await provider.dailyHistory('AAPL', null)).toMatchObject({ ok: false, ...expected[status] })
  })

  test('a 404 in the body of a 200 is not_found, and another error there is invalid', async () => {
    const of = async (description: string, code = 'Not Found') => {
      const body = { chart: { result: null, error: { code, description } } }
      return (await yahoo((url) => (url.includes('/chart/') ? { body } : null)).provider.dailyHistory(
        'AAPL',
        null,
      )) as object
    }
    expect(await of('No data found, symbol may be delisted')).toMatchObject({ reason: 'not_found' })
    expect(await of('Oops', 'Internal')).toMatchObject({ reason: 'invalid', status: 200, detail: 'Internal: Oops' })
    expect(await of('Invalid Crumb', 'Unauthorized')).toMatchObject({ reason: 'unavailable', status: 401 })
  })

  test('a start before the first trading day has no data, and is not an invalid request', async () => {
    const description = "Data doesn't exist for startDate = 1, endDate = 2"
    const body = { chart: { result: null, error: { code: 'Bad Request', description } } }
    const { provider } = yahoo((url) => (url.includes('/chart/') ? { status: 400, body } : null))
    expect(await provider.dailyHistory('AAPL', null)).toMatchObject({ reason: 'not_found' })
  })

  test('no failure contains the crumb', async () => {
    const answers: Answer[] = [CUT, { status: 500, body: 'no' }, { body: 'no' }, { status: 401, body: '{}' }]
    for (const answer of answers) {
      const { fetch } = canned((url) => session(url) ?? (isQuote(url) ? answer : { body: '' }))
      const provider = yahooProvider({
        fetch: async (url, init) => {
          try {
            return await fetch(url, init)
          } catch {
            throw new TypeError(`Failed to fetch ${url}`)
          }
        },
        url: URL_OF_YAHOO,
        now,
      })
      const result = await provider.quotes(['AAPL'])
      expect(result.ok).toBe(false)
      expect(JSON.stringify(result)).not.toContain(encodeURIComponent(CRUMB))
      expect(JSON.stringify(result)).not.toContain(CRUMB)
    }
  })
})

describe('quotes', () => {
  const files = readdirSync(join(import.meta.dirname, '../../fixtures/yahoo')).filter((file) =>
    file.startsWith('quote-'),
  )

  test.each(files)('the quotes of %s are read', async (file) => {
    const body = yahooBody(file) as typeof aapl
    const listed = body.quoteResponse.result
    const ids = listed.length > 0 ? listed.map((quote) => String(quote.symbol)) : ['NONE']
    const { provider } = yahoo((url) => (isQuote(url) ? { body } : null))
    const result = await provider.quotes(ids)
    if (!result.ok) throw new Error(result.detail)
    expect(result.value).toHaveLength(ids.length)
    for (const quote of result.value) expectSound(quote)
    const priced = listed.filter((quote) => quote.regularMarketPrice && quote.currency)
    expect(result.value.filter((quote) => quote.price !== null)).toHaveLength(priced.length)
  })

  const of = async (change: object) => {
    const body = { quoteResponse: { result: [{ ...aapl.quoteResponse.result[0], ...change }], error: null } }
    const result = await yahoo((url) => (isQuote(url) ? { body } : null)).provider.quotes(['AAPL'])
    if (!result.ok) throw new Error(result.detail)
    return result.value[0]
  }

  test.each([
    ['PREPRE', 'pre'],
    ['PRE', 'pre'],
    ['REGULAR', 'open'],
    ['POST', 'post'],
    ['POSTPOST', 'post'],
    ['CLOSED', 'closed'],
    ['HALTED', null],
    ['toString', null],
    [undefined, null],
  ])('a market that is %s at Yahoo has the state %s', async (marketState, expected) => {
    expect(await of({ marketState })).toMatchObject({ market_state: expected })
  })

  test.each([
    ['GBp', 'GBP', '2.446'],
    ['GBX', 'GBP', '2.446'],
    ['ZAc', 'ZAR', '2.446'],
    ['ZAX', 'ZAR', '2.446'],
    ['ILA', 'ILS', '2.446'],
    ['GBP', 'GBP', '244.6'],
    ['USD', 'USD', '244.6'],
  ])('Q6 a price in %s becomes a price in %s', async (currency, expected, price) => {
    expect(await of({ currency })).toMatchObject({ currency: expected, price })
  })

  const pounds = { currency: 'GBp', financialCurrency: 'GBP' }
  test.each([
    ['earnings in the currency of the price', {}, '6.31', '38.763866'],
    [
      'earnings in pounds beside a price in pence',
      { ...pounds, epsTrailingTwelveMonths: 0.0631 },
      '0.0631',
      '38.763866',
    ],
    ['earnings in pence', { ...pounds, epsTrailingTwelveMonths: 6.31 }, null, null],
    ['a loss', { epsTrailingTwelveMonths: -1.5, trailingPE: undefined }, '-1.5', null],
    ['a loss beside a P/E', { epsTrailingTwelveMonths: -1.5 }, '-1.5', null],
    ['nothing earned', { epsTrailingTwelveMonths: 0 }, '0', null],
    ['a loss in pence or pounds', { ...pounds, epsTrailingTwelveMonths: -1.5 }, null, null],
    ['earnings without a P/E', { trailingPE: undefined }, '6.31', null],
    ['earnings without a P/E in pence or pounds', { ...pounds, trailingPE: undefined }, null, null],
    ['another currency', { financialCurrency: 'CNY' }, null, null],
    ['no currency', { financialCurrency: undefined }, null, null],
    ['a P/E of other shares', { trailingPE: 9.69 }, null, null],
    ['a P/E alone', { epsTrailingTwelveMonths: undefined }, null, null],
    ['a P/E in words', { trailingPE: 'Infinity' }, '6.31', null],
  ])('P6 earnings and P/E of a quote with %s', async (_, change, eps, pe) => {
    expect(await of(change)).toMatchObject({ price: expect.any(String), eps, pe_ratio: pe })
  })

  test.each([
    [{ regularMarketTime: undefined }],
    [{ regularMarketTime: 0 }],
    [{ regularMarketTime: 'now' }],
    [{ currency: '' }],
    [{ regularMarketPrice: Number.NaN }],
  ])('a quote with %o has no price', async (change) => {
    expect(await of(change)).toMatchObject({ price: null, reason: 'no_price' })
  })

  test('two hundred symbols take one request', async () => {
    const { provider, sent } = yahoo(() => null)
    await provider.quotes(Array.from({ length: provider.maxBatch }, (_, i) => `SYM${i}.DE`))
    const requests = sent.filter((one) => isQuote(one.url))
    expect(requests).toHaveLength(1)
    expect(new URL(requests[0]?.url ?? '').searchParams.get('symbols')?.split(',')).toHaveLength(200)
  })
})

describe('find by ISIN', () => {
  const ISIN = 'US0378331005'
  const found = (body: unknown) => yahoo((url) => (url.includes('/v1/finance/search') ? { body } : null))

  test('an ISIN finds the first priced listing of the search, which has the ISIN', async () => {
    const body = yahooBody('search-AAPL.json') as { quotes: unknown[] }
    const option = { symbol: 'AAPL251219C00120000', quoteType: 'OPTION' }
    const { provider, paths, sent } = found({ ...body, quotes: [option, {}, ...body.quotes] })
    expect(await provider.find(ISIN)).toMatchObject({ ok: true, value: { id: 'AAPL', symbol: 'AAPL', isin: ISIN } })
    expect(paths()).toEqual(['/v1/finance/search', PAGE, GET_CRUMB, QUOTE])
    expect(new URL(sent[0]?.url ?? '').searchParams.get('q')).toBe(ISIN)
  })

  test('an ISIN finds nothing where the search has no result with a quote', async () => {
    expect(await found({ quotes: [] }).provider.find(ISIN)).toEqual({ ok: true, value: null })
    expect(await found({ quotes: [{ symbol: 'AAPX', quoteType: 'ETF' }] }).provider.find(ISIN)).toEqual({
      ok: true,
      value: null,
    })
    expect(await found({ finance: null }).provider.find(ISIN)).toMatchObject({ ok: false, reason: 'invalid' })
  })
})
