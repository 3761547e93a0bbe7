import {
  type CloseReason,
  canSend,
  type DeliveryLimits,
  getCloseReason,
  getDueAt,
  markBehind,
  recordAck,
  recordMessage,
  recordSent,
  SLOWDOWN_AFTER_FRAMES,
  skipTo,
} from '../../src/delivery/delivery-state.ts'
import { CLOSE_CODES, type ErrorCode } from '../../src/protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  PING_TEXT,
  parseClientMessage,
  pongFrame,
} from '../../src/protocol/messages.ts'
import type { AttachmentCodec, Connection } from './connection.ts'

/** How old what a socket's attachment says of its last message may be. Milliseconds. */
const ATTACHMENT_MAX_AGE_MS = 60_000

/** Close codes and reasons of readers that are let go. */
const CLOSE_BY_REASON: Record<CloseReason, { code: number; reason: string }> = {
  slow: { code: CLOSE_CODES.slow_reader, reason: 'too far behind: nothing was acked for too long' },
  silent: { code: CLOSE_CODES.silent_reader, reason: 'nothing was heard for too long: send a ping now and then' },
}

/** What sockets need of the object that holds them. Times are unix milliseconds. */
export type HubHost = { limits: DeliveryLimits; now(): number }

/**
 * The sockets of one object and how each of their readers keeps up (D3): accepts them, hears them, lets go of those that
 * are dead, and says whose turn it is. What they subscribe to, and what they are sent, is for those who extend it to say.
 * It sets no timers.
 */
export abstract class Hub<R extends Connection> {
  readonly #ctx: DurableObjectState
  readonly #host: HubHost
  readonly #attachments: AttachmentCodec<R>
  protected readonly connections = new Map<WebSocket, R>()
  /** End of the beat that readers share which never ack. */
  #intervalEndsAt = 0
  /** Nothing is to be done before this. */
  #dueAt = Number.POSITIVE_INFINITY
  /** Frames that held several updates for a reader that was behind. */
  conflations = 0
  /** Readers that were let go, by reason. */
  readonly closedConnections: Record<CloseReason, number> = { slow: 0, silent: 0 }

  constructor(ctx: DurableObjectState, host: HubHost, keeping: AttachmentCodec<R>) {
    this.#ctx = ctx
    this.#host = host
    this.#attachments = keeping
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING_TEXT, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const listener = keeping.load(socket)
      if (listener === null) continue
      this.connections.set(socket, listener)
      this.#updateDue(listener)
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
    for (const listener of this.connections.values()) if (!listener.passive) viewers++
    return viewers
  }

  /** How many sockets one client has open here. */
  countSockets(client: string): number {
    let sockets = 0
    for (const listener of this.connections.values()) if (listener.client === client) sockets++
    return sockets
  }

  accept(socket: WebSocket, client: string, passive: boolean): void {
    this.#ctx.acceptWebSocket(socket)
    const listener = this.#attachments.create(this.#host.now(), client, passive)
    this.connections.set(socket, listener)
    this.#attachments.save(socket, listener)
    this.#updateDue(listener)
  }

  remove(socket: WebSocket): void {
    this.connections.delete(socket)
  }

  /** Lets go of a socket that has not left of itself. */
  protected drop(socket: WebSocket): void {
    this.remove(socket)
  }

  /** When `tick` is to be called, unix milliseconds; infinite when nothing is to come. */
  get dueAt(): number {
    return this.#dueAt
  }

  /** Does what is due: sends what waited for the end of a beat, lets go of readers that are dead. */
  tick(): void {
    const now = this.#host.now()
    if (now < this.#dueAt) return
    for (const [socket, listener] of this.connections) {
      const end = getCloseReason(listener, now, this.#host.limits)
      if (end === 'slow' || (end === 'silent' && !this.#hasPinged(socket, listener, now))) this.#close(socket, end)
      else if (listener.behindSince !== null) this.sendOrDefer(socket, listener, now)
    }
    this.#dueAt = Number.POSITIVE_INFINITY
    for (const listener of this.connections.values()) this.#updateDue(listener)
  }

  #updateDue(listener: R): void {
    this.#dueAt = Math.min(this.#dueAt, getDueAt(listener, this.#host.limits))
  }

  #close(socket: WebSocket, end: CloseReason): void {
    this.drop(socket)
    this.closedConnections[end]++
    socket.serializeAttachment(null)
    socket.close(CLOSE_BY_REASON[end].code, CLOSE_BY_REASON[end].reason)
  }

  /** Whether a ping was answered without us since we looked last; then it was heard. */
  #hasPinged(socket: WebSocket, listener: R, now: number): boolean {
    const pingedAt = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    if (pingedAt === listener.pingedAt) return false
    listener.pingedAt = pingedAt
    // The runtime's time, which need not be the object's.
    recordMessage(listener, pingedAt > listener.lastMessageAt && pingedAt < now ? pingedAt : now, this.#intervalEndsAt)
    this.#attachments.save(socket, listener)
    return true
  }

  /** Brings a reader to the state of now, or lets it wait. */
  protected sendOrDefer(socket: WebSocket, listener: R, now: number): void {
    if (canSend(listener, now, this.#host.limits)) this.catchUp(socket, listener, now)
    else {
      markBehind(listener, now)
      this.#updateDue(listener)
    }
  }

  /** A reader has been sent everything up to `offset`. */
  protected markSent(socket: WebSocket, listener: R, offset: number, now: number): void {
    if (listener.framesSinceMessage === SLOWDOWN_AFTER_FRAMES - 1) this.#hasPinged(socket, listener, now)
    const beatAt = now + this.#host.limits.sendIntervalMs
    recordSent(listener, offset, beatAt)
    if (listener.nextSendAt === beatAt) this.#intervalEndsAt = beatAt
  }

  /** A reader has been told where the stream of its new channels stands, and sent all up to `offset`. */
  protected markSubscribed(listener: R, offset: number): void {
    skipTo(listener, offset)
    listener.unackedOffsets?.push(offset)
    listener.nextSendAt = Math.max(listener.nextSendAt, this.#intervalEndsAt)
  }

  /** Notes that a reader is there, and gives its message; null: it is none that is valid, and the reader is told so. */
  protected readMessage(socket: WebSocket, listener: R, data: string | ArrayBuffer): ClientMessage | null {
    const now = this.#host.now()
    recordMessage(listener, now, this.#intervalEndsAt)
    if (now - listener.savedMessageAt >= ATTACHMENT_MAX_AGE_MS) this.#attachments.save(socket, listener)
    const read =
      typeof data === 'string'
        ? parseClientMessage(data)
        : { error: errorFrame('invalid_message', 'messages are text, not binary', null) }
    if ('message' in read) return read.message
    this.send(socket, read.error)
    this.#sendPending(socket, listener, now)
    return null
  }

  /** Answers a message of a reader, if that is still there. */
  protected handleMessage(socket: WebSocket, listener: R, message: ClientMessage): void {
    if (!this.connections.has(socket)) return
    const now = this.#host.now()
    if (message.op === 'ping') this.send(socket, pongFrame(message.req_id))
    else if (message.op === 'ack') {
      const first = listener.unackedOffsets === null
      recordAck(listener, this.offsetOf(message.position))
      if (first) this.#attachments.save(socket, listener)
    } else this.subscribe(socket, listener, message, now)
    this.#sendPending(socket, listener, now)
  }

  /** What waited for a reader may have its turn now. */
  #sendPending(socket: WebSocket, listener: R, now: number): void {
    if (listener.behindSince !== null && this.connections.has(socket)) this.sendOrDefer(socket, listener, now)
  }

  /** Says why channels cannot be had. */
  protected sendError(
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
