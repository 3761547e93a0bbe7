import Big from 'big.js'
import { exactQuotient, type Ratio, roundRatio } from '../pricing/ratio.ts'

/** Decimals of a quotient that does not end. */
const ROUNDED_DECIMALS = 10

/**
 * A number of JSON as plain decimal text: the shortest digits that mean it, never an exponent. Null for a value that is
 * missing or not finite.
 */
export const formatNumber = (value: number | null | undefined): string | null =>
  value === null || value === undefined || !Number.isFinite(value) ? null : new Big(value).toFixed()

/** The decimal times 10^places, exactly: `7205.5` by -2 is `72.055`. Zeros at the end of the fraction go. */
export const movePoint = (text: string, places: number): string => new Big(text).times(`1e${places}`).toFixed()

/** The quotient as decimal text: exact where it ends, else ten decimals, the last rounded half away from 0. */
export const formatRatio = (ratio: Ratio): string => exactQuotient(ratio) ?? roundRatio(ratio, ROUNDED_DECIMALS)
