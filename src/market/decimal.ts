/**
 * An exact quantity. A number counts units of 10^-8 while it is a safe integer: that adds fastest and fits nearly every
 * market's volume. A bigint counts units of 10^-38, for finer sizes and larger sums.
 */
export type Units = number | bigint

const SCALE = 8
const ONE = 10 ** SCALE
const FINE_SCALE = 38
const FINE_PER_UNIT = 10n ** BigInt(FINE_SCALE - SCALE)

/** The most digits before the point, and the most after it, of an accepted decimal. */
const MAX_DIGITS = 38

const ZERO = 48
const NINE = 57
const POINT = 46

/**
 * True for a plain positive decimal: digits, and perhaps a point and digits. No sign, no exponent, no leading zeros, at
 * most `MAX_DIGITS` on either side. Such a text is also a JSON number.
 */
export function isPositiveDecimal(text: unknown): text is string {
  if (typeof text !== 'string') return false
  const length = text.length
  let point = -1
  let positive = false
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code === POINT && point === -1) point = i
    else if (code < ZERO || code > NINE) return false
    else if (code !== ZERO) positive = true
  }
  const whole = point === -1 ? length : point
  if (!positive || whole === 0 || whole > MAX_DIGITS) return false
  if (point !== -1 && (point === length - 1 || length - point - 1 > MAX_DIGITS)) return false
  return whole === 1 || text.charCodeAt(0) !== ZERO
}

/** The decimal without trailing zeros in its fraction, as the exchange's socket writes it: `1.50` -> `1.5`. */
export function trimDecimal(text: string): string {
  if (text.charCodeAt(text.length - 1) !== ZERO || !text.includes('.')) return text
  let end = text.length
  while (text.charCodeAt(end - 1) === ZERO) end--
  if (text.charCodeAt(end - 1) === POINT) end--
  return text.slice(0, end)
}

/** A plain decimal as exact units. */
export function parseUnits(text: string): Units {
  let value = 0
  let fraction = -1
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === POINT) fraction = 0
    else {
      value = value * 10 + (code - ZERO)
      if (fraction !== -1) fraction++
    }
  }
  if (fraction === -1) fraction = 0
  if (fraction <= SCALE) {
    for (; fraction < SCALE; fraction++) value *= 10
    if (value <= Number.MAX_SAFE_INTEGER) return value
  }
  return parseFineUnits(text)
}

function parseFineUnits(text: string): bigint {
  const [whole = '0', fraction = ''] = text.split('.')
  return BigInt(whole + fraction.padEnd(FINE_SCALE, '0'))
}

const toFineUnits = (a: Units): bigint => (typeof a === 'bigint' ? a : BigInt(a) * FINE_PER_UNIT)

/** The exact sum. */
export function addUnits(a: Units, b: Units): Units {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (sum <= Number.MAX_SAFE_INTEGER) return sum
  }
  return toFineUnits(a) + toFineUnits(b)
}

/** The exact quantity as plain decimal text without trailing zeros. */
export function formatUnits(a: Units): string {
  // Below 1e15 the quotient is off by far less than a unit, so the whole is right and what follows is exact.
  if (typeof a === 'number' && a < 1e15) {
    const whole = Math.floor(a / ONE)
    const rest = a - whole * ONE
    return rest === 0 ? `${whole}` : trimDecimal(`${whole}.${`${ONE + rest}`.slice(1)}`)
  }
  const digits = (typeof a === 'bigint' ? a : BigInt(a) * FINE_PER_UNIT).toString().padStart(FINE_SCALE + 1, '0')
  const split = digits.length - FINE_SCALE
  return trimDecimal(`${digits.slice(0, split)}.${digits.slice(split)}`)
}

/** Orders two plain decimals: below 0 when `a` is less, 0 when they are equal. */
export function compareDecimals(a: string, b: string): number {
  if (a === b) return 0
  // Rounding to a double keeps the order, so only a tie needs all the digits.
  const difference = Number(a) - Number(b)
  if (difference !== 0) return difference
  const exact = parseFineUnits(a) - parseFineUnits(b)
  return exact < 0n ? -1 : exact > 0n ? 1 : 0
}
