import {
  acked,
  delivered,
  dueOf,
  endOf,
  heard,
  hold,
  isReady,
  passed,
  type ReaderEnd,
  type ReaderLimits,
  UNHEARD_FRAMES,
} from '../../src/delivery/reader.ts'
import { CLOSE, type ErrorCode } from '../../src/protocol/errors.ts'
import { type ClientMessage, errorFrame, PING, pongFrame, readClientMessage } from '../../src/protocol/messages.ts'
import type { Keeping, SocketReader } from './connection.ts'

/** How old what a socket's attachment says of its last message may be. Milliseconds. */
const NOTE_MS = 60_000

/** Close codes and reasons of readers that are let go. */
const ENDS: Record<ReaderEnd, { code: number; reason: string }> = {
  slow: { code: CLOSE.slow_reader, reason: 'too far behind: nothing was acked for too long' },
  silent: { code: CLOSE.silent_reader, reason: 'nothing was heard for too long: send a ping now and then' },
}

/** What sockets need of the object that holds them. Times are unix milliseconds. */
export type ReaderSocketsHost = { limits: ReaderLimits; now(): number }

/**
 * The sockets of one object and how each of their readers keeps up (D3): accepts them, hears them, lets go of those that
 * are dead, and says whose turn it is. What they subscribe to, and what they are sent, is for those who extend it to say.
 * It sets no timers.
 */
export abstract class ReaderSockets<R extends SocketReader> {
  readonly #ctx: DurableObjectState
  readonly #host: ReaderSocketsHost
  readonly #keeping: Keeping<R>
  protected readonly listeners = new Map<WebSocket, R>()
  /** End of the beat that readers share which never ack. */
  #beatAt = 0
  /** Nothing is to be done before this. */
  #due = Number.POSITIVE_INFINITY
  /** Frames that held several updates for a reader that was behind. */
  conflations = 0
  /** Readers that were let go, by reason. */
  readonly closedReaders: Record<ReaderEnd, number> = { slow: 0, silent: 0 }

  constructor(ctx: DurableObjectState, host: ReaderSocketsHost, keeping: Keeping<R>) {
    this.#ctx = ctx
    this.#host = host
    this.#keeping = keeping
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const listener = keeping.restored(socket)
      if (listener === null) continue
      this.listeners.set(socket, listener)
      this.#plan(listener)
    }
  }

  /** The offset that a position names, if it is one of ours. */
  protected abstract offsetOf(position: string): number | null

  /** Brings a reader to the state of now. */
  protected abstract catchUp(socket: WebSocket, listener: R, now: number): void

  protected abstract subscribe(
    socket: WebSocket,
    listener: R,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void

  /** How many sockets count as viewers. */
  get viewers(): number {
    let viewers = 0
    for (const listener of this.listeners.values()) if (!listener.passive) viewers++
    return viewers
  }

  /** How many sockets one client has open here. */
  socketsOf(client: string): number {
    let sockets = 0
    for (const listener of this.listeners.values()) if (listener.client === client) sockets++
    return sockets
  }

  accept(socket: WebSocket, client: string, passive: boolean): void {
    this.#ctx.acceptWebSocket(socket)
    const listener = this.#keeping.newListener(this.#host.now(), client, passive)
    this.listeners.set(socket, listener)
    this.#keeping.note(socket, listener)
    this.#plan(listener)
  }

  leave(socket: WebSocket): void {
    this.listeners.delete(socket)
  }

  /** Lets go of a socket that has not left of itself. */
  protected drop(socket: WebSocket): void {
    this.leave(socket)
  }

  /** When `tick` is to be called, unix milliseconds; infinite when nothing is to come. */
  get due(): number {
    return this.#due
  }

  /** Does what is due: sends what waited for the end of a beat, lets go of readers that are dead. */
  tick(): void {
    const now = this.#host.now()
    if (now < this.#due) return
    for (const [socket, listener] of this.listeners) {
      const end = endOf(listener, now, this.#host.limits)
      if (end === 'slow' || (end === 'silent' && !this.#hasPinged(socket, listener, now))) this.#release(socket, end)
      else if (listener.behindSince !== null) this.serve(socket, listener, now)
    }
    this.#due = Number.POSITIVE_INFINITY
    for (const listener of this.listeners.values()) this.#plan(listener)
  }

  #plan(listener: R): void {
    this.#due = Math.min(this.#due, dueOf(listener, this.#host.limits))
  }

  #release(socket: WebSocket, end: ReaderEnd): void {
    this.drop(socket)
    this.closedReaders[end]++
    socket.serializeAttachment(null)
    socket.close(ENDS[end].code, ENDS[end].reason)
  }

  /** Whether a ping was answered without us since we looked last; then it was heard. */
  #hasPinged(socket: WebSocket, listener: R, now: number): boolean {
    const pingedAt = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    if (pingedAt === listener.pingedAt) return false
    listener.pingedAt = pingedAt
    // The runtime's time, which need not be the object's.
    heard(listener, pingedAt > listener.heardAt && pingedAt < now ? pingedAt : now, this.#beatAt)
    this.#keeping.note(socket, listener)
    return true
  }

  /** Brings a reader to the state of now, or lets it wait. */
  protected serve(socket: WebSocket, listener: R, now: number): void {
    if (isReady(listener, now, this.#host.limits)) this.catchUp(socket, listener, now)
    else {
      hold(listener, now)
      this.#plan(listener)
    }
  }

  /** A reader has been sent everything up to `offset`. */
  protected served(socket: WebSocket, listener: R, offset: number, now: number): void {
    if (listener.unheard === UNHEARD_FRAMES - 1) this.#hasPinged(socket, listener, now)
    const beatAt = now + this.#host.limits.beat
    delivered(listener, offset, beatAt)
    if (listener.nextAt === beatAt) this.#beatAt = beatAt
  }

  /** A reader has been told where the stream of its new channels stands, and sent all up to `offset`. */
  protected welcomed(listener: R, offset: number): void {
    passed(listener, offset)
    listener.unacked?.push(offset)
    listener.nextAt = Math.max(listener.nextAt, this.#beatAt)
  }

  /** Notes that a reader is there, and gives its message; null: it is none that is valid, and the reader is told so. */
  protected hear(socket: WebSocket, listener: R, data: string | ArrayBuffer): ClientMessage | null {
    const now = this.#host.now()
    heard(listener, now, this.#beatAt)
    if (now - listener.notedAt >= NOTE_MS) this.#keeping.note(socket, listener)
    const read =
      typeof data === 'string'
        ? readClientMessage(data)
        : { error: errorFrame('invalid_message', 'messages are text, not binary', null) }
    if ('message' in read) return read.message
    this.send(socket, read.error)
    this.#resume(socket, listener, now)
    return null
  }

  /** Answers a message of a reader, if that is still there. */
  protected answer(socket: WebSocket, listener: R, message: ClientMessage): void {
    if (!this.listeners.has(socket)) return
    const now = this.#host.now()
    if (message.op === 'ping') this.send(socket, pongFrame(message.req_id))
    else if (message.op === 'ack') {
      const first = listener.unacked === null
      acked(listener, this.offsetOf(message.position))
      if (first) this.#keeping.note(socket, listener)
    } else this.subscribe(socket, listener, message, now)
    this.#resume(socket, listener, now)
  }

  /** What waited for a reader may have its turn now. */
  #resume(socket: WebSocket, listener: R, now: number): void {
    if (listener.behindSince !== null && this.listeners.has(socket)) this.serve(socket, listener, now)
  }

  /** Says why channels cannot be had. */
  protected refuse(
    socket: WebSocket,
    { code, message, field }: { code: ErrorCode; message: string; field: string | null },
    reqId: ClientMessage['req_id'],
  ): void {
    this.send(socket, errorFrame(code, message, field, reqId))
  }

  protected send(socket: WebSocket, frame: string): void {
    try {
      socket.send(frame)
    } catch {
      // The socket is gone; its close event may come later or never.
      this.drop(socket)
    }
  }
}
