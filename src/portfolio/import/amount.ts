import Big from 'big.js'

/** Which of the two marks parts the fraction: 1,259.59 or 1.259,59. */
export type DecimalStyle = 'point' | 'comma'

/** As `decimalSchema` takes them. */
const MAX_INTEGER_DIGITS = 30
const MAX_FRACTION_DIGITS = 60

/** Places of a unit price that is derived of an amount, where the quotient does not end: below any coin's least part. */
const UNIT_PRICE_PLACES = 20

const PATTERNS: Readonly<Record<DecimalStyle, RegExp>> = {
  point: /^[-+]?(?:[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}|\d*)(?:\.\d*)?(?:[eE][-+]?\d{1,2})?$/,
  comma: /^[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d*)(?:,\d*)?(?:[eE][-+]?\d{1,2})?$/,
}

/** Currency signs and codes, spaces and apostrophes between groups of digits, and the ways to write a minus. */
function stripAmount(text: string): string {
  const trimmed = text
    .replace(/[\s\u00a0\u2009\u202f'’]+(?=\d{3}(?!\d))/gu, '')
    .replace(/[\s\u00a0\u2009\u202f]/gu, '')
    .replace(/[−–]/gu, '-')
    .replace(/\p{Sc}/gu, '')
    .replace(/^([-+]?)[A-Z]{3}(?=[-+]?[\d.,])/u, '$1')
    .replace(/(?<=\d)[A-Z]{3}$/u, '')
  const inBrackets = /^\((.+)\)$/.exec(trimmed)?.[1]
  if (inBrackets !== undefined) return `-${inBrackets}`
  return trimmed.endsWith('-') ? `-${trimmed.slice(0, -1)}` : trimmed
}

/**
 * An amount as plain decimal text with its exact digits: `-$1,259.59`, `1.259,59`, `(12.5)`, `1e-8`. Written in the other
 * style than the file's, it is still read where that leaves no doubt. Null for what is no amount, or too long.
 */
export function parseAmount(text: string, style: DecimalStyle): string | null {
  const given = stripAmount(text)
  if (!/\d/.test(given)) return null
  const fits = PATTERNS[style].test(given) ? style : style === 'point' ? 'comma' : 'point'
  if (!PATTERNS[fits].test(given)) return null
  const plain = fits === 'point' ? given.replaceAll(',', '') : given.replaceAll('.', '').replace(',', '.')
  return parseJsonNumber(
    plain
      .replace(/^\+/, '')
      .replace(/^(-?)\./, '$10.')
      .replace(/\.(?=$|[eE])/, ''),
  )
}

/** A number as JSON writes it, exactly, without exponent. Null when it is too long. */
export function parseJsonNumber(number: string): string | null {
  const value = new Big(number)
  if (value.e >= MAX_INTEGER_DIGITS || value.c.length - value.e - 1 > MAX_FRACTION_DIGITS) return null
  return value.eq(0) ? '0' : value.toFixed()
}

/** How a file writes fractions, by all that may be an amount in it; `otherwise` where none of them tells. */
export function detectDecimalStyle(texts: Iterable<string>, otherwise: DecimalStyle): DecimalStyle {
  for (const text of texts) {
    const given = stripAmount(text)
    if (/^[-+]?\d{1,3}(?:\.\d{3})*,(?:\d{1,2}|\d{4,})$|^[-+]?0,\d+$|\.\d{3},/.test(given)) return 'comma'
    if (/^[-+]?\d{1,3}(?:,\d{3})*\.(?:\d{1,2}|\d{4,})$|^[-+]?0?\.\d+$|,\d{3}\./.test(given)) return 'point'
  }
  return otherwise
}

export const isNegative = (decimal: string): boolean => decimal.startsWith('-')
export const isZero = (decimal: string): boolean => !/[1-9]/.test(decimal)
export const abs = (decimal: string): string => decimal.replace('-', '')
export const negate = (decimal: string): string => formatAmount(new Big(decimal).times(-1))
export const multiply = (a: string, b: string): string => formatAmount(new Big(a).times(b))
export const add = (a: string, b: string): string => formatAmount(new Big(a).plus(b))
export const subtract = (a: string, b: string): string => formatAmount(new Big(a).minus(b))
export const compareAmounts = (a: string, b: string): number => new Big(a).cmp(b)

/** The amount by the quantity (above 0): exact where it ends within DERIVED_PLACES, else rounded half away from 0. */
export function unitPrice(amount: string, quantity: string): string {
  const Derived = Big()
  Derived.DP = UNIT_PRICE_PLACES
  Derived.RM = Derived.roundHalfUp
  return formatAmount(new Derived(amount).div(quantity))
}

const formatAmount = (value: Big): string => (value.eq(0) ? '0' : value.toFixed())
