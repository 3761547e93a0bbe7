import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocketServer } from 'ws'
import { candleReader } from './candles.ts'
import { handleControlRequest } from './control.ts'
import { type Exchange, type ManualTrade, manualTradeSchema, type RequestRecord } from './exchange.ts'
import { createFaultQueue, type Fault, type FaultEffect, faultSchema } from './faults.ts'
import { MALFORMED_MESSAGES } from './malformed.ts'
import { isManual, type ManualTape, openMarket, type Tape } from './market.ts'
import type { MarketData } from './product-body.ts'
import { PRODUCTS, type ProductSpec } from './products.ts'
import { faultResponse, handleRest, type RestResponse } from './rest.ts'
import { type Connection, type ConnectionContext, openConnection, type SubscriptionRecord } from './socket.ts'
import { parseMicroseconds, parseUnits, toWireTrade, type WireTrade } from './wire.ts'

export type ExchangeOptions = {
  /** 0, the default, takes any free port of 127.0.0.1. */
  port?: number
  /** The same seed gives the same market, whenever it is started. */
  seed?: string
  products?: readonly ProductSpec[]
  /** Unix milliseconds. */
  now?: () => number
  /** Market milliseconds per millisecond of `now`. */
  speed?: number
  /** The moment (of `now`) at which the market's clock and `now` agree; the start of the exchange unless given. */
  anchor?: number
  /** Trades of so many market milliseconds go out in one message: Coinbase gathers for 50 to 250. */
  batchMs?: number
}

/** The most records for tests to read. */
const MAX_RECORDS = 10_000

/** Starts a simulated exchange on loopback: Advanced Trade WebSocket, both REST styles, and `/_` paths for tests. */
export async function startExchange(options: ExchangeOptions = {}): Promise<Exchange> {
  const real = options.now ?? Date.now
  const seed = options.seed ?? 'kerb'
  const speed = options.speed ?? 1
  const anchor = options.anchor ?? real()
  const batchMs = options.batchMs ?? 100
  const steady = () => anchor + (real() - anchor) * speed
  let stepped = 0
  const now = () => steady() + stepped

  const tapes = openMarket(options.products ?? PRODUCTS, seed)
  const books: MarketData = { tapes, candles: new Map([...tapes].map(([id, tape]) => [id, candleReader(tape)])), now }
  const faults = createFaultQueue(seed)
  const subscriptions: SubscriptionRecord[] = []
  const requests: RequestRecord[] = []
  const connections = new Set<Connection>()
  const floor: ConnectionContext = { tapes, faults, now, real, startedAt: Math.floor(now()), subscriptions }
  const late = new Set<NodeJS.Timeout>()
  let connected = 0
  let beat = 0
  let malformed = 0

  const append = (trade: ManualTrade): { tape: ManualTape; wire: WireTrade } => {
    const { product, price, size, time, side } = manualTradeSchema.parse(trade)
    const tape = tapes.get(product)
    if (!tape || !isManual(tape)) throw new RangeError(`${product} is no manual product`)
    const at = time === undefined ? now() * 1000 : typeof time === 'number' ? time * 1000 : parseMicroseconds(time)
    const appended = tape.append({
      time: Math.floor(at),
      price: parseUnits(price, tape.product.priceDecimals),
      size: parseUnits(size, tape.product.sizeDecimals),
      side,
    })
    return { tape, wire: toWireTrade(tape.product, appended) }
  }

  const publish = (changed: Iterable<Tape>) => {
    for (const tape of changed) for (const connection of connections) connection.publish(tape)
  }

  const tick = (trades: readonly ManualTrade[]): WireTrade[] => {
    const appended = trades.map(append)
    publish(new Set(appended.map(({ tape }) => tape)))
    return appended.map(({ wire }) => wire)
  }

  const step = () => {
    publish(tapes.values())
    // A heartbeat that is late by more than a second is sent once: the counter counts seconds, not messages.
    const seconds = Math.floor((steady() - floor.startedAt) / 1000)
    if (seconds > beat) {
      beat = seconds
      for (const connection of connections) connection.heartbeat(beat)
    }
    for (const connection of connections) connection.tick()
    subscriptions.splice(0, subscriptions.length - MAX_RECORDS)
    requests.splice(0, requests.length - MAX_RECORDS)
  }

  const fault = (input: Fault): FaultEffect => {
    const parsed = faultSchema.parse(input)
    if (parsed.kind === 'refuse' || parsed.kind === 'rest') return faults.add(parsed, now())
    if (parsed.kind === 'clock') {
      stepped += parsed.ms
      return { hits: 1 }
    }
    const concerned = [...connections].filter((connection) => connection.matchesFault(parsed.product))
    switch (parsed.kind) {
      case 'close':
        for (const { socket } of concerned) parsed.code === 1006 ? socket.terminate() : socket.close(parsed.code)
        break
      case 'silent':
        for (const connection of concerned) connection.silence(now() + parsed.ms)
        break
      case 'text':
        for (const connection of concerned) connection.sendRaw(parsed.text)
        break
      case 'malformed': {
        const names = parsed.name === undefined ? Object.keys(MALFORMED_MESSAGES) : [parsed.name]
        if (parsed.name !== undefined && !Object.hasOwn(MALFORMED_MESSAGES, parsed.name))
          throw new RangeError(`no malformed message is called ${parsed.name}`)
        for (let i = 0; i < parsed.frames; i++) {
          const name = names[malformed++ % names.length] as string
          for (const connection of concerned) connection.malformed(name)
        }
        break
      }
      default:
        return faults.add(parsed, now())
    }
    return { hits: concerned.length }
  }

  const sent = (product: string, from: number, to: number): WireTrade[] => {
    const tape = tapes.get(product)
    if (!tape) throw new RangeError(`${product} is not a product`)
    return tape
      .byTime(Math.floor(from * 1000), Math.floor(to * 1000), Math.floor(now() * 1000))
      .map((trade) => toWireTrade(tape.product, trade))
  }

  const clearFaults = () => {
    faults.clear()
    stepped = 0
    for (const connection of connections) connection.silence(0)
  }

  const respond = (response: ServerResponse, answer: RestResponse) => {
    response.writeHead(answer.status, { 'content-type': 'application/json; charset=utf-8', ...answer.headers })
    response.end(JSON.stringify(answer.body))
  }

  const wait = (marketMs: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        late.delete(timer)
        resolve()
      }, marketMs / speed)
      late.add(timer)
    })

  const rest = async (request: IncomingMessage, response: ServerResponse, url: URL) => {
    const found = faults.takeRequestFault(url.pathname, now())
    const record: RequestRecord = { at: now(), path: url.pathname + url.search, status: 0 }
    requests.push(record)
    if (found?.answer === 'hang') return
    if (found?.answer === 'late') await wait(found.ms)
    const answer =
      request.method === 'GET'
        ? (faultResponse(found, url) ?? handleRest(url, books) ?? { status: 404, body: { message: 'NotFound' } })
        : { status: 405, body: { message: 'Method Not Allowed' } }
    record.status = answer.status
    respond(response, answer)
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1')
    const answered = url.pathname.startsWith('/_')
      ? handleControlRequest(exchange, request, url).then((answer) => respond(response, answer))
      : rest(request, response, url)
    answered.catch((error: unknown) => respond(response, { status: 400, body: { message: String(error) } }))
  })
  // Closing an idle connection while a request is on its way would be a fault that no test has set.
  server.keepAliveTimeout = 0
  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (faults.rejectsConnection(now())) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (client) => {
      const connection = openConnection(++connected, client, floor)
      connections.add(connection)
      client.on('close', () => connections.delete(connection))
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  // Never faster than 100 times a second: at a high speed a message then holds more of the market's time.
  const timer = setInterval(step, Math.max(10, batchMs / speed))

  const exchange: Exchange = {
    port,
    url: `http://127.0.0.1:${port}`,
    wsUrl: `ws://127.0.0.1:${port}`,
    now,
    speed,
    anchor,
    trade: (product, trade) => tick([{ product, ...trade }])[0] as WireTrade,
    tick,
    step,
    fault,
    clearFaults,
    faults: faults.list,
    sent,
    subscriptions,
    requests,
    connections: () => connections.size,
    close: () => {
      clearInterval(timer)
      for (const pending of late) clearTimeout(pending)
      for (const { socket } of connections) socket.terminate()
      sockets.close()
      return new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
  return exchange
}
