import { z } from 'zod'
import type { DailyBar, DailyHistory } from '../pricing/provider-quote.ts'
import { divideRatios, multiplyRatios, ONE, parseRatio, type Ratio } from '../pricing/ratio.ts'
import type { CorporateAction } from '../protocol/price-history.ts'
import { formatNumber, formatRatio, majorCurrency } from './amounts.ts'
import { failure, type Result } from './result.ts'

/** A day's last price and volume are final this long after its close: auctions, and quotes with a delay of 20 minutes. */
const SETTLE_S = 30 * 60

const columnSchema = z.array(z.number().nullable())
const eventSchema = z.object({ date: z.number() })

/** Yahoo's response for the history of one symbol. */
export const chartSchema = z.object({
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
type ChartResponse = z.infer<typeof chartSchema>
type Chart = ChartResponse['chart']['result'][number]
type Split = { ex_date: string; by: Ratio; action: CorporateAction }

/**
 * The raw days of a chart. Yahoo's prices and dividends are in today's shares: they are multiplied by the splits after
 * them, all of which are in the same response, and volumes are divided. Digits are not rounded: Yahoo stores single
 * precision, so that 129.04 comes as 129.0399932861328.
 * @param from the first wanted day; earlier ones serve as the reference of a dividend
 * @param now unix milliseconds
 */
export function toDailyHistory(response: ChartResponse, from: string | null, now: number): Result<DailyHistory> {
  const chart = response.chart.result[0] as Chart
  const dateOf = dateFormatter(chart.meta.exchangeTimezoneName)
  if (dateOf === null) return failure('invalid', `no such time zone: ${chart.meta.exchangeTimezoneName}`, 200)
  const { currency, amount } = majorCurrency(chart.meta.currency)
  const splits = readSplits(chart, dateOf)
  /** The number of today's shares for one share of that day. */
  const sharesSince = (date: string): Ratio =>
    splits.filter((split) => split.ex_date > date).reduce((all, split) => multiplyRatios(all, split.by), ONE)
  const raw = (value: number, shares: Ratio): string => amount(formatRatio(multiplyRatios(numberRatio(value), shares)))

  const days = new Map<string, DailyBar>()
  for (const row of completedRows(chart, dateOf, now)) {
    const shares = sharesSince(row.date)
    const [open, close] = [raw(row.open, shares), raw(row.close, shares)]
    const volume = formatRatio(divideRatios(numberRatio(row.volume), shares))
    days.set(row.date, { date: row.date, open, high: raw(row.high, shares), low: raw(row.low, shares), close, volume })
  }
  const all = [...days.values()].sort((a, b) => (a.date < b.date ? -1 : 1))
  const wanted = (date: string) => from === null || date >= from
  const today = dateOf(now / 1000)
  const dividends = Object.values(chart.events.dividends).map((dividend): CorporateAction => {
    const ex_date = dateOf(dividend.date)
    const before = all.findLast((day) => day.date < ex_date)
    const paid = raw(dividend.amount, sharesSince(ex_date))
    return { kind: 'dividend', ex_date, amount: paid, reference_close: before?.close ?? null }
  })
  const actions = [...splits.map((split) => split.action), ...dividends]
    .filter((action) => wanted(action.ex_date) && action.ex_date <= today)
    .sort((a, b) => (a.ex_date < b.ex_date ? -1 : a.ex_date > b.ex_date ? 1 : 0))
  return { ok: true, value: { currency, days: all.filter((day) => wanted(day.date)), actions } }
}

const numberRatio = (value: number): Ratio => parseRatio(formatNumber(value))

/** Formats unix seconds as a day of the time zone, with the offset of that day; null: there is no such zone. */
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
    return {
      ex_date,
      by: divideRatios(numberRatio(numerator), numberRatio(denominator)),
      action: {
        kind: 'split',
        ex_date,
        numerator: formatNumber(numerator),
        denominator: formatNumber(denominator),
      },
    }
  })
}

/** The rows of ended days with prices. Of two rows of one day, the last is the newer one. */
function completedRows({ meta, timestamp, indicators }: Chart, dateOf: (seconds: number) => string, now: number) {
  const quote = indicators.quote[0]
  const seconds = now / 1000
  const today = dateOf(seconds)
  const { start, end } = meta.currentTradingPeriod.regular
  const hasEnded = (date: string): boolean =>
    date < today || (date === today && dateOf(start) === today && seconds >= end + SETTLE_S)
  // The volume of crypto is in money, not in coins: it counts as missing.
  const counted = meta.instrumentType !== 'CRYPTOCURRENCY'
  return timestamp.flatMap((time, i) => {
    const [open, quotedHigh, quotedLow, close] = [quote?.open[i], quote?.high[i], quote?.low[i], quote?.close[i]]
    if (!open || !quotedHigh || !quotedLow || !close) return []
    // Each of the four is rounded separately: an open may be slightly above the high.
    const [high, low] = [Math.max(open, quotedHigh, close), Math.min(open, quotedLow, close)]
    const date = dateOf(time)
    if (low <= 0 || !hasEnded(date)) return []
    return [{ date, open, high, low, close, volume: (counted && quote?.volume[i]) || 0 }]
  })
}
