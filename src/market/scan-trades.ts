/**
 * The one text form in which the exchange sends trades: these keys in this order, no white space, no escapes. Each
 * pattern begins where the one before ended; none matches a string that needs unescaping.
 */
const HEAD = /\{"channel":"market_trades","timestamp":"([\d:.TZ-]+)","sequence_num":(0|[1-9]\d{0,14}),"events":\[/y
const EVENT = /\{"type":"(snapshot|update)","trades":\[/y
const TRADE =
  /\{"product_id":"([\w-]+)","trade_id":"(\d+)","price":"([\d.]+)","size":"([\d.]+)","time":"([\d:.TZ-]+)","side":"(BUY|SELL)"\}/y

const COMMA = 44
const CLOSING_BRACKET = 93
const CLOSING_BRACE = 125

/** The six groups of `TRADE`. */
type TradeGroups = { 1: string; 2: string; 3: string; 4: string; 5: string; 6: string }
type ScannedTrade = Record<'product_id' | 'trade_id' | 'price' | 'size' | 'time' | 'side', string>
type ScannedEvent = { type: string; trades: ScannedTrade[] }
type ScannedTrades = { channel: 'market_trades'; timestamp: string; sequence_num: number; events: ScannedEvent[] }

/**
 * Reads a `market_trades` message as `JSON.parse` does, in a third of its time.
 * @returns what `JSON.parse` would; null for a text of any other form, valid or not, which is left to it.
 */
export function scanTrades(text: string): ScannedTrades | null {
  HEAD.lastIndex = 0
  const head = HEAD.exec(text)
  if (head === null) return null
  const events: ScannedEvent[] = []
  let at = HEAD.lastIndex
  do {
    EVENT.lastIndex = at
    const event = EVENT.exec(text)
    if (event === null) return null
    const trades: ScannedTrade[] = []
    at = scanList(text, EVENT.lastIndex, trades)
    if (at === -1 || text.charCodeAt(at) !== CLOSING_BRACE) return null
    events.push({ type: event[1] as string, trades })
    at += 2
  } while (text.charCodeAt(at - 1) === COMMA)
  if (text.charCodeAt(at - 1) !== CLOSING_BRACKET || text.charCodeAt(at) !== CLOSING_BRACE) return null
  if (at !== text.length - 1) return null
  return { channel: 'market_trades', timestamp: head[1] as string, sequence_num: Number(head[2]), events }
}

/** Adds the trades from `start` on to `trades`. Returns the index after their list, -1 if the text has another form. */
function scanList(text: string, start: number, trades: ScannedTrade[]): number {
  if (text.charCodeAt(start) === CLOSING_BRACKET) return start + 1
  TRADE.lastIndex = start
  for (;;) {
    const found = TRADE.exec(text) as (RegExpExecArray & TradeGroups) | null
    if (found === null) return -1
    trades.push({
      product_id: found[1],
      trade_id: found[2],
      price: found[3],
      size: found[4],
      time: found[5],
      side: found[6],
    })
    const next = text.charCodeAt(TRADE.lastIndex++)
    if (next === CLOSING_BRACKET) return TRADE.lastIndex
    if (next !== COMMA) return -1
  }
}
