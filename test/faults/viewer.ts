import { WebSocket } from 'ws'
import type { Finding, ObservedCandle } from './compare.ts'
import { candleKey, formatScaled, parseScaled } from './fold.ts'

/** How one viewer behaves. `acks`: it says what it has handled; the pause before it comes back is real milliseconds. */
export type ViewerOptions = {
  name: string
  url: string
  products: string[]
  /** The one granularity that it asks for; null: all. */
  granularity: string | null
  acks: boolean
  /** The address that it comes from, by which limits per client count. */
  client: string
  /** Evenly in [0, 1). */
  random(): number
}

export type Viewer = {
  name: string
  granularity: string | null
  /** The candles as they stand on this viewer's screen, by product and key. */
  candles(): Map<string, Map<string, ObservedCandle>>
  /** What it was told that can never be: a candle that opened again, went back, or changed without a new revision. */
  contradictions: Finding[]
  /** Whether it is connected, and whether it has had a first snapshot, too. */
  connected(): boolean
  ready(): boolean
  /** Times that it came back and was given exactly what it missed, and times that it was given a snapshot. */
  returns: { recovered: number; snapshots: number }
  /** Loses its connection, without a word. */
  drop(): void
  /** Why it was told never to come back; null if it was not. */
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

/** Frames to one ack, as in our own client: an ack of every frame would be all that a crowd's server is busy with. */
const ACK_FRAMES = 16

const RETRY_MIN_MS = 10
const RETRY_MAX_MS = 150

/** The flat objects of a frame's candles, as they were written: numbers are compared digit by digit. */
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
 * A reader of candles as the contract has it: it subscribes, replaces candles by key, and comes back from the last
 * position that it has, with a pause that doubles.
 */
export function openViewer(options: ViewerOptions): Viewer {
  const kept = new Map<string, Map<string, ReceivedCandle>>()
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
  /** Frames of this connection that are not acked; null: none of it is yet. */
  let unacked: number | null = null

  const put = (candle: WireCandle, text: string) => {
    const key = candleKey(candle.granularity, candle.timestamp)
    const ours = kept.get(candle.product_id) ?? new Map<string, ReceivedCandle>()
    kept.set(candle.product_id, ours)
    const before = ours.get(key)
    if (before?.candle.is_complete) {
      const finding = { product: candle.product_id, key, place: options.name }
      if (!candle.is_complete) contradictions.push({ ...finding, reason: 'was complete and is forming again' })
      else if (candle.rev < before.candle.rev)
        contradictions.push({ ...finding, reason: `went back from revision ${before.candle.rev} to ${candle.rev}` })
      else if (candle.rev === before.candle.rev && text !== before.text)
        contradictions.push({ ...finding, reason: `changed within revision ${candle.rev}: ${before.text} ${text}` })
    }
    ours.set(key, { candle, text })
  }

  /** What a snapshot spans is as it says: bars that it does not hold were never there. */
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
      for (const [key, { candle }] of kept.get(product_id) ?? [])
        if (candle.granularity === granularity && candle.timestamp >= timestamp && !named.has(`${product_id} ${key}`))
          kept.get(product_id)?.delete(key)
  }

  const read = (text: string) => {
    const frame = JSON.parse(text) as Frame
    if (frame.type === 'subscribed') {
      subscribed = true
      attempts = 0
      if (frame.recovered) returns.recovered++
      else returns.snapshots++
    }
    if (frame.type === 'error') return lost()
    if ((frame.type !== 'update' && frame.type !== 'snapshot') || !frame.candles) return
    if (frame.type === 'snapshot') clear(frame.candles)
    const texts = candleTexts(text)
    for (const [i, candle] of frame.candles.entries()) put(candle, texts[i] as string)
    position = frame.position ?? position
    if (options.acks) ack()
  }

  /** Acks the first frame of a connection, which tells the server that this client acks, then every sixteenth. */
  const ack = () => {
    unacked = unacked === null ? ACK_FRAMES : unacked + 1
    if (unacked < ACK_FRAMES || position === null) return
    unacked = 0
    socket?.send(JSON.stringify({ op: 'ack', position }))
  }

  const lost = () => {
    socket?.removeAllListeners()
    // A connection that is still being made tells of its end by an error.
    socket?.on('error', () => {})
    socket?.terminate()
    socket = null
    subscribed = false
    unacked = null
    if (closed || stopped !== null || timer) return
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempts++)
    timer = setTimeout(dial, RETRY_MIN_MS + options.random() * ceiling)
  }

  const dial = () => {
    timer = null
    // Compression would cost this machine more than everything else that a crowd does.
    const current = new WebSocket(options.url, {
      perMessageDeflate: false,
      headers: { 'cf-connecting-ip': options.client },
    })
    socket = current
    current.on('open', () =>
      current.send(JSON.stringify({ op: 'subscribe', channels, ...(position ? { since: position } : {}) })),
    )
    current.on('message', (data) => read(String(data)))
    current.on('error', lost)
    current.on('close', (code, reason) => {
      if (code >= 4000 && code < 4100) stopped = `${code} ${String(reason)}`
      lost()
    })
  }

  dial()
  return {
    name: options.name,
    granularity: options.granularity,
    candles: () =>
      new Map([...kept].map(([product, ours]) => [product, new Map([...ours].map(([k, v]) => [k, toObserved(v)]))])),
    contradictions,
    connected: () => socket?.readyState === WebSocket.OPEN,
    ready: () => subscribed && position !== null,
    returns,
    drop: lost,
    stopped: () => stopped,
    close() {
      closed = true
      if (timer) clearTimeout(timer)
      lost()
    },
  }
}
