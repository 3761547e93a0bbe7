import { hold, passed } from '../../src/delivery/reader.ts'
import { CLOSE } from '../../src/protocol/errors.ts'
import { type ClientMessage, subscribedFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { inOrder } from '../quotes/connection.ts'
import { ReaderSockets, type ReaderSocketsHost } from '../sockets/hub.ts'
import { type Lots, newListener, note, type PortfolioListener, restored } from './connection.ts'
import type { PortfolioFrames } from './frames.ts'
import type { Change } from './state.ts'
import {
  type AssetChannel,
  channelsOf,
  joined,
  type NamedAsset,
  NOTHING,
  type PortfolioSubscription,
  readChannels,
  symbolsOf,
  without,
} from './subscription.ts'

type Subscribe = Extract<ClientMessage, { channels: string[] }>

/** What an audience needs of the object that holds it. */
export type PortfolioAudienceHost = ReaderSocketsHost & {
  maxChannels: number
  /** Null: nothing was ever read of the database; then no socket has subscribed to anything. */
  frames(): PortfolioFrames | null
  offset(): number
  /** Sees to it that the portfolio was read, and says what symbols mean. @throws when it cannot be read */
  find(symbols: readonly string[]): Promise<ReadonlyMap<string, NamedAsset>>
  /** Sees to it that boards tell of these assets, and of those of the portfolio, from now on. Never rejects. */
  watch(assets: ReadonlyMap<number, AssetChannel>): Promise<void>
  /** A socket has given up assets. */
  unwatch(): void
  /** The open lots of these assets. @throws when they cannot be read */
  readLots(ids: readonly number[]): Promise<Lots>
  lotsAt(): number
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

const NO_LOTS: Lots = { lotsAt: 0, of: new Map() }

/**
 * The sockets of one user: subscribes, sends one text to all who want the same (D1), the state of now to those who are
 * behind (D3), and what has changed to those who come back (D2).
 */
export class PortfolioAudience extends ReaderSockets<PortfolioListener> {
  readonly #host: PortfolioAudienceHost

  constructor(ctx: DurableObjectState, host: PortfolioAudienceHost) {
    super(ctx, host, { newListener, note, restored })
    this.#host = host
  }

  get sockets(): number {
    return this.listeners.size
  }

  /** The assets that sockets follow by name. */
  watched(): Map<number, AssetChannel> {
    return new Map([...this.listeners.values()].flatMap(({ what }) => [...what.assets]))
  }

  get #frames(): PortfolioFrames {
    const frames = this.#host.frames()
    if (frames === null) throw new Error('a socket is subscribed to a portfolio that was never read')
    return frames
  }

  /** @param until when what has let it in is over, unix milliseconds */
  open(socket: WebSocket, until: number): void {
    this.accept(socket, '', false)
    const listener = this.listeners.get(socket)
    if (!listener) return
    listener.until = until
    note(socket, listener)
  }

  override leave(socket: WebSocket): void {
    const had = this.listeners.get(socket)?.what.assets.size ?? 0
    super.leave(socket)
    if (had > 0) this.#host.unwatch()
  }

  /** Lets go of sockets whose time is over: with a new ticket they are let in again. */
  expire(): void {
    const now = this.#host.now()
    for (const [socket, { until }] of this.listeners)
      if (until <= now) this.#close(socket, CLOSE.session_over, 'come back with a new ticket')
  }

  /** Lets go of all. */
  signedOut(): void {
    for (const socket of this.listeners.keys()) this.#close(socket, CLOSE.signed_out, 'signed out')
  }

  #close(socket: WebSocket, code: number, reason: string): void {
    this.drop(socket)
    socket.serializeAttachment(null)
    socket.close(code, reason)
  }

  /** Tells of a change. */
  broadcast(change: Change): void {
    this.#frames.advance(change)
    const now = this.#host.now()
    for (const [socket, listener] of this.listeners) if (listener.what.key !== '') this.serve(socket, listener, now)
  }

  /** Up to where a reader has all; null: it is owed a snapshot. */
  #knownTo(sent: number | null): number | null {
    return sent !== null && this.#frames.reaches(sent) ? sent : null
  }

  protected override serve(socket: WebSocket, listener: PortfolioListener, now: number): void {
    const sent = this.#knownTo(listener.sent)
    if (sent !== null && this.#frames.updates(listener.what, sent).length === 0) passed(listener, this.#host.offset())
    else super.serve(socket, listener, now)
  }

  /** Sends all that a reader lacks, or a snapshot that says so if that is not known any more (D3). */
  protected override catchUp(socket: WebSocket, listener: PortfolioListener, now: number): void {
    const sent = this.#knownTo(listener.sent)
    if (sent === null) {
      this.#restore(socket, listener, now)
      return
    }
    const frames = this.#frames.updates(listener.what, sent)
    if (frames.length === 0) {
      passed(listener, this.#host.offset())
      return
    }
    if (listener.behindSince !== null) this.conflations++
    for (const frame of frames) this.send(socket, frame)
    this.#sent(socket, listener, now)
  }

  #sent(socket: WebSocket, listener: PortfolioListener, now: number): void {
    this.served(socket, listener, this.#host.offset(), now)
    note(socket, listener)
  }

  /** Sends a snapshot to who is owed one: at once, or when the lots of it were read. */
  #restore(socket: WebSocket, listener: PortfolioListener, now: number): void {
    if (listener.restoring) return
    const ids = this.#frames.lotsNeeded(listener.what)
    if (ids.length === 0) {
      this.#sendSnapshots(socket, listener.what, NO_LOTS)
      this.#sent(socket, listener, now)
      return
    }
    listener.restoring = true
    // It has its turn when the lots are there.
    listener.nextAt = Number.POSITIVE_INFINITY
    hold(listener, now)
    this.#host.track(this.#readAndRestore(socket, listener, ids))
  }

  async #readAndRestore(socket: WebSocket, listener: PortfolioListener, ids: readonly number[]): Promise<void> {
    let lots: Lots | null = null
    try {
      lots = await this.#host.readLots(ids)
    } catch (error) {
      this.#host.log('lots_unread', { error: String(error) })
    }
    listener.restoring = false
    listener.nextAt = 0
    if (!this.listeners.has(socket)) return
    const now = this.#host.now()
    if (lots === null) this.#close(socket, CLOSE.unavailable, 'the database cannot be read')
    else if (this.#knownTo(listener.sent) !== null || !this.#suffices(lots, listener.what))
      this.serve(socket, listener, now)
    else {
      this.#sendSnapshots(socket, listener.what, lots)
      this.#sent(socket, listener, now)
    }
  }

  #suffices(lots: Lots, what: PortfolioSubscription): boolean {
    const needed = this.#frames.lotsNeeded(what)
    return needed.length === 0 || (lots.lotsAt === this.#host.lotsAt() && needed.every((id) => lots.of.has(id)))
  }

  #sendSnapshots(socket: WebSocket, what: PortfolioSubscription, lots: Lots): void {
    this.send(socket, subscribedFrame(channelsOf(what), this.#frames.position, false, undefined))
    for (const frame of this.#frames.snapshots(what, lots)) this.send(socket, frame)
  }

  /** Handles one message of a client; a promise where something has to be found out first. */
  receive(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    const listener = this.listeners.get(socket)
    if (listener === undefined) return undefined
    const message = this.hear(socket, listener, data)
    if (message === null) return undefined
    return inOrder(listener, message, {
      find: (asked) => (asked.op === 'subscribe' ? this.#prepare(listener, asked) : null),
      handle: (asked) => this.answer(socket, listener, asked),
      refuse: ({ req_id }) =>
        this.refuse(socket, { code: 'too_many_requests', message: 'too many messages at once', field: null }, req_id),
    })
  }

  /** Finds out what has to be known before a subscription can be answered. Never rejects. */
  async #prepare(listener: PortfolioListener, message: Extract<Subscribe, { op: 'subscribe' }>): Promise<void> {
    listener.prepared = null
    try {
      const named = await this.#host.find(symbolsOf(message.channels))
      const asked = readChannels(message.channels, listener.what, named, this.#host.maxChannels)
      let lots = NO_LOTS
      if (!('error' in asked)) {
        await this.#host.watch(asked.assets)
        const fresh = this.#owed(listener, asked, message.since)
        const needed = this.#frames.lotsNeeded(fresh)
        if (needed.length > 0) lots = await this.#host.readLots(needed)
      }
      listener.prepared = { named, lots }
    } catch (error) {
      this.#host.log('portfolio_unread', { error: String(error) })
    }
  }

  /** Of what a snapshot is to be sent when these channels are subscribed to. */
  #owed(listener: PortfolioListener, asked: PortfolioSubscription, since: string | undefined): PortfolioSubscription {
    const before = listener.what.key !== '' && this.#knownTo(listener.sent) === null ? listener.what : NOTHING
    return this.#from(since) === null ? joined(before, asked) : before
  }

  #from(since: string | undefined): number | null {
    return since === undefined ? null : this.#knownTo(this.#frames.offsetOf(since))
  }

  protected override offsetOf(position: string): number | null {
    return this.#host.frames()?.offsetOf(position) ?? null
  }

  protected override subscribe(socket: WebSocket, listener: PortfolioListener, message: Subscribe, now: number): void {
    const { channels, req_id } = message
    if (message.op === 'unsubscribe') {
      const before = listener.what
      listener.what = without(before, channels)
      if (listener.what.key === '') passed(listener, this.#host.offset())
      note(socket, listener)
      this.send(socket, unsubscribedFrame(channels, req_id))
      if (listener.what.assets.size < before.assets.size) this.#host.unwatch()
      return
    }
    const { since } = message
    const { prepared } = listener
    listener.prepared = null
    const busy = { code: 'unavailable', message: 'the portfolio cannot be read at the moment', field: null } as const
    if (prepared === null) {
      this.refuse(socket, busy, req_id)
      return
    }
    const asked = readChannels(channels, listener.what, prepared.named, this.#host.maxChannels)
    if ('error' in asked) {
      this.refuse(socket, asked.error, req_id)
      return
    }
    if (!this.#suffices(prepared.lots, this.#owed(listener, asked, since))) {
      this.refuse(socket, busy, req_id)
      return
    }
    // The positions that it gets from here on say that it has all up to now, of what it had before too.
    if (listener.what.key !== '' && listener.sent !== this.#host.offset())
      this.#complete(socket, listener, prepared.lots, now)
    listener.what = joined(listener.what, asked)
    this.#welcome(socket, asked, channels, since, prepared.lots, req_id)
    this.welcomed(listener, this.#host.offset())
    note(socket, listener)
  }

  #complete(socket: WebSocket, listener: PortfolioListener, lots: Lots, now: number): void {
    if (this.#knownTo(listener.sent) !== null) this.catchUp(socket, listener, now)
    else this.#sendSnapshots(socket, listener.what, lots)
  }

  /** Says where the stream stands, then what has changed since, or a snapshot (D2). */
  #welcome(
    socket: WebSocket,
    asked: PortfolioSubscription,
    channels: string[],
    since: string | undefined,
    lots: Lots,
    reqId: ClientMessage['req_id'],
  ): void {
    const from = this.#from(since)
    const position = from === null ? this.#frames.position : (since as string)
    this.send(socket, subscribedFrame(channels, position, from !== null, reqId))
    const frames = from === null ? this.#frames.snapshots(asked, lots) : this.#frames.updates(asked, from)
    for (const frame of frames) this.send(socket, frame)
  }
}
