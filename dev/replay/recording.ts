import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

/** One line of a recording that plays a part. `ts` is unix seconds by the recorder's clock. */
type RecordedLine =
  | { t: 'connect' | 'close'; conn: string; ts: number }
  | { t: 'send' | 'recv'; conn: string; ts: number; data: string }

export type Recording = {
  lines: RecordedLine[]
  /** Products by connection: those that it asked `market_trades` of. */
  products: Map<string, Set<string>>
}

/** A trade as `--trades` prints it, one per line: the exchange's own fields. */
export type RecordedTrade = {
  product_id: string
  trade_id: string
  price: string
  size: string
  time: string
  side: string
}

/** An input that cannot be used; the message says where and why. */
export class InputError extends Error {}

/** The lines of a text file, gzipped when its name ends in `.gz`; an empty last line is none. */
function readLines(path: string): string[] {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
    if (path.endsWith('.gz')) bytes = gunzipSync(bytes)
  } catch (error) {
    throw new InputError(`${path} cannot be read: ${(error as Error).message}`)
  }
  const lines = bytes.toString('utf8').split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

function readObject(path: string, text: string, index: number): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new InputError(`${path}, line ${index + 1}: not JSON`)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new InputError(`${path}, line ${index + 1}: not a JSON object`)
  return json as Record<string, unknown>
}

/**
 * Reads a recording, a JSON envelope a line.
 * @throws InputError at the first line that is no envelope, or when the file cannot be read or subscribes to nothing.
 */
export function readRecording(path: string): Recording {
  const lines: RecordedLine[] = []
  const products = new Map<string, Set<string>>()
  for (const [index, text] of readLines(path).entries()) {
    const { t, ts, conn, data } = readObject(path, text, index)
    const bad = (what: string) => new InputError(`${path}, line ${index + 1}: ${what}`)
    if (typeof t !== 'string') throw bad('an envelope has a text "t"')
    if (t !== 'connect' && t !== 'send' && t !== 'recv' && t !== 'close') continue
    if (typeof ts !== 'number' || !Number.isFinite(ts)) throw bad(`"${t}" needs a number "ts"`)
    if (typeof conn !== 'string') throw bad(`"${t}" needs a text "conn"`)
    if (t === 'connect' || t === 'close') lines.push({ t, conn, ts })
    else if (typeof data !== 'string') throw bad(`"${t}" needs a text "data"`)
    else {
      lines.push({ t, conn, ts, data })
      if (t === 'send') for (const product of subscribedProducts(data)) addTo(products, conn, product)
    }
  }
  if (products.size === 0) throw new InputError(`${path} holds no subscription to market_trades`)
  return { lines, products }
}

function addTo(products: Map<string, Set<string>>, conn: string, product: string): void {
  const known = products.get(conn)
  if (known) known.add(product)
  else products.set(conn, new Set([product]))
}

/** The products of a recorded subscribe message to `market_trades`; of any other message none. */
function subscribedProducts(data: string): string[] {
  try {
    const message = JSON.parse(data) as { type?: unknown; channel?: unknown; product_ids?: unknown }
    if (message?.type !== 'subscribe' || message.channel !== 'market_trades') return []
    return Array.isArray(message.product_ids) ? message.product_ids.filter((id) => typeof id === 'string') : []
  } catch {
    return []
  }
}

/**
 * Reads the trades that REST is to answer from, by product, ascending by id.
 * @throws InputError at the first line that is no trade.
 */
export function readTrades(path: string): Map<string, RecordedTrade[]> {
  const trades = new Map<string, RecordedTrade[]>()
  for (const [index, text] of readLines(path).entries()) {
    const trade = readObject(path, text, index)
    for (const key of ['product_id', 'trade_id', 'price', 'size', 'time', 'side'])
      if (typeof trade[key] !== 'string')
        throw new InputError(`${path}, line ${index + 1}: a trade needs a text "${key}"`)
    const known = trades.get(trade.product_id as string)
    if (known) known.push(trade as RecordedTrade)
    else trades.set(trade.product_id as string, [trade as RecordedTrade])
  }
  for (const list of trades.values()) list.sort((a, b) => Number(a.trade_id) - Number(b.trade_id))
  return trades
}
