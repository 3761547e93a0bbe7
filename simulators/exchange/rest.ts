import { REST_GRANULARITIES } from './candles.ts'
import type { RestFault } from './faults.ts'
import type { Tape } from './market.ts'
import { type MarketData, productBody } from './product-body.ts'
import { formatMicroseconds, formatPaddedUnits, formatUnits, toWireTrade } from './wire.ts'

/** Most trades that Exchange REST gives at once, and most candles that Advanced Trade REST does. */
const MAX_TRADES = 1_000
const MAX_CANDLES = 350
const DAY_S = 86_400

export type RestResponse = { status: number; body: unknown; headers?: Record<string, string> }

const ok = (body: unknown, headers?: Record<string, string>): RestResponse => ({ status: 200, body, headers })

/** An error of Advanced Trade REST. */
const advancedTradeError = (status: number, error: string, message: string): RestResponse => ({
  status,
  body: { error, error_details: message, message },
})

const exchangeError = (status: number, message: string): RestResponse => ({ status, body: { message } })

const parseInteger = (text: string | null): number | null =>
  text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null

/** The answer to a GET of either REST style; null where there is no such path. */
export function handleRest(url: URL, books: MarketData): RestResponse | null {
  const parts = url.pathname.split('/').filter((part) => part !== '')
  if (parts[0] === 'products' && parts[2] === 'trades' && parts.length === 3)
    return listExchangeTrades(parts[1] as string, url.searchParams, books)
  if (parts.slice(0, 5).join('/') !== 'api/v3/brokerage/market/products') return null
  const [id, call, ...more] = parts.slice(5)
  if (more.length > 0) return null
  if (id === undefined) return listProducts(url.searchParams, books)
  const tape = books.tapes.get(id)
  if (!tape) return advancedTradeError(404, 'NOT_FOUND', 'valid product_id is required')
  if (call === undefined) return ok(productBody(tape, books))
  if (call === 'candles') return listCandles(tape, url.searchParams, books)
  if (call === 'ticker') return getTicker(tape, url.searchParams, books)
  return null
}

/**
 * `GET /products/:id/trades`: newest first, `after=ID` gives ids below it, `before=ID` ids above it, of which the newest
 * `limit` (1,000 by default and at most).
 */
function listExchangeTrades(id: string, query: URLSearchParams, books: MarketData): RestResponse {
  const tape = books.tapes.get(id)
  if (!tape) return exchangeError(404, 'NotFound')
  for (const name of ['after', 'before', 'limit'])
    if (query.has(name) && parseInteger(query.get(name)) === null) return exchangeError(400, `Invalid ${name}`)
  const limit = Math.min(parseInteger(query.get('limit')) ?? MAX_TRADES, MAX_TRADES)
  const newest = tape.newestId(Math.floor(books.now() * 1000))
  const to = Math.min(newest, (parseInteger(query.get('after')) ?? newest + 1) - 1)
  const from = Math.max(tape.firstId, (parseInteger(query.get('before')) ?? 0) + 1, to - limit + 1)
  const trades = (to < from ? [] : tape.byId(from, to)).reverse()
  const { priceDecimals, sizeDecimals } = tape.product
  return ok(
    trades.map((trade) => ({
      trade_id: trade.tradeId,
      side: trade.side.toLowerCase(),
      size: formatPaddedUnits(trade.size, sizeDecimals, 8),
      price: formatPaddedUnits(trade.price, priceDecimals, 8),
      time: formatMicroseconds(trade.time),
    })),
    trades.length === 0
      ? {}
      : { 'CB-BEFORE': String(trades[0]?.tradeId), 'CB-AFTER': String(trades[trades.length - 1]?.tradeId) },
  )
}

function listProducts(query: URLSearchParams, books: MarketData): RestResponse {
  const wanted = query.getAll('product_ids')
  const all = [...books.tapes.values()].filter((tape) => wanted.length === 0 || wanted.includes(tape.product.id))
  const offset = parseInteger(query.get('offset')) ?? 0
  const page = all.slice(offset, offset + (parseInteger(query.get('limit')) ?? all.length))
  return ok({
    products: page.map((tape) => productBody(tape, books)),
    num_products: page.length,
    pagination: { prev_cursor: '', next_cursor: '', has_next: offset + page.length < all.length, has_prev: offset > 0 },
  })
}

/**
 * Newest first; `start` and `end` in unix seconds. The bucket that starts at `end` is given too, as Coinbase does it, and
 * the one that `start` stands in. An interval without trades is left out; more than 350 intervals are refused.
 */
function listCandles(tape: Tape, query: URLSearchParams, books: MarketData): RestResponse {
  const seconds = REST_GRANULARITIES[query.get('granularity') ?? '']
  if (seconds === undefined) return advancedTradeError(400, 'INVALID_ARGUMENT', 'granularity argument is invalid')
  const start = parseInteger(query.get('start'))
  const end = parseInteger(query.get('end'))
  const limit = query.has('limit') ? parseInteger(query.get('limit')) : MAX_CANDLES
  if (start === null || end === null || start > end)
    return advancedTradeError(400, 'INVALID_ARGUMENT', 'start and end argument is invalid')
  const from = start - (start % seconds)
  const to = end - (end % seconds) + seconds
  if ((to - from) / seconds > MAX_CANDLES)
    return advancedTradeError(
      400,
      'INVALID_ARGUMENT',
      `start and end argument is invalid - number of candles requested should be less than ${MAX_CANDLES} `,
    )
  if (limit === null || limit < 1 || limit > MAX_CANDLES)
    return advancedTradeError(400, 'INVALID_ARGUMENT', 'limit argument is invalid')
  const found = books.candles.get(tape.product.id)?.read(seconds, from, to, Math.floor(books.now() * 1000)) ?? []
  const price = (value: bigint) => formatUnits(value, tape.product.priceDecimals)
  return ok({
    candles: found
      .reverse()
      .slice(0, limit)
      .map((candle) => ({
        start: String(candle.start),
        low: price(candle.low),
        high: price(candle.high),
        open: price(candle.open),
        close: price(candle.close),
        volume: formatUnits(candle.volume, tape.product.sizeDecimals),
      })),
  })
}

function getTicker(tape: Tape, query: URLSearchParams, books: MarketData): RestResponse {
  const limit = parseInteger(query.get('limit')) ?? 100
  if (limit < 1 || limit > MAX_TRADES) return advancedTradeError(400, 'INVALID_ARGUMENT', 'limit argument is invalid')
  const now = Math.floor(books.now() * 1000)
  const newest = tape.newestId(now)
  const start = parseInteger(query.get('start'))
  const end = parseInteger(query.get('end'))
  const trades =
    start === null && end === null
      ? tape.byId(Math.max(tape.firstId, newest - limit + 1), newest)
      : tape.byTime((start ?? (end as number) - DAY_S) * 1_000_000, ((end ?? now / 1_000_000) + 1) * 1_000_000, now)
  const last = trades.at(-1)
  const text = last ? formatUnits(last.price, tape.product.priceDecimals) : ''
  return ok({
    trades: trades
      .slice(-limit)
      .reverse()
      .map((trade) => ({ ...toWireTrade(tape.product, trade), bid: '', ask: '', exchange: 'coinbase' })),
    best_bid: text,
    best_ask: text,
  })
}

/** The answer that a fault gives instead of the true one; undefined where it changes nothing but the time. */
export function faultResponse(fault: RestFault | undefined, url: URL): RestResponse | undefined {
  const advanced = url.pathname.startsWith('/api/')
  switch (fault?.answer) {
    case '429':
      return {
        status: 429,
        body: advanced
          ? { errors: [{ id: 'rate_limit_exceeded', message: 'You have exceeded the rate limit' }] }
          : { message: 'Public rate limit exceeded' },
        headers: { 'Retry-After': String(fault.retryAfter) },
      }
    case '500':
      return { status: 500, body: { message: 'Internal server error' } }
    case 'wrong':
      return { status: 200, body: { surprise: [{ price: 'NaN', trade_id: null }] } }
    default:
      return undefined
  }
}
