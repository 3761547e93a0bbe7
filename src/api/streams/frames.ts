import type { Candle } from '../../protocol/candle.ts'
import { CANDLE_AMOUNTS, parseExact } from '../../protocol/exact-json.ts'
import { MAX_STREAM_POSITION_CHARS } from '../../protocol/stream-position.ts'

/**
 * Reads an object's frames as text, without parsing them: every digit is sent as the object wrote it (C3), and a candle
 * that was serialised once is not serialised again (D1).
 */

const TYPE_PREFIX = '{"type":"'
const POSITION_PREFIX = '"position":"'
const CANDLES_PREFIX = '"candles":['

/** The text between `prefix` and the next `end`; null if the frame does not contain them. */
function textBetween(frame: string, prefix: string, end: string): string | null {
  const from = frame.indexOf(prefix)
  if (from < 0) return null
  const to = frame.indexOf(end, from + prefix.length)
  return to < 0 ? null : frame.slice(from + prefix.length, to)
}

/** The `type` of a frame; null for text that is not a frame. */
export const frameType = (frame: string): string | null =>
  frame.startsWith(TYPE_PREFIX) ? textBetween(frame, TYPE_PREFIX, '"') : null

/** The position of a frame, or null. It precedes candles and quotes, whose text could contain the same prefix. */
export const framePosition = (frame: string): string | null => textBetween(frame, POSITION_PREFIX, '"')

/** The frame with another position. A position too long for a client to resume from (8 KB) becomes empty. */
export function withPosition(frame: string, position: string): string {
  const from = frame.indexOf(POSITION_PREFIX)
  if (from < 0) return frame
  const start = from + POSITION_PREFIX.length
  const end = frame.indexOf('"', start)
  return frame.slice(0, start) + (position.length > MAX_STREAM_POSITION_CHARS ? '' : position) + frame.slice(end)
}

/** The candles of a frame, each as its text. A candle contains no brackets, so the first `]` ends the list. */
export function candleTexts(frame: string): string[] {
  const list = textBetween(frame, CANDLES_PREFIX, ']')
  if (list === null || list === '') return []
  return list
    .slice(1, -1)
    .split('},{')
    .map((inner) => `{${inner}}`)
}

const QUOTES_PREFIX = '"quotes":['
/** A JSON object without nested objects. Its strings may contain any character. */
const FLAT_OBJECT_PATTERN = /\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}/g

/** The quotes of a frame, each as its text. */
export function quoteTexts(frame: string): string[] {
  const from = frame.indexOf(QUOTES_PREFIX)
  return from < 0 ? [] : (frame.slice(from).match(FLAT_OBJECT_PATTERN) ?? [])
}

/** The id of a quote's asset, from the quote's text, where it is the last value. */
export const quoteKey = (text: string): string => text.slice(text.lastIndexOf(':') + 1, -1)

/**
 * Parses one candle's text: the reverse of `formatCandle`. Prices and volume have all their digits.
 * @throws Error if the text is not a candle, SyntaxError if it is not JSON
 */
export function parseCandle(text: string): Candle {
  const candle = parseExact(text, CANDLE_AMOUNTS) as Candle
  if (candle.source === undefined) throw new Error(`not a candle: ${text.slice(0, 100)}`)
  return candle
}

/** Product, granularity and start of a candle, from its text, as one key. */
export const candleKey = (text: string): string =>
  text.slice(text.indexOf('"product_id":"') + 14, text.indexOf(',"open":'))
