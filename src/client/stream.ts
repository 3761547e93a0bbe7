import type { Gap, WireCandle } from '../protocol/candle.ts'
import type { WireQuote } from '../protocol/quote.ts'
import { type Exact, parseExact } from './exact-json.ts'

/**
 * How a connection is. `stale`: open, but a ping has gone unanswered for a while, so what is on screen may be old.
 * `stopped`: the server said that coming back is of no use.
 */
export type StreamState =
  | { name: 'connecting' }
  | { name: 'live' }
  | { name: 'stale' }
  | { name: 'reconnecting'; attempt: number; delayMs: number }
  | { name: 'stopped'; reason: string }

/** The few things of a WebSocket that the stream needs. */
export interface StreamSocket {
  send(text: string): void
  close(code?: number): void
  onopen: (() => void) | null
  onmessage: ((text: string) => void) | null
  onclose: ((code: number, reason: string) => void) | null
}

/** The world around a stream: sockets, timers (milliseconds) and randomness in [0, 1). */
export type StreamDeps = {
  connect(url: string): StreamSocket
  now(): number
  later(run: () => void, ms: number): () => void
  random(): number
}

/** What comes of candle channels. */
export type CandleHandlers = {
  /** Bars that changed, in order. */
  update(candles: WireCandle[]): void
  /** The place on return could not be continued: this is the state now, whatever came before. */
  snapshot(candles: WireCandle[], gaps: Gap[]): void
  /** How the server's own link to the exchange is: tells a quiet market from a dead feed (C8). */
  feed(state: string, gapsFrom: number, gaps: Gap[]): void
}

/** What comes of quote channels: the newest state of each, numbers as the texts in which they were written. */
export type QuoteHandlers = { quotes(quotes: Exact<WireQuote>[]): void }

/** What a stream tells: how its connection is, and what its channels bring. */
export type StreamHandlers = { state(state: StreamState): void } & Partial<CandleHandlers & QuoteHandlers>

export type Stream = {
  close(): void
  /** Looks now instead of later: the network came back, or the page is seen again. */
  check(): void
}

const PING_MS = 15_000
/** A ping that is not answered within this time shows, and within the next one ends the connection: 25 s at worst. */
const STALE_MS = 5_000
const DEAD_MS = 10_000
/** From dialling to `subscribed`. */
const SUBSCRIBE_MS = 15_000
/** Pause before coming back: doubles from the first to the last, full jitter. */
const RETRY_MIN_MS = 500
const RETRY_MAX_MS = 30_000
/** "At once" (4200-4299) is spread over this time, so that a restart does not meet all its clients in one instant. */
const AT_ONCE_MS = 100
/** Least pause after a close code 4100-4199 or a refusal that will pass. */
const PAUSE_MS = 5_000
/** Frames to one ack: well within the server's window, and little work for it. */
const ACK_FRAMES = 16
/** A connection that held this long was a good one: the next loss starts from the first pause again. */
const SETTLED_MS = 10_000

/** Refusals that another attempt cannot change. */
const FINAL_ERRORS = new Set([
  'unknown_product',
  'unknown_symbol',
  'ambiguous_symbol',
  'unknown_channel',
  'unknown_granularity',
  'invalid_message',
])

/**
 * A client of `/ws/products/:id` or `/ws` for one set of channels: subscribes from a position, comes back by itself after a loss
 * and continues from the last position seen (D2), pings, and does what close codes say.
 * @param url of the socket.
 * @param since position that the caller's history already holds; without it the server begins with a snapshot.
 */
export function openStream(
  options: { url: string; channels: string[]; since: string | null },
  handlers: StreamHandlers,
  deps: StreamDeps,
): Stream {
  let position = options.since
  let socket: StreamSocket | null = null
  let attempt = 0
  let requests = 0
  let subscribedAt: number | null = null
  let pingedAt: number | null = null
  /** Frames of this connection that are not acked; null: none of it is yet, and the server waits for the first. */
  let unacked: number | null = null
  let stopped = false
  let retryCancel: (() => void) | null = null
  let timerCancel: (() => void) | null = null
  let state: StreamState = { name: 'connecting' }

  const show = (next: StreamState) => {
    if (next.name === state.name && next.name !== 'reconnecting') return
    state = next
    handlers.state(next)
  }

  const timer = (run: () => void, ms: number) => {
    timerCancel?.()
    timerCancel = deps.later(run, ms)
  }

  function dial(): void {
    retryCancel?.()
    retryCancel = null
    const current = deps.connect(options.url)
    socket = current
    unacked = null
    current.onopen = () => {
      current.send(
        JSON.stringify({
          op: 'subscribe',
          channels: options.channels,
          ...(position === null ? {} : { since: position }),
          req_id: ++requests,
        }),
      )
    }
    current.onmessage = (text) => {
      if (socket === current) read(text)
    }
    current.onclose = (code, reason) => {
      if (socket === current) lost(code, reason)
    }
    timer(() => drop('no answer to the subscription'), SUBSCRIBE_MS)
  }

  /** Ends a connection that is of no use any more, without waiting for the other side to agree. */
  function drop(reason: string, pause = false): void {
    const current = socket
    lost(pause ? 4100 : 1006, reason)
    current?.close()
  }

  function lost(code: number, reason: string): void {
    socket = null
    timerCancel?.()
    pingedAt = null
    if (stopped) return
    if (subscribedAt !== null && deps.now() - subscribedAt >= SETTLED_MS) attempt = 0
    subscribedAt = null
    if (code >= 4000 && code < 4100) {
      stop(reason || `closed with ${code}`)
      return
    }
    const atOnce = code >= 4200 && code < 4300 && attempt === 0
    const ceiling = atOnce ? AT_ONCE_MS : Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt)
    const pause = code >= 4100 && code < 4200 ? PAUSE_MS : 0
    const delayMs = pause + deps.random() * ceiling
    attempt++
    show({ name: 'reconnecting', attempt, delayMs })
    retryCancel = deps.later(dial, delayMs)
  }

  function stop(reason: string): void {
    stopped = true
    retryCancel?.()
    timerCancel?.()
    const current = socket
    socket = null
    current?.close()
    show({ name: 'stopped', reason })
  }

  function read(text: string): void {
    const message = parse(text)
    if (message === null) return
    pingedAt = null
    if (subscribedAt !== null) {
      show({ name: 'live' })
      waitToPing()
    }
    switch (message.type) {
      case 'subscribed':
        // Its position is not taken: what was missed is still to come, and a cut before that must not lose it.
        subscribedAt = deps.now()
        show({ name: 'live' })
        waitToPing()
        break
      case 'snapshot':
        handlers.snapshot?.(message.candles, message.gaps)
        handled(message.position)
        break
      case 'update':
        handlers.update?.(message.candles)
        handled(message.position)
        break
      case 'quotes':
        handlers.quotes?.(message.quotes)
        handled(message.position)
        break
      case 'feed':
        handlers.feed?.(message.state, message.gaps_from, message.gaps)
        break
      case 'error':
        if (subscribedAt === null) {
          if (FINAL_ERRORS.has(message.code)) stop(message.message)
          else drop(message.message, true)
        }
        break
    }
  }

  /** Shows the server now and then how far we are: it sends each change to a reader of which it knows that it reads. */
  function handled(at: string): void {
    position = at
    unacked = unacked === null ? ACK_FRAMES : unacked + 1
    if (unacked < ACK_FRAMES) return
    unacked = 0
    socket?.send(JSON.stringify({ op: 'ack', position: at }))
  }

  const waitToPing = () => timer(ping, PING_MS)

  function ping(): void {
    if (socket === null || subscribedAt === null) return
    const sentAt = deps.now()
    pingedAt = sentAt
    socket.send(JSON.stringify({ op: 'ping', req_id: ++requests }))
    timer(() => {
      if (pingedAt !== sentAt) return
      show({ name: 'stale' })
      timer(() => {
        if (pingedAt === sentAt) drop('no answer to a ping')
      }, DEAD_MS - STALE_MS)
    }, STALE_MS)
  }

  dial()
  return {
    close() {
      stopped = true
      retryCancel?.()
      timerCancel?.()
      const current = socket
      socket = null
      current?.close(1000)
    },
    check() {
      if (retryCancel !== null && !stopped) dial()
      else if (pingedAt === null) ping()
    },
  }
}

type Incoming =
  | { type: 'subscribed' }
  | { type: 'snapshot'; position: string; candles: WireCandle[]; gaps: Gap[] }
  | { type: 'update'; position: string; candles: WireCandle[] }
  | { type: 'quotes'; position: string; quotes: Exact<WireQuote>[] }
  | { type: 'feed'; state: string; gaps_from: number; gaps: Gap[] }
  | { type: 'error'; code: string; message: string }
  | { type: 'other' }

/** Reads a frame; text that is not a frame gives null, a type that is not known gives `other` (D4). */
function parse(text: string): Incoming | null {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof json !== 'object' || json === null) return null
  const frame = json as Record<string, unknown>
  const { type, position } = frame
  const withCandles = typeof position === 'string' && Array.isArray(frame.candles)
  if ((type === 'snapshot' || type === 'update') && typeof position === 'string' && Array.isArray(frame.quotes))
    return { type: 'quotes', position, quotes: (parseExact(text) as { quotes: Exact<WireQuote>[] }).quotes }
  if (frame.type === 'subscribed') return { type: 'subscribed' }
  if (frame.type === 'update' && withCandles) return frame as Incoming
  if (frame.type === 'snapshot' && withCandles)
    return {
      ...(frame as { position: string; candles: WireCandle[] }),
      type: 'snapshot',
      gaps: (frame.gaps as Gap[]) ?? [],
    }
  if (frame.type === 'feed')
    return {
      type: 'feed',
      state: String(frame.state),
      gaps_from: Number(frame.gaps_from),
      gaps: (frame.gaps as Gap[]) ?? [],
    }
  if (frame.type === 'error') return { type: 'error', code: String(frame.code), message: String(frame.message) }
  return { type: 'other' }
}

/** The browser's own sockets, clock and randomness. */
export const browserDeps: StreamDeps = {
  connect(url) {
    const socket = new WebSocket(url)
    const wrapped: StreamSocket = {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text)
      },
      close: (code) => socket.close(code),
      onopen: null,
      onmessage: null,
      onclose: null,
    }
    socket.onopen = () => wrapped.onopen?.()
    socket.onmessage = (event) => wrapped.onmessage?.(String(event.data))
    socket.onclose = (event) => wrapped.onclose?.(event.code, event.reason)
    return wrapped
  },
  now: () => performance.now(),
  later(run, ms) {
    const id = setTimeout(run, ms)
    return () => clearTimeout(id)
  },
  random: Math.random,
}
