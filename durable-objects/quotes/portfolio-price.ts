import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import type { Quote, StaleReason } from '../../src/protocol/quote.ts'

/** A quote as portfolios get it. */
export const toPortfolioPrice = (quote: Quote, stale: StaleReason | null): PortfolioPrice => ({
  asset_id: quote.asset_id,
  symbol: quote.symbol,
  price: quote.price,
  currency: quote.currency,
  previous_close: quote.previous_close,
  change24h: quote.change24h,
  eps: quote.eps,
  pe_ratio: quote.pe_ratio,
  pe_as_of: quote.pe_as_of,
  market_state: quote.market_state,
  as_of: quote.as_of,
  updated_at: quote.updated_at,
  stale,
})

const COMPARED_KEYS = [
  'symbol',
  'price',
  'currency',
  'previous_close',
  'change24h',
  'eps',
  'pe_ratio',
  'pe_as_of',
  'market_state',
  'as_of',
  'updated_at',
  'stale',
] as const satisfies readonly (keyof PortfolioPrice)[]

/** Whether two prices of one asset are equal. */
export const isSamePrice = (a: PortfolioPrice, b: PortfolioPrice): boolean =>
  COMPARED_KEYS.every((key) => a[key] === b[key])

/** Whether a price may replace the cached one: neither its update nor its market time may go back. */
export const isNewer = (next: PortfolioPrice, held: PortfolioPrice | undefined): boolean =>
  held === undefined ||
  (Date.parse(next.updated_at) >= Date.parse(held.updated_at) && Date.parse(next.as_of) >= Date.parse(held.as_of))
