import { z } from 'zod'

/** A trading pair: the columns of `trading_pairs`, and beside them what the exchange says of its price. */
export const productSchema = z.object({
  exchange: z.string(),
  product_id: z.string(),
  base_currency: z.string(),
  quote_currency: z.string(),
  /** The exchange's word: `online`, `offline`, `delisted`. Only an online pair opens a feed. */
  status: z.string(),
  /** Decimal text, in the base currency. */
  min_size: z.string().nullable(),
  max_size: z.string().nullable(),
  /** Named in PRODUCTS: has candles here. */
  active: z.boolean(),
  /** Decimal text in the quote currency, and the time it was so (RFC 3339). */
  price: z.string().nullable(),
  price_at: z.string().nullable(),
  /** Per cent against the price 24 hours before `price_at`. */
  change_24h: z.string().nullable(),
  /** Where the price is from: our open feed, or the exchange's product REST. */
  price_source: z.enum(['feed', 'rest']).nullable(),
})
export type Product = z.infer<typeof productSchema>

/** How a product's feed is. `silent`: connected, nothing heard; `quiet` is no state, since heartbeats tell it from that. */
export const FEED_STATES = ['closed', 'connecting', 'live', 'silent', 'waiting', 'refused'] as const
export type FeedState = (typeof FEED_STATES)[number]

/** What one product's object says of itself. Times are unix milliseconds. */
export type ProductStatus = {
  product_id: string
  exchange: string
  feed: { state: FeedState; since: number; lastMessageAt: number | null; reconnects: number; reason: string | null }
  viewers: number
  position: string
  last: { price: string; time: string } | null
  unflushed: number
  flushFailures: number
  /** New trades by the way they came. */
  trades: { socket: number; rest: number }
  /** Messages and trades left out, by reason. */
  dropped: Record<string, number>
  counters: ProductCounters
}

/** What operators look at beside the rest: counted since `since` (unix milliseconds), when this object started. */
export type ProductCounters = {
  since: number
  /** Messages of the feed, and how often its sequence had a hole. */
  messages: number
  holes: number
  /** Pages of trades that were fetched, and requests for trades or candles that were refused. */
  backfill: { pages: number; refused: number }
  /** Stretches of minutes that were taken from the exchange. */
  reconciliations: number
  /** Connections that were lost or could not be made, by reason. */
  reconnects: Record<string, number>
  /** Feeds that could not be had: what the exchange refused, and because too many were open. */
  refused: { exchange: number; slots: number }
  /** Open sockets of clients at this moment, passive ones included. */
  sockets: number
  /** Frames that held several updates for a reader that was behind. */
  conflations: number
  /** Readers that were let go: `slow` lacked acks, `silent` never acked and said nothing, for too long. */
  closedReaders: { slow: number; silent: number }
}
