import { addDays, type DayInterval, historyInterval, rangeStart, startOfPeriod } from '../pricing/history-range.ts'
import { type HistoryInterval, type HistoryRange, INTERVAL_BY_RANGE } from '../protocol/price-history.ts'
import type { Activity, Split } from './activity.ts'
import {
  type Decimal,
  divide,
  divideRounded,
  formatDecimal,
  isZero,
  parseDecimal,
  RATE_PLACES,
  ZERO,
} from './decimal.ts'
import { splitsUntil } from './splits.ts'
import { parseMicros, utcDay } from './time.ts'

/** The value of a portfolio and its net deposits, in its currency. */
export type ValuePoint = {
  date: string
  value: string
  net_deposits: string
  /** True if a price or a rate is missing: both figures then leave out the unknown parts. */
  incomplete: boolean
}

/** A price that is valid from `at` (microseconds) on. An asset's closes ascend. */
export type Close = { at: number; close: string }

/** A closed part of a lot: `cost` in the lot's currency, at the rate of the lot's day. */
export type TakenPart = {
  asset_id: number
  traded_at: string
  cost: string
  currency: string
  lot_traded_at: string
  /** True for an outgoing transfer, which realises nothing. */
  transfer: boolean
}

/** A point of the history: `date` as published, with prices up to `prices` and activities before `until`, in microseconds. */
export type HistoryPoint = { date: string; prices: number; until: number }

export type ValueHistoryInput = {
  currency: string
  /** All activities, in any order. */
  activities: readonly Activity[]
  /** The market's splits, by asset. */
  splits: ReadonlyMap<number, readonly Split[]>
  /** The parts taken by outgoing transfers, and those of custom assets. */
  taken: readonly TakenPart[]
  /** Ascending. */
  points: readonly HistoryPoint[]
  /** Raw closes by asset, including the assets of exchange rates. */
  closes: ReadonlyMap<number, readonly Close[]>
  /** The currency of each asset's prices. */
  currencyOf: ReadonlyMap<number, string>
  /** The asset whose price is a currency's rate to the US dollar. */
  rateSources: ReadonlyMap<string, { asset_id: number; inverse: boolean }>
  /** The value of one unit of a currency in US dollars on a day; null if unknown. */
  usdOfDay: (currency: string, day: string) => string | null
}

const DAY_US = 86_400e6
const INTRADAY_US = { FIVE_MINUTES: 300e6, THIRTY_MINUTES: 1_800e6 } as const

/** The interval of a range, and the day of its first point. Days are `2025-12-03`. */
export function historySpan(
  range: HistoryRange,
  firstDay: string,
  today: string,
): { interval: HistoryInterval; from: string } {
  if (range === '1d' || range === '7d') return { interval: INTERVAL_BY_RANGE[range], from: today }
  const start = rangeStart(range, today)
  const from = start > firstDay ? start : firstDay
  // The whole history of a young portfolio is shown in days.
  const interval = historyInterval(range === 'all' ? '1y' : range, from, today) as DayInterval
  return { interval, from: startOfPeriod(from, interval) }
}

/**
 * The points of a range before `now` (unix milliseconds): the ends of its five or thirty minutes, or the days, weeks or
 * months that have ended.
 */
export function historyPoints(
  range: HistoryRange,
  interval: HistoryInterval,
  from: string,
  now: number,
): HistoryPoint[] {
  const points: HistoryPoint[] = []
  if (interval === 'FIVE_MINUTES' || interval === 'THIRTY_MINUTES') {
    const size = INTRADAY_US[interval]
    const last = Math.floor((now * 1000) / size) * size
    for (let at = last - (range === '1d' ? DAY_US : 7 * DAY_US); at <= last; at += size)
      points.push({ date: `${new Date(at / 1000).toISOString().slice(0, 19)}Z`, prices: at, until: at })
    return points
  }
  const today = new Date(now).toISOString().slice(0, 10)
  const next = (date: string) =>
    startOfPeriod(addDays(date, interval === 'ONE_DAY' ? 1 : interval === 'ONE_WEEK' ? 7 : 32), interval)
  for (let date = from; date < startOfPeriod(today, interval); date = next(date))
    points.push({ date, prices: Date.parse(date) * 1000, until: Date.parse(next(date)) * 1000 })
  return points
}

const ONE = parseDecimal('1')

/** Returns the last entry up to a time, for ascending times. */
function lastEntryUntil<T extends { at: number }>(entries: readonly T[]): (time: number) => T | null {
  let next = 0
  return (time) => {
    while (next < entries.length && entries[next]!.at <= time) next++
    return entries[next - 1] ?? null
  }
}

const crossRate = (from: Decimal | null, to: Decimal | null): Decimal | null =>
  from === null || to === null ? null : divideRounded(from, to, RATE_PLACES)

/** A change of the running figures at a time. */
type HistoryEvent = { at: number; order: number; do: () => void }

/**
 * The value of a portfolio at each point, by the prices, shares and rates of that time, and its net deposits until then,
 * each at the rate of its own day: purchases, transfers in, fees and taxes less sales, transfers out (at cost), dividends
 * and interest. The difference is everything gained or lost.
 *
 * A custom asset, which has no price, counts at cost.
 */
export function computeValueHistory(input: ValueHistoryInput): ValuePoint[] {
  const { currency, points } = input
  const last = points.at(-1)?.until ?? 0
  const held = new Map<number, Decimal>()
  let deposits = ZERO
  let own = ZERO
  let unknown = 0

  const atRateOfDay = (amount: Decimal, from: string, time: string): Decimal | null => {
    if (from === currency || isZero(amount)) return amount
    const usd = (of: string) => {
      const known = of === 'USD' ? '1' : input.usdOfDay(of, utcDay(time))
      return known === null ? null : parseDecimal(known)
    }
    const rate = crossRate(usd(from), usd(currency))
    return rate === null ? null : amount.times(rate)
  }
  const deposit = (amount: Decimal | null): void => {
    if (amount === null) unknown++
    else deposits = deposits.plus(amount)
  }
  const addOwn = (amount: Decimal | null): void => {
    own = own.plus(amount ?? ZERO)
  }

  const steps: HistoryEvent[] = []
  for (const [asset_id, activities] of Map.groupBy(input.activities, (each) => each.asset_id ?? 0))
    if (asset_id !== 0)
      for (const { at, numerator, denominator } of splitsUntil(activities, input.splits.get(asset_id) ?? [], last))
        steps.push({
          at,
          order: 0,
          do: () => {
            const quantity = held.get(asset_id)
            if (quantity) held.set(asset_id, divide(quantity.times(numerator), denominator))
          },
        })
  for (const activity of input.activities)
    steps.push({ at: parseMicros(activity.traded_at), order: 1, do: () => act(activity) })
  for (const { asset_id, traded_at, cost, currency: of, lot_traded_at, transfer } of input.taken)
    steps.push({
      at: parseMicros(traded_at),
      order: 2,
      do: () => {
        const amount = atRateOfDay(parseDecimal(cost).neg(), of, lot_traded_at)
        if (asset_id < 0) addOwn(amount)
        if (transfer) deposit(amount)
      },
    })

  function act({ kind, asset_id, quantity, price, fees, currency: of, traded_at }: Activity): void {
    const shares = parseDecimal(quantity)
    const amount = shares.times(price)
    const move = (by: Decimal): void => {
      if (asset_id !== null && asset_id > 0) held.set(asset_id, (held.get(asset_id) ?? ZERO).plus(by))
    }
    switch (kind) {
      case 'buy':
      case 'transfer_in': {
        const paid = atRateOfDay(amount.plus(fees), of, traded_at)
        deposit(paid)
        move(shares)
        if (asset_id !== null && asset_id < 0) addOwn(paid)
        break
      }
      case 'sell':
        deposit(atRateOfDay(amount.minus(fees).neg(), of, traded_at))
        move(shares.neg())
        break
      case 'transfer_out':
        deposit(atRateOfDay(parseDecimal(fees), of, traded_at))
        move(shares.neg())
        break
      case 'dividend':
      case 'interest':
        deposit(atRateOfDay(parseDecimal(fees).minus(amount), of, traded_at))
        break
      case 'fee':
      case 'tax':
        deposit(atRateOfDay(amount.plus(fees), of, traded_at))
        break
      case 'split':
        break
    }
  }

  steps.sort((a, b) => a.at - b.at || a.order - b.order)
  const closeOf = new Map([...input.closes].map(([id, closes]) => [id, lastEntryUntil(closes)]))
  let next = 0
  return points.map(({ date, prices, until }) => {
    for (; next < steps.length && steps[next]!.at < until; next++) steps[next]!.do()
    const usdNow = (of: string): Decimal | null => {
      if (of === 'USD') return ONE
      const source = input.rateSources.get(of)
      const known = source && closeOf.get(source.asset_id)?.(prices)
      if (!source || !known) return null
      return source.inverse ? divideRounded(ONE, parseDecimal(known.close), RATE_PLACES) : parseDecimal(known.close)
    }
    const rates = new Map<string, Decimal | null>([[currency, ONE]])
    const rate = (of: string): Decimal | null => {
      let found = rates.get(of)
      if (found === undefined) {
        found = crossRate(usdNow(of), usdNow(currency))
        rates.set(of, found)
      }
      return found
    }
    let value = own
    let missing = unknown > 0
    for (const [asset_id, quantity] of held) {
      if (isZero(quantity)) continue
      const known = closeOf.get(asset_id)?.(prices)
      const of = input.currencyOf.get(asset_id)
      const rateNow = of === undefined ? null : rate(of)
      if (!known || rateNow === null) missing = true
      else value = value.plus(quantity.times(known.close).times(rateNow))
    }
    return { date, value: formatDecimal(value), net_deposits: formatDecimal(deposits), incomplete: missing }
  })
}
