import Big from 'big.js'
import { z } from 'zod'
import { isPositiveDecimal, trimDecimal } from '../market/decimal.ts'
import { exactQuotient, type Ratio, roundRatio } from '../pricing/ratio.ts'
import { MINOR_UNITS } from '../protocol/minor-unit.ts'

/** Decimals of a quotient that does not end. */
const ROUNDED_DECIMALS = 10

/** A number of JSON as plain decimal text: the shortest digits that mean it, never an exponent. */
export const formatNumber = (value: number): string => new Big(value).toFixed()

/** The decimal times 10^places, exactly: `7205.5` by -2 is `72.055`. Zeros at the end of the fraction go. */
export const movePoint = (text: string, places: number): string => new Big(text).times(`1e${places}`).toFixed()

/** The quotient as decimal text: exact where it ends, else ten decimals, the last rounded half away from 0. */
export const formatRatio = (ratio: Ratio): string => exactQuotient(ratio) ?? roundRatio(ratio, ROUNDED_DECIMALS)

/** The major currency of a provider's currency code, and the conversion of amounts: GBp 7205.5 is GBP 72.055 (Q6). */
export function majorCurrency(name: string): { currency: string; amount: <T extends string | null>(text: T) => T } {
  const major = MINOR_UNITS.get(name)
  return major === undefined
    ? { currency: name, amount: (text) => text }
    : { currency: major, amount: (text) => (text === null ? text : movePoint(text, -2)) as typeof text }
}

/** Text that is a decimal above 0, from 0, or of any sign: plain, without zeros at the end of its fraction. */
export const positiveDecimal = z.string().refine(isPositiveDecimal, 'must be a decimal above 0').transform(trimDecimal)
export const unsignedDecimal = z
  .string()
  .regex(/^\d+(?:\.\d+)?$/)
  .transform(trimDecimal)
export const signedDecimal = z
  .string()
  .regex(/^-?\d+(?:\.\d+)?$/)
  .transform(trimDecimal)

/** A number as decimal text. */
export const numberDecimal = z.number().transform(formatNumber)
export const positiveNumberDecimal = z.number().positive().transform(formatNumber)

/** A field of a response that is not needed: null where it is missing or of another form. */
export const optionalField = <T extends z.ZodType>(schema: T) => schema.nullable().catch(null)
