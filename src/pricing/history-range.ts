import { addUnits, compareDecimals, formatUnits, parseUnits } from '../market/decimal.ts'
import type { Asset } from '../protocol/asset.ts'
import { type HistoryInterval, type HistoryRange, INTERVAL_BY_RANGE, type PriceBar } from '../protocol/price-history.ts'
import type { Quote } from '../protocol/quote.ts'
import { formatDate } from '../time.ts'

/** The intervals whose bars are days, or consist of days. */
export type DayInterval = Extract<HistoryInterval, 'ONE_DAY' | 'ONE_WEEK' | 'ONE_MONTH'>

/** Before the first day of any supported market. */
const EARLIEST_DATE = '1900-01-01'

/** The stored days and weeks, by the initial `app_settings`. */
const STORED_DAYS = 365
const STORED_WEEKS = 157
/** A range keeps its interval if at most this many days are missing at its beginning. */
const TOLERANCE_DAYS = 31

const RANGE_MONTHS: Readonly<Partial<Record<HistoryRange, number>>> = {
  '1m': 1,
  '3m': 3,
  '6m': 6,
  '1y': 12,
  '3y': 36,
  '5y': 60,
  '10y': 120,
}

/** The date so many days later, `2025-12-03`. */
export function addDays(date: string, days: number): string {
  const moved = new Date(date)
  moved.setUTCDate(moved.getUTCDate() + days)
  return formatDate(moved)
}

/** The same day some months earlier; in a shorter month its last day. */
function monthsBefore(date: string, months: number): string {
  const [year = 0, month = 0, day = 0] = date.split('-').map(Number)
  const last = new Date(Date.UTC(year, month - months, 0)).getUTCDate()
  return formatDate(new Date(Date.UTC(year, month - 1 - months, Math.min(day, last))))
}

/** The first day of a range that ends at `day`: the same day a month ago, and so on. */
export function rangeStart(range: HistoryRange, day: string): string {
  const months = RANGE_MONTHS[range]
  return months === undefined ? EARLIEST_DATE : monthsBefore(day, months)
}

/** The first day of a day's period: itself, its Monday, the first of its month. */
export function startOfPeriod(day: string, interval: DayInterval): string {
  if (interval === 'ONE_DAY') return day
  if (interval === 'ONE_MONTH') return `${day.slice(0, 8)}01`
  return addDays(day, -((new Date(day).getUTCDay() + 6) % 7))
}

/** The interval of a range that begins at `from`: weeks, and then months, where shorter bars are not stored any more. */
export function historyInterval(range: HistoryRange, from: string, today: string): HistoryInterval {
  const usual = INTERVAL_BY_RANGE[range]
  const isStored = (days: number) => from >= addDays(today, -days - TOLERANCE_DAYS)
  if (usual === 'ONE_DAY') return isStored(STORED_DAYS) ? usual : isStored(7 * STORED_WEEKS) ? 'ONE_WEEK' : 'ONE_MONTH'
  return usual === 'ONE_WEEK' && !isStored(7 * STORED_WEEKS) ? 'ONE_MONTH' : usual
}

/**
 * Bars together with later days: each day is merged into the bar of its period, or begins an incomplete one. No day may
 * already be part of a bar.
 * @param bars ascending, of one interval
 * @param days ascending
 */
export function mergeDays(bars: readonly PriceBar[], days: readonly PriceBar[], interval: DayInterval): PriceBar[] {
  const all = [...bars]
  for (const day of days) {
    const date = startOfPeriod(day.date, interval)
    const last = all.at(-1)
    if (last?.date === date) all[all.length - 1] = mergeBar(last, day)
    else if (last === undefined || last.date < date)
      all.push({ ...day, date, is_complete: interval === 'ONE_DAY' && day.is_complete })
  }
  return all
}

function mergeBar(bar: PriceBar, day: PriceBar): PriceBar {
  return {
    date: bar.date,
    open: bar.open,
    high: compareDecimals(day.high, bar.high) > 0 ? day.high : bar.high,
    low: compareDecimals(day.low, bar.low) < 0 ? day.low : bar.low,
    close: day.close,
    volume:
      bar.volume === null || day.volume === null
        ? bar.volume
        : formatUnits(addUnits(parseUnits(bar.volume), parseUnits(day.volume))),
    is_complete: bar.is_complete && day.is_complete,
  }
}

/** The time zones of markets whose day differs from UTC's while they are open, by the suffix of their symbols. */
const MARKET_ZONES: Readonly<Record<string, string>> = { AX: 'Australia/Sydney', NZ: 'Pacific/Auckland' }

/** The trading day of a quote, in its market's time zone, `2025-12-03`. */
export function tradingDay({ provider_id, type }: Pick<Asset, 'provider_id' | 'type'>, asOf: string): string {
  const suffix = /\.([A-Z]{1,3})$/.exec(provider_id)?.[1]
  // After the close in New York, UTC may have the next day.
  const zone = suffix ? MARKET_ZONES[suffix] : type === 'stock' || type === 'etf' ? 'America/New_York' : undefined
  if (zone === undefined) return asOf.slice(0, 10)
  return new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' }).format(new Date(asOf))
}

/** The bar of the current trading day, by a quote; null where the quote lacks open, high or low. */
export function currentDayBar(asset: Pick<Asset, 'provider_id' | 'type'>, quote: Quote): PriceBar | null {
  const { open, high, low, price, volume, as_of } = quote
  if (open === null || high === null || low === null) return null
  return {
    date: tradingDay(asset, as_of),
    open,
    // The price may be newer than the day's extremes.
    high: compareDecimals(price, high) > 0 ? price : high,
    low: compareDecimals(price, low) < 0 ? price : low,
    close: price,
    volume,
    is_complete: false,
  }
}
