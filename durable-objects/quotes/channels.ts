import { skipTo } from '../../src/delivery/delivery-state.ts'
import { type ClientMessage, errorFrame, subscribedFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { Hub, type HubHost } from '../sockets/hub.ts'
import {
  handleInOrder,
  loadQuoteConnection,
  newQuoteConnection,
  type QuoteConnection,
  saveQuoteConnection,
  WatchCounts,
} from './connection.ts'
import { QuoteFrames, type QuoteFramesHost } from './frames.ts'
import {
  type ChannelResolver,
  difference,
  parseQuoteChannels,
  type QuoteSubscription,
  subscriptionKey,
  union,
} from './subscription.ts'

/** What an audience needs of the object that holds it. */
export type QuoteHubHost = HubHost &
  ChannelResolver &
  QuoteFramesHost & {
    /** The batch before which a return to everything is a snapshot. */
    floor(): number
    symbolOf(id: number): string
    /** Brings what clients are told of the age of quotes up to now: before one is told where the stream stands. */
    publishStale(): void
  }

/**
 * The sockets of a board: subscribes, sends one text to all who want the same (D1), the state of now to those who are
 * behind (D3), and what has changed to those who come back (D2). A quote is a state: what was missed is the last one of
 * each.
 */
export class QuoteHub extends Hub<QuoteConnection> {
  readonly #host: QuoteHubHost
  readonly #watchCounts = new WatchCounts()
  readonly #frames: QuoteFrames

  constructor(ctx: DurableObjectState, host: QuoteHubHost) {
    super(ctx, host, { create: newQuoteConnection, save: saveQuoteConnection, load: loadQuoteConnection })
    this.#host = host
    this.#frames = new QuoteFrames(host)
    for (const listener of this.connections.values()) this.#watch(listener, listener.ids, listener.since)
  }

  get position(): string {
    return this.#frames.position
  }

  /** Whether anybody is to be told anything. */
  get isEmpty(): boolean {
    return this.connections.size === 0
  }

  /** Whether a viewer has subscribed to everything. */
  get isWatchingAll(): boolean {
    for (const { all, passive } of this.connections.values()) if (all && !passive) return true
    return false
  }

  /** The assets that a viewer has subscribed to by name. */
  watched(): Iterable<number> {
    return this.#watchCounts.ids()
  }

  /** Since when a viewer has been subscribed to an asset by name, unix milliseconds; null: none is. */
  watchedSince(id: number): number | null {
    return this.#watchCounts.since(id)
  }

  override remove(socket: WebSocket): void {
    const listener = this.connections.get(socket)
    if (listener) this.#unwatch(listener, listener.ids)
    super.remove(socket)
  }

  #watch({ passive }: QuoteConnection, ids: Iterable<number>, since: number): void {
    if (!passive) this.#watchCounts.add(ids, since)
  }

  #unwatch({ passive }: QuoteConnection, ids: Iterable<number>): void {
    if (!passive) this.#watchCounts.remove(ids)
  }

  /**
   * Tells of a batch in which clients see a change of `ids`, and after which `dropped` are gone.
   * @param before the offset that the batch came after
   */
  broadcast(ids: readonly number[], dropped: readonly number[], before: number): void {
    this.#frames.advance(ids, before)
    if (dropped.length > 0) this.#unsubscribeDropped(dropped)
    if (ids.length === 0 && dropped.length === 0) return
    const now = this.#host.now()
    for (const [socket, listener] of this.connections) if (listener.key !== '') this.sendOrDefer(socket, listener, now)
  }

  /** Tells those who have subscribed to assets that are gone by name. */
  #unsubscribeDropped(dropped: readonly number[]): void {
    const gone = new Set(dropped)
    for (const [socket, listener] of this.connections) {
      const lost = [...listener.ids].filter((id) => gone.has(id))
      if (lost.length === 0) continue
      this.#unwatch(listener, lost)
      listener.ids = difference(listener.ids, gone)
      listener.key = subscriptionKey(listener.all, listener.ids)
      if (listener.key === '') skipTo(listener, this.#host.offset())
      saveQuoteConnection(socket, listener)
      for (const id of lost) {
        const symbol = this.#host.symbolOf(id)
        this.send(socket, errorFrame('unknown_symbol', `there is no asset ${symbol} any more`, `quotes.${symbol}`))
        this.send(socket, unsubscribedFrame([`quotes.${symbol}`], undefined))
      }
    }
  }

  /** Up to where a reader has all; null: it is owed a snapshot, as is who follows everything when assets have gone. */
  #resumableOffset({ all, sentOffset: sent }: Pick<QuoteConnection, 'all' | 'sentOffset'>): number | null {
    return sent !== null && all && sent < this.#host.floor() ? null : sent
  }

  protected override sendOrDefer(socket: WebSocket, listener: QuoteConnection, now: number): void {
    const sent = this.#resumableOffset(listener)
    if (sent !== null && this.#frames.update(listener, sent) === null) skipTo(listener, this.#host.offset())
    else super.sendOrDefer(socket, listener, now)
  }

  /** Sends all that a reader lacks in one frame, or a snapshot that says so if that is not known any more (D3). */
  protected override catchUp(socket: WebSocket, listener: QuoteConnection, now: number): void {
    const sent = this.#resumableOffset(listener)
    const offset = this.#host.offset()
    if (sent === null) {
      const channels = listener.all ? ['quotes.*'] : [...listener.ids].map((id) => `quotes.${this.#host.symbolOf(id)}`)
      this.send(socket, subscribedFrame(channels, this.position, false, undefined))
      this.send(socket, this.#frames.snapshot(listener))
    } else {
      const frame = this.#frames.update(listener, sent)
      if (frame === null) {
        skipTo(listener, offset)
        return
      }
      if (listener.behindSince !== null) this.conflations++
      this.send(socket, frame)
    }
    this.markSent(socket, listener, offset, now)
    saveQuoteConnection(socket, listener)
  }

  /** Handles one message of a client; a promise where the database has to be asked what a name means. */
  onMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    const listener = this.connections.get(socket)
    if (listener === undefined) return undefined
    const message = this.readMessage(socket, listener, data)
    if (message === null) return undefined
    return handleInOrder(listener, message, {
      prepare: (asked) => ('channels' in asked ? this.#host.loadSymbols(asked.channels) : null),
      handle: (asked) => this.handleMessage(socket, listener, asked),
      refuse: ({ req_id }) =>
        this.sendError(
          socket,
          { code: 'too_many_requests', message: 'too many messages at once', field: null },
          req_id,
        ),
    })
  }

  protected override offsetOf(position: string): number | null {
    return this.#frames.offsetOf(position)
  }

  protected override subscribe(
    socket: WebSocket,
    listener: QuoteConnection,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void {
    const { op, channels, req_id } = message
    const asked = parseQuoteChannels(channels, op, listener, this.#host)
    if ('error' in asked) {
      this.sendError(socket, asked.error, req_id)
      return
    }
    if (op === 'unsubscribe') {
      this.#setSubscription(listener, listener.all && !asked.all, difference(listener.ids, asked.ids), now)
      if (listener.key === '') skipTo(listener, this.#host.offset())
      saveQuoteConnection(socket, listener)
      this.send(socket, unsubscribedFrame(channels, req_id))
      return
    }
    // What has become stale is a change too, and comes before the position that says that it has all up to now.
    this.#host.publishStale()
    if (listener.key !== '' && listener.sentOffset !== this.#host.offset()) this.catchUp(socket, listener, now)
    this.#setSubscription(listener, listener.all || asked.all, union(listener.ids, asked.ids), now)
    this.#sendSubscribed(socket, channels, asked, message.since, req_id)
    this.markSubscribed(listener, this.#host.offset())
    saveQuoteConnection(socket, listener)
  }

  #setSubscription(listener: QuoteConnection, all: boolean, ids: ReadonlySet<number>, now: number): void {
    this.#watch(listener, difference(ids, listener.ids), now)
    this.#unwatch(listener, difference(listener.ids, ids))
    Object.assign(listener, { all, ids, key: subscriptionKey(all, ids), since: now })
  }

  /** Says where the stream stands, then what has changed since, or a snapshot (D2). */
  #sendSubscribed(
    socket: WebSocket,
    channels: string[],
    asked: QuoteSubscription,
    since: string | undefined,
    reqId: ClientMessage['req_id'],
  ): void {
    const sent = since === undefined ? null : this.#frames.offsetOf(since)
    const from = this.#resumableOffset({ all: asked.all, sentOffset: sent })
    const position = from === null ? this.position : (since as string)
    this.send(socket, subscribedFrame(channels, position, from !== null, reqId))
    const frame = from === null ? this.#frames.snapshot(asked) : this.#frames.update(asked, from)
    if (frame !== null) this.send(socket, frame)
  }
}
