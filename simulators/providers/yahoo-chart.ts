import { type Instrument, QUOTE_TYPE } from './instruments.ts'
import type { Bar, Prices } from './market.ts'
import type { ProviderMarket } from './provider-market.ts'
import { ok, type ProviderResponse } from './simulated-provider.ts'
import { isTradingDay, localDay, offsetOf, previousTradingDay, sessionOf, tradingDayFrom, zoneName } from './venues.ts'

const DAY_S = 86_400

/** Intraday intervals in seconds, and how far back each reaches, days. Rows of weeks and months are not made here. */
const INTRADAY: Readonly<Record<string, { seconds: number; days: number }>> = {
  '1m': { seconds: 60, days: 30 },
  '2m': { seconds: 120, days: 60 },
  '5m': { seconds: 300, days: 60 },
  '15m': { seconds: 900, days: 60 },
  '30m': { seconds: 1_800, days: 60 },
  '60m': { seconds: 3_600, days: 730 },
  '1h': { seconds: 3_600, days: 730 },
}

/** Most days of one request for minutes. */
const MAX_MINUTE_DAYS = 8

const RANGES: Readonly<Record<string, number>> = {
  '1d': 1,
  '5d': 7,
  '1mo': 31,
  '3mo': 92,
  '6mo': 183,
  '1y': 366,
  '2y': 731,
  '5y': 1_827,
  '10y': 3_653,
}

const chartError = (status: number, code: string, description: string): ProviderResponse => ({
  status,
  body: { chart: { result: null, error: { code, description } } },
})

type ChartRow = {
  time: number
  open: number
  high: number
  low: number
  close: number
  volume: number
  adjclose?: number
}

/** `/v8/finance/chart/:symbol`: rows of [period1, period2), and the splits and dividends among them. */
export function chart(board: ProviderMarket, symbol: string, query: URLSearchParams, now: number): ProviderResponse {
  const seconds = Math.floor(now / 1000)
  const view = board.quote('yahoo', symbol, now)
  if (!view) return chartError(404, 'Not Found', 'No data found, symbol may be delisted')
  const { instrument } = view
  const interval = query.get('interval') ?? '1d'
  const intraday = INTRADAY[interval]
  if (interval !== '1d' && !intraday)
    return chartError(422, 'Unprocessable Entity', `Invalid input - interval=${interval} is not supported.`)
  const stretch = parseRange(query, instrument, seconds)
  if (stretch === null) return chartError(400, 'Bad Request', 'Invalid input - start date cannot be after end date.')
  const { from, to } = stretch
  if (
    intraday &&
    (from < seconds - intraday.days * DAY_S || (interval === '1m' && to - from > MAX_MINUTE_DAYS * DAY_S))
  )
    return chartError(
      422,
      'Unprocessable Entity',
      `${interval} data not available for startTime=${from} and endTime=${to}.`,
    )

  const { prices } = board
  const rows = intraday
    ? prices
        .bars(instrument, intraday.seconds, from, to, seconds)
        .map((bar) => intradayRow(prices, instrument, bar, seconds))
    : dailyRows(prices, instrument, from, to, seconds)
  const asked = (query.get('events') ?? '').split(/[|,]/)
  const events = intraday ? {} : eventsOf(prices, instrument, from, to, seconds, asked)
  const column = (pick: (row: ChartRow) => number) => rows.map((row) => Math.fround(pick(row)))
  return ok({
    chart: {
      result: [
        {
          meta: meta(board, symbol, interval, query.get('range') ?? '', from, now),
          ...(rows.length > 0 && { timestamp: rows.map(({ time }) => time) }),
          ...(Object.keys(events).length > 0 && { events }),
          indicators:
            rows.length === 0
              ? { quote: [{}], ...(!intraday && { adjclose: [{}] }) }
              : {
                  quote: [
                    {
                      high: column((row) => row.high),
                      open: column((row) => row.open),
                      low: column((row) => row.low),
                      close: column((row) => row.close),
                      volume: rows.map(({ volume }) => volume),
                    },
                  ],
                  ...(!intraday && { adjclose: [{ adjclose: column((row) => row.adjclose as number) }] }),
                },
        },
      ],
      error: null,
    },
  })
}

function parseRange(query: URLSearchParams, instrument: Instrument, now: number): { from: number; to: number } | null {
  const range = query.get('range')
  if (range !== null) {
    if (range === 'max') return { from: sessionOf(instrument.venue, instrument.firstDay).open, to: now + 1 }
    const days = RANGES[range]
    return days === undefined ? null : { from: now - days * DAY_S, to: now + 1 }
  }
  const [from, to] = [query.get('period1'), query.get('period2')].map((text) =>
    text !== null && /^-?\d{1,12}$/.test(text) ? Number(text) : null,
  )
  return from == null || to == null || from > to ? null : { from, to }
}

/** On the basis of a moment: what it was on a day, in the shares that the splits up to then have made of it. */
const adjusted = (prices: Prices, instrument: Instrument, day: number, now: number) => {
  const shares = prices.sharesSince(instrument, day, localDay(instrument.venue, now))
  const unit = 10 ** instrument.decimals
  const price = (ticks: number) => ticks / unit / shares
  // The volume of crypto is in money.
  const volume = ({ volume, close }: Pick<Bar, 'volume' | 'close'>) =>
    Math.round(volume * shares * (instrument.kind === 'crypto' ? price(close) : 1))
  return { price, volume }
}

function intradayRow(prices: Prices, instrument: Instrument, bar: Bar, now: number): ChartRow {
  const { price, volume } = adjusted(prices, instrument, localDay(instrument.venue, bar.start), now)
  return {
    time: bar.start,
    open: price(bar.open),
    high: price(bar.high),
    low: price(bar.low),
    close: price(bar.close),
    volume: volume(bar),
  }
}

/** A row for each day that opens in the range. The row of the current day has the time of its last price. */
function dailyRows(prices: Prices, instrument: Instrument, from: number, to: number, now: number): ChartRow[] {
  const { venue } = instrument
  const present = prices.currentDay(instrument, now)
  if (!present) return []
  const rows: ChartRow[] = []
  const first = Math.max(instrument.firstDay, localDay(venue, from))
  const dividends = prices.dividends(instrument, first, present.day)
  // The factors of the prices before each dividend, from the last one back.
  const taken = dividends.map(({ day, amount }) => {
    const before = previousTradingDay(venue, day)
    const close = (prices.day(instrument, before)?.close ?? 0) / prices.sharesSince(instrument, before, day)
    return close > 0 ? 1 - amount / close : 1
  })
  let factor = taken.reduce((product, part) => product * part, 1)
  let next = 0
  for (let day = tradingDayFrom(venue, first); day <= present.day; day = tradingDayFrom(venue, day + 1)) {
    const { open } = sessionOf(venue, day)
    if (open >= to) break
    while (next < dividends.length && (dividends[next]?.day as number) <= day) factor /= taken[next++] as number
    const running = day === present.day && present.inSession
    const bar = day === present.day ? present : prices.day(instrument, day)
    if (!bar || open < from) continue
    const { price, volume } = adjusted(prices, instrument, day, now)
    const close = price(bar.close)
    rows.push({
      time: running ? present.time : open,
      open: price(bar.open),
      high: price(bar.high),
      low: price(bar.low),
      close,
      volume: volume(bar),
      adjclose: close * factor,
    })
  }
  return rows
}

/** Keyed by the opening of the ex-day; amounts are in today's shares, as prices are. */
function eventsOf(
  prices: Prices,
  instrument: Instrument,
  from: number,
  to: number,
  now: number,
  asked: readonly string[],
): Record<string, unknown> {
  const { venue, splits, decimals } = instrument
  const today = localDay(venue, now)
  const openOf = (day: number) => sessionOf(venue, day).open
  const within = (day: number) => openOf(day) >= from && openOf(day) < to && day >= instrument.firstDay && day <= today
  const dividends = !asked.includes('div')
    ? []
    : prices
        .dividends(instrument, localDay(venue, from), Math.min(today, localDay(venue, to)))
        .filter((d) => within(d.day))
  const split = !asked.includes('split') ? [] : splits.filter(({ day }) => within(day))
  return {
    ...(dividends.length > 0 && {
      dividends: Object.fromEntries(
        dividends.map(({ day, amount }) => [
          openOf(day),
          {
            amount: Number((amount / 10 ** decimals / prices.sharesSince(instrument, day, today)).toPrecision(7)),
            date: openOf(day),
          },
        ]),
      ),
    }),
    ...(split.length > 0 && {
      splits: Object.fromEntries(
        split.map(({ day, numerator, denominator }) => [
          openOf(day),
          { date: openOf(day), numerator, denominator, splitRatio: `${numerator}:${denominator}` },
        ]),
      ),
    }),
  }
}

function meta(board: ProviderMarket, symbol: string, interval: string, range: string, from: number, now: number) {
  const seconds = Math.floor(now / 1000)
  const view = board.quote('yahoo', symbol, now)
  if (!view) throw new Error(`${symbol} has no view`)
  const { instrument } = view
  const { venue } = instrument
  const gmtoffset = offsetOf(venue, seconds)
  const timezone = zoneName(venue, seconds)
  const today = localDay(venue, seconds)
  const { open, close, pre, post } = sessionOf(
    venue,
    isTradingDay(venue, today) ? today : previousTradingDay(venue, today),
  )
  const before = previousTradingDay(venue, Math.max(instrument.firstDay + 1, localDay(venue, from)))
  const first = board.prices.day(instrument, before)
  const period = (start: number, end: number) => ({ timezone, start, end, gmtoffset })
  return {
    currency: view.currency,
    symbol,
    exchangeName: venue.code,
    fullExchangeName: venue.name,
    instrumentType: QUOTE_TYPE[instrument.kind],
    firstTradeDate: sessionOf(venue, instrument.firstDay).open,
    regularMarketTime: view.time,
    hasPrePostMarketData: venue.extended !== null,
    gmtoffset,
    timezone,
    exchangeTimezoneName: venue.zone,
    regularMarketPrice: view.price,
    fiftyTwoWeekHigh: view.high * 1.2,
    fiftyTwoWeekLow: view.low * 0.8,
    ...(instrument.kind !== 'fund' && {
      regularMarketDayHigh: view.high,
      regularMarketDayLow: view.low,
      regularMarketVolume: view.volume,
    }),
    longName: instrument.name,
    shortName: instrument.name,
    ...(first && { chartPreviousClose: adjusted(board.prices, instrument, before, seconds).price(first.close) }),
    priceHint: instrument.decimals > 2 ? 4 : 2,
    currentTradingPeriod: { pre: period(pre, open), regular: period(open, close), post: period(close, post) },
    dataGranularity: interval,
    range,
    validRanges: ['1d', '5d', '1mo', '3mo', '6mo', '1y', '2y', '5y', '10y', 'ytd', 'max'],
  }
}
