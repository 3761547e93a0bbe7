import { backoffMs } from '../backoff.ts'
import { ackMessage, PING_TEXT, subscribeMessage, unsubscribeMessage } from '../protocol/client-messages.ts'
import { CLOSE_CODES } from '../protocol/errors.ts'
import type { RequestId } from '../protocol/messages.ts'

/** The few things of a WebSocket that a connection needs. */
export interface StreamSocket {
  /** Sends text, or nothing while the socket is not open. */
  send(text: string): void
  close(code?: number, reason?: string): void
  onopen: (() => void) | null
  onmessage: ((text: string) => void) | null
  onclose: ((code: number, reason: string) => void) | null
}

/** A clock (milliseconds), timers and randomness in [0, 1). */
export type ConnectionDeps = {
  now(): number
  /** Calls `run` after `ms`; the function that it returns cancels that. */
  later(run: () => void, ms: number): () => void
  random(): number
}

/** When a lost connection is dialled again. */
export type RetryPolicy = {
  /** Ceiling of the first pause; it doubles with each failure up to `maxMs`, under full jitter. */
  minMs: number
  maxMs: number
  /** Shortest pause after this close code. */
  floorMs(code: number): number
  /** Ceiling of the pause after a first loss with a close code that says "at once" (4200-4299). */
  restartSpreadMs: number
  /** Failures in a row after which the connection gives up. */
  maxFailures: number
  /** True for close codes after which no other socket is opened. */
  isFinal(code: number): boolean
}

export type ConnectionHandlers = {
  /**
   * Opens a socket, or returns null if the owner has ended the connection meanwhile. A rejection is a failed attempt.
   * @param isCurrent false once this attempt is obsolete: its socket would be closed at once
   */
  dial(isCurrent: () => boolean): StreamSocket | null | Promise<StreamSocket | null>
  /** A socket is here, open or still opening. */
  onSocket(socket: StreamSocket): void
  onMessage(text: string): void
  /** The socket is lost, or could not be had; the next attempt follows after `delayMs`. */
  onLost(attempt: number, delayMs: number): void
  /** No other attempt follows: the close code was final, or (4101) too many attempts failed. */
  onStop(code: number, reason: string): void
}

/** Close codes 4000-4099: coming back is of no use. */
export const isStopCode = (code: number): boolean => code >= 4000 && code < 4100
/** Close codes 4100-4199: come back after a pause. */
export const isPauseCode = (code: number): boolean => code >= 4100 && code < 4200
/** Close codes 4200-4299: come back at once. */
const isRestartCode = (code: number): boolean => code >= 4200 && code < 4300

/** What WebSocket reports for a connection that ended without a close frame. */
export const ABNORMAL_CLOSURE = 1006
/** Frames to one ack: half of the smallest window of a server, and a sixteenth of the work of acking each. */
const ACK_FRAMES = 16
/** A connection that lasted this long was a good one: the next loss starts from the first pause again. */
const MIN_UPTIME_MS = 10_000

export type ClientConnection = ReturnType<typeof openConnection>

/**
 * One client's connection to one of Kerb's sockets: dials, comes back after a loss by the rules of close codes, sends the
 * client's messages and spaces out its acks. What to subscribe to, and from where, is its owner's.
 */
export function openConnection(handlers: ConnectionHandlers, retry: RetryPolicy, deps: ConnectionDeps) {
  let socket: StreamSocket | null = null
  /** Rises with every attempt and every loss, so that a socket that comes too late is not taken. */
  let turn = 0
  let failures = 0
  let establishedAt: number | null = null
  let cancelRetry: (() => void) | null = null
  /** The last position acked on this socket, and the frames received since. */
  let acked: string | null = null
  let unackedFrames = 0

  function dial(): void {
    cancelRetry?.()
    cancelRetry = null
    const mine = ++turn
    const isCurrent = () => mine === turn
    const take = (found: StreamSocket | null) => {
      if (isCurrent() && found !== null) attach(found)
      else found?.close(1000, '')
    }
    const dialled = handlers.dial(isCurrent)
    if (!(dialled instanceof Promise)) take(dialled)
    else
      dialled.then(take, (error: unknown) => {
        if (isCurrent()) lost(ABNORMAL_CLOSURE, String(error))
      })
  }

  function attach(current: StreamSocket): void {
    socket = current
    acked = null
    unackedFrames = 0
    current.onmessage = (text) => {
      if (socket === current) handlers.onMessage(text)
    }
    current.onclose = (code, reason) => {
      if (socket === current) lost(code, reason)
    }
    handlers.onSocket(current)
  }

  function lost(code: number, reason: string): void {
    socket = null
    turn++
    if (establishedAt !== null && deps.now() - establishedAt >= MIN_UPTIME_MS) failures = 0
    establishedAt = null
    if (retry.isFinal(code)) handlers.onStop(code, reason)
    else if (failures >= retry.maxFailures) handlers.onStop(CLOSE_CODES.unavailable, 'cannot be reached')
    else scheduleRetry(code)
  }

  function scheduleRetry(code: number): void {
    const delayMs =
      isRestartCode(code) && failures === 0
        ? deps.random() * retry.restartSpreadMs
        : retry.floorMs(code) + backoffMs(failures, retry.minMs, retry.maxMs, deps.random())
    failures++
    // Before the owner learns of it, so that the owner can close the connection.
    cancelRetry = deps.later(dial, delayMs)
    handlers.onLost(failures, delayMs)
  }

  const send = (text: string) => socket?.send(text)

  function ack(position: string): void {
    if (position === acked) return
    acked = position
    unackedFrames = 0
    send(ackMessage(position))
  }

  return {
    get hasSocket() {
      return socket !== null
    },
    get isWaiting() {
      return cancelRetry !== null
    },
    /** Dials; a pause that is still running ends. */
    dial,
    /** The connection works: from here on its uptime counts. */
    markEstablished(): void {
      establishedAt = deps.now()
    },
    subscribe(channels: readonly string[], since: string | null, reqId: RequestId): void {
      send(subscribeMessage(channels, since, reqId))
    },
    unsubscribe(channels: readonly string[]): void {
      send(unsubscribeMessage(channels))
    },
    ping(): void {
      send(PING_TEXT)
    },
    /** Counts a frame with a position towards the next ack. */
    countFrame(): void {
      unackedFrames++
    },
    /** Acks a position, unless it is acked already. */
    ack,
    /** Acks a position if that is due: the first of a socket, then one for 16 frames. */
    ackIfDue(position: string): void {
      if (acked === null || unackedFrames >= ACK_FRAMES) ack(position)
    },
    /** Ends a socket that is of no use any more as if it had closed by itself, without waiting for the other side. */
    drop(code: number, reason: string): void {
      const current = socket
      lost(code, reason)
      current?.close()
    },
    /** Closes the connection for good. */
    close(code?: number, reason?: string): void {
      turn++
      cancelRetry?.()
      cancelRetry = null
      const current = socket
      socket = null
      current?.close(code, reason)
    },
  }
}

/** What the WebSockets of browsers, Node, workerd and the package `ws` have in common. */
export type PlatformSocket = {
  readonly readyState: number
  send(text: string): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'open' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
}

const READY_STATE_OPEN = 1

/** A platform's WebSocket as a `StreamSocket`. Binary messages are ignored; an error ends it. */
export function toStreamSocket(socket: PlatformSocket): StreamSocket {
  const wrapped: StreamSocket = {
    send: (text) => {
      if (socket.readyState === READY_STATE_OPEN) socket.send(text)
    },
    close: (code, reason) => socket.close(code, reason),
    onopen: null,
    onmessage: null,
    onclose: null,
  }
  socket.addEventListener('open', () => wrapped.onopen?.())
  socket.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') wrapped.onmessage?.(data)
  })
  socket.addEventListener('close', ({ code, reason }) => wrapped.onclose?.(code, reason))
  socket.addEventListener('error', () => wrapped.onclose?.(ABNORMAL_CLOSURE, ''))
  return wrapped
}
