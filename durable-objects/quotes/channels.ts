import { passed } from '../../src/delivery/reader.ts'
import { type ClientMessage, errorFrame, subscribedFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { ReaderSockets, type ReaderSocketsHost } from '../sockets/hub.ts'
import { inOrder, type Listener, newListener, note, restored, Watched } from './connection.ts'
import { type FramesHost, QuoteFrames } from './frames.ts'
import { type ChannelNames, keyOf, readChannels, type Subscription, union, without } from './subscription.ts'

/** What an audience needs of the object that holds it. */
export type QuoteAudienceHost = ReaderSocketsHost &
  ChannelNames &
  FramesHost & {
    /** The batch before which a return to everything is a snapshot. */
    floor(): number
    symbolOf(id: number): string
    /** Brings what clients are told of the age of quotes up to now: before one is told where the stream stands. */
    settle(): void
  }

/**
 * The sockets of a board: subscribes, sends one text to all who want the same (D1), the state of now to those who are
 * behind (D3), and what has changed to those who come back (D2). A quote is a state: what was missed is the last one of
 * each.
 */
export class QuoteAudience extends ReaderSockets<Listener> {
  readonly #host: QuoteAudienceHost
  readonly #watched = new Watched()
  readonly #frames: QuoteFrames

  constructor(ctx: DurableObjectState, host: QuoteAudienceHost) {
    super(ctx, host, { newListener, note, restored })
    this.#host = host
    this.#frames = new QuoteFrames(host)
    for (const listener of this.listeners.values()) this.#watch(listener, listener.ids, listener.since)
  }

  get position(): string {
    return this.#frames.position
  }

  /** Whether anybody is to be told anything. */
  get isEmpty(): boolean {
    return this.listeners.size === 0
  }

  /** Whether a viewer has subscribed to everything. */
  get wantsAll(): boolean {
    for (const { all, passive } of this.listeners.values()) if (all && !passive) return true
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

  override leave(socket: WebSocket): void {
    const listener = this.listeners.get(socket)
    if (listener) this.#unwatch(listener, listener.ids)
    super.leave(socket)
  }

  #watch({ passive }: Listener, ids: Iterable<number>, since: number): void {
    if (!passive) this.#watched.add(ids, since)
  }

  #unwatch({ passive }: Listener, ids: Iterable<number>): void {
    if (!passive) this.#watched.remove(ids)
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
    for (const [socket, listener] of this.listeners) if (listener.key !== '') this.serve(socket, listener, now)
  }

  /** Tells those who have subscribed to assets that are gone by name. */
  #dismiss(dropped: readonly number[]): void {
    const gone = new Set(dropped)
    for (const [socket, listener] of this.listeners) {
      const lost = [...listener.ids].filter((id) => gone.has(id))
      if (lost.length === 0) continue
      this.#unwatch(listener, lost)
      listener.ids = without(listener.ids, gone)
      listener.key = keyOf(listener.all, listener.ids)
      if (listener.key === '') passed(listener, this.#host.offset())
      note(socket, listener)
      for (const id of lost) {
        const symbol = this.#host.symbolOf(id)
        this.send(socket, errorFrame('unknown_symbol', `there is no asset ${symbol} any more`, `quotes.${symbol}`))
        this.send(socket, unsubscribedFrame([`quotes.${symbol}`], undefined))
      }
    }
  }

  /** Up to where a reader has all; null: it is owed a snapshot, as is who follows everything when assets have gone. */
  #knownTo({ all, sent }: Pick<Listener, 'all' | 'sent'>): number | null {
    return sent !== null && all && sent < this.#host.floor() ? null : sent
  }

  protected override serve(socket: WebSocket, listener: Listener, now: number): void {
    const sent = this.#knownTo(listener)
    if (sent !== null && this.#frames.update(listener, sent) === null) passed(listener, this.#host.offset())
    else super.serve(socket, listener, now)
  }

  /** Sends all that a reader lacks in one frame, or a snapshot that says so if that is not known any more (D3). */
  protected override catchUp(socket: WebSocket, listener: Listener, now: number): void {
    const sent = this.#knownTo(listener)
    const offset = this.#host.offset()
    if (sent === null) {
      const channels = listener.all ? ['quotes.*'] : [...listener.ids].map((id) => `quotes.${this.#host.symbolOf(id)}`)
      this.send(socket, subscribedFrame(channels, this.position, false, undefined))
      this.send(socket, this.#frames.snapshot(listener))
    } else {
      const frame = this.#frames.update(listener, sent)
      if (frame === null) {
        passed(listener, offset)
        return
      }
      if (listener.behindSince !== null) this.conflations++
      this.send(socket, frame)
    }
    this.served(socket, listener, offset, now)
    note(socket, listener)
  }

  /** Handles one message of a client; a promise where the database has to be asked what a name means. */
  receive(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    const listener = this.listeners.get(socket)
    if (listener === undefined) return undefined
    const message = this.hear(socket, listener, data)
    if (message === null) return undefined
    return inOrder(listener, message, {
      find: (asked) => ('channels' in asked ? this.#host.find(asked.channels) : null),
      handle: (asked) => this.answer(socket, listener, asked),
      refuse: ({ req_id }) =>
        this.refuse(socket, { code: 'too_many_requests', message: 'too many messages at once', field: null }, req_id),
    })
  }

  protected override offsetOf(position: string): number | null {
    return this.#frames.offsetOf(position)
  }

  protected override subscribe(
    socket: WebSocket,
    listener: Listener,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void {
    const { op, channels, req_id } = message
    const asked = readChannels(channels, op, listener, this.#host)
    if ('error' in asked) {
      this.refuse(socket, asked.error, req_id)
      return
    }
    if (op === 'unsubscribe') {
      this.#change(listener, listener.all && !asked.all, without(listener.ids, asked.ids), now)
      if (listener.key === '') passed(listener, this.#host.offset())
      note(socket, listener)
      this.send(socket, unsubscribedFrame(channels, req_id))
      return
    }
    // What has become stale is a change too, and comes before the position that says that it has all up to now.
    this.#host.settle()
    if (listener.key !== '' && listener.sent !== this.#host.offset()) this.catchUp(socket, listener, now)
    this.#change(listener, listener.all || asked.all, union(listener.ids, asked.ids), now)
    this.#welcome(socket, channels, asked, message.since, req_id)
    this.welcomed(listener, this.#host.offset())
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
    this.send(socket, subscribedFrame(channels, position, from !== null, reqId))
    const frame = from === null ? this.#frames.snapshot(asked) : this.#frames.update(asked, from)
    if (frame !== null) this.send(socket, frame)
  }
}
