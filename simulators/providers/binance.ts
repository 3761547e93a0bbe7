import { PRODUCTS } from '../exchange/products.ts'
import type { Bar } from './market.ts'
import { type ProviderMarket, pairOfBinance } from './provider-market.ts'
import type { Recorded } from './recorded.ts'
import { type IncomingRequest, ok, type ProviderResponse, type SimulatedProvider } from './simulated-provider.ts'

/** Weight that one address may use in a minute of the clock, as Binance's exchangeInfo states since 2023. */
const WEIGHT_PER_MINUTE = 6_000
/** So many requests after the first 429 of a minute, and the address is banned; for so long at first. */
const REFUSALS_BEFORE_BAN = 5
const BAN_MS = 120_000

const ILLEGAL = `Illegal characters found in parameter 'symbols'; legal range is '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'.`

const INTERVALS: Readonly<Record<string, number>> = {
  '1m': 60,
  '3m': 180,
  '5m': 300,
  '15m': 900,
  '30m': 1_800,
  '1h': 3_600,
  '2h': 7_200,
  '4h': 14_400,
  '6h': 21_600,
  '8h': 28_800,
  '12h': 43_200,
}
const DAY_S = 86_400
const MAX_KLINES = 1_000

/** The response to a request for all pairs. */
const LISTED_PAIRS = PRODUCTS.filter(({ id, status }) => id.endsWith('-USD') && status === 'online')
  .filter(({ id }) => !id.startsWith('USDT-'))
  .map(({ id }) => `${id.slice(0, -4)}USDT`)

const error = (status: number, code: number, msg: string): ProviderResponse => ({ status, body: { code, msg } })
const formatFixed = (value: number | string): string => (typeof value === 'number' ? value.toFixed(8) : value)

/**
 * Binance's public REST. Each minute of the clock has a limit of weight, reported with every response; a client that continues after a
 * 429 is banned, and gets 418 until the ban is over.
 */
export function openBinance(board: ProviderMarket, recorded: Recorded | null, limit = WEIGHT_PER_MINUTE) {
  let minute = -1
  let used = 0
  let refused = 0
  let bannedUntil = 0

  const banned = (now: number, until: number): ProviderResponse => ({
    ...error(
      418,
      -1003,
      `Way too much request weight used; IP banned until ${until}. Please use WebSocket Streams for live updates to avoid bans.`,
    ),
    headers: { 'retry-after': String(Math.max(1, Math.ceil((until - now) / 1000))) },
  })

  const tooMany = (retryAfter: number | null): ProviderResponse => ({
    ...error(
      429,
      -1003,
      `Too much request weight used; current limit is ${limit} request weight per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.`,
    ),
    ...(retryAfter !== null && { headers: { 'retry-after': String(retryAfter) } }),
  })

  const provider: SimulatedProvider = {
    idsOf,
    emptyBody: [],
    tooManyRequests: tooMany,
    rejectBatch: (status) => (status === 400 ? error(400, -1121, 'Invalid symbol.') : { status, body: '' }),
    answer(ask) {
      const { now, url } = ask
      if (now < bannedUntil) return banned(now, bannedUntil)
      const thisMinute = Math.floor(now / 60_000)
      if (thisMinute !== minute) [minute, used, refused] = [thisMinute, 0, 0]
      const weight = weightOf(url)
      if (used + weight > limit) {
        refused++
        if (refused > REFUSALS_BEFORE_BAN) {
          bannedUntil = Math.floor(now) + BAN_MS
          return banned(now, bannedUntil)
        }
        return tooMany(Math.ceil(((thisMinute + 1) * 60_000 - now) / 1000))
      }
      used += weight
      const answer = route(board, ask, recorded, limit)
      return {
        ...answer,
        weight,
        headers: { 'x-mbx-used-weight': String(used), 'x-mbx-used-weight-1m': String(used), ...answer.headers },
      }
    },
  }

  return {
    provider,
    /** Forgets the ban and what was used. */
    unban(): void {
      ;[bannedUntil, refused, used] = [0, 0, 0]
    },
  }
}

function idsOf(url: URL): string[] {
  const one = url.searchParams.get('symbol')
  if (one) return [one]
  return parseSymbols(url.searchParams.get('symbols')) ?? []
}

/** `["BTCUSDT","ETHUSDT"]`, nothing else: no spaces, no small letters. */
function parseSymbols(text: string | null): string[] | null {
  return text !== null && /^\["[A-Z0-9-_.]{1,20}"(?:,"[A-Z0-9-_.]{1,20}")*\]$/.test(text) ? JSON.parse(text) : null
}

function weightOf({ pathname, searchParams }: URL): number {
  if (pathname === '/api/v3/exchangeInfo') return 20
  if (pathname === '/api/v3/klines') return 2
  if (pathname !== '/api/v3/ticker/24hr') return 1
  if (searchParams.has('symbol')) return 2
  const count = searchParams.has('symbols') ? (parseSymbols(searchParams.get('symbols'))?.length ?? 1) : 101
  return count <= 20 ? 2 : count <= 100 ? 40 : 80
}

function route(
  board: ProviderMarket,
  { url, now }: IncomingRequest,
  recorded: Recorded | null,
  limit: number,
): ProviderResponse {
  switch (url.pathname) {
    case '/api/v3/ping':
      return ok({})
    case '/api/v3/time':
      return ok({ serverTime: Math.floor(now) })
    case '/api/v3/ticker/24hr':
      return tickers(board, url.searchParams, recorded, now)
    case '/api/v3/klines':
      return klines(board, url.searchParams, now)
    case '/api/v3/exchangeInfo':
      return exchangeInfo(board, url.searchParams, now, limit)
    default:
      return { status: 404, body: '' }
  }
}

/** The symbols that a call names, or why it cannot be answered: one bad symbol fails the whole call. */
function requestedSymbols(board: ProviderMarket, query: URLSearchParams): string[] | null | ProviderResponse {
  const [one, several] = [query.get('symbol'), query.get('symbols')]
  if (one !== null && several !== null) return error(400, -1128, 'Combination of optional parameters invalid.')
  if (one === '' || several === '')
    return error(400, -1105, `Parameter '${one === '' ? 'symbol' : 'symbols'}' was empty.`)
  if (one === null && several === null) return null
  const ids = one !== null ? [one] : parseSymbols(several)
  if (!ids) return error(400, -1100, ILLEGAL)
  if (new Set(ids).size < ids.length) return error(400, -1151, 'Symbol is present multiple times in the list.')
  return ids.every((id) => board.instrument('binance', id)) ? ids : error(400, -1121, 'Invalid symbol.')
}

function tickers(
  board: ProviderMarket,
  query: URLSearchParams,
  recorded: Recorded | null,
  now: number,
): ProviderResponse {
  const ids = requestedSymbols(board, query)
  if (ids !== null && !Array.isArray(ids)) return ids
  const all = ids ?? LISTED_PAIRS.filter((id) => board.instrument('binance', id))
  const bodies = all.map((id) => recorded?.binanceTicker(id) ?? ticker(board, id, now)).filter((body) => body !== null)
  return ok(query.has('symbol') ? bodies[0] : bodies)
}

function ticker(board: ProviderMarket, id: string, now: number): Record<string, unknown> | null {
  const instrument = board.instrument('binance', id)
  const view = board.quote('binance', id, now)
  const day = instrument && board.prices.last24Hours(instrument, now / 1000)
  if (!instrument || !view || !day) return null
  const unit = 10 ** instrument.decimals
  const open = day.open / unit
  const last = Number(view.price)
  const reached = last > 0 ? [last] : []
  const high = Math.max(day.high / unit, ...reached)
  const low = Math.min(day.low / unit, ...reached)
  const average = (open + high + low + day.close / unit) / 4
  const closeTime = Math.floor(now)
  const firstId = 1_000_000 + Math.floor(now / 86_400)
  return {
    symbol: id,
    priceChange: formatFixed(last - open),
    priceChangePercent: (((last - open) / open) * 100).toFixed(3),
    weightedAvgPrice: formatFixed(average),
    prevClosePrice: formatFixed(open),
    lastPrice: formatFixed(view.price),
    lastQty: formatFixed(0.00352),
    bidPrice: formatFixed(last - 1 / unit),
    bidQty: formatFixed(0.65849),
    askPrice: formatFixed(last),
    askQty: formatFixed(0.13802),
    openPrice: formatFixed(open),
    highPrice: formatFixed(high),
    lowPrice: formatFixed(low),
    volume: formatFixed(day.volume),
    quoteVolume: formatFixed(day.volume * average),
    openTime: closeTime - 86_400_000,
    closeTime,
    firstId,
    lastId: firstId + 999,
    count: 1_000,
  }
}

function klines(board: ProviderMarket, query: URLSearchParams, now: number): ProviderResponse {
  const id = query.get('symbol')
  if (id === null) return error(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
  const instrument = board.instrument('binance', id)
  if (!instrument) return error(400, -1121, 'Invalid symbol.')
  const interval = query.get('interval')
  const length = interval === '1d' ? DAY_S : INTERVALS[interval ?? '']
  if (length === undefined) return error(400, -1120, 'Invalid interval.')
  const number = (name: string) => (query.has(name) ? Number(query.get(name)) : null)
  const limit = Math.min(number('limit') ?? 500, MAX_KLINES)
  if (!Number.isInteger(limit) || limit < 1) return error(400, -1100, "Illegal characters found in parameter 'limit'.")
  const seconds = Math.floor(now / 1000)
  const end = Math.min(Math.floor((number('endTime') ?? now) / 1000), seconds) + 1
  const begin =
    number('startTime') === null
      ? end - limit * length
      : Math.max(Math.ceil((number('startTime') as number) / 1000), instrument.firstDay * DAY_S)
  const from = Math.ceil(begin / length) * length
  const to = Math.min(end, from + limit * length)
  const unit = 10 ** instrument.decimals
  const bars =
    length === DAY_S
      ? dailyBars(board, instrument, from, to, seconds)
      : board.prices.bars(instrument, length, from, to, seconds)
  return ok(
    bars.map((bar) => [
      bar.start * 1000,
      formatFixed(bar.open / unit),
      formatFixed(bar.high / unit),
      formatFixed(bar.low / unit),
      formatFixed(bar.close / unit),
      formatFixed(bar.volume),
      (bar.start + length) * 1000 - 1,
      formatFixed((bar.volume * bar.close) / unit),
      Math.max(1, Math.floor(bar.volume / 10)),
      formatFixed(bar.volume / 2),
      formatFixed(((bar.volume / 2) * bar.close) / unit),
      '0',
    ]),
  )
}

/** UTC days; the running one as far as it has come. */
function dailyBars(
  board: ProviderMarket,
  instrument: NonNullable<ReturnType<ProviderMarket['instrument']>>,
  from: number,
  to: number,
  now: number,
): Bar[] {
  const bars: Bar[] = []
  const present = board.prices.currentDay(instrument, now)
  for (let start = from; start < to && start <= now; start += DAY_S) {
    const day = start / DAY_S
    const bar = present?.day === day ? present : board.prices.day(instrument, day)
    if (bar) bars.push({ ...bar, start })
  }
  return bars
}

function exchangeInfo(board: ProviderMarket, query: URLSearchParams, now: number, limit: number): ProviderResponse {
  const ids = requestedSymbols(board, query)
  if (ids !== null && !Array.isArray(ids)) return ids
  const symbols = (ids ?? LISTED_PAIRS.filter((id) => board.instrument('binance', id))).map((symbol) => {
    const [baseAsset, quoteAsset] = (pairOfBinance(symbol) as string).split('-')
    const tick = (10 ** -(board.instrument('binance', symbol)?.decimals ?? 8)).toFixed(8)
    return {
      symbol,
      status: 'TRADING',
      baseAsset,
      baseAssetPrecision: 8,
      quoteAsset,
      quotePrecision: 8,
      quoteAssetPrecision: 8,
      orderTypes: ['LIMIT', 'MARKET'],
      isSpotTradingAllowed: true,
      isMarginTradingAllowed: false,
      filters: [{ filterType: 'PRICE_FILTER', minPrice: tick, maxPrice: '1000000.00000000', tickSize: tick }],
      permissions: ['SPOT'],
    }
  })
  return ok({
    timezone: 'UTC',
    serverTime: Math.floor(now),
    rateLimits: [{ rateLimitType: 'REQUEST_WEIGHT', interval: 'MINUTE', intervalNum: 1, limit }],
    exchangeFilters: [],
    symbols,
  })
}
