import type { PortfolioPrice } from '../protocol/portfolio.ts'
import type { StaleReason } from '../protocol/quote.ts'
import { divideRounded, formatDecimal, parseDecimal, RATE_PLACES, ZERO } from './decimal.ts'

/** The asset whose price is a currency's value in US dollars or, with `inverse`, a dollar's value in the currency. */
export type RateSource = { currency: string; asset_id: number; inverse: boolean }

/**
 * The current value of one unit of each currency in US dollars; null or missing when unknown (P3). `stale` has the reasons
 * for rates that are outdated.
 */
export type Rates = {
  now: ReadonlyMap<string, string | null>
  stale?: ReadonlyMap<string, StaleReason>
}

const ONE = parseDecimal('1')

/** A currency's value in US dollars by the price of its source, as `usd_now` in the database; null without a valid price. */
function usdRate({ inverse }: Pick<RateSource, 'inverse'>, price: string): string | null {
  const rate = parseDecimal(price)
  if (!rate.gt(ZERO)) return null
  return formatDecimal(inverse ? divideRounded(ONE, rate, RATE_PLACES) : rate)
}

/** The current rates. @param prices by asset; may have more than the sources, or fewer */
export function currentRates(
  sources: readonly RateSource[],
  prices: ReadonlyMap<number, Pick<PortfolioPrice, 'price' | 'stale'>>,
): Rates {
  const now = new Map<string, string | null>()
  const stale = new Map<string, StaleReason>()
  for (const source of sources) {
    const price = prices.get(source.asset_id)
    now.set(source.currency, price ? usdRate(source, price.price) : null)
    if (price?.stale) stale.set(source.currency, price.stale)
  }
  return { now, stale }
}

/** Why the rate between two currencies is stale; null when it is fresh, or unknown. */
export const staleRate = ({ stale }: Rates, from: string, to: string): StaleReason | null =>
  from === to ? null : (stale?.get(from) ?? stale?.get(to) ?? null)

const currentUsdRate = (rates: Rates, currency: string): string | null =>
  currency === 'USD' ? '1' : (rates.now.get(currency) ?? null)

/** The value of one `from` in `to`; null when unknown, never a default of 1 (P3). */
export function exchangeRate(rates: Rates, from: string, to: string): string | null {
  if (from === to) return '1'
  const numerator = currentUsdRate(rates, from)
  const denominator = currentUsdRate(rates, to)
  if (numerator === null || denominator === null || !parseDecimal(denominator).gt(ZERO)) return null
  return formatDecimal(divideRounded(parseDecimal(numerator), parseDecimal(denominator), RATE_PLACES))
}
