import Big from 'big.js'

/** Which of the two marks parts the fraction: 1,259.59 or 1.259,59. */
export type Style = 'point' | 'comma'

/** As `decimalSchema` takes them. */
const MOST_WHOLE = 30
const MOST_PLACES = 60

/** Places of a unit price that is derived of an amount, where the quotient does not end: below any coin's least part. */
const DERIVED_PLACES = 20

const PATTERNS: Readonly<Record<Style, RegExp>> = {
  point: /^[-+]?(?:[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}|\d*)(?:\.\d*)?(?:[eE][-+]?\d{1,2})?$/,
  comma: /^[-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d*)(?:,\d*)?(?:[eE][-+]?\d{1,2})?$/,
}

/** Currency signs and codes, spaces and apostrophes between groups of digits, and the ways to write a minus. */
function bare(text: string): string {
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
export function decimalOf(text: string, style: Style): string | null {
  const given = bare(text)
  if (!/\d/.test(given)) return null
  const fits = PATTERNS[style].test(given) ? style : style === 'point' ? 'comma' : 'point'
  if (!PATTERNS[fits].test(given)) return null
  const plain = fits === 'point' ? given.replaceAll(',', '') : given.replaceAll('.', '').replace(',', '.')
  return plainOf(
    plain
      .replace(/^\+/, '')
      .replace(/^(-?)\./, '$10.')
      .replace(/\.(?=$|[eE])/, ''),
  )
}

/** A number as JSON writes it, exactly, without exponent. Null when it is too long. */
export function plainOf(number: string): string | null {
  const value = new Big(number)
  if (value.e >= MOST_WHOLE || value.c.length - value.e - 1 > MOST_PLACES) return null
  return value.eq(0) ? '0' : value.toFixed()
}

/** How a file writes fractions, by all that may be an amount in it; `otherwise` where none of them tells. */
export function styleOf(texts: Iterable<string>, otherwise: Style): Style {
  for (const text of texts) {
    const given = bare(text)
    if (/^[-+]?\d{1,3}(?:\.\d{3})*,(?:\d{1,2}|\d{4,})$|^[-+]?0,\d+$|\.\d{3},/.test(given)) return 'comma'
    if (/^[-+]?\d{1,3}(?:,\d{3})*\.(?:\d{1,2}|\d{4,})$|^[-+]?0?\.\d+$|,\d{3}\./.test(given)) return 'point'
  }
  return otherwise
}

export const isNegative = (decimal: string): boolean => decimal.startsWith('-')
export const isZero = (decimal: string): boolean => !/[1-9]/.test(decimal)
export const positive = (decimal: string): string => decimal.replace('-', '')
export const negated = (decimal: string): string => plain(new Big(decimal).times(-1))
export const times = (a: string, b: string): string => plain(new Big(a).times(b))
export const plus = (a: string, b: string): string => plain(new Big(a).plus(b))
export const minus = (a: string, b: string): string => plain(new Big(a).minus(b))
export const compare = (a: string, b: string): number => new Big(a).cmp(b)

/** The amount by the quantity (above 0): exact where it ends within DERIVED_PLACES, else rounded half away from 0. */
export function unitPrice(amount: string, quantity: string): string {
  const Derived = Big()
  Derived.DP = DERIVED_PLACES
  Derived.RM = Derived.roundHalfUp
  return plain(new Derived(amount).div(quantity))
}

const plain = (value: Big): string => (value.eq(0) ? '0' : value.toFixed())
