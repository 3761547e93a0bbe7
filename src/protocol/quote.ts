import { z } from 'zod'
import type { Exact } from './exact-json.ts'

/** The layer that answered (Q1). */
const QUOTE_LAYERS = ['cache', 'database', 'provider'] as const
export type QuoteLayer = (typeof QUOTE_LAYERS)[number]

export const MARKET_STATES = ['open', 'closed', 'pre', 'post'] as const
export type MarketState = (typeof MARKET_STATES)[number]

/**
 * Why a value was not renewed after its time to live: `expired`: it is about to be; `rate_limited`: the rate limit here or
 * the provider does not allow it yet; `unavailable`: the provider does not respond; `invalid`: its response is not usable;
 * `unknown`: it no longer knows the asset.
 */
export const STALE_REASONS = ['expired', 'rate_limited', 'unavailable', 'invalid', 'unknown'] as const
export type StaleReason = (typeof STALE_REASONS)[number]

/**
 * The JSON text of a quote for clients: `symbol`, `price` and the other main keys first, numbers with the provider's digits.
 * @param stale null while it is within its time to live
 */
export function formatQuote(quote: Quote, source: QuoteLayer, stale: StaleReason | null): string {
  const q = quote
  const text = JSON.stringify
  return `{"symbol":${text(q.symbol)},"price":${q.price},"change24h":${q.change24h},"updatedAt":${text(q.updated_at)},"source":"${source}","provider":${text(q.provider)},"currency":${text(q.currency)},"as_of":${text(q.as_of)},"market_state":${text(q.market_state)},"stale":${text(stale)},"previous_close":${q.previous_close},"open":${q.open},"high":${q.high},"low":${q.low},"volume":${q.volume},"eps":${q.eps},"pe_ratio":${q.pe_ratio},"pe_as_of":${text(q.pe_as_of)},"asset_id":${q.asset_id}}`
}

const amount = z.number().nullable()

/** A quote as a client receives it, its numbers parsed; null where a value is not known. */
export const wireQuoteSchema = z.object({
  symbol: z.string(),
  price: z.number(),
  /** Per cent: for crypto against 24 hours before, for all else against the previous close. */
  change24h: amount,
  /** When the provider last reported the price, RFC 3339. */
  updatedAt: z.string(),
  source: z.enum(QUOTE_LAYERS),
  /** The provider's name, or `simulated`. */
  provider: z.string(),
  /** The currency of every amount; minor units (GBp, ZAc) were converted when the price was read (Q6). */
  currency: z.string(),
  /** The market's own time of the price, RFC 3339. */
  as_of: z.string(),
  market_state: z.enum(MARKET_STATES).nullable(),
  stale: z.enum(STALE_REASONS).nullable(),
  previous_close: amount,
  /** Open, high, low and volume of the current trading day so far. */
  open: amount,
  high: amount,
  low: amount,
  volume: amount,
  eps: amount,
  pe_ratio: amount,
  /** When the provider reported `eps` and `pe_ratio`, RFC 3339; null where it reports neither. */
  pe_as_of: z.string().nullable(),
  asset_id: z.int(),
})
export type WireQuote = z.infer<typeof wireQuoteSchema>

/** The keys of a quote whose numbers are decimals. */
type QuoteAmount = 'price' | 'change24h' | 'previous_close' | 'open' | 'high' | 'low' | 'volume' | 'eps' | 'pe_ratio'

/** A price of one asset inside Kerb. Amounts are plain decimal text with the provider's digits. */
export type Quote = Exact<Omit<WireQuote, 'updatedAt' | 'source' | 'stale'>, QuoteAmount> & {
  updated_at: string
}
