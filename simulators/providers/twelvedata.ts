import type { ProviderMarket } from './provider-market.ts'
import { type IncomingRequest, ok, type ProviderResponse, type SimulatedProvider } from './simulated-provider.ts'
import { dateOf, dayOf, localDay, offsetOf } from './venues.ts'

/** Credits of a minute of the clock on the least plan; each symbol of a request costs one. */
const CREDITS_PER_MINUTE = 8
const MAX_ROWS = 5_000

const error = (code: number, message: string): ProviderResponse => ({
  status: code,
  body: { code, message, status: 'error' },
})

const notFound = (symbol: string) => ({
  code: 404,
  message: `**symbol** not found: ${symbol}. Please specify it correctly according to API Documentation.`,
  status: 'error',
  meta: { symbol, interval: '', exchange: '' },
})

/** Twelve Data: keyed, a credit a symbol; amounts are text of five decimals. One symbol is answered bare, several by name. */
export function openTwelveData(board: ProviderMarket, credits = CREDITS_PER_MINUTE): SimulatedProvider {
  let minute = -1
  let used = 0

  const tooMany = (retryAfter: number | null): ProviderResponse => ({
    ...error(
      429,
      `You have run out of API credits for the current minute. ${used} API credits were used, with the current limit being ${credits}. Wait for the next minute or consider switching to a higher tier plan at https://twelvedata.com/pricing`,
    ),
    ...(retryAfter !== null && { headers: { 'retry-after': String(retryAfter) } }),
  })

  return {
    idsOf,
    emptyBody: {},
    tooManyRequests: tooMany,
    rejectBatch: (status) => error(status, 'Invalid **symbol** parameter'),
    answer(ask) {
      if (!apiKeyOf(ask))
        return error(
          401,
          '**apikey** parameter is incorrect or not specified. You can get your free API key instantly following this link: https://twelvedata.com/pricing. If you believe that everything is correct, you can contact us at https://twelvedata.com/contact/customer',
        )
      const thisMinute = Math.floor(ask.now / 60_000)
      if (thisMinute !== minute) [minute, used] = [thisMinute, 0]
      const weight = ask.url.pathname === '/symbol_search' ? 1 : Math.max(1, idsOf(ask.url).length)
      if (used + weight > credits) return tooMany(null)
      used += weight
      return {
        ...route(board, ask),
        weight,
        headers: { 'api-credits-used': String(used), 'api-credits-left': String(credits - used) },
      }
    },
  }
}

/** Any key but one that begins with `wrong` is right. */
function apiKeyOf(ask: IncomingRequest): string | null {
  const key = ask.url.searchParams.get('apikey') ?? /^apikey (.+)$/.exec(ask.header('authorization') ?? '')?.[1]
  return key && !key.startsWith('wrong') ? key : null
}

function idsOf(url: URL): string[] {
  return (url.searchParams.get('symbol') ?? '').split(',').filter((id) => id !== '')
}

function route(board: ProviderMarket, { url, now }: IncomingRequest): ProviderResponse {
  const ids = idsOf(url)
  if (ids.length === 0) return error(400, 'There is an error in the query. Missing **symbol** parameter.')
  const each = {
    '/quote': (id: string) => quote(board, id, now),
    '/price': (id: string) => price(board, id, now),
    '/time_series': (id: string) => series(board, id, url.searchParams, now),
  }[url.pathname]
  if (url.pathname === '/symbol_search') return search(board, ids[0] as string)
  if (!each) return error(404, 'The requested path is not found.')
  if (ids.length > 1) return ok(Object.fromEntries(ids.map((id) => [id, each(id)])))
  const body = each(ids[0] as string)
  return 'code' in body && typeof body.code === 'number' ? { status: body.code, body } : ok(body)
}

const formatAmount = (value: number | string): string => (typeof value === 'number' ? value.toFixed(5) : value)

function price(board: ProviderMarket, id: string, now: number): Record<string, unknown> {
  const view = board.quote('twelvedata', id, now)
  return view ? { price: formatAmount(view.price) } : notFound(id)
}

function quote(board: ProviderMarket, id: string, now: number): Record<string, unknown> {
  const view = board.quote('twelvedata', id, now)
  if (!view) return notFound(id)
  const change = Number(view.price) - view.previousClose
  const { venue } = view.instrument
  return {
    symbol: id,
    name: view.instrument.name,
    exchange: 'NASDAQ',
    mic_code: 'XNGS',
    currency: view.currency,
    datetime: dateOf(localDay(venue, view.time)),
    timestamp: Math.floor(view.time / 60) * 60,
    last_quote_at: view.time,
    open: formatAmount(view.open),
    high: formatAmount(view.high),
    low: formatAmount(view.low),
    close: formatAmount(view.price),
    volume: String(view.volume),
    previous_close: formatAmount(view.previousClose),
    change: formatAmount(change),
    percent_change: formatAmount((change / view.previousClose) * 100),
    average_volume: String(view.volume),
    is_market_open: view.state === 'open',
    fifty_two_week: { low: formatAmount(view.low * 0.8), high: formatAmount(view.high * 1.2), range: '' },
  }
}

/** Days, newest first unless `order=ASC`; of `start_date`..`end_date`, the last `outputsize`; in today's shares. */
function series(board: ProviderMarket, id: string, query: URLSearchParams, now: number): Record<string, unknown> {
  const instrument = board.instrument('twelvedata', id)
  if (!instrument) return notFound(id)
  if (query.get('interval') !== '1day') return { code: 400, message: 'Invalid **interval** provided.', status: 'error' }
  const seconds = now / 1000
  const present = board.prices.currentDay(instrument, seconds)
  const start = query.get('start_date')
  const end = query.get('end_date')
  const size = Math.min(Number(query.get('outputsize') ?? (start === null ? 30 : MAX_ROWS)), MAX_ROWS)
  const last = Math.min(end === null ? Number.POSITIVE_INFINITY : dayOf(end.slice(0, 10)), present?.day ?? -1)
  const first = Math.max(start === null ? 0 : dayOf(start.slice(0, 10)), instrument.firstDay)
  const values: Record<string, string>[] = []
  for (let day = last; day >= first && values.length < size; day--) {
    const bar = day === present?.day ? present : board.prices.day(instrument, day)
    if (!bar) continue
    const shares =
      query.get('adjust') === 'none'
        ? 1
        : board.prices.sharesSince(instrument, day, localDay(instrument.venue, seconds))
    const amount = (ticks: number) => (ticks / 10 ** instrument.decimals / shares).toFixed(5)
    values.push({
      datetime: dateOf(day),
      open: amount(bar.open),
      high: amount(bar.high),
      low: amount(bar.low),
      close: amount(bar.close),
      volume: String(Math.round(bar.volume * shares)),
    })
  }
  if (values.length === 0)
    return { code: 400, message: 'No data is available on the specified dates.', status: 'error' }
  return {
    meta: {
      symbol: id,
      interval: '1day',
      currency: instrument.currency,
      exchange_timezone: instrument.venue.zone,
      exchange: 'NASDAQ',
      mic_code: 'XNGS',
      type: 'Common Stock',
      utc_offset: offsetOf(instrument.venue, seconds),
    },
    values: query.get('order')?.toUpperCase() === 'ASC' ? values.reverse() : values,
    status: 'ok',
  }
}

function search(board: ProviderMarket, id: string): ProviderResponse {
  const found = board.instrument('twelvedata', id.toUpperCase())
  const data = found
    ? [
        {
          symbol: found.id,
          instrument_name: found.name,
          exchange: 'NASDAQ',
          mic_code: 'XNGS',
          exchange_timezone: found.venue.zone,
          instrument_type: found.kind === 'etf' ? 'ETF' : 'Common Stock',
          country: 'United States',
          currency: found.currency,
        },
      ]
    : []
  return ok({ data, status: 'ok' })
}
