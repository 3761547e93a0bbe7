/** An exact quotient; `denominator` is above 0. */
export type Ratio = { numerator: bigint; denominator: bigint }

/** Decimals of a quotient that does not end. */
const ROUNDED_DECIMALS = 10

/**
 * A number of JSON as plain decimal text: the digits that it was written with (short of zeros at the end), never an
 * exponent. Null for what is no finite number.
 */
export function formatNumber(value: number | null | undefined): string | null {
  if (value === null || value === undefined || !Number.isFinite(value)) return null
  const [digits = '', exponent] = String(value).split('e')
  return exponent === undefined ? digits : movePoint(digits, Number(exponent))
}

/** The decimal times 10^places, exactly: `7205.5` by -2 is `72.055`. Zeros at the end of the fraction go. */
export function movePoint(text: string, places: number): string {
  const negative = text.startsWith('-')
  const [whole = '', fraction = ''] = text.replace('-', '').split('.')
  const digits = whole + fraction
  const point = whole.length + places
  const padded = digits.padStart(digits.length - Math.min(point, 0), '0').padEnd(point, '0')
  const at = Math.max(point, 0)
  return withSign(negative, padded.slice(0, at), padded.slice(at))
}

/** Decimal text as a quotient. */
export function parseRatio(text: string): Ratio {
  const fraction = text.split('.')[1] ?? ''
  return { numerator: BigInt(text.replace('.', '')), denominator: 10n ** BigInt(fraction.length) }
}

export const multiply = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
})

/** `b` is above 0. */
export const divide = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.denominator,
  denominator: a.denominator * b.numerator,
})

/** The quotient as decimal text: exact where it ends; where it does not, ten decimals, the last rounded half away from 0. */
export function formatRatio({ numerator, denominator }: Ratio): string {
  let rest = denominator / gcd(numerator < 0n ? -numerator : numerator, denominator)
  let [twos, fives] = [0, 0]
  for (; rest % 2n === 0n; rest /= 2n) twos++
  for (; rest % 5n === 0n; rest /= 5n) fives++
  return roundRatio({ numerator, denominator }, rest === 1n ? Math.max(twos, fives) : ROUNDED_DECIMALS)
}

/** The quotient with at most so many decimals, rounded half away from 0, without zeros at the end. */
export function roundRatio({ numerator, denominator }: Ratio, decimals: number): string {
  const negative = numerator < 0n
  const scaled = (negative ? -numerator : numerator) * 10n ** BigInt(decimals)
  const digits = String((scaled * 2n + denominator) / (denominator * 2n)).padStart(decimals + 1, '0')
  const point = digits.length - decimals
  return withSign(negative, digits.slice(0, point), digits.slice(point))
}

function withSign(negative: boolean, whole: string, fraction: string): string {
  const start = whole.replace(/^0+(?=\d)/, '') || '0'
  const end = fraction.replace(/0+$/, '')
  const text = end === '' ? start : `${start}.${end}`
  return negative && text !== '0' ? `-${text}` : text
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b]
  while (y !== 0n) [x, y] = [y, x % y]
  return x
}
