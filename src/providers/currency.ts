import { MINOR_UNITS } from '../protocol/minor-unit.ts'
import { movePoint } from './decimal.ts'

/** What a provider's currency is here, and how an amount in it becomes one of that: a minor unit's point moves by two. */
export function majorCurrency(told: string): { currency: string; amount: (text: string) => string } {
  const major = MINOR_UNITS.get(told)
  return major === undefined
    ? { currency: told, amount: (text) => text }
    : { currency: major, amount: (text) => movePoint(text, -2) }
}
