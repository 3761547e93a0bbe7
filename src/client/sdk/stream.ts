/**
 * How a connection is. `stale`: open, but a ping has gone unanswered for a while, so what is on screen may be old.
 * `stopped`: the server said that coming back is of no use, by a close code where there is one.
 */
export type StreamState =
  | { name: 'connecting' }
  | { name: 'live' }
  | { name: 'stale' }
  | { name: 'reconnecting'; attempt: number; delayMs: number }
  | { name: 'stopped'; reason: string; code: number | null }

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
  /** Calls `run` whenever the network is back or the page is seen again, until what it gives is called. */
  returned(run: () => void): () => void
}

/** What a client of REST needs beside. */
export type ClientDeps = StreamDeps & { fetch: typeof fetch }

/** A frame as it came, and as JSON.parse reads it. */
export type Frame = { type: string; text: string; body: Readonly<Record<string, unknown>> }

export type StreamHandlers = {
  state(state: StreamState): void
  /** Takes what a channel brings. Gives the position that it leads to; null: none, or it is not understood (D4). */
  frame(frame: Frame): string | null
}

export type Stream = {
  close(): void
  /** Looks now instead of later whether the connection holds. It does so by itself when the network is back. */
  check(): void
}

/** This very text is answered without waking an object that sleeps (`PING` of the protocol, which has a schema library). */
const PING = '{"op":"ping"}'
const PING_INTERVAL_MS = 15_000
/** A ping that is not answered within this time shows, and within the next one ends the connection: 25 s at worst. */
const PONG_STALE_MS = 5_000
const PONG_TIMEOUT_MS = 10_000
/** From dialling to `subscribed`. */
const SUBSCRIBE_TIMEOUT_MS = 15_000
/** Pause before coming back: doubles from the first to the last, full jitter. */
const RETRY_MIN_MS = 500
const RETRY_MAX_MS = 30_000
/** "At once" (4200-4299) is spread over this time, so that a restart does not meet all its clients in one instant. */
const RESTART_SPREAD_MS = 100
/** Least pause after a close code 4100-4199 or a refusal that will pass. */
const MIN_PAUSE_MS = 5_000
/** Frames to one ack: well within the server's window, and little work for it. */
const ACK_FRAMES = 16
/** A connection that held this long was a good one: the next loss starts from the first pause again. */
const MIN_UPTIME_MS = 10_000

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
 * A client of one of Kerb's sockets for one set of channels: subscribes from a position, comes back by itself after a loss
 * and continues from the last position seen (D2), pings, and does what close codes say.
 * @param url of the socket, or what finds it before each attempt: null ends the stream, a rejection is a failed attempt.
 * @param since position that the caller's history already holds; without it the server begins with a snapshot.
 */
export function openStream(
  options: { url: string | (() => Promise<string | null>); channels: readonly string[]; since: string | null },
  handlers: StreamHandlers,
  deps: StreamDeps,
): Stream {
  let position = options.since
  let socket: StreamSocket | null = null
  /** Rises with every attempt and every loss: an address that was found too late is of no use. */
  let turn = 0
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
    if (!stopped) timerCancel = deps.later(run, ms)
  }

  function dial(): void {
    retryCancel?.()
    retryCancel = null
    timer(() => drop('no answer to the subscription'), SUBSCRIBE_TIMEOUT_MS)
    if (typeof options.url === 'string') {
      open(options.url)
      return
    }
    const mine = ++turn
    options.url().then(
      (url) => {
        if (mine !== turn || stopped) return
        if (url === null) stop('not allowed')
        else open(url)
      },
      (error: unknown) => {
        if (mine === turn) lost(1006, String(error))
      },
    )
  }

  function open(url: string): void {
    const current = deps.connect(url)
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
  }

  /** Ends a connection that is of no use any more, without waiting for the other side to agree. */
  function drop(reason: string, pause = false): void {
    const current = socket
    lost(pause ? 4100 : 1006, reason)
    current?.close()
  }

  function lost(code: number, reason: string): void {
    socket = null
    turn++
    timerCancel?.()
    pingedAt = null
    if (stopped) return
    if (subscribedAt !== null && deps.now() - subscribedAt >= MIN_UPTIME_MS) attempt = 0
    subscribedAt = null
    if (code >= 4000 && code < 4100) {
      stop(reason || `closed with ${code}`, code)
      return
    }
    const atOnce = code >= 4200 && code < 4300 && attempt === 0
    const ceiling = atOnce ? RESTART_SPREAD_MS : Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempt)
    const pause = code >= 4100 && code < 4200 ? MIN_PAUSE_MS : 0
    const delayMs = pause + deps.random() * ceiling
    attempt++
    // First, so that who hears of it can close the stream.
    retryCancel = deps.later(dial, delayMs)
    show({ name: 'reconnecting', attempt, delayMs })
  }

  function stop(reason: string, code: number | null = null): void {
    end()
    show({ name: 'stopped', reason, code })
  }

  function end(code?: number): void {
    stopped = true
    notReturned()
    retryCancel?.()
    timerCancel?.()
    const current = socket
    socket = null
    current?.close(code)
  }

  function read(text: string): void {
    const frame = parseFrame(text)
    if (frame === null) return
    pingedAt = null
    if (subscribedAt !== null) {
      show({ name: 'live' })
      waitToPing()
    }
    if (frame.type === 'subscribed') {
      // Its position is not taken: what was missed is still to come, and a cut before that must not lose it.
      subscribedAt = deps.now()
      show({ name: 'live' })
      waitToPing()
    } else if (frame.type === 'error') {
      if (subscribedAt !== null) return
      const { code, message } = frame.body
      if (FINAL_ERRORS.has(String(code))) stop(String(message))
      else drop(String(message), true)
    } else {
      const reached = handlers.frame(frame)
      if (reached !== null) handled(reached)
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

  const waitToPing = () => timer(ping, PING_INTERVAL_MS)

  function ping(): void {
    if (socket === null || subscribedAt === null) return
    const sentAt = deps.now()
    pingedAt = sentAt
    socket.send(PING)
    timer(() => {
      if (pingedAt !== sentAt) return
      show({ name: 'stale' })
      timer(() => {
        if (pingedAt === sentAt) drop('no answer to a ping')
      }, PONG_TIMEOUT_MS - PONG_STALE_MS)
    }, PONG_STALE_MS)
  }

  function check(): void {
    if (stopped) return
    if (retryCancel !== null) dial()
    else if (pingedAt === null) ping()
  }

  const notReturned = deps.returned(check)
  dial()
  return { close: () => end(1000), check }
}

/** Reads a frame; text that is none gives null. */
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

/** The address of a socket of the Kerb at `base`; without it, of the one whose page this is. @throws TypeError */
export function socketUrl(base: string | undefined, path: string): string {
  const url = new URL(path, base ?? globalThis.location?.href)
  url.protocol = url.protocol.replace('http', 'ws')
  return url.href
}

/** The sockets of a class that has the browser's interface, such as that of the package `ws`. */
export const socketsOf =
  (Socket: new (url: string) => WebSocket): StreamDeps['connect'] =>
  (url) => {
    const socket = new Socket(url)
    const wrapped: StreamSocket = {
      send: (text) => {
        if (socket.readyState === socket.OPEN) socket.send(text)
      },
      close: (code) => socket.close(code),
      onopen: null,
      onmessage: null,
      onclose: null,
    }
    socket.onopen = () => wrapped.onopen?.()
    socket.onmessage = (event) => wrapped.onmessage?.(String(event.data))
    socket.onclose = (event) => wrapped.onclose?.(event.code, event.reason)
    // A close follows, which says all that is told.
    socket.onerror = () => {}
    return wrapped
  }

/** The sockets, clock, randomness and fetch of a browser; and of Node, from 22 on. */
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
