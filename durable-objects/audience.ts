import { channelMask, channelsOf } from '../src/delivery/channel-mask.ts'
import {
  acked,
  delivered,
  dueOf,
  endOf,
  heard,
  hold,
  isReady,
  newReader,
  passed,
  type Reader,
  type ReaderEnd,
  type ReaderLimits,
  UNHEARD_FRAMES,
} from '../src/delivery/reader.ts'
import { UpdateLog } from '../src/delivery/update-log.ts'
import type { Candle, Gap } from '../src/protocol/candle.ts'
import { CLOSE } from '../src/protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  PING,
  pongFrame,
  readClientMessage,
  snapshotFrame,
  subscribedFrame,
  unsubscribedFrame,
} from '../src/protocol/messages.ts'

/** How old what a socket's attachment says of its last message may be. Milliseconds. */
const NOTE_MS = 60_000

/** What is kept with a socket, so that it outlives the object's sleep. */
type Attachment = {
  mask: number
  passive: boolean
  client: string
  acks: boolean
  heardAt: number
  pingedAt: number
}

/** `notedAt` is the `heardAt` of its attachment; `pingedAt` the last ping that was answered without us, by its clock. */
type Listener = Reader & { passive: boolean; client: string; notedAt: number; pingedAt: number }

/** What an audience needs of the object that holds it. Times are unix milliseconds. */
export type AudienceHost = {
  product: string
  /** See RESUME_FRAMES. */
  resumeFrames: number
  limits: ReaderLimits
  now(): number
  /** The newest bars of the granularities in `mask`, and where trades are missing among them. */
  snapshot(mask: number): { candles: Candle[]; gaps: Gap[] }
  /** The frame that tells how the feed is. */
  feedFrame(): string
  /** Listeners were let go. */
  left(): void
}

/** Close codes and reasons of readers that are let go. */
const ENDS: Record<ReaderEnd, { code: number; reason: string }> = {
  slow: { code: CLOSE.slow_reader, reason: 'too far behind: nothing was acked for too long' },
  silent: { code: CLOSE.silent_reader, reason: 'nothing was heard for too long: send a ping now and then' },
}

/**
 * The sockets of one object: accepts, subscribes, sends one text to all who are in step (D1), the state of now to those
 * who are behind (D3), and what a returning one missed (D2). It sets no timers.
 */
export class Audience {
  readonly #ctx: DurableObjectState
  readonly #host: AudienceHost
  readonly #listeners = new Map<WebSocket, Listener>()
  readonly #log: UpdateLog
  /** Snapshot frames at the present offset, by mask: a thousand viewers that come at once cost one. */
  readonly #snapshots = new Map<number, string>()
  /** End of the beat that readers share which never ack. */
  #beatAt = 0
  /** Nothing is to be done before this. */
  #due = Number.POSITIVE_INFINITY
  /** Frames that held several updates for a reader that was behind. */
  conflations = 0
  /** Readers that were let go, by reason. */
  readonly closedReaders: Record<ReaderEnd, number> = { slow: 0, silent: 0 }

  constructor(ctx: DurableObjectState, host: AudienceHost, epoch: string) {
    this.#ctx = ctx
    this.#host = host
    this.#log = new UpdateLog(epoch, host.resumeFrames)
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const kept = socket.deserializeAttachment() as Attachment | null
      // Null: let go, and the other side has not answered yet.
      if (kept === null) continue
      const { mask, passive, client, acks, heardAt, pingedAt } = kept
      const reader = { ...newReader(heardAt), mask, unacked: acks ? [] : null }
      this.#listeners.set(socket, { ...reader, passive, client, notedAt: heardAt, pingedAt })
    }
    for (const listener of this.#listeners.values()) this.#plan(listener)
  }

  get position(): string {
    return this.#log.position
  }

  /** How many sockets count as viewers. */
  get viewers(): number {
    let viewers = 0
    for (const listener of this.#listeners.values()) if (!listener.passive) viewers++
    return viewers
  }

  /** How many sockets one client has open here. */
  socketsOf(client: string): number {
    let sockets = 0
    for (const listener of this.#listeners.values()) if (listener.client === client) sockets++
    return sockets
  }

  accept(socket: WebSocket, client: string, passive: boolean): void {
    this.#ctx.acceptWebSocket(socket)
    const now = this.#host.now()
    const listener = { ...newReader(now), passive, client, notedAt: now, pingedAt: 0 }
    this.#listeners.set(socket, listener)
    this.#note(socket, listener)
    this.#plan(listener)
  }

  leave(socket: WebSocket): void {
    this.#listeners.delete(socket)
  }

  #note(socket: WebSocket, listener: Listener): void {
    const { mask, passive, client, unacked, heardAt, pingedAt } = listener
    const attachment: Attachment = { mask, passive, client, acks: unacked !== null, heardAt, pingedAt }
    listener.notedAt = heardAt
    socket.serializeAttachment(attachment)
  }

  /** When `tick` is to be called, unix milliseconds; infinite when nothing is to come. */
  get due(): number {
    return this.#due
  }

  /** Does what is due: sends what waited for the end of a beat, lets go of readers that are dead. */
  tick(): void {
    const now = this.#host.now()
    if (now < this.#due) return
    for (const [socket, listener] of this.#listeners) {
      const end = endOf(listener, now, this.#host.limits)
      if (end === 'slow' || (end === 'silent' && !this.#hasPinged(socket, listener, now))) this.#release(socket, end)
      else if (listener.behindSince !== null) this.#serve(socket, listener, now)
    }
    this.#due = Number.POSITIVE_INFINITY
    for (const listener of this.#listeners.values()) this.#plan(listener)
  }

  #plan(listener: Listener): void {
    this.#due = Math.min(this.#due, dueOf(listener, this.#host.limits))
  }

  #release(socket: WebSocket, end: ReaderEnd): void {
    this.#listeners.delete(socket)
    this.closedReaders[end]++
    socket.serializeAttachment(null)
    socket.close(ENDS[end].code, ENDS[end].reason)
    this.#host.left()
  }

  /** Whether a ping was answered without us since we looked last; then it was heard. */
  #hasPinged(socket: WebSocket, listener: Listener, now: number): boolean {
    const pingedAt = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    if (pingedAt === listener.pingedAt) return false
    listener.pingedAt = pingedAt
    // The runtime's time, which need not be the object's.
    heard(listener, pingedAt > listener.heardAt && pingedAt < now ? pingedAt : now, this.#beatAt)
    this.#note(socket, listener)
    return true
  }

  /** Sends changed candles to everybody who subscribes to one of them, in one frame each. */
  broadcast(candles: readonly Candle[]): void {
    if (candles.length === 0) return
    this.#log.append(candles)
    this.#snapshots.clear()
    const now = this.#host.now()
    for (const [socket, listener] of this.#listeners) if (listener.mask !== 0) this.#serve(socket, listener, now)
  }

  /** Sends a text that is no candle, such as the feed's state, to everybody. */
  announce(frame: string): void {
    for (const [socket, { mask }] of this.#listeners) if (mask !== 0) this.#send(socket, frame)
  }

  /** Brings a reader to the state of now, or lets it wait. */
  #serve(socket: WebSocket, listener: Listener, now: number): void {
    if (isReady(listener, now, this.#host.limits)) this.#catchUp(socket, listener, now)
    else {
      hold(listener, now)
      this.#plan(listener)
    }
  }

  /** Sends all that a reader lacks in one frame, or a snapshot that says so if that is not known any more (D3). */
  #catchUp(socket: WebSocket, listener: Listener, now: number): void {
    const { sent, mask } = listener
    const { offset } = this.#log
    const frame = sent === null ? undefined : this.#log.frame(sent, mask)
    if (frame === null) {
      passed(listener, offset)
      return
    }
    if (frame === undefined) {
      this.#send(socket, subscribedFrame(channelsOf(this.#host.product, mask), this.position, false, undefined))
      this.#send(socket, this.#host.feedFrame())
      this.#send(socket, this.#snapshot(mask))
    } else {
      if (sent !== offset - 1) this.conflations++
      this.#send(socket, frame)
    }
    if (listener.unheard === UNHEARD_FRAMES - 1) this.#hasPinged(socket, listener, now)
    const beatAt = now + this.#host.limits.beat
    delivered(listener, offset, beatAt)
    if (listener.nextAt === beatAt) this.#beatAt = beatAt
  }

  /** Handles one message of a client. */
  receive(socket: WebSocket, data: string | ArrayBuffer): void {
    const listener = this.#listeners.get(socket)
    if (listener === undefined) return
    const now = this.#host.now()
    heard(listener, now, this.#beatAt)
    if (now - listener.notedAt >= NOTE_MS) this.#note(socket, listener)
    const read =
      typeof data === 'string'
        ? readClientMessage(data)
        : { error: errorFrame('invalid_message', 'messages are text, not binary', null) }
    if ('error' in read) this.#send(socket, read.error)
    else this.#answer(socket, listener, read.message, now)
    // What waited may have its turn now.
    if (listener.behindSince !== null) this.#serve(socket, listener, now)
  }

  #answer(socket: WebSocket, listener: Listener, message: ClientMessage, now: number): void {
    if (message.op === 'ping') this.#send(socket, pongFrame(message.req_id))
    else if (message.op === 'ack') {
      const first = listener.unacked === null
      acked(listener, this.#log.offsetOf(message.position))
      if (first) this.#note(socket, listener)
    } else this.#subscribe(socket, listener, message, now)
  }

  #subscribe(
    socket: WebSocket,
    listener: Listener,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void {
    const { op, channels, req_id } = message
    const asked = channelMask(this.#host.product, channels)
    if ('error' in asked) {
      const { code, message: text, field } = asked.error
      this.#send(socket, errorFrame(code, text, field, req_id))
      return
    }
    if (op === 'unsubscribe') {
      listener.mask &= ~asked.mask
      if (listener.mask === 0) passed(listener, this.#log.offset)
      this.#note(socket, listener)
      this.#send(socket, unsubscribedFrame(channels, req_id))
      return
    }
    // The positions that it gets from here on say that it has all up to now, of what it had before too.
    if (listener.mask !== 0 && listener.sent !== this.#log.offset) this.#catchUp(socket, listener, now)
    listener.mask |= asked.mask
    this.#note(socket, listener)
    this.#welcome(socket, channels, asked.mask, message.since, req_id)
    passed(listener, this.#log.offset)
    listener.unacked?.push(this.#log.offset)
    listener.nextAt = Math.max(listener.nextAt, this.#beatAt)
  }

  /** Says where the stream stands, then what was missed, or a snapshot (D2). */
  #welcome(
    socket: WebSocket,
    channels: string[],
    mask: number,
    since: string | undefined,
    reqId: ClientMessage['req_id'],
  ): void {
    const missed = since === undefined ? null : this.#log.since(since, mask)
    this.#send(socket, subscribedFrame(channels, missed ? (since as string) : this.position, missed !== null, reqId))
    this.#send(socket, this.#host.feedFrame())
    for (const frame of missed ?? [this.#snapshot(mask)]) this.#send(socket, frame)
  }

  #snapshot(mask: number): string {
    let frame = this.#snapshots.get(mask)
    if (frame === undefined) {
      const { candles, gaps } = this.#host.snapshot(mask)
      frame = snapshotFrame(this.position, candles, gaps)
      this.#snapshots.set(mask, frame)
    }
    return frame
  }

  #send(socket: WebSocket, frame: string): void {
    try {
      socket.send(frame)
    } catch {
      // The socket is gone; its close event may come later or never.
      this.#listeners.delete(socket)
      this.#host.left()
    }
  }
}
