import type { WebSocket } from 'ws'
import { z } from 'zod'
import type { FaultQueue, Frame } from './faults.ts'
import { MALFORMED_MESSAGES } from './malformed.ts'
import type { MarketTrade, Tape } from './market.ts'
import { formatEnvelopeTime, formatGoTime, toWireTrade, type WireTrade } from './wire.ts'

/** Trades of a product that a new subscriber gets first. */
const SNAPSHOT_TRADES = 100
/** Coinbase closes a socket that has subscribed to nothing for this long; in real time, whatever the market's speed. */
const SUBSCRIBE_TIMEOUT_MS = 5_000

/** A subscribe or unsubscribe message as it came, for tests: `at` is the market's time in ms. */
export type SubscriptionRecord = {
  at: number
  connection: number
  type: 'subscribe' | 'unsubscribe'
  channel: string
  product_ids: string[]
  jwt: string | null
}

const requestSchema = z.object({
  type: z.enum(['subscribe', 'unsubscribe']),
  channel: z.string(),
  product_ids: z.array(z.string()).default([]),
  jwt: z.string().optional(),
})

/** The exchange as a connection uses it. Times are milliseconds; `now` is the market's clock, `real` the machine's. */
export type ConnectionContext = {
  tapes: ReadonlyMap<string, Tape>
  faults: FaultQueue
  now(): number
  real(): number
  startedAt: number
  subscriptions: SubscriptionRecord[]
}

/** One client's socket: its own sequence over all its messages, and the last sent trade of each product. */
export function openConnection(id: number, socket: WebSocket, floor: ConnectionContext) {
  const openedAt = floor.real()
  /** Product -> the newest trade id that was sent. */
  const trades = new Map<string, number>()
  let heartbeats = false
  let subscribed = false
  let sequence = 0
  let silentUntil = 0
  let held: string[] = []
  let delayed: { at: number; text: string }[] = []
  let lastNanos = { ms: 0, nanos: 0 }

  const nanos = (ms: number): number => {
    const before = lastNanos.ms === ms ? lastNanos.nanos : 0
    lastNanos = { ms, nanos: Math.min(999_999, before + 1 + Math.floor(floor.faults.random() * 20_000)) }
    return lastNanos.nanos
  }

  const put = (text: string) => {
    if (floor.now() >= silentUntil && socket.readyState === socket.OPEN) socket.send(text)
  }

  const envelope = (channel: string, events: unknown): string => {
    const ms = Math.floor(floor.now())
    return JSON.stringify({ channel, timestamp: formatEnvelopeTime(ms, nanos(ms)), sequence_num: sequence++, events })
  }

  const deliver = (frame: Frame) => {
    const waiting = held
    held = []
    for (const { text, when } of floor.faults.deliver(frame, floor.now())) {
      if (when === 'now') put(text)
      else if (when === 'after-next') held.push(text)
      else delayed.push({ at: when.at, text })
    }
    for (const text of waiting) put(text)
  }

  const newestFirst = (tape: Tape, part: readonly MarketTrade[]): WireTrade[] =>
    part.map((trade) => toWireTrade(tape.product, trade)).reverse()

  const acknowledge = () => {
    const active: Record<string, string[]> = {}
    if (heartbeats) active.heartbeats = ['heartbeats']
    if (trades.size > 0) active.market_trades = [...trades.keys()]
    put(envelope('subscriptions', [{ subscriptions: active }]))
  }

  const subscribe = (channel: string, products: string[]) => {
    subscribed = true
    if (channel === 'heartbeats') heartbeats = true
    for (const product of channel === 'market_trades' ? products : []) {
      const tape = floor.tapes.get(product) as Tape
      if (trades.has(product)) continue
      const newest = tape.newestId(Math.floor(floor.now() * 1000))
      trades.set(product, newest)
      const part = tape.byId(Math.max(tape.firstId, newest - SNAPSHOT_TRADES + 1), newest)
      put(envelope('market_trades', [{ type: 'snapshot', trades: newestFirst(tape, part) }]))
    }
  }

  const refuse = (message: string) => put(JSON.stringify({ type: 'error', message }))

  const receive = (text: string) => {
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      return refuse('failed to parse message')
    }
    const request = requestSchema.safeParse(json)
    if (!request.success) return refuse('subscribe or unsubscribe required')
    const { type, channel, product_ids, jwt } = request.data
    floor.subscriptions.push({ at: floor.now(), connection: id, type, channel, product_ids, jwt: jwt ?? null })
    if (channel !== 'market_trades' && channel !== 'heartbeats') return refuse(`channel ${channel} is not supported`)
    const unknown = product_ids.find((product) => !floor.tapes.has(product))
    if (unknown !== undefined) return refuse(`${unknown} is not a valid product`)
    if (type === 'subscribe') subscribe(channel, product_ids)
    else if (channel === 'heartbeats') heartbeats = false
    else for (const product of product_ids.length > 0 ? product_ids : [...trades.keys()]) trades.delete(product)
    acknowledge()
  }

  socket.on('message', (data) => receive(data.toString()))
  // A client that breaks the protocol or vanishes: 'close' follows, and there is nothing else to do.
  socket.on('error', () => socket.terminate())

  return {
    id,
    socket,
    /** True if a fault for this product (or for any) applies to this socket. */
    matchesFault: (product: string | undefined) => product === undefined || trades.has(product),
    silence(until: number) {
      silentUntil = until
    },
    /** Sends what the product had since the last time, as one message. */
    publish(tape: Tape) {
      const sent = trades.get(tape.product.id)
      if (sent === undefined) return
      const newest = tape.newestId(Math.floor(floor.now() * 1000))
      if (newest <= sent) return
      trades.set(tape.product.id, newest)
      deliver({
        channel: 'market_trades',
        product: tape.product.id,
        trades: newestFirst(tape, tape.byId(sent + 1, newest)),
        text: (list) => envelope('market_trades', [{ type: 'update', trades: list }]),
      })
    },
    /** `counter` counts the seconds since the exchange began. */
    heartbeat(counter: number) {
      if (!heartbeats) return
      const ms = Math.floor(floor.now())
      const current_time = formatGoTime(ms, nanos(ms), ms - floor.startedAt)
      deliver({
        channel: 'heartbeats',
        product: trades.size === 1 ? (trades.keys().next().value as string) : null,
        trades: [],
        text: () => envelope('heartbeats', [{ current_time, heartbeat_counter: counter }]),
      })
    },
    sendRaw: put,
    malformed(name: string) {
      const make = MALFORMED_MESSAGES[name] as (product: string) => string
      put(make(trades.keys().next().value ?? 'BTC-USD'))
    },
    /** Does what is due by the clock: sends delayed frames, and closes a socket that never subscribed. */
    tick() {
      const now = floor.now()
      const due = delayed.filter((frame) => frame.at <= now)
      if (due.length > 0) delayed = delayed.filter((frame) => frame.at > now)
      for (const { text } of due) put(text)
      if (!subscribed && floor.real() - openedAt >= SUBSCRIBE_TIMEOUT_MS) socket.close(1008)
    },
  }
}

export type Connection = ReturnType<typeof openConnection>
