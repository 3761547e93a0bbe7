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
import { CLOSE } from '../src/protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  PING,
  pongFrame,
  quoteSnapshotFrame,
  quoteUpdateFrame,
  readClientMessage,
  subscribedFrame,
  unsubscribedFrame,
} from '../src/protocol/messages.ts'
import { parsePosition, positionText } from '../src/protocol/position.ts'
import { type ChannelNames, keyOf, readChannels, type Subscription, union, without } from './quote-subscription.ts'

/** How old what a socket's attachment says of its last message may be. Milliseconds. */
const NOTE_MS = 60_000

/** Messages of one socket that may wait for the database to say what a name means. */
const MAX_WAITING = 64

/** What is kept with a socket, so that it outlives the object's sleep. 16 KiB at most. */
type Attachment = {
  all: boolean
  ids: number[]
  since: number
  sent: number | null
  passive: boolean
  client: string
  acks: boolean
  heardAt: number
  pingedAt: number
}

/** `since`: when it subscribed last. `notedAt` is the `heardAt` of its attachment. `waiting`: messages to be handled yet. */
type Listener = Reader & {
  all: boolean
  ids: ReadonlySet<number>
  /** The same for all who subscribe to the same. */
  key: string
  since: number
  passive: boolean
  client: string
  notedAt: number
  pingedAt: number
  waiting: ClientMessage[] | null
}

/** What an audience needs of the object that holds it. Times are unix milliseconds. */
export type QuoteAudienceHost = ChannelNames & {
  epoch: string
  limits: ReaderLimits
  now(): number
  /** The last batch, and the one before which a return to everything is a snapshot. */
  offset(): number
  floor(): number
  symbolOf(id: number): string
  /** Every asset that has a quote. */
  all(): Iterable<number>
  /** A quote as its clients are told, and the batch in which that has changed last; null where there is none. */
  told(id: number): { text: string; changed: number } | null
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
  /** By asset: how many sockets have subscribed to it by name, and since when one has. */
  readonly #watched = new Map<number, { sockets: number; since: number }>()
  /** Frames up to the present offset, by where they begin and what they are of. */
  readonly #made = new Map<string, string | null>()
  /** The assets of the newest update, and the offset before it: most readers lack just that. */
  #newest: { ids: readonly number[]; from: number } = { ids: [], from: 0 }
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
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const kept = socket.deserializeAttachment() as Attachment | null
      // Null: let go, and the other side has not answered yet.
      if (kept === null) continue
      const { all, ids, since, sent, passive, client, acks, heardAt, pingedAt } = kept
      const reader = { ...newReader(heardAt), sent, unacked: acks ? [] : null }
      const key = keyOf(all, ids)
      const rest = { all, ids: new Set(ids), key, since, passive, client, notedAt: heardAt, pingedAt, waiting: null }
      this.#listeners.set(socket, { ...reader, ...rest })
      this.#watch(ids, since)
    }
    for (const listener of this.#listeners.values()) this.#plan(listener)
  }

  get position(): string {
    return positionText({ epoch: this.#host.epoch, offset: this.#host.offset() })
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

  /** Whether somebody has subscribed to everything. */
  get wantsAll(): boolean {
    for (const listener of this.#listeners.values()) if (listener.all) return true
    return false
  }

  /** The assets that somebody has subscribed to by name. */
  watched(): Iterable<number> {
    return this.#watched.keys()
  }

  /** Since when somebody has been subscribed to an asset by name, unix milliseconds; null: nobody is. */
  watchedSince(id: number): number | null {
    return this.#watched.get(id)?.since ?? null
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
    const none = { all: false, ids: new Set<number>(), key: '', since: now }
    const listener = { ...newReader(now), ...none, passive, client, notedAt: now, pingedAt: 0, waiting: null }
    this.#listeners.set(socket, listener)
    this.#note(socket, listener)
    this.#plan(listener)
  }

  leave(socket: WebSocket): void {
    const listener = this.#listeners.get(socket)
    if (listener === undefined) return
    this.#listeners.delete(socket)
    this.#unwatch(listener.ids)
  }

  #watch(ids: Iterable<number>, since: number): void {
    for (const id of ids) {
      const watched = this.#watched.get(id)
      if (watched) {
        watched.sockets++
        watched.since = Math.min(watched.since, since)
      } else this.#watched.set(id, { sockets: 1, since })
    }
  }

  #unwatch(ids: Iterable<number>): void {
    for (const id of ids) {
      const watched = this.#watched.get(id)
      if (watched && --watched.sockets === 0) this.#watched.delete(id)
    }
  }

  #note(socket: WebSocket, listener: Listener): void {
    const { all, ids, since, sent, passive, client, unacked, heardAt, pingedAt } = listener
    const acks = unacked !== null
    const attachment: Attachment = { all, ids: [...ids], since, sent, passive, client, acks, heardAt, pingedAt }
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
    this.#note(socket, listener)
    return true
  }

  /**
   * Tells of a batch in which clients see a change of `ids`, and after which `dropped` are gone.
   * @param before the offset that the batch came after
   */
  broadcast(ids: readonly number[], dropped: readonly number[], before: number): void {
    this.#made.clear()
    this.#newest = { ids, from: before }
    if (dropped.length > 0) this.#dismiss(dropped)
    if (ids.length === 0 && dropped.length === 0) return
    const now = this.#host.now()
    for (const [socket, listener] of this.#listeners) if (listener.key !== '') this.#serve(socket, listener, now)
  }

  /** Tells those who have subscribed to assets that are gone; who wants everything is owed a snapshot without them. */
  #dismiss(dropped: readonly number[]): void {
    const gone = new Set(dropped)
    for (const [socket, listener] of this.#listeners) {
      if (listener.all) listener.sent = null
      const lost = [...listener.ids].filter((id) => gone.has(id))
      if (lost.length === 0) continue
      this.#unwatch(lost)
      listener.ids = without(listener.ids, gone)
      listener.key = keyOf(listener.all, listener.ids)
      if (listener.key === '') passed(listener, this.#host.offset())
      this.#note(socket, listener)
      for (const id of lost) {
        const symbol = this.#host.symbolOf(id)
        this.#send(socket, errorFrame('unknown_symbol', `there is no asset ${symbol} any more`, `quotes.${symbol}`))
        this.#send(socket, unsubscribedFrame([`quotes.${symbol}`], undefined))
      }
    }
  }

  /** Brings a reader to the state of now, or lets it wait. */
  #serve(socket: WebSocket, listener: Listener, now: number): void {
    if (listener.sent !== null && this.#frame(listener, listener.sent) === null) {
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
    const { sent } = listener
    const offset = this.#host.offset()
    if (sent === null) {
      const channels = listener.all ? ['quotes.*'] : [...listener.ids].map((id) => `quotes.${this.#host.symbolOf(id)}`)
      this.#send(socket, subscribedFrame(channels, this.position, false, undefined))
      this.#send(socket, this.#snapshot(listener))
    } else {
      const frame = this.#frame(listener, sent)
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
    this.#note(socket, listener)
  }

  /** The state of now of everything that is subscribed to and has changed after `from`; null if nothing has. */
  #frame(what: Subscription, from: number): string | null {
    const name = `${from}/${what.key}`
    const made = this.#made.get(name)
    if (made !== undefined) return made
    const texts: string[] = []
    for (const id of this.#among(what, from)) {
      const told = this.#host.told(id)
      if (told && told.changed > from) texts.push(told.text)
    }
    const frame = texts.length === 0 ? null : quoteUpdateFrame(this.position, texts)
    this.#made.set(name, frame)
    return frame
  }

  /** The assets that may be news to who has all up to `from`: the shorter of two lists that hold them. */
  #among({ all, ids }: Subscription, from: number): Iterable<number> {
    if (from < this.#newest.from) return all ? this.#host.all() : ids
    return all ? this.#newest.ids : this.#newest.ids.filter((id) => ids.has(id))
  }

  #snapshot(what: Subscription): string {
    const name = `/${what.key}`
    let frame = this.#made.get(name) ?? null
    if (frame === null) {
      const texts: string[] = []
      for (const id of what.all ? this.#host.all() : what.ids) {
        const told = this.#host.told(id)
        if (told) texts.push(told.text)
      }
      frame = quoteSnapshotFrame(this.position, texts)
      this.#made.set(name, frame)
    }
    return frame
  }

  /** Handles one message of a client; over when it is handled, which may take a look at the database. */
  async receive(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
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
    else if (listener.waiting !== null) this.#wait(socket, listener.waiting, read.message)
    else await this.#handle(socket, listener, read.message)
    // What waited may have its turn now.
    if (listener.behindSince !== null && this.#listeners.has(socket)) this.#serve(socket, listener, this.#host.now())
  }

  #wait(socket: WebSocket, waiting: ClientMessage[], message: ClientMessage): void {
    if (waiting.length < MAX_WAITING) waiting.push(message)
    else this.#send(socket, errorFrame('too_many_requests', 'too many messages at once', null, message.req_id))
  }

  /** Handles a message; those that come while the database is asked about it are handled after it, in their order. */
  async #handle(socket: WebSocket, listener: Listener, first: ClientMessage): Promise<void> {
    const waiting = [first]
    for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
      if (message.op === 'subscribe' || message.op === 'unsubscribe') {
        const finding = this.#host.find(message.channels)
        if (finding) {
          listener.waiting = waiting
          await finding
        }
      }
      if (!this.#listeners.has(socket)) return
      this.#answer(socket, listener, message, this.#host.now())
    }
    listener.waiting = null
  }

  #answer(socket: WebSocket, listener: Listener, message: ClientMessage, now: number): void {
    if (message.op === 'ping') this.#send(socket, pongFrame(message.req_id))
    else if (message.op === 'ack') {
      const first = listener.unacked === null
      acked(listener, this.#offsetOf(message.position))
      if (first) this.#note(socket, listener)
    } else this.#subscribe(socket, listener, message, now)
  }

  /** The offset that a position of this epoch names; null for any other text, and for what is not sent yet. */
  #offsetOf(text: string): number | null {
    const position = parsePosition(text)
    return position?.epoch === this.#host.epoch && position.offset <= this.#host.offset() ? position.offset : null
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
      this.#note(socket, listener)
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
    this.#note(socket, listener)
  }

  #change(listener: Listener, all: boolean, ids: ReadonlySet<number>, now: number): void {
    this.#watch(without(ids, listener.ids), now)
    this.#unwatch(without(listener.ids, ids))
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
    const known = since === undefined ? null : this.#offsetOf(since)
    const from = known !== null && asked.all && known < this.#host.floor() ? null : known
    const position = from === null ? this.position : (since as string)
    this.#send(socket, subscribedFrame(channels, position, from !== null, reqId))
    const frame = from === null ? this.#snapshot(asked) : this.#frame(asked, from)
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
