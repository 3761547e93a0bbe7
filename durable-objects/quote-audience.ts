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
} from '../src/delivery/reader.ts'
import { CLOSE } from '../src/protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  PING,
  pongFrame,
  readClientMessage,
  subscribedFrame,
  unsubscribedFrame,
} from '../src/protocol/messages.ts'
import { type FramesHost, QuoteFrames } from './quote-frames.ts'
import { inOrder, type Listener, newListener, note, restored, Watched } from './quote-listener.ts'
import { type ChannelNames, keyOf, readChannels, type Subscription, union, without } from './quote-subscription.ts'

/** How old what a socket's attachment says of its last message may be. Milliseconds. */
const NOTE_MS = 60_000

/** What an audience needs of the object that holds it. Times are unix milliseconds. */
export type QuoteAudienceHost = ChannelNames &
  FramesHost & {
    limits: ReaderLimits
    now(): number
    /** The batch before which a return to everything is a snapshot. */
    floor(): number
    symbolOf(id: number): string
    /** Brings what clients are told of the age of quotes up to now: before one is told where the stream stands. */
    settle(): void
  }

/** Close codes and reasons of readers that are let go. */
const ENDS: Record<ReaderEnd, { code: number; reason: string }> = {
  slow: { code: CLOSE.slow_reader, reason: 'too far behind: nothing was acked for too long' },
  silent: { code: CLOSE.silent_reader, reason: 'nothing was heard for too long: send a ping now and then' },
}

/**
 * The sockets of a board: accepts, subscribes, sends one text to all who want the same (D1), the state of now to those
 * who are behind (D3), and what has changed to those who come back (D2). A quote is a state: what was missed is the last
 * one of each. It sets no timers.
 */
export class QuoteAudience {
  readonly #ctx: DurableObjectState
  readonly #host: QuoteAudienceHost
  readonly #listeners = new Map<WebSocket, Listener>()
  readonly #watched = new Watched()
  readonly #frames: QuoteFrames
  /** End of the beat that readers share which never ack. */
  #beatAt = 0
  /** Nothing is to be done before this. */
  #due = Number.POSITIVE_INFINITY
  /** Frames that held several updates for a reader that was behind. */
  conflations = 0
  /** Readers that were let go, by reason. */
  readonly closedReaders: Record<ReaderEnd, number> = { slow: 0, silent: 0 }

  constructor(ctx: DurableObjectState, host: QuoteAudienceHost) {
    this.#ctx = ctx
    this.#host = host
    this.#frames = new QuoteFrames(host)
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const listener = restored(socket)
      if (listener === null) continue
      this.#listeners.set(socket, listener)
      this.#watch(listener, listener.ids, listener.since)
    }
    for (const listener of this.#listeners.values()) this.#plan(listener)
  }

  get position(): string {
    return this.#frames.position
  }

  /** How many sockets count as viewers. */
  get viewers(): number {
    let viewers = 0
    for (const listener of this.#listeners.values()) if (!listener.passive) viewers++
    return viewers
  }

  /** Whether anybody is to be told anything. */
  get isEmpty(): boolean {
    return this.#listeners.size === 0
  }

  /** Whether a viewer has subscribed to everything. */
  get wantsAll(): boolean {
    for (const { all, passive } of this.#listeners.values()) if (all && !passive) return true
    return false
  }

  /** The assets that a viewer has subscribed to by name. */
  watched(): Iterable<number> {
    return this.#watched.ids()
  }

  /** Since when a viewer has been subscribed to an asset by name, unix milliseconds; null: none is. */
  watchedSince(id: number): number | null {
    return this.#watched.since(id)
  }

  /** How many sockets one client has open here. */
  socketsOf(client: string): number {
    let sockets = 0
    for (const listener of this.#listeners.values()) if (listener.client === client) sockets++
    return sockets
  }

  accept(socket: WebSocket, client: string, passive: boolean): void {
    this.#ctx.acceptWebSocket(socket)
    const listener = newListener(this.#host.now(), client, passive)
    this.#listeners.set(socket, listener)
    note(socket, listener)
    this.#plan(listener)
  }

  leave(socket: WebSocket): void {
    const listener = this.#listeners.get(socket)
    if (listener === undefined) return
    this.#listeners.delete(socket)
    this.#unwatch(listener, listener.ids)
  }

  #watch({ passive }: Listener, ids: Iterable<number>, since: number): void {
    if (!passive) this.#watched.add(ids, since)
  }

  #unwatch({ passive }: Listener, ids: Iterable<number>): void {
    if (!passive) this.#watched.remove(ids)
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
    this.leave(socket)
    this.closedReaders[end]++
    socket.serializeAttachment(null)
    socket.close(ENDS[end].code, ENDS[end].reason)
  }

  /** Whether a ping was answered without us since we looked last; then it was heard. */
  #hasPinged(socket: WebSocket, listener: Listener, now: number): boolean {
    const pingedAt = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    if (pingedAt === listener.pingedAt) return false
    listener.pingedAt = pingedAt
    // The runtime's time, which need not be the object's.
    heard(listener, pingedAt > listener.heardAt && pingedAt < now ? pingedAt : now, this.#beatAt)
    note(socket, listener)
    return true
  }

  /**
   * Tells of a batch in which clients see a change of `ids`, and after which `dropped` are gone.
   * @param before the offset that the batch came after
   */
  broadcast(ids: readonly number[], dropped: readonly number[], before: number): void {
    this.#frames.advance(ids, before)
    if (dropped.length > 0) this.#dismiss(dropped)
    if (ids.length === 0 && dropped.length === 0) return
    const now = this.#host.now()
    for (const [socket, listener] of this.#listeners) if (listener.key !== '') this.#serve(socket, listener, now)
  }

  /** Tells those who have subscribed to assets that are gone by name. */
  #dismiss(dropped: readonly number[]): void {
    const gone = new Set(dropped)
    for (const [socket, listener] of this.#listeners) {
      const lost = [...listener.ids].filter((id) => gone.has(id))
      if (lost.length === 0) continue
      this.#unwatch(listener, lost)
      listener.ids = without(listener.ids, gone)
      listener.key = keyOf(listener.all, listener.ids)
      if (listener.key === '') passed(listener, this.#host.offset())
      note(socket, listener)
      for (const id of lost) {
        const symbol = this.#host.symbolOf(id)
        this.#send(socket, errorFrame('unknown_symbol', `there is no asset ${symbol} any more`, `quotes.${symbol}`))
        this.#send(socket, unsubscribedFrame([`quotes.${symbol}`], undefined))
      }
    }
  }

  /** Up to where a reader has all; null: it is owed a snapshot, as is who follows everything when assets have gone. */
  #knownTo({ all, sent }: Pick<Listener, 'all' | 'sent'>): number | null {
    return sent !== null && all && sent < this.#host.floor() ? null : sent
  }

  /** Brings a reader to the state of now, or lets it wait. */
  #serve(socket: WebSocket, listener: Listener, now: number): void {
    const sent = this.#knownTo(listener)
    if (sent !== null && this.#frames.update(listener, sent) === null) {
      passed(listener, this.#host.offset())
      return
    }
    if (isReady(listener, now, this.#host.limits)) this.#catchUp(socket, listener, now)
    else {
      hold(listener, now)
      this.#plan(listener)
    }
  }

  /** Sends all that a reader lacks in one frame, or a snapshot that says so if that is not known any more (D3). */
  #catchUp(socket: WebSocket, listener: Listener, now: number): void {
    const sent = this.#knownTo(listener)
    const offset = this.#host.offset()
    if (sent === null) {
      const channels = listener.all ? ['quotes.*'] : [...listener.ids].map((id) => `quotes.${this.#host.symbolOf(id)}`)
      this.#send(socket, subscribedFrame(channels, this.position, false, undefined))
      this.#send(socket, this.#frames.snapshot(listener))
    } else {
      const frame = this.#frames.update(listener, sent)
      if (frame === null) {
        passed(listener, offset)
        return
      }
      if (listener.behindSince !== null) this.conflations++
      this.#send(socket, frame)
    }
    if (listener.unheard === UNHEARD_FRAMES - 1) this.#hasPinged(socket, listener, now)
    const beatAt = now + this.#host.limits.beat
    delivered(listener, offset, beatAt)
    if (listener.nextAt === beatAt) this.#beatAt = beatAt
    note(socket, listener)
  }

  /** Handles one message of a client; a promise where the database has to be asked what a name means. */
  receive(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    const listener = this.#listeners.get(socket)
    if (listener === undefined) return undefined
    const now = this.#host.now()
    heard(listener, now, this.#beatAt)
    if (now - listener.notedAt >= NOTE_MS) note(socket, listener)
    const read =
      typeof data === 'string'
        ? readClientMessage(data)
        : { error: errorFrame('invalid_message', 'messages are text, not binary', null) }
    if ('error' in read) {
      this.#send(socket, read.error)
      this.#resume(socket, listener)
      return undefined
    }
    return inOrder(listener, read.message, {
      find: this.#host.find,
      handle: (message) => {
        this.#answer(socket, listener, message, this.#host.now())
        this.#resume(socket, listener)
      },
      refuse: (message) =>
        this.#send(socket, errorFrame('too_many_requests', 'too many messages at once', null, message.req_id)),
    })
  }

  /** What waited for a reader may have its turn now. */
  #resume(socket: WebSocket, listener: Listener): void {
    if (listener.behindSince !== null && this.#listeners.has(socket)) this.#serve(socket, listener, this.#host.now())
  }

  #answer(socket: WebSocket, listener: Listener, message: ClientMessage, now: number): void {
    if (!this.#listeners.has(socket)) return
    if (message.op === 'ping') this.#send(socket, pongFrame(message.req_id))
    else if (message.op === 'ack') {
      const first = listener.unacked === null
      acked(listener, this.#frames.offsetOf(message.position))
      if (first) note(socket, listener)
    } else this.#subscribe(socket, listener, message, now)
  }

  #subscribe(
    socket: WebSocket,
    listener: Listener,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void {
    const { op, channels, req_id } = message
    const asked = readChannels(channels, op, listener, this.#host)
    if ('error' in asked) {
      const { code, message: text, field } = asked.error
      this.#send(socket, errorFrame(code, text, field, req_id))
      return
    }
    if (op === 'unsubscribe') {
      this.#change(listener, listener.all && !asked.all, without(listener.ids, asked.ids), now)
      if (listener.key === '') passed(listener, this.#host.offset())
      note(socket, listener)
      this.#send(socket, unsubscribedFrame(channels, req_id))
      return
    }
    // What has become stale is a change too, and comes before the position that says that it has all up to now.
    this.#host.settle()
    if (listener.key !== '' && listener.sent !== this.#host.offset()) this.#catchUp(socket, listener, now)
    this.#change(listener, listener.all || asked.all, union(listener.ids, asked.ids), now)
    this.#welcome(socket, channels, asked, message.since, req_id)
    const { offset } = this.#host
    passed(listener, offset())
    listener.unacked?.push(offset())
    listener.nextAt = Math.max(listener.nextAt, this.#beatAt)
    note(socket, listener)
  }

  #change(listener: Listener, all: boolean, ids: ReadonlySet<number>, now: number): void {
    this.#watch(listener, without(ids, listener.ids), now)
    this.#unwatch(listener, without(listener.ids, ids))
    Object.assign(listener, { all, ids, key: keyOf(all, ids), since: now })
  }

  /** Says where the stream stands, then what has changed since, or a snapshot (D2). */
  #welcome(
    socket: WebSocket,
    channels: string[],
    asked: Subscription,
    since: string | undefined,
    reqId: ClientMessage['req_id'],
  ): void {
    const sent = since === undefined ? null : this.#frames.offsetOf(since)
    const from = this.#knownTo({ all: asked.all, sent })
    const position = from === null ? this.position : (since as string)
    this.#send(socket, subscribedFrame(channels, position, from !== null, reqId))
    const frame = from === null ? this.#frames.snapshot(asked) : this.#frames.update(asked, from)
    if (frame !== null) this.#send(socket, frame)
  }

  #send(socket: WebSocket, frame: string): void {
    try {
      socket.send(frame)
    } catch {
      // The socket is gone; its close event may come later or never.
      this.leave(socket)
    }
  }
}
