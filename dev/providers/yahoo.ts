import { generator, hashText } from '../exchange/random.ts'
import { type Answer, type Ask, ok, type Provider } from './answer.ts'
import type { Board, View } from './board.ts'
import { type Instrument, type Kind, QUOTE_TYPE } from './instruments.ts'
import type { Recorded } from './recorded.ts'
import { offsetOf, sessionOf, zoneName } from './venues.ts'
import { chart } from './yahoo-chart.ts'

/** Cookies that are remembered; the oldest goes first. */
const KEPT_COOKIES = 1_000
const YEAR_S = 31_557_600

const TYPE_NAME: Readonly<Record<Kind, string>> = {
  stock: 'Equity',
  etf: 'ETF',
  fund: 'Fund',
  index: 'Index',
  forex: 'Currency',
  commodity: 'Futures',
  crypto: 'Cryptocurrency',
}

/** Fields that an answer has whatever `fields` asks for. */
const ESSENTIAL = new Set(
  `language region quoteType typeDisp quoteSourceName triggerable customPriceAlertConfidence regularMarketTime exchange
  marketState sourceInterval exchangeDataDelayedBy tradeable cryptoTradeable hasPrePostMarketData
  firstTradeDateMilliseconds fullExchangeName exchangeTimezoneName exchangeTimezoneShortName gmtOffSetMilliseconds market
  esgPopulated regularMarketPrice priceHint symbol`.split(/\s+/),
)

const unauthorized = (description: string): Answer => ({
  status: 401,
  body: { finance: { result: null, error: { code: 'Unauthorized', description } } },
})

const badRequest = (description: string): Answer => ({
  status: 400,
  body: { finance: { result: null, error: { code: 'Bad Request', description } } },
})

const tooMany = (retryAfter: number | null): Answer => ({
  status: 429,
  body: 'Edge: Too Many Requests',
  headers: {
    'content-type': 'text/plain;charset=utf-8',
    ...(retryAfter !== null && { 'retry-after': String(retryAfter) }),
  },
})

/** Text of letters and digits and some of the signs that a crumb may have, from a seed. */
function secret(seed: string, length: number, letters: string): string {
  const random = generator(hashText(seed))
  return Array.from({ length }, () => letters[Math.floor(random() * letters.length)]).join('')
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Seven digits, as Yahoo tells changes. */
const float = (value: number): number => Number(value.toPrecision(8))

/**
 * Yahoo as it is asked by a browser's page and by scripts: a page gives a cookie, the cookie a crumb, and quotes take
 * both. Every host of it is one here; which was meant stands in `x-forwarded-host`, and a path of another host is not
 * found.
 */
export function openYahoo(board: Board, seed: string, recorded: Recorded | null) {
  const cookies = new Set<string>()
  let given = 0
  let generation = 0

  const crumbOf = (cookie: string): string => secret(`${seed} ${cookie} ${generation}`, 11, `${LETTERS}./`)

  const cookieOf = (ask: Ask): string | null => {
    const value = /(?:^|;\s*)A3=([^;]+)/.exec(ask.header('cookie') ?? '')?.[1]
    return value !== undefined && cookies.has(value) ? value : null
  }

  /** A page sets cookies only for what takes a page. */
  const page = (ask: Ask): Answer => {
    const html = '<!DOCTYPE html><html lang="en-US"><head><title>Yahoo Finance</title></head><body></body></html>'
    const headers: Answer['headers'] = { 'content-type': 'text/html; charset=utf-8' }
    if (ask.header('accept')?.includes('text/html')) {
      const value = `d=AQABB${secret(`${seed} cookie ${given++}`, 40, LETTERS)}&S=AQAAAq${secret(`${given}`, 20, LETTERS)}`
      cookies.add(value)
      if (cookies.size > KEPT_COOKIES) cookies.delete(cookies.values().next().value as string)
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

  const crumb = (ask: Ask): Answer => {
    const cookie = cookieOf(ask)
    if (cookie === null) return unauthorized('Invalid Cookie')
    return ok(crumbOf(cookie), { headers: { 'content-type': 'text/plain;charset=utf-8' } })
  }

  const quote = (ask: Ask): Answer => {
    const { searchParams: query } = ask.url
    const cookie = cookieOf(ask)
    if (cookie === null)
      return unauthorized('User is unable to access this feature - https://bit.ly/yahoo-finance-api-feedback')
    if (query.get('crumb') !== crumbOf(cookie)) return unauthorized('Invalid Crumb')
    const symbols = idsOf(ask.url)
    if (symbols.length === 0) return badRequest('Missing required query parameter=symbols')
    const fields = query.get('fields')?.split(',')
    const wanted = fields && new Set([...ESSENTIAL, ...fields])
    const result = symbols
      .map((symbol) => recorded?.yahooQuote(symbol) ?? quoteBody(board, symbol, ask.now))
      .filter((body) => body !== null)
      .map((body) => (wanted ? Object.fromEntries(Object.entries(body).filter(([name]) => wanted.has(name))) : body))
    return ok({ quoteResponse: { result, error: null } })
  }

  const search = (ask: Ask): Answer => {
    const q = ask.url.searchParams.get('q')?.trim().toUpperCase()
    if (!q) return badRequest('Missing required query parameter=q')
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

  const provider: Provider = {
    idsOf,
    tooMany,
    refuseBatch: (status) =>
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

const basics = (symbol: string) => ({
  language: 'en-US',
  region: 'US',
  esgPopulated: false,
  corporateActions: [],
  symbol,
})

/** A symbol's entry; null where Yahoo leaves it out. */
function quoteBody(board: Board, symbol: string, now: number): Record<string, unknown> | null {
  const { unknown } = board.setting('yahoo', symbol)
  if (!unknown && (symbol === 'SIMP' || symbol.startsWith('GONE')))
    return {
      ...basics(symbol),
      quoteType: 'NONE',
      triggerable: false,
      customPriceAlertConfidence: 'NONE',
      hasPrePostMarketData: false,
      tradeable: false,
      cryptoTradeable: false,
    }
  if (!unknown && symbol === 'ADH')
    return {
      ...basics(symbol),
      quoteType: 'MUTUALFUND',
      typeDisp: 'Fund',
      quoteSourceName: 'Delayed Quote',
      marketState: 'CLOSED',
      regularMarketTime: 1_561_759_658,
      exchange: 'YHD',
      market: 'us_market',
      exchangeTimezoneName: 'America/New_York',
      exchangeTimezoneShortName: 'EST',
      gmtOffSetMilliseconds: -18_000_000,
      fiftyTwoWeekLow: 5.6,
      fiftyTwoWeekHigh: 9.24,
      sourceInterval: 15,
      exchangeDataDelayedBy: 0,
      tradeable: false,
      cryptoTradeable: false,
      hasPrePostMarketData: false,
      priceHint: 2,
      fullExchangeName: 'YHD',
    }
  const view = board.view('yahoo', symbol, now)
  return view && body(view, now)
}

function body(view: View, now: number): Record<string, unknown> {
  const { instrument, price, previousClose } = view
  const { kind, venue, name } = instrument
  const seconds = Math.floor(now / 1000)
  const change = Number(price) - previousClose
  const stock = kind === 'stock'
  const flat = kind === 'fund'
  const volume = kind === 'crypto' ? Math.round(view.volume * (view.high + view.low) * 0.5) : view.volume
  return {
    ...basics(instrument.id),
    quoteType: QUOTE_TYPE[kind],
    typeDisp: TYPE_NAME[kind],
    quoteSourceName: venue.code === 'NMS' ? 'Nasdaq Real Time Price' : 'Delayed Quote',
    triggerable: true,
    customPriceAlertConfidence: 'HIGH',
    shortName: name,
    longName: name,
    marketState: marketState(view, seconds),
    regularMarketChangePercent: float((change / previousClose) * 100),
    regularMarketPrice: price,
    currency: view.currency,
    exchange: venue.code,
    messageBoardId: `finmb_${instrument.seed % 1_000_000}`,
    exchangeTimezoneName: venue.zone,
    exchangeTimezoneShortName: zoneName(venue, seconds),
    gmtOffSetMilliseconds: offsetOf(venue, seconds) * 1000,
    market: venue.market,
    regularMarketTime: view.time,
    regularMarketChange: float(change),
    regularMarketPreviousClose: previousClose,
    fullExchangeName: venue.name,
    ...(!flat && {
      regularMarketOpen: view.open,
      regularMarketDayHigh: view.high,
      regularMarketDayLow: view.low,
      regularMarketDayRange: `${view.low} - ${view.high}`,
      regularMarketVolume: volume,
      bid: 0,
      ask: 0,
      bidSize: 0,
      askSize: 0,
    }),
    ...(stock && earnings(instrument, Number(price))),
    ...(kind === 'commodity' && { contractSymbol: false, headSymbolAsString: instrument.id }),
    ...(kind === 'crypto' && {
      fromCurrency: instrument.name.split(' ')[0],
      toCurrency: `${instrument.currency}=X`,
      lastMarket: 'CoinMarketCap',
      volume24Hr: volume,
    }),
    ...(venue.extended &&
      view.state === 'post' && {
        postMarketPrice: price,
        postMarketTime: seconds,
        postMarketChange: 0,
        postMarketChangePercent: 0,
      }),
    fiftyTwoWeekLow: float(view.low * 0.8),
    fiftyTwoWeekHigh: float(view.high * 1.2),
    sourceInterval: 15,
    exchangeDataDelayedBy: venue.code === 'NMS' || kind === 'crypto' || kind === 'forex' ? 0 : 15,
    tradeable: false,
    cryptoTradeable: kind === 'crypto',
    hasPrePostMarketData: venue.extended !== null && !flat,
    firstTradeDateMilliseconds: sessionOf(venue, instrument.firstDay).open * 1000,
    priceHint: instrument.decimals > 2 ? 4 : 2,
  }
}

/** One of eight loses money, and has no P/E then. `.L` companies report in pounds while they trade in pence. */
function earnings(instrument: Instrument, price: number): Record<string, unknown> {
  const random = generator(instrument.seed)
  const part = 0.02 + random() * 0.06
  const minor = /[a-z]/.test(instrument.currency) || instrument.currency === 'ILA'
  const level = minor ? instrument.level / 100 : instrument.level
  const eps = Number((level * part * (random() < 0.125 ? -1 : 1)).toFixed(2))
  if (eps === 0) return {}
  return {
    financialCurrency: minor ? { GBp: 'GBP', ZAc: 'ZAR', ILA: 'ILS' }[instrument.currency] : instrument.currency,
    epsTrailingTwelveMonths: eps,
    ...(eps > 0 && { trailingPE: float((minor ? price / 100 : price) / eps) }),
    sharesOutstanding: 15_022_100_480,
  }
}

/** Yahoo's own words: before and after the extended hours of a day of trading, a night has two names. */
function marketState(view: View, seconds: number): string {
  const { venue } = view.instrument
  if (view.state === 'open') return 'REGULAR'
  if (view.state === 'pre') return 'PRE'
  if (view.state === 'post') return 'POST'
  if (!venue.extended) return 'CLOSED'
  const local = seconds + offsetOf(venue, seconds)
  const weekday = new Date(local * 1000).getUTCDay()
  if (weekday === 0 || weekday === 6) return 'CLOSED'
  return (local % 86_400) / 60 < venue.extended.pre ? 'PREPRE' : 'POSTPOST'
}
