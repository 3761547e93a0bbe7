import { z } from 'zod'

export const HISTORY_RANGES = ['1d', '7d', '1m', '3m', '6m', '1y', '3y', '5y', '10y', 'all'] as const
export type HistoryRange = (typeof HISTORY_RANGES)[number]

/** Size of an answer's bars: one an answer. */
export const HISTORY_INTERVALS = ['FIVE_MINUTES', 'THIRTY_MINUTES', 'ONE_DAY', 'ONE_WEEK', 'ONE_MONTH'] as const
export type HistoryInterval = (typeof HISTORY_INTERVALS)[number]

export const INTERVAL_BY_RANGE: Readonly<Record<HistoryRange, HistoryInterval>> = {
  '1d': 'FIVE_MINUTES',
  '7d': 'THIRTY_MINUTES',
  '1m': 'ONE_DAY',
  '3m': 'ONE_DAY',
  '6m': 'ONE_DAY',
  '1y': 'ONE_DAY',
  '3y': 'ONE_WEEK',
  '5y': 'ONE_MONTH',
  '10y': 'ONE_MONTH',
  all: 'ONE_MONTH',
}

/**
 * `raw`: as it was traded that day. `split`: in today's shares. `adjusted`: in today's shares, and dividends taken out
 * of the prices before them (CRSP's method). An answer has one of them throughout.
 */
export const PRICE_BASES = ['raw', 'split', 'adjusted'] as const
export type PriceBasis = (typeof PRICE_BASES)[number]

/** A bar of price history. Amounts are plain decimal text; `date` is `2025-12-03`, or RFC 3339 for intraday bars. */
export type PriceBar = {
  date: string
  open: string
  high: string
  low: string
  close: string
  /** Null where no volume is known: bars made of quotes have none. */
  volume: string | null
  /** False for the bar that is still going on. */
  is_complete: boolean
}

export const formatPriceBar = (bar: PriceBar): string =>
  `{"date":"${bar.date}","open":${bar.open},"high":${bar.high},"low":${bar.low},"close":${bar.close},"volume":${bar.volume},"is_complete":${bar.is_complete}}`

/** A bar as a client reads it off the wire. */
export const wirePriceBarSchema = z.object({
  date: z.string(),
  open: z.number(),
  high: z.number(),
  low: z.number(),
  close: z.number(),
  volume: z.number().nullable(),
  is_complete: z.boolean(),
})
export type WirePriceBar = z.infer<typeof wirePriceBarSchema>

/**
 * A split or a dividend. A split turns `denominator` shares into `numerator`. A dividend's `amount` is as it was paid
 * per share of that day, `reference_close` the raw close of the trading day before; both are decimal text.
 */
export type CorporateAction =
  | { kind: 'split'; ex_date: string; numerator: string; denominator: string }
  | { kind: 'dividend'; ex_date: string; amount: string; reference_close: string | null }
