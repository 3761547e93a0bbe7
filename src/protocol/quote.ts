import { z } from 'zod'

/** The layer that answered (Q1). */
export const QUOTE_LAYERS = ['cache', 'database', 'provider'] as const
export type QuoteLayer = (typeof QUOTE_LAYERS)[number]

export const MARKET_STATES = ['open', 'closed', 'pre', 'post'] as const
export type MarketState = (typeof MARKET_STATES)[number]

/**
 * Why a value past its time to live was not renewed: `expired` = it is about to be; `rate_limited` = the provider's
 * budget or its own word does not allow it yet; `unavailable` = the provider does not answer; `invalid` = it answers
 * what cannot be used; `unknown` = it does not know the asset any more.
 */
export const STALE_REASONS = ['expired', 'rate_limited', 'unavailable', 'invalid', 'unknown'] as const
export type StaleReason = (typeof STALE_REASONS)[number]

/** A price of one asset. Amounts are plain decimal text with the provider's digits; null is not known. */
export type Quote = {
  asset_id: number
  symbol: string
  price: string
  /** Of every amount here; minor units (GBp, ZAc) were converted at the provider's border (Q6). */
  currency: string
  previous_close: string | null
  /** Per cent: for crypto against 24 hours before, for all else against the previous close. */
  change24h: string | null
  market_state: MarketState | null
  /** The present day of trading, as far as it has come. */
  open: string | null
  high: string | null
  low: string | null
  volume: string | null
  eps: string | null
  pe_ratio: string | null
  /** When the provider told the two, RFC 3339; null where it has neither. */
  pe_as_of: string | null
  /** Who told it: a provider's name, or `simulated`. */
  provider: string
  /** The market's own time of the price, RFC 3339. */
  as_of: string
  /** When the provider told it last, RFC 3339. */
  updated_at: string
}

/**
 * The JSON text of a quote as clients get it: `symbol`, `price` and the other main keys first, numbers with the provider's own digits.
 * @param stale null while it is within its time to live
 */
export function formatQuote(quote: Quote, source: QuoteLayer, stale: StaleReason | null): string {
  const q = quote
  const text = JSON.stringify
  return `{"symbol":${text(q.symbol)},"price":${q.price},"change24h":${q.change24h},"updatedAt":${text(q.updated_at)},"source":"${source}","provider":${text(q.provider)},"currency":${text(q.currency)},"as_of":${text(q.as_of)},"market_state":${text(q.market_state)},"stale":${text(stale)},"previous_close":${q.previous_close},"open":${q.open},"high":${q.high},"low":${q.low},"volume":${q.volume},"eps":${q.eps},"pe_ratio":${q.pe_ratio},"pe_as_of":${text(q.pe_as_of)},"asset_id":${q.asset_id}}`
}

const amount = z.number()

/** A quote as a client reads it off the wire, its numbers already parsed. */
export const wireQuoteSchema = z.object({
  symbol: z.string(),
  price: amount,
  change24h: amount.nullable(),
  updatedAt: z.string(),
  source: z.enum(QUOTE_LAYERS),
  provider: z.string(),
  currency: z.string(),
  as_of: z.string(),
  market_state: z.enum(MARKET_STATES).nullable(),
  stale: z.enum(STALE_REASONS).nullable(),
  previous_close: amount.nullable(),
  open: amount.nullable(),
  high: amount.nullable(),
  low: amount.nullable(),
  volume: amount.nullable(),
  eps: amount.nullable(),
  pe_ratio: amount.nullable(),
  pe_as_of: z.string().nullable(),
  asset_id: z.int(),
})
export type WireQuote = z.infer<typeof wireQuoteSchema>
