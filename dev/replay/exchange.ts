import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type WebSocket, WebSocketServer } from 'ws'
import type { RecordedTrade } from './recording.ts'

const DECIMAL_PLACES = 38

/** `at` is its time, unix milliseconds. */
type TimedTrade = RecordedTrade & { at: number }

/** The exchange as the recording saw it: a socket while it was connected, and REST from the recorded trades. */
export type ReplayExchange = {
  port: number
  /** Takes connections for the product, or is gone for it. */
  setAvailable(product: string, is: boolean): void
  /** Sends one text; the product is connected. */
  send(product: string, text: string): void
  /** Cuts the connection as a lost one is cut. */
  dropConnection(product: string): void
  /** The recording's clock, unix seconds: REST knows no trade after it. */
  setClock(product: string, ts: number): void
  close(): Promise<void>
}

/**
 * Starts it on loopback. `began` is the first recorded time of each product; without `trades` REST answers 503, and 404
 * about what lies before the trades, unless they reach back to before the recording.
 */
export async function startReplayExchange(
  trades: Map<string, RecordedTrade[]> | null,
  began: Map<string, number>,
): Promise<ReplayExchange> {
  const sockets = new Map<string, WebSocket>()
  const open = new Set<string>()
  const clocks = new Map<string, number>()
  /** When each trade was, unix ms: asked for by every request, and slow to parse. */
  const timed = new Map(
    [...(trades ?? [])].map(([product, list]) => [
      product,
      list.map((trade) => ({ ...trade, at: Date.parse(trade.time) })),
    ]),
  )

  const rest = (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(request.url ?? '/', 'http://exchange')
    const [, product = '', call] = /\/products\/([^/]+)\/(trades|candles)$/.exec(url.pathname) ?? []
    const known = timed.get(product)?.filter((trade) => trade.at <= (clocks.get(product) ?? 0) * 1000)
    const first = known?.[0]
    const whole = first !== undefined && first.at < (began.get(product) ?? 0) * 1000
    const body =
      known === undefined || first === undefined
        ? null
        : call === 'trades'
          ? tradesBefore(known, whole, url.searchParams)
          : candlesOf(known, whole, url.searchParams)
    response.writeHead(body !== null ? 200 : trades === null ? 503 : 404, { 'content-type': 'application/json' })
    response.end(body === null ? '{"message":"not in the recording"}' : JSON.stringify(body))
  }

  const server = createServer(rest)
  const upgrades = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request, socket, head) => {
    if (open.size === 0) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n')
      return
    }
    upgrades.handleUpgrade(request, socket, head, (connection) => {
      connection.on('message', (data) => {
        const message = JSON.parse(String(data)) as { channel: string; product_ids: [string] }
        const [product] = message.product_ids
        if (message.channel !== 'market_trades') return
        // Two products share the server: one may be gone while the other is there.
        if (!open.has(product)) return connection.terminate()
        sockets.set(product, connection)
        // The object knows now that what is sent next comes to this connection.
        connection.send('hello')
        connection.on('close', () => {
          if (sockets.get(product) === connection) sockets.delete(product)
        })
      })
      connection.on('error', () => connection.terminate())
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as { port: number }).port,
    setAvailable: (product, is) => void (is ? open.add(product) : open.delete(product)),
    send: (product, text) => sockets.get(product)?.send(text),
    dropConnection: (product) => {
      sockets.get(product)?.terminate()
      sockets.delete(product)
    },
    setClock: (product, ts) => void clocks.set(product, ts),
    close: async () => {
      for (const connection of upgrades.clients) connection.terminate()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The Exchange's `trades?after=&limit=`: newest first, ids below `after`; null where the file does not reach. */
function tradesBefore(trades: RecordedTrade[], whole: boolean, query: URLSearchParams): unknown[] | null {
  const after = Number(query.get('after') ?? Number.MAX_SAFE_INTEGER)
  const page = trades.filter((trade) => Number(trade.trade_id) < after).slice(-Number(query.get('limit') ?? 1000))
  if (page.length === 0 && !whole) return null
  return page.reverse().map(({ trade_id, price, size, time, side }) => ({
    trade_id: Number(trade_id),
    price,
    size,
    time,
    side: side.toLowerCase(),
  }))
}

/** Advanced Trade's one-minute `candles?start=&end=`: newest first; null where the file does not reach. */
function candlesOf(trades: TimedTrade[], whole: boolean, query: URLSearchParams): unknown | null {
  const start = Number(query.get('start'))
  const end = Number(query.get('end'))
  const first = (trades[0] as TimedTrade).at / 1000
  if (!whole && start < Math.ceil(first / 60) * 60) return null
  const minutes = new Map<number, RecordedTrade[]>()
  for (const trade of trades) {
    const minute = Math.floor(trade.at / 60_000) * 60
    if (minute < start || minute > end) continue
    const list = minutes.get(minute)
    if (list) list.push(trade)
    else minutes.set(minute, [trade])
  }
  return { candles: [...minutes].sort(([a], [b]) => b - a).map(([minute, list]) => candleOf(minute, list)) }
}

function candleOf(minute: number, trades: RecordedTrade[]): Record<string, string> {
  const prices = trades.map((trade) => trade.price).sort((a, b) => (parseScaled(a) < parseScaled(b) ? -1 : 1))
  const volume = trades.reduce((sum, trade) => sum + parseScaled(trade.size), 0n)
  return {
    start: String(minute),
    low: prices[0] as string,
    high: prices.at(-1) as string,
    open: (trades[0] as RecordedTrade).price,
    close: (trades.at(-1) as RecordedTrade).price,
    volume: formatScaled(volume),
  }
}

function parseScaled(decimal: string): bigint {
  const [whole = '0', fraction = ''] = decimal.split('.')
  return BigInt(whole + fraction.padEnd(DECIMAL_PLACES, '0'))
}

function formatScaled(value: bigint): string {
  const digits = value.toString().padStart(DECIMAL_PLACES + 1, '0')
  return `${digits.slice(0, -DECIMAL_PLACES)}.${digits.slice(-DECIMAL_PLACES)}`.replace(/\.?0+$/, '')
}
