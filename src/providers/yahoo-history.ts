import { z } from 'zod'
import type { DailyBar, DailyHistory } from '../pricing/provider-quote.ts'
import type { CorporateAction } from '../protocol/price-history.ts'
import { majorCurrency } from './currency.ts'
import { divide, formatNumber, formatRatio, multiply, parseRatio, type Ratio } from './decimal.ts'
import { firstIssue } from './fetch-json.ts'
import type { Failure, Result } from './result.ts'

/** A day's last price and volume are there this long after its close: auctions, and quotes that come 20 minutes late. */
const SETTLE_S = 30 * 60

const columnSchema = z.array(z.number().nullable())
const eventSchema = z.object({ date: z.number() })

const chartSchema = z.object({
  chart: z.object({
    result: z
      .array(
        z.object({
          meta: z.object({
            currency: z.string().min(1),
            instrumentType: z.string().nullish(),
            exchangeTimezoneName: z.string(),
            currentTradingPeriod: z.object({ regular: z.object({ start: z.number(), end: z.number() }) }),
          }),
          timestamp: z.array(z.number()).default([]),
          events: z
            .object({
              dividends: z.record(z.string(), eventSchema.extend({ amount: z.number().positive() })).default({}),
              splits: z
                .record(
                  z.string(),
                  eventSchema.extend({ numerator: z.number().positive(), denominator: z.number().positive() }),
                )
                .default({}),
            })
            .default({ dividends: {}, splits: {} }),
          indicators: z.object({
            quote: z
              .array(
                z.object({
                  open: columnSchema.default([]),
                  high: columnSchema.default([]),
                  low: columnSchema.default([]),
                  close: columnSchema.default([]),
                  volume: columnSchema.default([]),
                }),
              )
              .min(1),
          }),
        }),
      )
      .min(1),
  }),
})
type Chart = z.infer<typeof chartSchema>['chart']['result'][number]
type Split = { ex_date: string; by: Ratio; action: CorporateAction }

const invalidResponse = (detail: string): Failure => ({
  ok: false,
  reason: 'invalid',
  status: 200,
  retryAfter: null,
  detail,
})

/**
 * The days of a chart on the basis of each day. Yahoo tells prices and dividends in the shares of today: they are
 * multiplied by the splits after them, all of which are in the same answer; volumes are divided. Digits stay as they are
 * told: Yahoo keeps rows in single precision, so that 129.04 comes as 129.0399932861328.
 * @param from the first day wanted; what is before serves as a dividend's reference.
 * @param now unix milliseconds
 */
export function parseDailyHistory(body: unknown, from: string | null, now: number): Result<DailyHistory> {
  const parsed = chartSchema.safeParse(body)
  if (!parsed.success) return invalidResponse(firstIssue(parsed.error))
  const chart = parsed.data.chart.result[0] as Chart
  const dateOf = dateFormatter(chart.meta.exchangeTimezoneName)
  if (dateOf === null) return invalidResponse(`no such time zone: ${chart.meta.exchangeTimezoneName}`)
  const { currency, amount } = majorCurrency(chart.meta.currency)
  const splits = readSplits(chart, dateOf)
  /** How many of today's shares one of that day has become. */
  const sharesSince = (date: string): Ratio =>
    splits.filter((split) => split.ex_date > date).reduce((all, split) => multiply(all, split.by), ONE)
  const raw = (value: number, shares: Ratio): string => amount(formatRatio(multiply(numberRatio(value), shares)))

  const days = new Map<string, DailyBar>()
  for (const row of completedRows(chart, dateOf, now)) {
    const shares = sharesSince(row.date)
    const [open, close] = [raw(row.open, shares), raw(row.close, shares)]
    const volume = formatRatio(divide(numberRatio(row.volume), shares))
    days.set(row.date, { date: row.date, open, high: raw(row.high, shares), low: raw(row.low, shares), close, volume })
  }
  const all = [...days.values()].sort((a, b) => (a.date < b.date ? -1 : 1))
  const wanted = (date: string) => from === null || date >= from
  const today = dateOf(now / 1000)
  const dividends = Object.values(chart.events.dividends).map((told): CorporateAction => {
    const ex_date = dateOf(told.date)
    const before = all.findLast((day) => day.date < ex_date)
    const paid = raw(told.amount, sharesSince(ex_date))
    return { kind: 'dividend', ex_date, amount: paid, reference_close: before?.close ?? null }
  })
  const actions = [...splits.map((split) => split.action), ...dividends]
    .filter((action) => wanted(action.ex_date) && action.ex_date <= today)
    .sort((a, b) => (a.ex_date < b.ex_date ? -1 : a.ex_date > b.ex_date ? 1 : 0))
  return { ok: true, value: { currency, days: all.filter((day) => wanted(day.date)), actions } }
}

const ONE: Ratio = { numerator: 1n, denominator: 1n }
const numberRatio = (value: number): Ratio => parseRatio(formatNumber(value) ?? '0')

/** The day, in the time zone, of unix seconds; null where there is no such zone. Old days keep their own offset. */
function dateFormatter(timeZone: string): ((seconds: number) => string) | null {
  try {
    const format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
    return (seconds) => format.format(seconds * 1000)
  } catch {
    return null
  }
}

function readSplits({ events }: Chart, dateOf: (seconds: number) => string): Split[] {
  return Object.values(events.splits).map(({ date, numerator, denominator }) => {
    const ex_date = dateOf(date)
    const [top, bottom] = [formatNumber(numerator) ?? '1', formatNumber(denominator) ?? '1']
    return {
      ex_date,
      by: divide(parseRatio(top), parseRatio(bottom)),
      action: { kind: 'split', ex_date, numerator: top, denominator: bottom },
    }
  })
}

type ChartRow = { date: string; open: number; high: number; low: number; close: number; volume: number }

/** The rows of days that are over and have prices. Of two rows of a day, the last one is the later one. */
function completedRows(
  { meta, timestamp, indicators }: Chart,
  dateOf: (seconds: number) => string,
  now: number,
): ChartRow[] {
  const quote = indicators.quote[0]
  const seconds = now / 1000
  const today = dateOf(seconds)
  const { start, end } = meta.currentTradingPeriod.regular
  const isOver = (date: string): boolean =>
    date < today || (date === today && dateOf(start) === today && seconds >= end + SETTLE_S)
  // Of crypto Yahoo tells the money that changed hands, which is no number of coins: it counts as not told.
  const counted = meta.instrumentType !== 'CRYPTOCURRENCY'
  const rows: ChartRow[] = []
  timestamp.forEach((time, i) => {
    const [open, high, low, close] = [quote?.open[i], quote?.high[i], quote?.low[i], quote?.close[i]]
    if (!open || !high || !low || !close || Math.min(open, high, low, close) <= 0) return
    const date = dateOf(time)
    const volume = (counted && quote?.volume[i]) || 0
    // The four are rounded by themselves: an open may stand a hair above the high.
    if (isOver(date))
      rows.push({
        date,
        open,
        high: Math.max(open, high, low, close),
        low: Math.min(open, high, low, close),
        close,
        volume,
      })
  })
  return rows
}
