import type { CorporateAction, HistoryInterval, PriceBar, PriceBasis } from '../protocol/price-history.ts'
import { formatDate } from '../time.ts'
import {
  decimalsFor,
  divideRatios,
  exactQuotient,
  multiplyRatios,
  ONE,
  parseRatio,
  type Ratio,
  roundRatio,
} from './ratio.ts'
import { fnv1a } from './symbol.ts'

/** A quotient that does not end is rounded to this many decimals; a small one to as many as keep ten digits. */
const ROUNDED_DECIMALS = 10

/** A ratio as decimal text; `price_quotient` of the database has the same rule. */
const formatRatio = (ratio: Ratio): string =>
  exactQuotient(ratio) ?? roundRatio(ratio, Math.max(ROUNDED_DECIMALS, decimalsFor(ratio, ROUNDED_DECIMALS)))

/** The last day of a bar's period: its shares are adjusted by the actions of later days. */
function lastDay({ date }: PriceBar, interval: HistoryInterval): string {
  if (interval !== 'ONE_WEEK' && interval !== 'ONE_MONTH') return date.slice(0, 10)
  const day = new Date(date)
  if (interval === 'ONE_WEEK') day.setUTCDate(day.getUTCDate() + 6)
  else day.setUTCMonth(day.getUTCMonth() + 1, 0)
  return formatDate(day)
}

/** Shares before per share after of the splits of one day. */
const splitFactor = (actions: readonly CorporateAction[]): Ratio =>
  actions.reduce(
    (ratio, action) =>
      action.kind === 'split'
        ? multiplyRatios(ratio, divideRatios(parseRatio(action.denominator), parseRatio(action.numerator)))
        : ratio,
    ONE,
  )

/**
 * The factor of a dividend on earlier prices: 1 - amount / reference (CRSP), with the reference in the shares of the
 * dividend's day. It is 1 without a reference, and for a dividend that is not less than it.
 */
function dividendFactor(action: CorporateAction, split: Ratio): Ratio {
  if (action.kind !== 'dividend' || action.reference_close === null) return ONE
  const reference = multiplyRatios(parseRatio(action.reference_close), split)
  const amount = parseRatio(action.amount)
  const left = reference.numerator * amount.denominator - amount.numerator * reference.denominator
  return left > 0n && reference.numerator > 0n
    ? { numerator: left, denominator: reference.numerator * amount.denominator }
    : ONE
}

/**
 * Bars on another basis; the same list when there is nothing to adjust. Each bar is converted to today's shares by the
 * splits after its period (a bar of a week or month has the shares of its period's end), its volume inversely. On the basis
 * `adjusted` its prices are also reduced by the dividends after its period.
 *
 * Exact: a product of ratios, divided once. A quotient that ends within 38 decimals is exact; others are rounded to 10
 * decimals, or to as many as keep 10 digits of a small price, halves away from zero.
 * @param bars ascending, raw
 * @param actions ascending by `ex_date`, all of the asset
 */
export function adjustBars(
  bars: readonly PriceBar[],
  actions: readonly CorporateAction[],
  basis: PriceBasis,
  interval: HistoryInterval,
): readonly PriceBar[] {
  if (basis === 'raw' || actions.length === 0) return bars
  const adjusted: PriceBar[] = []
  let prices = ONE
  let shares = ONE
  let next = actions.length - 1
  for (const bar of bars.toReversed()) {
    const day = lastDay(bar, interval)
    for (let ex = actions[next]?.ex_date; ex !== undefined && ex > day; ex = actions[next]?.ex_date) {
      const ofDay: CorporateAction[] = []
      for (; actions[next]?.ex_date === ex; next--) ofDay.push(actions[next]!)
      const split = splitFactor(ofDay)
      prices = multiplyRatios(prices, split)
      shares = divideRatios(shares, split)
      if (basis === 'adjusted')
        for (const action of ofDay) prices = multiplyRatios(prices, dividendFactor(action, split))
    }
    const price = (decimal: string) => formatRatio(multiplyRatios(parseRatio(decimal), prices))
    adjusted.push({
      ...bar,
      ...(prices !== ONE && {
        open: price(bar.open),
        high: price(bar.high),
        low: price(bar.low),
        close: price(bar.close),
      }),
      ...(shares !== ONE &&
        bar.volume !== null && { volume: formatRatio(multiplyRatios(parseRatio(bar.volume), shares)) }),
    })
  }
  return adjusted.reverse()
}

/**
 * A short hash of these corporate actions, part of the ETag of adjusted history: it only has to distinguish a list from
 * its later versions.
 */
export function hashActions(actions: readonly CorporateAction[]): string {
  const lines = actions.map((action) => {
    const terms =
      action.kind === 'split' ? [action.numerator, action.denominator] : [action.amount, action.reference_close]
    return `${action.kind} ${action.ex_date} ${terms.join(' ')};`
  })
  return fnv1a(lines.join('')).toString(16).padStart(8, '0')
}
