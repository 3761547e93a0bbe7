import { serveWorkerd } from '../workerd.ts'
import { startReplayExchange } from './exchange.ts'
import type { Recording, readTrades } from './recording.ts'

/** A pause of the recording in which the watchdog may wake: the object goes through it before the next frame. Seconds. */
const PAUSE_S = 5

/** Frames that may be under way to an object before it is waited for. */
const MAX_FRAMES_IN_FLIGHT = 1_000

type ProductProgress = { ts: number; sent: number; waitedFor: number }

/** Every candle in its last state, a line each, by product, granularity and time; and a line on each product. */
export type ReplayResult = { candles: string[]; summary: string[] }

/**
 * Drives the Worker, under workerd, with a recording. REST answers from `trades`, as `readTrades` gives them; null: it
 * is out of reach.
 * @throws Error when the Worker cannot be started, fails, or does not take up a connection of the recording.
 */
export async function replay(
  recording: Recording,
  trades: ReturnType<typeof readTrades> | null,
): Promise<ReplayResult> {
  const products = [...new Set([...recording.products.values()].flatMap((set) => [...set]))].sort()
  const began = new Map<string, number>()
  for (const { conn, ts } of recording.lines)
    for (const product of recording.products.get(conn) ?? []) if (!began.has(product)) began.set(product, ts)
  const exchange = await startReplayExchange(trades, began)
  const rest = `http://127.0.0.1:${exchange.port}`
  const vars = {
    PRODUCTS: products.join(','),
    ALWAYS_ON: products.join(','),
    MAX_OPEN_FEEDS: String(products.length),
    COINBASE_WS_URL: `ws://127.0.0.1:${exchange.port}`,
    COINBASE_REST_URL: rest,
    COINBASE_EXCHANGE_URL: rest,
  }
  const worker = await serveWorkerd({
    entry: 'dev/worker/replay.ts',
    objects: ['ProductCandles', 'FeedSlots'],
    vars,
  }).catch(async (error: unknown) => {
    await exchange.close()
    throw error
  })
  const call = async (product: string, action: string, at = 0): Promise<Response> => {
    const frames = told.get(product)?.sent
    const address = `${worker.url}/${encodeURIComponent(product)}/${action}?at=${at}&frames=${frames}`
    const response = await fetch(address, { method: 'POST' })
    if (!response.ok) throw new Error(`${action} of ${product} failed: ${response.status} ${await response.text()}`)
    return response
  }
  /** Whose object has a connection, by its own word: the exchange may not have noticed yet that one was left. */
  const live = new Set<string>()
  const heard = async (product: string, response: Promise<Response>): Promise<void> => {
    if ((await (await response).json()) === true) live.add(product)
    else live.delete(product)
  }
  /** The progress of each product's object: the time, the sent frames, and their number at the last wait. */
  const told = new Map(products.map((product) => [product, { ts: 0, sent: 0, waitedFor: 0 }]))
  const advance = async (product: string, ts: number): Promise<void> => {
    exchange.setClock(product, ts)
    await heard(product, call(product, 'advance', ts))
    const state = told.get(product) as ProductProgress
    told.set(product, { ts, sent: state.sent, waitedFor: state.sent })
  }
  const connect = async (product: string, ts: number): Promise<void> => {
    exchange.setAvailable(product, true)
    await heard(product, call(product, 'connect', ts))
    if (!live.has(product)) throw new Error(`the feed of ${product} did not connect`)
  }

  try {
    let clock = 0
    /** The connection that each product's object stands for. */
    const serving = new Map<string, string>()
    for (const line of recording.lines) {
      // A recorder's lines may be a little out of order; a clock does not go back.
      clock = Math.max(clock, line.ts)
      for (const product of recording.products.get(line.conn) ?? []) {
        const state = told.get(product) as ProductProgress
        // A connection that another has replaced belongs to no product.
        if (line.t === 'connect' || !serving.has(product)) serving.set(product, line.conn)
        else if (serving.get(product) !== line.conn) continue
        if (line.t === 'connect') {
          // Without a recorded close, what was sent must have come before the old connection is cut.
          if (live.has(product)) await advance(product, clock)
          exchange.setAvailable(product, false)
          await leave(product)
          await advance(product, clock)
          await connect(product, clock)
        } else if (line.t === 'close') {
          await advance(product, clock)
          exchange.setAvailable(product, false)
          await leave(product)
          serving.delete(product)
        } else if (line.t === 'recv') {
          if (clock - state.ts > PAUSE_S || state.sent - state.waitedFor >= MAX_FRAMES_IN_FLIGHT)
            await advance(product, clock)
          if (!live.has(product)) await connect(product, clock)
          exchange.setClock(product, clock)
          exchange.send(product, `${clock}\n${line.data}`)
          const { sent, waitedFor } = told.get(product) as ProductProgress
          told.set(product, { ts: clock, sent: sent + 1, waitedFor })
        }
      }
    }
    const candles: string[] = []
    const words: string[] = []
    for (const product of products) {
      await advance(product, clock)
      const answer = (await (await call(product, 'candles')).json()) as {
        candles: string[]
        status: { trades: { socket: number; rest: number }; dropped: Record<string, number> }
      }
      candles.push(...answer.candles)
      const { trades: counts, dropped } = answer.status
      const left = Object.entries(dropped).map(([reason, times]) => `${times} ${reason}`)
      words.push(
        `${product}: ${counts.socket} trades by socket, ${counts.rest} by REST; dropped: ${left.join(', ') || 'none'}`,
      )
    }
    return { candles, summary: words }
  } finally {
    await worker.stop()
    await exchange.close()
  }

  /** Cuts the product's connection, and waits until its object knows. */
  async function leave(product: string): Promise<void> {
    if (!live.delete(product)) return
    exchange.dropConnection(product)
    const until = Date.now() + 10_000
    while ((await (await call(product, 'live')).json()) === true)
      if (Date.now() > until) throw new Error(`the object of ${product} does not see that its connection is gone`)
  }
}
