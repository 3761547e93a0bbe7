import type { Basis, CorporateAction, Interval, PriceBar } from '../protocol/price-history.ts'

/** An exact ratio; `under` is positive. */
type Ratio = { over: bigint; under: bigint }

/** A quotient that ends within so many decimals is exact. */
const EXACT_DECIMALS = 38
/** Another is rounded to so many, or to as many that so many digits of a small value are left. */
const ROUNDED_DECIMALS = 10

const ONE: Ratio = { over: 1n, under: 1n }

const times = (a: Ratio, b: Ratio): Ratio => ({ over: a.over * b.over, under: a.under * b.under })

/** Plain decimal text as an exact ratio. */
function ratioOf(decimal: string): Ratio {
  const point = decimal.indexOf('.')
  if (point === -1) return { over: BigInt(decimal), under: 1n }
  const decimals = decimal.length - point - 1
  return { over: BigInt(decimal.slice(0, point) + decimal.slice(point + 1)), under: 10n ** BigInt(decimals) }
}

/** a / b; b is positive. */
const divide = (a: Ratio, b: Ratio): Ratio => ({ over: a.over * b.under, under: a.under * b.over })

/** over / under, halves away from zero. */
function rounded(over: bigint, under: bigint): bigint {
  const quotient = (2n * (over < 0n ? -over : over) + under) / (2n * under)
  return over < 0n ? -quotient : quotient
}

/** units / 10^decimals as plain text without needless zeros. */
function text(units: bigint, decimals: number): string {
  const sign = units < 0n ? '-' : ''
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, '0')
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '')
  return `${sign}${digits.slice(0, digits.length - decimals)}${fraction && `.${fraction}`}`
}

/** A ratio as decimal text; `price_quotient` of the database has the same rule. */
function decimalOf({ over, under }: Ratio): string {
  const scaled = over * 10n ** BigInt(EXACT_DECIMALS)
  const units = rounded(scaled, under)
  if (units * under === scaled || units === 0n) return text(units, EXACT_DECIMALS)
  const zeros = EXACT_DECIMALS - (units < 0n ? -units : units).toString().length
  const decimals = Math.min(EXACT_DECIMALS, ROUNDED_DECIMALS + Math.max(0, zeros))
  return text(rounded(units, 10n ** BigInt(EXACT_DECIMALS - decimals)), decimals)
}

/** The last day of a bar's period: actions of later days change its shares. */
function lastDay({ date }: PriceBar, interval: Interval): string {
  if (interval !== 'ONE_WEEK' && interval !== 'ONE_MONTH') return date.slice(0, 10)
  const day = new Date(date)
  if (interval === 'ONE_WEEK') day.setUTCDate(day.getUTCDate() + 6)
  else day.setUTCMonth(day.getUTCMonth() + 1, 0)
  return day.toISOString().slice(0, 10)
}

/** Shares before per share after of the splits of one day. */
const splitOf = (actions: readonly CorporateAction[]): Ratio =>
  actions.reduce(
    (ratio, action) =>
      action.kind === 'split' ? times(ratio, divide(ratioOf(action.denominator), ratioOf(action.numerator))) : ratio,
    ONE,
  )

/**
 * What a dividend leaves of the prices before it: 1 - amount / reference (CRSP's factor), the reference in the shares of
 * the dividend's own day. One whose reference is not known, or that is not less than it, changes nothing.
 */
function dividendOf(action: CorporateAction, split: Ratio): Ratio {
  if (action.kind !== 'dividend' || action.reference_close === null) return ONE
  const reference = times(ratioOf(action.reference_close), split)
  const amount = ratioOf(action.amount)
  const over = reference.over * amount.under - amount.over * reference.under
  return over > 0n && reference.over > 0n ? { over, under: reference.over * amount.under } : ONE
}

/**
 * Bars on another basis: a new list, or the same one when nothing is to be done. Each bar is brought to today's shares by
 * the splits after its period (a bar of a week or month is in the shares of its period's end), its volume the other way;
 * on the basis `adjusted` the dividends after its period are taken out of its prices, too.
 *
 * Exact: a product of ratios, divided once. What ends within 38 decimals is told whole; else it is rounded to 10, or to
 * as many that 10 digits of a small price are left, halves away from zero.
 * @param bars ascending, raw
 * @param actions ascending by `ex_date`, all of the asset
 */
export function adjustBars(
  bars: readonly PriceBar[],
  actions: readonly CorporateAction[],
  basis: Basis,
  interval: Interval,
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
      const split = splitOf(ofDay)
      prices = times(prices, split)
      shares = times(shares, { over: split.under, under: split.over })
      if (basis === 'adjusted') for (const action of ofDay) prices = times(prices, dividendOf(action, split))
    }
    const price = (decimal: string) => decimalOf(times(ratioOf(decimal), prices))
    adjusted.push({
      ...bar,
      ...(prices !== ONE && {
        open: price(bar.open),
        high: price(bar.high),
        low: price(bar.low),
        close: price(bar.close),
      }),
      ...(shares !== ONE && bar.volume !== null && { volume: decimalOf(times(ratioOf(bar.volume), shares)) }),
    })
  }
  return adjusted.reverse()
}

/**
 * A short text that stands for these corporate actions: the same for the same ones, another for others. A part of the
 * ETag of adjusted history. (32 bits of FNV-1a: told apart is what it was from what it is, not all there could be.)
 */
export function actionsVersion(actions: readonly CorporateAction[]): string {
  let hash = 0x811c9dc5
  for (const action of actions) {
    const told =
      action.kind === 'split'
        ? [action.ex_date, action.numerator, action.denominator]
        : [action.ex_date, action.amount, action.reference_close]
    const line = `${action.kind} ${told.join(' ')};`
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193) >>> 0
  }
  return hash.toString(16).padStart(8, '0')
}
