import { z } from 'zod'

/**
 * The messages of Coinbase Advanced Trade's market-data socket, as recorded in August 2026. The schemas are the
 * definition; `src/market/coinbase.ts` checks the frequent ones by hand, and a test proves that the two agree.
 */

/** Decimal text above zero: no sign, no exponent, no leading zeros, at most 38 digits on either side of the point. */
const positiveDecimal = z.string().regex(/^(?=.*[1-9])(0|[1-9]\d{0,37})(\.\d{1,38})?$/)
const decimal = z.string().regex(/^-?(0|[1-9]\d*)?(\.\d+)?$/)
const time = z.iso.datetime()

const tradeSchema = z.object({
  product_id: z.string().min(1),
  trade_id: z.string().regex(/^[1-9]\d{0,14}$/),
  price: positiveDecimal,
  size: positiveDecimal,
  time,
  side: z.string(),
})

const envelope = { timestamp: time, sequence_num: z.int().min(0) }
const eventType = z.enum(['snapshot', 'update'])

export const marketTradesSchema = z.object({
  channel: z.literal('market_trades'),
  ...envelope,
  events: z.array(z.object({ type: eventType, trades: z.array(tradeSchema) })),
})

export const heartbeatsSchema = z.object({
  channel: z.literal('heartbeats'),
  ...envelope,
  events: z.array(z.object({ current_time: z.string(), heartbeat_counter: z.union([z.int(), z.string()]) })),
})

const subscriptionsSchema = z.object({
  channel: z.literal('subscriptions'),
  ...envelope,
  events: z.array(z.object({ subscriptions: z.record(z.string(), z.array(z.string())) })),
})

const candlesSchema = z.object({
  channel: z.literal('candles'),
  ...envelope,
  events: z.array(
    z.object({
      type: eventType,
      candles: z.array(
        z.object({
          start: z.string().regex(/^\d{1,12}$/),
          open: positiveDecimal,
          high: positiveDecimal,
          low: positiveDecimal,
          close: positiveDecimal,
          volume: decimal,
          product_id: z.string().min(1),
        }),
      ),
    }),
  ),
})

const tickerSchema = z.object({
  channel: z.enum(['ticker', 'ticker_batch']),
  ...envelope,
  events: z.array(
    z.object({ type: eventType, tickers: z.array(z.object({ product_id: z.string().min(1), price: decimal })) }),
  ),
})

/** Channels that Kerb does not subscribe to, but recordings have. Only the envelope is checked. */
const otherSchema = z.object({
  channel: z.enum(['l2_data', 'status', 'user', 'futures_balance_summary']),
  ...envelope,
  events: z.array(z.unknown()),
})

/** All messages with a sequence number. */
export const coinbaseMessageSchema = z.discriminatedUnion('channel', [
  marketTradesSchema,
  heartbeatsSchema,
  subscriptionsSchema,
  candlesSchema,
  tickerSchema,
  otherSchema,
])

/** Errors (`{"type":"error","message":…}`) have no sequence number. */
export const coinbaseErrorSchema = z.object({ type: z.literal('error'), message: z.string() })
