import { hashText } from '../exchange/random.ts'
import type { ProviderMarket } from './provider-market.ts'
import { type IncomingRequest, ok, type ProviderResponse, type SimulatedProvider } from './simulated-provider.ts'

/** Requests of a minute of the clock on the least plan. */
const REQUESTS_PER_MINUTE = 30

/** The codes of its keys and limits (1001 and 1002: the key; 1008: the minute). */
const error = (httpStatus: number, code: number, message: string, now: number): ProviderResponse => ({
  status: httpStatus,
  body: { status: status(now, code, message, 0) },
})

const status = (now: number, code = 0, message: string | null = null, credits = 1) => ({
  timestamp: new Date(now).toISOString(),
  error_code: code,
  error_message: message,
  elapsed: 7,
  credit_count: credits,
  notice: null,
})

/**
 * CoinMarketCap's quotes: keyed, by ticker and one currency a request. Version 2 answers a list of coins under each
 * ticker; one that it does not know fails the request, unless `skip_invalid=true`.
 */
export function openCoinMarketCap(board: ProviderMarket, limit = REQUESTS_PER_MINUTE): SimulatedProvider {
  let minute = -1
  let used = 0
  let last = 0

  const tooMany = (retryAfter: number | null): ProviderResponse => ({
    ...error(
      429,
      1008,
      "You've exceeded your API Key's HTTP request rate limit. Rate limits reset every minute.",
      last,
    ),
    ...(retryAfter !== null && { headers: { 'retry-after': String(retryAfter) } }),
  })

  return {
    idsOf,
    emptyBody: { status: { error_code: 0, error_message: null }, data: {} },
    tooManyRequests: tooMany,
    rejectBatch: (code) => error(code, code, 'Invalid value for "symbol"', last),
    answer(ask) {
      last = ask.now
      // Any key but one that begins with `wrong` is right.
      const key = ask.header('x-cmc_pro_api_key') ?? ask.url.searchParams.get('CMC_PRO_API_KEY')
      if (!key) return error(401, 1002, 'API key missing.', ask.now)
      if (key.startsWith('wrong')) return error(401, 1001, 'This API Key is invalid.', ask.now)
      const thisMinute = Math.floor(ask.now / 60_000)
      if (thisMinute !== minute) [minute, used] = [thisMinute, 0]
      if (used + 1 > limit) return tooMany(null)
      used++
      return { ...route(board, ask), weight: 1 }
    },
  }
}

const convertOf = (url: URL): string => (url.searchParams.get('convert') ?? 'USD').toUpperCase()

/** As the board has them: `BTC-USD`. */
function idsOf(url: URL): string[] {
  const symbols = (url.searchParams.get('symbol') ?? '').split(',').filter((symbol) => symbol !== '')
  return symbols.map((symbol) => `${symbol.toUpperCase()}-${convertOf(url)}`)
}

function route(board: ProviderMarket, { url, now }: IncomingRequest): ProviderResponse {
  const version = /^\/v([12])\/cryptocurrency\/(quotes\/latest|map)$/.exec(url.pathname)
  if (!version) return error(404, 404, 'Not Found', now)
  const ids = idsOf(url)
  if (ids.length === 0) return error(400, 400, '"value" must contain at least one of [id, slug, symbol]', now)
  if (convertOf(url).includes(','))
    return error(403, 1006, 'Your API Key subscription plan allows 1 convert option per request.', now)
  const bad = ids.filter((id) => !board.instrument('coinmarketcap', id)).map((id) => id.split('-')[0])
  const skip = url.searchParams.get('skip_invalid') === 'true'
  if (bad.length > 0 && !skip)
    return error(400, 400, `Invalid value${bad.length > 1 ? 's' : ''} for "symbol": "${bad.join(',')}"`, now)
  const good = ids.filter((id) => !bad.includes(id.split('-')[0]))
  if (version[2] === 'map') return ok({ status: status(now), data: good.map(coin) })
  const data = good.map((id) => {
    const body = { ...coin(id), ...quote(board, id, now) }
    return [body.symbol, version[1] === '1' ? body : [body]]
  })
  return ok({ status: status(now), data: Object.fromEntries(data) })
}

function coin(id: string) {
  const symbol = id.split('-')[0] as string
  return {
    id: symbol === 'BTC' ? 1 : symbol === 'ETH' ? 1_027 : 2_000 + (hashText(symbol) % 30_000),
    name: symbol,
    symbol,
    slug: symbol.toLowerCase(),
    is_active: 1,
  }
}

function quote(board: ProviderMarket, id: string, now: number) {
  const view = board.quote('coinmarketcap', id, now)
  const instrument = board.instrument('coinmarketcap', id)
  const day = instrument && board.prices.last24Hours(instrument, now / 1000)
  if (!view || !instrument || !day) return { quote: {} }
  const before = day.open / 10 ** instrument.decimals
  const time = new Date(view.time * 1000).toISOString()
  return {
    last_updated: time,
    quote: {
      [view.currency]: {
        price: view.price,
        volume_24h: day.volume * (Number(view.price) || 0),
        volume_change_24h: 0.5,
        percent_change_1h: 0.01,
        percent_change_24h: ((Number(view.price) - before) / before) * 100,
        percent_change_7d: 1.2,
        market_cap: 1_904_783_523_840,
        last_updated: time,
      },
    },
  }
}
