import { divideRounded, formatDecimal, parseDecimal } from '../decimal.ts'

/** The decimal separator of a file: 1,259.59 or 1.259,59. */
export type DecimalStyle = 'point' | 'comma'

/** The limits of `decimalSchema`. */
const MAX_INTEGER_DIGITS = 30
const MAX_FRACTION_DIGITS = 60

/** Digits after the point of a unit price derived from an amount: finer than the smallest part of any coin. */
const UNIT_PRICE_PLACES = 20

const PATTERNS: Readonly<Record<DecimalStyle, RegExp>> = {
  point: /^[-+]?(?:[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}|\d*)(?:\.\d*)?(?:[eE][-+]?\d{1,2})?$/,
  comma: /^[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d*)(?:,\d*)?(?:[eE][-+]?\d{1,2})?$/,
}

/** Removes currency signs and codes, and spaces and apostrophes between digits; writes every kind of minus as `-`. */
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
 * Parses an amount to plain decimal text with its exact digits: `-$1,259.59`, `1.259,59`, `(12.5)`, `1e-8`. An amount in
 * the other style than the file's is accepted where it is unambiguous. Null for text that is not an amount, or too long.
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

/** A JSON number as plain decimal text with its exact digits. Null when it is too long. */
export function parseJsonNumber(number: string): string | null {
  const value = parseDecimal(number)
  if (value.e >= MAX_INTEGER_DIGITS || value.c.length - value.e - 1 > MAX_FRACTION_DIGITS) return null
  return formatDecimal(value)
}

/** The decimal separator of a file, by the first amount that is unambiguous; `otherwise` where none is. */
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
export const negate = (decimal: string): string => formatDecimal(parseDecimal(decimal).times(-1))
export const multiply = (a: string, b: string): string => formatDecimal(parseDecimal(a).times(b))
export const add = (a: string, b: string): string => formatDecimal(parseDecimal(a).plus(b))
export const subtract = (a: string, b: string): string => formatDecimal(parseDecimal(a).minus(b))
export const compareAmounts = (a: string, b: string): number => parseDecimal(a).cmp(b)

/** The amount divided by the quantity (above 0), rounded half away from 0 to UNIT_PRICE_PLACES. */
export const unitPrice = (amount: string, quantity: string): string =>
  formatDecimal(divideRounded(parseDecimal(amount), parseDecimal(quantity), UNIT_PRICE_PLACES))
