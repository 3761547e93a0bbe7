/**
 * An exact quotient that is not divided yet; `denominator` is above 0. A bigint, and not a big.js: a price with 80
 * dividends behind it has hundreds of digits, and a thousand such bars took big.js a hundred times as long.
 */
export type Ratio = { numerator: bigint; denominator: bigint }

/** A quotient that ends within this many decimals counts as exact. */
const EXACT_DECIMALS = 38
const EXACT_UNITS = 10n ** BigInt(EXACT_DECIMALS)

export const ONE: Ratio = { numerator: 1n, denominator: 1n }

/** Plain decimal text as a ratio. */
export function parseRatio(text: string): Ratio {
  const decimals = text.split('.')[1]?.length ?? 0
  return { numerator: BigInt(text.replace('.', '')), denominator: 10n ** BigInt(decimals) }
}

export const multiplyRatios = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.numerator,
  denominator: a.denominator * b.denominator,
})

/** a / b; b is above 0. */
export const divideRatios = (a: Ratio, b: Ratio): Ratio => ({
  numerator: a.numerator * b.denominator,
  denominator: a.denominator * b.numerator,
})

/** The quotient as plain decimal text with at most `decimals` decimals, rounded half away from 0. */
export function roundRatio({ numerator, denominator }: Ratio, decimals: number): string {
  const scaled = (numerator < 0n ? -numerator : numerator) * 10n ** BigInt(decimals)
  const units = (scaled * 2n + denominator) / (denominator * 2n)
  const digits = units.toString().padStart(decimals + 1, '0')
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, '')
  const text = `${digits.slice(0, digits.length - decimals)}${fraction && `.${fraction}`}`
  return numerator < 0n && units !== 0n ? `-${text}` : text
}

/** The quotient as plain decimal text where it ends within 38 decimals, else null. */
export const exactQuotient = (ratio: Ratio): string | null =>
  (ratio.numerator * EXACT_UNITS) % ratio.denominator === 0n ? roundRatio(ratio, EXACT_DECIMALS) : null

/** The decimals of a quotient that keep `digits` digits of it, counted from its first that is not 0; at most 38. */
export function decimalsFor(ratio: Ratio, digits: number): number {
  const [whole = '', fraction = ''] = roundRatio(ratio, EXACT_DECIMALS).replace('-', '').split('.')
  const zeros = fraction.length - fraction.replace(/^0+/, '').length
  return Math.min(EXACT_DECIMALS, whole === '0' ? zeros + digits : Math.max(0, digits - whole.length))
}
