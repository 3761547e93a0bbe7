import { z } from 'zod'

/** A trading pair: the columns of `trading_pairs` and its price. */
export const productSchema = z.object({
  exchange: z.string(),
  product_id: z.string(),
  base_currency: z.string(),
  quote_currency: z.string(),
  /** From the exchange: `online`, `offline` or `delisted`. Only an online pair has a feed. */
  status: z.string(),
  /** Decimal text, in the base currency. */
  min_size: z.string().nullable(),
  max_size: z.string().nullable(),
  /** True if PRODUCTS names it: it has candles. */
  active: z.boolean(),
  /** Decimal text in the quote currency. `price_at` is its time, RFC 3339. */
  price: z.string().nullable(),
  price_at: z.string().nullable(),
  /** Per cent against the price 24 hours before `price_at`. */
  change_24h: z.string().nullable(),
  /** `feed`: our open feed. `rest`: the exchange's REST. */
  price_source: z.enum(['feed', 'rest']).nullable(),
})
export type Product = z.infer<typeof productSchema>

/** The states of a feed. `silent`: connected, but without a message, heartbeats included. */
export const FEED_STATES = ['closed', 'connecting', 'live', 'silent', 'waiting', 'refused'] as const
export type FeedState = (typeof FEED_STATES)[number]

/** The status of one product's object. Times are unix milliseconds. */
export type ProductStatus = {
  product_id: string
  exchange: string
  feed: { state: FeedState; since: number; lastMessageAt: number | null; reconnects: number; reason: string | null }
  viewers: number
  position: string
  last: { price: string; time: string } | null
  unflushed: number
  flushFailures: number
  /** New trades by their source. */
  trades: { socket: number; rest: number }
  /** Dropped messages and trades, by reason. */
  dropped: Record<string, number>
  counters: ProductCounters
}

/** Counters for operators, since `since` (unix milliseconds), when this object started. */
type ProductCounters = {
  since: number
  /** Messages of the feed, and gaps in their sequence numbers. */
  messages: number
  holes: number
  /** Fetched pages of trades, and failed requests for trades or candles. */
  backfill: { pages: number; refused: number }
  /** Ranges of minutes replaced by the exchange's own. */
  reconciliations: number
  /** Connections that broke or failed, by reason. */
  reconnects: Record<string, number>
  /** `exchange`: errors that the exchange sent. `slots`: feeds not opened because too many were open. */
  refused: { exchange: number; slots: number }
  /** Open sockets of clients, passive ones included. */
  sockets: number
  /** Frames with several updates for a connection that was behind. */
  conflations: number
  /** Closed connections: `slow` ones sent no acks in time, `silent` ones sent nothing at all. */
  closedReaders: { slow: number; silent: number }
}
