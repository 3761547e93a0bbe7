import { MINOR_UNITS } from '../protocol/minor-unit.ts'
import { movePoint } from './decimal.ts'

/** The major currency of a provider's currency code, and the conversion of amounts: GBp 7205.5 is GBP 72.055 (Q6). */
export function majorCurrency(name: string): { currency: string; amount: (text: string) => string } {
  const major = MINOR_UNITS.get(name)
  return major === undefined
    ? { currency: name, amount: (text) => text }
    : { currency: major, amount: (text) => movePoint(text, -2) }
}
