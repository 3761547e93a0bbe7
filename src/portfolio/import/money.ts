import { MINOR_UNITS } from '../../protocol/minor-unit.ts'
import { multiply } from './amount.ts'

const SIGNS = new Map([
  ['€', 'EUR'],
  ['$', 'USD'],
  ['£', 'GBP'],
  ['¥', 'JPY'],
  ['₹', 'INR'],
  ['₿', 'BTC'],
])
const CODE = /^[A-Z][A-Z0-9]{1,11}$/

/** The unit of amounts: `toMajor` converts an amount to `currency`, which is never a minor unit. */
export type CurrencyUnit = { currency: string; toMajor: (text: string) => string }

/** The currency, or coin, that a text names: `EUR`, `usd`, `€`, `GBp`. Null where it names none. */
export function parseCurrency(text: string): CurrencyUnit | null {
  const unit = text.trim()
  const major = MINOR_UNITS.get(unit)
  if (major !== undefined) return { currency: major, toMajor: (amount) => multiply(amount, '0.01') }
  const code = SIGNS.get(unit) ?? unit.toUpperCase()
  return CODE.test(code) ? { currency: code, toMajor: (amount) => amount } : null
}
