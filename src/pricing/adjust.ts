import type { CorporateAction, HistoryInterval, PriceBar, PriceBasis } from '../protocol/price-history.ts'

/** An exact ratio; `under` is positive. */
type Ratio = { numerator: bigint; denominator: bigint }

/** A quotient that ends within so many decimals is exact. */
const EXACT_DECIMALS = 38
/** Another is rounded to so many, or to as many that so many digits of a small value are left. */
const ROUNDED_DECIMALS = 10

const ONE: Ratio = { numerator: 1n, denominator: 1n }

const multiply = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
})

/** Plain decimal text as an exact ratio. */
function parseRatio(decimal: string): Ratio {
  const point = decimal.indexOf('.')
  if (point === -1) return { numerator: BigInt(decimal), denominator: 1n }
  const decimals = decimal.length - point - 1
  return { numerator: BigInt(decimal.slice(0, point) + decimal.slice(point + 1)), denominator: 10n ** BigInt(decimals) }
}

/** a / b; b is positive. */
const divide = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.denominator,
  denominator: a.denominator * b.numerator,
})

/** over / under, halves away from zero. */
function divideRounded(over: bigint, under: bigint): bigint {
  const quotient = (2n * (over < 0n ? -over : over) + under) / (2n * under)
  return over < 0n ? -quotient : quotient
}

/** units / 10^decimals as plain text without needless zeros. */
function formatUnits(units: bigint, decimals: number): string {
  const sign = units < 0n ? '-' : ''
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, '0')
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '')
  return `${sign}${digits.slice(0, digits.length - decimals)}${fraction && `.${fraction}`}`
}

/** A ratio as decimal text; `price_quotient` of the database has the same rule. */
function formatRatio({ numerator: over, denominator: under }: Ratio): string {
  const scaled = over * 10n ** BigInt(EXACT_DECIMALS)
  const units = divideRounded(scaled, under)
  if (units * under === scaled || units === 0n) return formatUnits(units, EXACT_DECIMALS)
  const zeros = EXACT_DECIMALS - (units < 0n ? -units : units).toString().length
  const decimals = Math.min(EXACT_DECIMALS, ROUNDED_DECIMALS + Math.max(0, zeros))
  return formatUnits(divideRounded(units, 10n ** BigInt(EXACT_DECIMALS - decimals)), decimals)
}

/** The last day of a bar's period: actions of later days change its shares. */
function lastDay({ date }: PriceBar, interval: HistoryInterval): string {
  if (interval !== 'ONE_WEEK' && interval !== 'ONE_MONTH') return date.slice(0, 10)
  const day = new Date(date)
  if (interval === 'ONE_WEEK') day.setUTCDate(day.getUTCDate() + 6)
  else day.setUTCMonth(day.getUTCMonth() + 1, 0)
  return day.toISOString().slice(0, 10)
}

/** Shares before per share after of the splits of one day. */
const splitFactor = (actions: readonly CorporateAction[]): Ratio =>
  actions.reduce(
    (ratio, action) =>
      action.kind === 'split'
        ? multiply(ratio, divide(parseRatio(action.denominator), parseRatio(action.numerator)))
        : ratio,
    ONE,
  )

/**
 * What a dividend leaves of the prices before it: 1 - amount / reference (CRSP's factor), the reference in the shares of
 * the dividend's own day. One whose reference is not known, or that is not less than it, changes nothing.
 */
function dividendFactor(action: CorporateAction, split: Ratio): Ratio {
  if (action.kind !== 'dividend' || action.reference_close === null) return ONE
  const reference = multiply(parseRatio(action.reference_close), split)
  const amount = parseRatio(action.amount)
  const over = reference.numerator * amount.denominator - amount.numerator * reference.denominator
  return over > 0n && reference.numerator > 0n
    ? { numerator: over, denominator: reference.numerator * amount.denominator }
    : ONE
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
      prices = multiply(prices, split)
      shares = multiply(shares, { numerator: split.denominator, denominator: split.numerator })
      if (basis === 'adjusted') for (const action of ofDay) prices = multiply(prices, dividendFactor(action, split))
    }
    const price = (decimal: string) => formatRatio(multiply(parseRatio(decimal), prices))
    adjusted.push({
      ...bar,
      ...(prices !== ONE && {
        open: price(bar.open),
        high: price(bar.high),
        low: price(bar.low),
        close: price(bar.close),
      }),
      ...(shares !== ONE && bar.volume !== null && { volume: formatRatio(multiply(parseRatio(bar.volume), shares)) }),
    })
  }
  return adjusted.reverse()
}

/**
 * A short text that stands for these corporate actions: the same for the same ones, another for others. A part of the
 * ETag of adjusted history. (32 bits of FNV-1a: told apart is what it was from what it is, not all there could be.)
 */
export function hashActions(actions: readonly CorporateAction[]): string {
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
