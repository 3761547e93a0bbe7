import { z } from 'zod'
import { type Candle, formatCandle, type Gap, wireCandleSchema } from './candle.ts'
import type { ErrorCode } from './errors.ts'
import type { LotView, PortfolioMessage, PortfolioPrice, Position, Totals } from './portfolio.ts'
import { FEED_STATES } from './product.ts'
import { wireQuoteSchema } from './quote.ts'

/** Longest message accepted from a client, in characters. */
const MAX_MESSAGE_CHARS = 65_536

const requestIdSchema = z.union([z.int(), z.string().max(64)]).optional()

/** A message from a client. Unknown fields are ignored. */
export const clientMessageSchema = z.discriminatedUnion('op', [
  z.object({
    op: z.literal('subscribe'),
    channels: z.array(z.string().max(100)).min(1),
    since: z.string().optional(),
    req_id: requestIdSchema,
  }),
  z.object({ op: z.literal('unsubscribe'), channels: z.array(z.string().max(100)).min(1), req_id: requestIdSchema }),
  z.object({ op: z.literal('ack'), position: z.string(), req_id: requestIdSchema }),
  z.object({ op: z.literal('ping'), req_id: requestIdSchema }),
])
export type ClientMessage = z.infer<typeof clientMessageSchema>
export type RequestId = ClientMessage['req_id']

const gapSchema = z.tuple([z.int(), z.int()])

/** A message to a client. Clients ignore unknown fields and types. */
export const serverMessageSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('subscribed'),
    channels: z.array(z.string()),
    position: z.string(),
    recovered: z.boolean(),
    req_id: requestIdSchema,
  }),
  z.object({ type: z.literal('unsubscribed'), channels: z.array(z.string()), req_id: requestIdSchema }),
  z.object({
    type: z.literal('snapshot'),
    position: z.string(),
    /** For channels `candles.…`; those of `quotes.…` have `quotes` instead. */
    candles: z.array(wireCandleSchema).optional(),
    gaps: z.array(gapSchema).optional(),
    quotes: z.array(wireQuoteSchema).optional(),
  }),
  z.object({
    type: z.literal('update'),
    position: z.string(),
    candles: z.array(wireCandleSchema).optional(),
    quotes: z.array(wireQuoteSchema).optional(),
  }),
  z.object({
    type: z.literal('feed'),
    product_id: z.string(),
    exchange: z.string(),
    state: z.enum(FEED_STATES),
    since: z.string(),
    gaps_from: z.int(),
    gaps: z.array(gapSchema),
  }),
  z.object({ type: z.literal('pong'), req_id: requestIdSchema }),
  z.object({
    type: z.literal('error'),
    code: z.string(),
    message: z.string(),
    field: z.string().nullable(),
    req_id: requestIdSchema,
  }),
])

type FeedMessage = Extract<z.infer<typeof serverMessageSchema>, { type: 'feed' }>
type PositionUpdate = Extract<PortfolioMessage, { type: 'position_update' }>

/**
 * Frames with candles are concatenated from texts, so that each candle is serialised once, with exact digits (D1).
 * `position` comes before the candles: the Worker that joins several objects rewrites it in place.
 */
export const candleUpdateFrame = (position: string, candles: readonly string[]): string =>
  `{"type":"update","position":"${position}","candles":[${candles.join(',')}]}`

export const candleSnapshotFrame = (position: string, candles: readonly Candle[], gaps: readonly Gap[]): string =>
  `{"type":"snapshot","position":"${position}","candles":[${candles.map(formatCandle).join(',')}],"gaps":${JSON.stringify(gaps)}}`

/** @param quotes texts made by `formatQuote` */
export const quoteUpdateFrame = (position: string, quotes: readonly string[]): string =>
  `{"type":"update","position":"${position}","quotes":[${quotes.join(',')}]}`

export const quoteSnapshotFrame = (position: string, quotes: readonly string[]): string =>
  `{"type":"snapshot","position":"${position}","quotes":[${quotes.join(',')}]}`

/** The current state of one portfolio channel: see `portfolioMessageSchema`. */
export const portfolioSnapshotFrame = (
  position: string,
  channel: string,
  state: {
    portfolio?: Totals
    positions: readonly Position[]
    prices?: readonly PortfolioPrice[]
    lots?: readonly LotView[]
  },
): string => JSON.stringify({ type: 'snapshot', position, channel, ...state })

export const priceUpdateFrame = (position: string, prices: readonly PortfolioPrice[]): string =>
  JSON.stringify({ type: 'price_update', position, prices })

export const lotUpdateFrame = (position: string, lots: readonly LotView[], removed: readonly string[]): string =>
  JSON.stringify({ type: 'lot_update', position, lots, removed })

/** The changed keys of positions and totals. */
export const positionUpdateFrame = (
  position: string,
  { positions, removed, portfolio }: Pick<PositionUpdate, 'positions' | 'removed' | 'portfolio'>,
): string => JSON.stringify({ type: 'position_update', position, positions, removed, portfolio })

export const subscribedFrame = (
  channels: readonly string[],
  position: string,
  recovered: boolean,
  req_id: RequestId,
): string => JSON.stringify({ type: 'subscribed', channels, position, recovered, req_id })

export const unsubscribedFrame = (channels: readonly string[], req_id: RequestId): string =>
  JSON.stringify({ type: 'unsubscribed', channels, req_id })

/**
 * The state of a product's feed, and since when (RFC 3339): distinguishes a quiet market from a dead feed. `gaps` are all
 * gaps from `gaps_from` (unix seconds) on, and replace what the client has of that time.
 */
export const feedFrame = (feed: Omit<FeedMessage, 'type' | 'gaps'> & { gaps: readonly Gap[] }): string =>
  JSON.stringify({ type: 'feed', ...feed })

export const pongFrame = (req_id: RequestId): string => JSON.stringify({ type: 'pong', req_id })

export const errorFrame = (code: ErrorCode, message: string, field: string | null, req_id?: RequestId): string =>
  JSON.stringify({ type: 'error', code, message, field, req_id })

/** Parses a message of a client. A message that is not valid gives the error frame to reply with. */
export function parseClientMessage(text: string): { message: ClientMessage } | { error: string } {
  if (text.length > MAX_MESSAGE_CHARS)
    return { error: errorFrame('message_too_large', `a message has at most ${MAX_MESSAGE_CHARS} characters`, null) }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return { error: errorFrame('invalid_message', 'the message is not JSON', null) }
  }
  const result = clientMessageSchema.safeParse(json)
  if (result.success) return { message: result.data }
  const issue = result.error.issues[0]
  const id = requestIdSchema.safeParse((json as { req_id?: unknown } | null)?.req_id)
  return {
    error: errorFrame(
      'invalid_message',
      issue?.message ?? 'the message is not valid',
      issue?.path.join('/') || null,
      id.data,
    ),
  }
}
