import Big from 'big.js'

/** An exact decimal: sums, differences and products of it have every digit. */
export type Decimal = Big

/** Digits after the point of percentages, of exchange rates, and of prices and parts that have to be rounded. */
const PERCENT_PLACES = 4
export const RATE_PLACES = 16
export const PRICE_PLACES = 10

/** A quotient that ends within this many digits is exact. */
export const EXACT_PLACES = 38

/** A separate constructor, because its number of places is set before each division. */
const RoundingBig = Big()

export const ZERO: Decimal = new Big(0)

/** Parses plain decimal text. @throws Error for text that is not a number */
export const parseDecimal = (text: string): Decimal => new Big(text)

/** Plain decimal text: no exponent, no trailing zeros, no sign at zero. */
export const formatDecimal = (value: Decimal): string => value.toFixed()

export const formatDecimalOrNull = (value: Decimal | null): string | null =>
  value === null ? null : formatDecimal(value)

export const isZero = (value: Decimal): boolean => value.eq(ZERO)

/**
 * a / b rounded to `places` digits after the point, half away from zero, as `portfolio_ratio` in the database. Nothing else
 * rounds.
 * @throws Error when b is 0
 */
export function divideRounded(a: Decimal, b: Decimal, places: number): Decimal {
  RoundingBig.DP = places
  return new RoundingBig(a).div(b)
}

/** a / b, exact if it ends within 38 digits, else rounded to `places`. @throws Error when b is 0 */
export function divide(a: Decimal, b: Decimal, places = PRICE_PLACES): Decimal {
  const exact = divideRounded(a, b, EXACT_PLACES)
  return exact.times(b).eq(a) ? exact : divideRounded(a, b, places)
}

/** part / |whole| in per cent; null when there is no whole (P3). */
export const percent = (part: Decimal, whole: Decimal): Decimal | null =>
  isZero(whole) ? null : divideRounded(part.times(100), whole.abs(), PERCENT_PLACES)
