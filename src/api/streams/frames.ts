import type { Candle, Coverage } from '../../protocol/candle.ts'
import type { Granularity } from '../../protocol/granularity.ts'
import { MAX_STREAM_POSITION_CHARS } from '../../protocol/stream-position.ts'

/**
 * Cuts an object's frames as text. Numbers of candles never go through JSON.parse, so that every digit leaves as the
 * object wrote it (C3), and a candle that was serialised once is not serialised again (D1).
 */

const TYPE_MARK = '{"type":"'
const POSITION_MARK = '"position":"'
const CANDLES_MARK = '"candles":['

/** The text between `mark` and the next `end`, or null if the frame has no such mark. */
function textBetween(frame: string, mark: string, end: string): string | null {
  const from = frame.indexOf(mark)
  if (from < 0) return null
  const to = frame.indexOf(end, from + mark.length)
  return to < 0 ? null : frame.slice(from + mark.length, to)
}

/** The `type` of a frame; text that is no frame gives null. */
export const frameType = (frame: string): string | null =>
  frame.startsWith(TYPE_MARK) ? textBetween(frame, TYPE_MARK, '"') : null

/** The position of a frame that has one. It stands before candles and quotes, so that none of them can hold the mark. */
export const framePosition = (frame: string): string | null => textBetween(frame, POSITION_MARK, '"')

/** The same frame with another position; a position too long to come back with (8 KB) is left empty. */
export function withPosition(frame: string, position: string): string {
  const from = frame.indexOf(POSITION_MARK)
  if (from < 0) return frame
  const start = from + POSITION_MARK.length
  const end = frame.indexOf('"', start)
  return frame.slice(0, start) + (position.length > MAX_STREAM_POSITION_CHARS ? '' : position) + frame.slice(end)
}

/** The candles of a frame, each as the text it came in. A candle holds no brackets, so the first `]` ends the list. */
export function candleTexts(frame: string): string[] {
  const list = textBetween(frame, CANDLES_MARK, ']')
  if (list === null || list === '') return []
  return list
    .slice(1, -1)
    .split('},{')
    .map((inner) => `{${inner}}`)
}

const QUOTES_MARK = '"quotes":['
/** A flat object of JSON, whatever its texts hold. */
const FLAT_OBJECT_PATTERN = /\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}/g

/** The quotes of a frame, each as the text it came in. */
export function quoteTexts(frame: string): string[] {
  const from = frame.indexOf(QUOTES_MARK)
  return from < 0 ? [] : (frame.slice(from).match(FLAT_OBJECT_PATTERN) ?? [])
}

/** What tells one quote from another in its text: the number of its asset, which stands last. */
export const quoteKey = (text: string): string => text.slice(text.lastIndexOf(':') + 1, -1)

const CANDLE_PATTERN =
  /^\{"exchange":"([^"]*)","product_id":"([^"]*)","granularity":"([^"]*)","timestamp":(\d+),"open":([^,]+),"high":([^,]+),"low":([^,]+),"close":([^,]+),"volume":([^,]+),"is_complete":(true|false),"coverage":"([^"]*)","rev":(\d+),"last_update":"([^"]*)","source":"([^"]*)"\}$/

/**
 * A candle from its text: the reverse of `candleText`, prices and volume kept as they are written.
 * @throws Error if the text is not of that form: only our own objects write it
 */
export function parseCandle(text: string): Candle {
  const match = CANDLE_PATTERN.exec(text)
  if (!match) throw new Error(`not a candle: ${text.slice(0, 100)}`)
  const [
    ,
    exchange,
    product_id,
    granularity,
    timestamp,
    open,
    high,
    low,
    close,
    volume,
    complete,
    coverage,
    rev,
    at,
    source,
  ] = match as unknown as string[]
  return {
    exchange: exchange as string,
    product_id: product_id as string,
    granularity: granularity as Granularity,
    timestamp: Number(timestamp),
    open: open as string,
    high: high as string,
    low: low as string,
    close: close as string,
    volume: volume as string,
    is_complete: complete === 'true',
    coverage: coverage as Coverage,
    rev: Number(rev),
    last_update: at as string,
    source: source as Candle['source'],
  }
}

/** What tells one candle from another in its text, without reading the whole: product, granularity and start. */
export const candleKey = (text: string): string =>
  text.slice(text.indexOf('"product_id":"') + 14, text.indexOf(',"open":'))
