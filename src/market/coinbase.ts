import { coinbaseErrorSchema, coinbaseMessageSchema } from '../protocol/coinbase.ts'
import { isPositiveDecimal, trimDecimal } from './decimal.ts'
import { scanTrades } from './scan-trades.ts'

/** One trade. Price and size are plain decimal text without trailing zeros. */
export type Trade = {
  product: string
  /** Consecutive within a product. */
  id: number
  price: string
  size: string
  /** RFC 3339, as the exchange wrote it. */
  time: string
  /** Start of the UTC minute that `time` lies in, unix seconds. */
  minute: number
}

/** Why a message was dropped (C4). */
export type RejectReason = 'not_json' | 'not_an_object' | 'unknown_channel' | 'malformed'

/** One parsed text of the feed. `at` is the exchange's clock in unix milliseconds; `refused` is its error message. */
export type FeedMessage =
  | { kind: 'trades'; sequence: number; at: number; snapshot: boolean; trades: Trade[] }
  | { kind: 'heartbeat'; sequence: number; at: number }
  | { kind: 'other'; channel: string; sequence: number; at: number }
  | { kind: 'refused'; detail: string }
  | { kind: 'rejected'; reason: RejectReason }

const MALFORMED: FeedMessage = { kind: 'rejected', reason: 'malformed' }

/** Parses one text of the Advanced Trade socket. Never throws: a text that is not valid is `rejected` with a reason. */
export function parseFeedMessage(text: string): FeedMessage {
  let json: unknown
  try {
    json = scanTrades(text) ?? JSON.parse(text)
  } catch {
    return { kind: 'rejected', reason: 'not_json' }
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    return { kind: 'rejected', reason: 'not_an_object' }
  const message = json as { channel?: unknown; timestamp?: unknown; sequence_num?: unknown; events?: unknown }
  if (message.channel === 'market_trades') return parseTrades(message)
  if (message.channel === 'heartbeats') return parseHeartbeat(message)
  return parseOther(json)
}

type Envelope = { timestamp?: unknown; sequence_num?: unknown; events?: unknown }

function parseTrades(message: Envelope): FeedMessage {
  const { sequence_num: sequence, timestamp, events } = message
  const at = parseTime(timestamp)
  if (at === null || !isSequenceNumber(sequence) || !Array.isArray(events)) return MALFORMED
  const trades: Trade[] = []
  let snapshot = false
  for (const event of events) {
    if (typeof event !== 'object' || event === null || !Array.isArray(event.trades)) return MALFORMED
    if (event.type === 'snapshot') snapshot = true
    else if (event.type !== 'update') return MALFORMED
    for (const raw of event.trades) {
      const trade = parseTrade(raw)
      if (trade === null) return MALFORMED
      trades.push(trade)
    }
  }
  return { kind: 'trades', sequence, at, snapshot, trades }
}

function parseTrade(raw: unknown): Trade | null {
  if (typeof raw !== 'object' || raw === null) return null
  const { product_id: product, trade_id, price, size, time, side } = raw as Record<string, unknown>
  if (typeof product !== 'string' || product === '' || typeof side !== 'string') return null
  const id = parseTradeId(trade_id)
  if (id === 0 || !isPositiveDecimal(price) || !isPositiveDecimal(size)) return null
  const at = parseTime(time)
  if (at === null) return null
  const minute = at - (at % 60_000)
  return {
    product,
    id,
    price: trimDecimal(price),
    size: trimDecimal(size),
    time: time as string,
    minute: minute / 1000,
  }
}

/** A trade id of at most 15 digits without a leading zero; 0 for any other text. */
function parseTradeId(text: unknown): number {
  if (typeof text !== 'string' || text.length === 0 || text.length > 15 || text.charCodeAt(0) === 48) return 0
  let id = 0
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9) return 0
    id = id * 10 + digit
  }
  return id
}

const isSequenceNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

function parseHeartbeat(message: Envelope): FeedMessage {
  const { sequence_num: sequence, timestamp, events } = message
  const at = parseTime(timestamp)
  if (at === null || !isSequenceNumber(sequence) || !Array.isArray(events)) return MALFORMED
  for (const event of events) {
    if (typeof event !== 'object' || event === null || typeof event.current_time !== 'string') return MALFORMED
    if (typeof event.heartbeat_counter !== 'string' && !Number.isSafeInteger(event.heartbeat_counter)) return MALFORMED
  }
  return { kind: 'heartbeat', sequence, at }
}

function parseOther(json: unknown): FeedMessage {
  const result = coinbaseMessageSchema.safeParse(json)
  if (result.success) {
    const { channel, sequence_num, timestamp } = result.data
    return { kind: 'other', channel, sequence: sequence_num, at: parseTime(timestamp) ?? 0 }
  }
  const refusal = coinbaseErrorSchema.safeParse(json)
  if (refusal.success) return { kind: 'refused', detail: refusal.data.message }
  const unknown = result.error.issues.some((issue) => issue.path[0] === 'channel')
  return { kind: 'rejected', reason: unknown ? 'unknown_channel' : 'malformed' }
}

/** The last parsed date (YYYYMMDD) and its start: nearly every next time has the same date. */
let cachedDate = 0
let cachedDayMs = 0

/** An RFC 3339 time in UTC (`Z`), with any number of fractional digits, as unix milliseconds; null for other values. */
export function parseTime(text: unknown): number | null {
  if (typeof text !== 'string') return null
  const last = text.length - 1
  // YYYY-MM-DDTHH:MM:SSZ.
  if (last < 19 || text.charCodeAt(last) !== 90 || text.charCodeAt(10) !== 84 || text.charCodeAt(13) !== 58) return null
  const hour = twoDigits(text, 11)
  const minute = twoDigits(text, 14)
  const date = (twoDigits(text, 0) * 100 + twoDigits(text, 2)) * 10_000 + twoDigits(text, 5) * 100 + twoDigits(text, 8)
  if (hour > 23 || minute > 59 || text.charCodeAt(4) !== 45 || text.charCodeAt(7) !== 45) return null
  if (date !== cachedDate) {
    const day = Date.parse(`${text.slice(0, 10)}T00:00:00Z`)
    // Date.parse takes 30 February for 2 March.
    if (Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== text.slice(0, 10)) return null
    cachedDate = date
    cachedDayMs = day
  }
  const start = cachedDayMs + hour * 3_600_000 + minute * 60_000
  const second = twoDigits(text, 17)
  if (text.charCodeAt(16) !== 58 || second > 59) return null
  if (last === 19) return start + second * 1000
  if (last < 21 || text.charCodeAt(19) !== 46) return null
  let fraction = 0
  for (let i = 20; i < last; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9) return null
    if (i < 23) fraction = fraction * 10 + digit
  }
  if (last === 21) fraction *= 100
  else if (last === 22) fraction *= 10
  return start + second * 1000 + fraction
}

/** Two digits as a number; 1e9, above any part of a time, if they are not digits. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48
  const ones = text.charCodeAt(at + 1) - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : 1e9
}
