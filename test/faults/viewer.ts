import { WebSocket } from 'ws'
import type { Finding, ObservedCandle } from './compare.ts'
import { candleKey, formatScaled, parseScaled } from './fold.ts'

/** How one viewer behaves. `acks`: it acknowledges frames. Its pauses before reconnecting are real milliseconds. */
export type ViewerOptions = {
  name: string
  url: string
  products: string[]
  /** The only granularity that it subscribes to; null: all. */
  granularity: string | null
  acks: boolean
  /** Its client address, which the rate limits use. */
  client: string
  /** Evenly in [0, 1). */
  random(): number
}

export type Viewer = {
  name: string
  granularity: string | null
  /** The candles that this viewer shows, by product and key. */
  candles(): Map<string, Map<string, ObservedCandle>>
  /** Received candles that are impossible: reopened, of a lower revision, or changed without a new revision. */
  contradictions: Finding[]
  /** `connected`: its socket is open. `ready`: it also has its first snapshot. */
  connected(): boolean
  ready(): boolean
  /** Numbers of subscriptions that were resumed, and that began with a snapshot. */
  returns: { recovered: number; snapshots: number }
  /** Drops its connection without a close frame. */
  drop(): void
  /** The close code and reason after which it must not reconnect, or null. */
  stopped(): string | null
  close(): void
}

type Frame = { type: string; position?: string; recovered?: boolean; candles?: WireCandle[]; code?: string }
type WireCandle = {
  product_id: string
  granularity: string
  timestamp: number
  is_complete: boolean
  coverage: string
  rev: number
}
type ReceivedCandle = { candle: WireCandle; text: string }

/** Frames per ack, as in our own client: with a crowd, acks of every frame would take all of the server's time. */
const ACK_FRAMES = 16

const RETRY_MIN_MS = 10
const RETRY_MAX_MS = 150

/** The JSON text of each candle of a frame, since numbers are compared digit by digit. */
const candleTexts = (frame: string): string[] => frame.slice(frame.indexOf('"candles":[')).match(/\{[^{}]*\}/g) ?? []

function toObserved({ candle, text }: ReceivedCandle): ObservedCandle {
  const numbers = JSON.parse(text, (_key, value, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined ? context.source : value,
  ) as Record<'open' | 'high' | 'low' | 'close' | 'volume', string>
  const exact = (decimal: string) => formatScaled(parseScaled(decimal))
  return {
    open: exact(numbers.open),
    high: exact(numbers.high),
    low: exact(numbers.low),
    close: exact(numbers.close),
    volume: exact(numbers.volume),
    complete: candle.is_complete,
    coverage: candle.coverage,
    rev: candle.rev,
  }
}

/**
 * A client of candles by the wire contract: it subscribes, replaces candles by key, and resumes from its last
 * position, with pauses that double.
 */
export function openViewer(options: ViewerOptions): Viewer {
  const candlesByProduct = new Map<string, Map<string, ReceivedCandle>>()
  const contradictions: Finding[] = []
  const returns = { recovered: 0, snapshots: 0 }
  const channels = options.products.map((product) => `candles.${product}.${options.granularity ?? '*'}`)
  let position: string | null = null
  let socket: WebSocket | null = null
  let timer: NodeJS.Timeout | null = null
  let attempts = 0
  let stopped: string | null = null
  let closed = false
  let subscribed = false
  /** Frames since the last ack of this connection; null before its first. */
  let unacked: number | null = null

  const put = (candle: WireCandle, text: string) => {
    const key = candleKey(candle.granularity, candle.timestamp)
    const ofProduct = candlesByProduct.get(candle.product_id) ?? new Map<string, ReceivedCandle>()
    candlesByProduct.set(candle.product_id, ofProduct)
    const before = ofProduct.get(key)
    if (before?.candle.is_complete) {
      const finding = { product: candle.product_id, key, place: options.name }
      if (!candle.is_complete) contradictions.push({ ...finding, reason: 'was complete and is forming again' })
      else if (candle.rev < before.candle.rev)
        contradictions.push({ ...finding, reason: `went back from revision ${before.candle.rev} to ${candle.rev}` })
      else if (candle.rev === before.candle.rev && text !== before.text)
        contradictions.push({ ...finding, reason: `changed within revision ${candle.rev}: ${before.text} ${text}` })
    }
    ofProduct.set(key, { candle, text })
  }

  /** Removes the candles in the range of a snapshot that it does not have. */
  const clear = (candles: readonly WireCandle[]) => {
    const firsts = new Map<string, WireCandle>()
    for (const candle of candles) {
      const group = `${candle.product_id} ${candle.granularity}`
      if (candle.timestamp < (firsts.get(group)?.timestamp ?? Number.POSITIVE_INFINITY)) firsts.set(group, candle)
    }
    const named = new Set(
      candles.map((candle) => `${candle.product_id} ${candleKey(candle.granularity, candle.timestamp)}`),
    )
    for (const { product_id, granularity, timestamp } of firsts.values())
      for (const [key, { candle }] of candlesByProduct.get(product_id) ?? [])
        if (candle.granularity === granularity && candle.timestamp >= timestamp && !named.has(`${product_id} ${key}`))
          candlesByProduct.get(product_id)?.delete(key)
  }

  const onMessage = (text: string) => {
    const frame = JSON.parse(text) as Frame
    if (frame.type === 'subscribed') {
      subscribed = true
      attempts = 0
      if (frame.recovered) returns.recovered++
      else returns.snapshots++
    }
    if (frame.type === 'error') return onDisconnect()
    if ((frame.type !== 'update' && frame.type !== 'snapshot') || !frame.candles) return
    if (frame.type === 'snapshot') clear(frame.candles)
    const texts = candleTexts(text)
    for (const [i, candle] of frame.candles.entries()) put(candle, texts[i] as string)
    position = frame.position ?? position
    if (options.acks) ack()
  }

  /** Acks the first frame of a connection, which makes the server wait for acks, then every sixteenth. */
  const ack = () => {
    unacked = unacked === null ? ACK_FRAMES : unacked + 1
    if (unacked < ACK_FRAMES || position === null) return
    unacked = 0
    socket?.send(JSON.stringify({ op: 'ack', position }))
  }

  const onDisconnect = () => {
    socket?.removeAllListeners()
    // A socket that is terminated while connecting emits an error.
    socket?.on('error', () => {})
    socket?.terminate()
    socket = null
    subscribed = false
    unacked = null
    if (closed || stopped !== null || timer) return
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempts++)
    timer = setTimeout(connect, RETRY_MIN_MS + options.random() * ceiling)
  }

  const connect = () => {
    timer = null
    // Compression would cost more processor time than the rest of a crowd's work.
    const current = new WebSocket(options.url, {
      perMessageDeflate: false,
      headers: { 'cf-connecting-ip': options.client },
    })
    socket = current
    current.on('open', () =>
      current.send(JSON.stringify({ op: 'subscribe', channels, ...(position ? { since: position } : {}) })),
    )
    current.on('message', (data) => onMessage(String(data)))
    current.on('error', onDisconnect)
    current.on('close', (code, reason) => {
      if (code >= 4000 && code < 4100) stopped = `${code} ${String(reason)}`
      onDisconnect()
    })
  }

  connect()
  return {
    name: options.name,
    granularity: options.granularity,
    candles: () =>
      new Map(
        [...candlesByProduct].map(([product, ofProduct]) => [
          product,
          new Map([...ofProduct].map(([k, v]) => [k, toObserved(v)])),
        ]),
      ),
    contradictions,
    connected: () => socket?.readyState === WebSocket.OPEN,
    ready: () => subscribed && position !== null,
    returns,
    drop: onDisconnect,
    stopped: () => stopped,
    close() {
      closed = true
      if (timer) clearTimeout(timer)
      onDisconnect()
    },
  }
}
