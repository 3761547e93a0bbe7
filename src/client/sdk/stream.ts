import {
  ABNORMAL_CLOSURE,
  type ConnectionDeps,
  isPauseCode,
  isStopCode,
  openConnection,
  type RetryPolicy,
  type StreamSocket,
  toStreamSocket,
} from '../../delivery/client-connection.ts'
import { CLOSE_CODES } from '../../protocol/errors.ts'

/**
 * The state of a connection. `stale`: open, but a ping is unanswered, so the data may be old. `stopped`: no other attempt
 * follows, because the server refused or closed the connection (`code`) for good.
 */
export type StreamState =
  | { name: 'connecting' }
  | { name: 'live' }
  | { name: 'stale' }
  | { name: 'reconnecting'; attempt: number; delayMs: number }
  | { name: 'stopped'; reason: string; code: number | null }

/** The world around a stream: sockets, a clock, timers (milliseconds) and randomness in [0, 1). */
export type StreamDeps = ConnectionDeps & {
  connect(url: string): StreamSocket
  /**
   * Calls `run` whenever the network is back or the page becomes visible again. The function that it returns ends that.
   */
  returned(run: () => void): () => void
}

/** The world around a client of the REST API. */
export type ClientDeps = StreamDeps & { fetch: typeof fetch }

/** A frame as text, and as JSON.parse reads it. */
export type Frame = { type: string; text: string; body: Readonly<Record<string, unknown>> }

export type StreamHandlers = {
  state(state: StreamState): void
  /** Handles a frame. Returns the position that it leads to; null if it has none, or is not understood (D4). */
  frame(frame: Frame): string | null
}

export type Stream = {
  close(): void
  /** Checks the connection now instead of later. The stream does so by itself when the network is back. */
  check(): void
}

const PING_INTERVAL_MS = 15_000
/** A ping that is not answered within this time shows, and within the next one ends the connection: 25 s at worst. */
const PONG_STALE_MS = 5_000
const PONG_TIMEOUT_MS = 10_000
/** From dialling to `subscribed`. */
const SUBSCRIBE_TIMEOUT_MS = 15_000
/** Shortest pause after a close code 4100-4199, or after a refusal that may pass. */
const MIN_PAUSE_MS = 5_000

const RETRY: RetryPolicy = {
  minMs: 500,
  maxMs: 30_000,
  floorMs: (code) => (isPauseCode(code) ? MIN_PAUSE_MS : 0),
  // A restart must not get all its clients back in the same instant.
  restartSpreadMs: 100,
  maxFailures: Number.POSITIVE_INFINITY,
  isFinal: isStopCode,
}

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
 * Opens a stream of one set of channels over one of Kerb's sockets. It subscribes from a position, reconnects after a loss
 * and continues from the last position seen (D2), sends pings, and follows the close codes of the server.
 * @param options.url address of the socket, or a function that finds it before each attempt: null ends the stream, a
 *   rejection is a failed attempt
 * @param options.since position that the caller's history already holds; without it the server begins with a snapshot
 */
export function openStream(
  options: { url: string | (() => Promise<string | null>); channels: readonly string[]; since: string | null },
  handlers: StreamHandlers,
  deps: StreamDeps,
): Stream {
  let position = options.since
  let requests = 0
  let subscribed = false
  let pingedAt: number | null = null
  let stopped = false
  let cancelTimer: (() => void) | null = null
  let state: StreamState = { name: 'connecting' }

  const show = (next: StreamState) => {
    if (next.name === state.name && next.name !== 'reconnecting') return
    state = next
    handlers.state(next)
  }

  const timer = (run: () => void, ms: number) => {
    cancelTimer?.()
    if (!stopped) cancelTimer = deps.later(run, ms)
  }

  const connection = openConnection(
    {
      dial(isCurrent) {
        timer(() => connection.drop(ABNORMAL_CLOSURE, 'no answer to the subscription'), SUBSCRIBE_TIMEOUT_MS)
        return typeof options.url === 'string' ? deps.connect(options.url) : findAndConnect(options.url, isCurrent)
      },
      onSocket(socket) {
        socket.onopen = () => connection.subscribe(options.channels, position, ++requests)
      },
      onMessage: read,
      onLost(attempt, delayMs) {
        reset()
        show({ name: 'reconnecting', attempt, delayMs })
      },
      onStop: (code, reason) => stop(reason || `closed with ${code}`, code),
    },
    RETRY,
    deps,
  )

  async function findAndConnect(
    find: () => Promise<string | null>,
    isCurrent: () => boolean,
  ): Promise<StreamSocket | null> {
    const url = await find()
    if (!isCurrent()) return null
    if (url !== null) return deps.connect(url)
    stop('not allowed')
    return null
  }

  function reset(): void {
    cancelTimer?.()
    pingedAt = null
    subscribed = false
  }

  function stop(reason: string, code: number | null = null): void {
    end()
    show({ name: 'stopped', reason, code })
  }

  function end(code?: number): void {
    stopped = true
    stopWatching()
    reset()
    connection.close(code)
  }

  function read(text: string): void {
    const frame = parseFrame(text)
    if (frame === null) return
    pingedAt = null
    // The position of `subscribed` is not taken: what was missed is still to come, and a cut before that must not lose it.
    if (frame.type === 'subscribed') {
      subscribed = true
      connection.markEstablished()
    }
    if (subscribed) {
      show({ name: 'live' })
      timer(ping, PING_INTERVAL_MS)
    }
    if (frame.type === 'subscribed') return
    if (frame.type === 'error') {
      if (!subscribed) refused(String(frame.body.code), String(frame.body.message))
      return
    }
    const reached = handlers.frame(frame)
    if (reached === null) return
    position = reached
    // The server sends each change only to a client of which it knows that it reads.
    connection.countFrame()
    connection.ackIfDue(reached)
  }

  function refused(code: string, message: string): void {
    if (FINAL_ERRORS.has(code)) stop(message)
    else connection.drop(CLOSE_CODES.unavailable, message)
  }

  function ping(): void {
    if (!connection.hasSocket || !subscribed) return
    const sentAt = deps.now()
    pingedAt = sentAt
    connection.ping()
    timer(() => {
      if (pingedAt !== sentAt) return
      show({ name: 'stale' })
      timer(() => {
        if (pingedAt === sentAt) connection.drop(ABNORMAL_CLOSURE, 'no answer to a ping')
      }, PONG_TIMEOUT_MS - PONG_STALE_MS)
    }, PONG_STALE_MS)
  }

  function check(): void {
    if (stopped) return
    if (connection.isWaiting) connection.dial()
    else if (pingedAt === null) ping()
  }

  const stopWatching = deps.returned(check)
  connection.dial()
  return { close: () => end(1000), check }
}

/** Parses a frame. Returns null for text that is not a JSON object. */
function parseFrame(text: string): Frame | null {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof json !== 'object' || json === null) return null
  const body = json as Record<string, unknown>
  return { type: String(body.type), text, body }
}

/** The URL of a socket of the Kerb at `base`; without `base`, of the Kerb that served the page. @throws TypeError */
export function socketUrl(base: string | undefined, path: string): string {
  const url = new URL(path, base ?? globalThis.location?.href)
  url.protocol = url.protocol.replace('http', 'ws')
  return url.href
}

/** `connect` for a class with the interface of the browser's WebSocket, such as that of the package `ws`. */
export const socketsOf =
  (Socket: new (url: string) => WebSocket): StreamDeps['connect'] =>
  (url) =>
    toStreamSocket(new Socket(url))

/** The sockets, clock, timers, randomness and fetch of a browser, or of Node from version 22. */
export const browserDeps: ClientDeps = {
  connect: (url) => socketsOf(WebSocket)(url),
  now: () => performance.now(),
  later(run, ms) {
    const id = setTimeout(run, ms)
    return () => clearTimeout(id)
  },
  random: Math.random,
  returned(run) {
    const { document } = globalThis
    if (document === undefined) return () => {}
    const seen = () => {
      if (!document.hidden) run()
    }
    addEventListener('online', seen)
    document.addEventListener('visibilitychange', seen)
    return () => {
      removeEventListener('online', seen)
      document.removeEventListener('visibilitychange', seen)
    }
  },
  fetch: (...request) => fetch(...request),
}
