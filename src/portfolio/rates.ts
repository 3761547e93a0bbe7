import type { PortfolioPrice } from '../protocol/portfolio.ts'
import type { StaleReason } from '../protocol/quote.ts'
import { divideRounded, formatDecimal, parseDecimal, RATE_PLACES, ZERO } from './decimal.ts'

/** The asset whose price tells what a currency is in US dollars; `inverse`: what a dollar is in the currency. */
export type RateSource = { currency: string; asset_id: number; inverse: boolean }

/**
 * What one of a currency is in US dollars now; null or left out: nobody knows (P3). `stale`: those that are not as of now, and
 * why.
 */
export type Rates = {
  now: ReadonlyMap<string, string | null>
  stale?: ReadonlyMap<string, StaleReason>
}

const ONE = parseDecimal('1')

/** US dollars of a currency by the price of its source; null for what is no price. `usd_now` of the database is the same. */
function usdRate({ inverse }: Pick<RateSource, 'inverse'>, price: string): string | null {
  const told = parseDecimal(price)
  if (!told.gt(ZERO)) return null
  return inverse ? formatDecimal(divideRounded(ONE, told, RATE_PLACES)) : formatDecimal(told)
}

/** The rates of now. @param prices by asset; of more than the sources, or of less */
export function currentRates(
  sources: readonly RateSource[],
  prices: ReadonlyMap<number, Pick<PortfolioPrice, 'price' | 'stale'>>,
): Rates {
  const now = new Map<string, string | null>()
  const stale = new Map<string, StaleReason>()
  for (const source of sources) {
    const told = prices.get(source.asset_id)
    now.set(source.currency, told ? usdRate(source, told.price) : null)
    if (told?.stale) stale.set(source.currency, told.stale)
  }
  return { now, stale }
}

/** Why the rate between two currencies is not as of now; null: it is, or there is none to be old. */
export const staleRate = ({ stale }: Rates, from: string, to: string): StaleReason | null =>
  from === to ? null : (stale?.get(from) ?? stale?.get(to) ?? null)

const currentUsdRate = (rates: Rates, currency: string): string | null =>
  currency === 'USD' ? '1' : (rates.now.get(currency) ?? null)

/** What one of `from` is in `to`; null where one of them is not known: never 1 in its place (P3). */
export function exchangeRate(rates: Rates, from: string, to: string): string | null {
  if (from === to) return '1'
  const over = currentUsdRate(rates, from)
  const under = currentUsdRate(rates, to)
  if (over === null || under === null || !parseDecimal(under).gt(ZERO)) return null
  return formatDecimal(divideRounded(parseDecimal(over), parseDecimal(under), RATE_PLACES))
}
