import { z } from 'zod'
import type { CandleAmount, Exact } from './exact-json.ts'

export const HISTORY_RANGES = ['1d', '7d', '1m', '3m', '6m', '1y', '3y', '5y', '10y', 'all'] as const
export type HistoryRange = (typeof HISTORY_RANGES)[number]

/** The length of a bar; all bars of a response have the same. */
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
 * `raw`: as traded on the day. `split`: in today's shares. `adjusted`: in today's shares, with dividends taken out of the
 * prices before them (CRSP's method). All bars of a response have the same basis.
 */
export const PRICE_BASES = ['raw', 'split', 'adjusted'] as const
export type PriceBasis = (typeof PRICE_BASES)[number]

export const formatPriceBar = (bar: PriceBar): string =>
  `{"date":"${bar.date}","open":${bar.open},"high":${bar.high},"low":${bar.low},"close":${bar.close},"volume":${bar.volume},"is_complete":${bar.is_complete}}`

/** A bar as a client receives it, its numbers parsed. `date` is `2025-12-03`, or RFC 3339 for intraday bars. */
export const wirePriceBarSchema = z.object({
  date: z.string(),
  open: z.number(),
  high: z.number(),
  low: z.number(),
  close: z.number(),
  /** Null where no volume is known: bars made of quotes have none. */
  volume: z.number().nullable(),
  /** False for the bar of the current period. */
  is_complete: z.boolean(),
})
export type WirePriceBar = z.infer<typeof wirePriceBarSchema>

/** A bar of price history inside Kerb; amounts are plain decimal text. */
export type PriceBar = Exact<WirePriceBar, CandleAmount>

/**
 * A split or a dividend. A split turns `denominator` shares into `numerator`. A dividend's `amount` is per share of
 * that day, `reference_close` the raw close of the trading day before; both are decimal text.
 */
export type CorporateAction =
  | { kind: 'split'; ex_date: string; numerator: string; denominator: string }
  | { kind: 'dividend'; ex_date: string; amount: string; reference_close: string | null }
