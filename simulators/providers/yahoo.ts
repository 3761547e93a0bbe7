import { hashText, seededRandom } from '../exchange/random.ts'
import { QUOTE_TYPE } from './instruments.ts'
import { ISINS } from './isins.ts'
import type { ProviderMarket } from './provider-market.ts'
import type { Recorded } from './recorded.ts'
import { type IncomingRequest, ok, type ProviderResponse, type SimulatedProvider } from './simulated-provider.ts'
import { chart } from './yahoo-chart.ts'
import { quoteBody, TYPE_NAME } from './yahoo-quote.ts'

/** Cookies that are remembered; the oldest goes first. */
const MAX_COOKIES = 1_000
const YEAR_S = 31_557_600

/** Fields that an answer has whatever `fields` asks for. */
const ALWAYS_RETURNED = new Set(
  `language region quoteType typeDisp quoteSourceName triggerable customPriceAlertConfidence regularMarketTime exchange
  marketState sourceInterval exchangeDataDelayedBy tradeable cryptoTradeable hasPrePostMarketData
  firstTradeDateMilliseconds fullExchangeName exchangeTimezoneName exchangeTimezoneShortName gmtOffSetMilliseconds market
  esgPopulated regularMarketPrice priceHint symbol`.split(/\s+/),
)

const unauthorized = (description: string): ProviderResponse => ({
  status: 401,
  body: { finance: { result: null, error: { code: 'Unauthorized', description } } },
})

const badRequest = (description: string): ProviderResponse => ({
  status: 400,
  body: { finance: { result: null, error: { code: 'Bad Request', description } } },
})

const tooMany = (retryAfter: number | null): ProviderResponse => ({
  status: 429,
  body: 'Edge: Too Many Requests',
  headers: {
    'content-type': 'text/plain;charset=utf-8',
    ...(retryAfter !== null && { 'retry-after': String(retryAfter) }),
  },
})

/** Text of letters and digits and some of the signs that a crumb may have, from a seed. */
function seededToken(seed: string, length: number, letters: string): string {
  const random = seededRandom(hashText(seed))
  return Array.from({ length }, () => letters[Math.floor(random() * letters.length)]).join('')
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/**
 * Yahoo as it is asked by a browser's page and by scripts: a page gives a cookie, the cookie a crumb, and quotes take
 * both. Every host of it is one here; which was meant stands in `x-forwarded-host`, and a path of another host is not
 * found.
 */
export function openYahoo(board: ProviderMarket, seed: string, recorded: Recorded | null) {
  const cookies = new Set<string>()
  let given = 0
  let generation = 0

  const crumbOf = (cookie: string): string => seededToken(`${seed} ${cookie} ${generation}`, 11, `${LETTERS}./`)

  const cookieOf = (ask: IncomingRequest): string | null => {
    const value = /(?:^|;\s*)A3=([^;]+)/.exec(ask.header('cookie') ?? '')?.[1]
    return value !== undefined && cookies.has(value) ? value : null
  }

  /** A page sets cookies only for what takes a page. */
  const page = (ask: IncomingRequest): ProviderResponse => {
    const html = '<!DOCTYPE html><html lang="en-US"><head><title>Yahoo Finance</title></head><body></body></html>'
    const headers: ProviderResponse['headers'] = { 'content-type': 'text/html; charset=utf-8' }
    if (ask.header('accept')?.includes('text/html')) {
      const value = `d=AQABB${seededToken(`${seed} cookie ${given++}`, 40, LETTERS)}&S=AQAAAq${seededToken(`${given}`, 20, LETTERS)}`
      cookies.add(value)
      if (cookies.size > MAX_COOKIES) cookies.delete(cookies.values().next().value as string)
      const expires = new Date(ask.now + YEAR_S * 1000).toUTCString()
      const more = `Expires=${expires}; Max-Age=${YEAR_S}; Domain=.yahoo.com; Path=/; SameSite=None; Secure; HttpOnly`
      headers['set-cookie'] = [
        `A1=${value}; ${more.replace('SameSite=None', 'SameSite=Lax')}`,
        `A3=${value}; ${more}`,
        `A1S=${value}; Domain=.yahoo.com; Path=/; SameSite=Lax; Secure`,
      ]
    }
    return ok(html, { headers })
  }

  const crumb = (ask: IncomingRequest): ProviderResponse => {
    const cookie = cookieOf(ask)
    if (cookie === null) return unauthorized('Invalid Cookie')
    return ok(crumbOf(cookie), { headers: { 'content-type': 'text/plain;charset=utf-8' } })
  }

  const quote = (ask: IncomingRequest): ProviderResponse => {
    const { searchParams: query } = ask.url
    const cookie = cookieOf(ask)
    if (cookie === null)
      return unauthorized('User is unable to access this feature - https://bit.ly/yahoo-finance-api-feedback')
    if (query.get('crumb') !== crumbOf(cookie)) return unauthorized('Invalid Crumb')
    const symbols = idsOf(ask.url)
    if (symbols.length === 0) return badRequest('Missing required query parameter=symbols')
    const fields = query.get('fields')?.split(',')
    const wanted = fields && new Set([...ALWAYS_RETURNED, ...fields])
    const result = symbols
      .map((symbol) => recorded?.yahooQuote(symbol) ?? quoteBody(board, symbol, ask.now))
      .filter((body) => body !== null)
      .map((body) => (wanted ? Object.fromEntries(Object.entries(body).filter(([name]) => wanted.has(name))) : body))
    return ok({ quoteResponse: { result, error: null } })
  }

  const search = (ask: IncomingRequest): ProviderResponse => {
    const asked = ask.url.searchParams.get('q')?.trim().toUpperCase()
    if (!asked) return badRequest('Missing required query parameter=q')
    const q = ISINS[asked] ?? asked
    const count = Number(ask.url.searchParams.get('quotesCount') ?? 6)
    const names = [q, `${q}.L`, `${q}.DE`, `${q}-USD`, `${q}U`].filter(
      (id, i) => i === 0 || /^[A-Z]{1,5}$/.test(q) || id === q,
    )
    const found = names.map((id) => board.instrument('yahoo', id)).filter((instrument) => instrument !== null)
    const quotes = found.slice(0, count).map((instrument, i) => ({
      exchange: instrument.venue.code,
      shortname: instrument.name,
      quoteType: QUOTE_TYPE[instrument.kind],
      symbol: instrument.id,
      index: 'quotes',
      score: i === 0 ? 3_804_300 : 20_015 - i,
      typeDisp: TYPE_NAME[instrument.kind],
      longname: instrument.name,
      exchDisp: instrument.venue.name,
      ...(instrument.kind === 'stock' && { sector: 'Technology', industry: 'Consumer Electronics' }),
      isYahooFinance: true,
    }))
    const times = Object.fromEntries(
      'Quotes News Algowatchlist PredefinedScreener Crunchbase Nav ResearchReports ScreenerField CulturalAssets SearchLists'
        .split(' ')
        .map((name) => [`timeTakenFor${name}`, 0]),
    )
    return ok({
      explains: [],
      count: quotes.length,
      quotes,
      news: [],
      nav: [],
      lists: [],
      researchReports: [],
      screenerFieldResults: [],
      totalTime: 12,
      ...times,
    })
  }

  const provider: SimulatedProvider = {
    idsOf,
    emptyBody: { quoteResponse: { result: [], error: null } },
    tooManyRequests: tooMany,
    rejectBatch: (status) =>
      status === 400 ? badRequest('Invalid symbol') : { status, body: 'Internal Server Error' },
    answer(ask) {
      const { pathname } = ask.url
      const pages = ask.host === null || ask.host === 'finance.yahoo.com'
      const queries = ask.host === null || /^query[12]\.finance\.yahoo\.com$/.test(ask.host)
      if (pages && pathname.startsWith('/quote/')) return page(ask)
      if (queries && pathname === '/v1/test/getcrumb') return crumb(ask)
      if (queries && pathname === '/v7/finance/quote') return quote(ask)
      if (queries && pathname.startsWith('/v8/finance/chart/')) {
        const { searchParams: query } = ask.url
        const symbol = idsOf(ask.url)[0] ?? ''
        return recorded?.yahooChart(symbol, query) ?? chart(board, symbol, query, ask.now)
      }
      if (queries && pathname === '/v1/finance/search') return search(ask)
      return { status: 404, body: '<html><body>Not Found</body></html>', headers: { 'content-type': 'text/html' } }
    },
  }

  return {
    provider,
    /** Every crumb that was given is stale from now on. */
    expireCrumbs: () => {
      generation++
    },
    /** Every cookie that was given is unknown from now on, and so are the crumbs. */
    forgetCookies: () => {
      cookies.clear()
      generation++
    },
  }
}

function idsOf(url: URL): string[] {
  const one = /^\/v8\/finance\/chart\/([^/]+)$/.exec(url.pathname)?.[1]
  if (one !== undefined) return [decodeURIComponent(one).toUpperCase()]
  if (url.pathname !== '/v7/finance/quote') return []
  const all = (url.searchParams.get('symbols') ?? '').split(',').map((symbol) => symbol.trim().toUpperCase())
  return [...new Set(all.filter((symbol) => symbol !== ''))]
}
