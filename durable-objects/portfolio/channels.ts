import { markBehind, skipTo } from '../../src/delivery/delivery-state.ts'
import { CLOSE_CODES } from '../../src/protocol/errors.ts'
import { type ClientMessage, subscribedFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { handleInOrder } from '../quotes/connection.ts'
import { Hub, type HubHost } from '../sockets/hub.ts'
import {
  loadPortfolioConnection,
  newPortfolioConnection,
  type OpenLots,
  type PortfolioConnection,
  savePortfolioConnection,
} from './connection.ts'
import type { PortfolioFrames } from './frames.ts'
import type { PortfolioUpdate } from './state.ts'
import {
  type AssetChannel,
  type AssetMatch,
  getChannelNames,
  getChannelSymbols,
  mergeSubscriptions,
  NO_SUBSCRIPTION,
  type PortfolioSubscription,
  parsePortfolioChannels,
  removeChannels,
} from './subscription.ts'

type Subscribe = Extract<ClientMessage, { channels: string[] }>

/** What an audience needs of the object that holds it. */
export type PortfolioHubHost = HubHost & {
  maxChannels: number
  /** Null: nothing was ever read of the database; then no socket has subscribed to anything. */
  frames(): PortfolioFrames | null
  offset(): number
  /** Sees to it that the portfolio was read, and says what symbols mean. @throws when it cannot be read */
  resolve(symbols: readonly string[]): Promise<ReadonlyMap<string, AssetMatch>>
  /** Sees to it that boards tell of these assets, and of those of the portfolio, from now on. Never rejects. */
  subscribeQuotes(assets: ReadonlyMap<number, AssetChannel>): Promise<void>
  /** A socket has given up assets. */
  onUnsubscribe(): void
  /** The open lots of these assets. @throws when they cannot be read */
  readLots(ids: readonly number[]): Promise<OpenLots>
  lotsAt(): number
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

const NO_LOTS: OpenLots = { lotsAt: 0, byAsset: new Map() }

/**
 * The sockets of one user: subscribes, sends one text to all who want the same (D1), the state of now to those who are
 * behind (D3), and what has changed to those who come back (D2).
 */
export class PortfolioHub extends Hub<PortfolioConnection> {
  readonly #host: PortfolioHubHost

  constructor(ctx: DurableObjectState, host: PortfolioHubHost) {
    super(ctx, host, { create: newPortfolioConnection, save: savePortfolioConnection, load: loadPortfolioConnection })
    this.#host = host
  }

  get socketCount(): number {
    return this.connections.size
  }

  /** The assets that sockets follow by name. */
  subscribedAssets(): Map<number, AssetChannel> {
    return new Map([...this.connections.values()].flatMap(({ subscription: what }) => [...what.assets]))
  }

  get #frames(): PortfolioFrames {
    const frames = this.#host.frames()
    if (frames === null) throw new Error('a socket is subscribed to a portfolio that was never read')
    return frames
  }

  /** @param until when what has let it in is over, unix milliseconds */
  open(socket: WebSocket, until: number): void {
    this.accept(socket, '', false)
    const listener = this.connections.get(socket)
    if (!listener) return
    listener.authorizedUntil = until
    savePortfolioConnection(socket, listener)
  }

  override remove(socket: WebSocket): void {
    const had = this.connections.get(socket)?.subscription.assets.size ?? 0
    super.remove(socket)
    if (had > 0) this.#host.onUnsubscribe()
  }

  /** Lets go of sockets whose time is over: with a new ticket they are let in again. */
  closeExpired(): void {
    const now = this.#host.now()
    for (const [socket, { authorizedUntil: until }] of this.connections)
      if (until <= now) this.#close(socket, CLOSE_CODES.session_expired, 'come back with a new ticket')
  }

  /** Lets go of all. */
  closeSignedOut(): void {
    for (const socket of this.connections.keys()) this.#close(socket, CLOSE_CODES.signed_out, 'signed out')
  }

  #close(socket: WebSocket, code: number, reason: string): void {
    this.drop(socket)
    socket.serializeAttachment(null)
    socket.close(code, reason)
  }

  /** Tells of a change. */
  broadcast(change: PortfolioUpdate): void {
    this.#frames.advance(change)
    const now = this.#host.now()
    for (const [socket, listener] of this.connections)
      if (listener.subscription.key !== '') this.sendOrDefer(socket, listener, now)
  }

  /** Up to where a reader has all; null: it is owed a snapshot. */
  #resumableOffset(sent: number | null): number | null {
    return sent !== null && this.#frames.canResumeFrom(sent) ? sent : null
  }

  protected override sendOrDefer(socket: WebSocket, listener: PortfolioConnection, now: number): void {
    const sent = this.#resumableOffset(listener.sentOffset)
    if (sent !== null && this.#frames.updates(listener.subscription, sent).length === 0)
      skipTo(listener, this.#host.offset())
    else super.sendOrDefer(socket, listener, now)
  }

  /** Sends all that a reader lacks, or a snapshot that says so if that is not known any more (D3). */
  protected override catchUp(socket: WebSocket, listener: PortfolioConnection, now: number): void {
    const sent = this.#resumableOffset(listener.sentOffset)
    if (sent === null) {
      this.#sendSnapshot(socket, listener, now)
      return
    }
    const frames = this.#frames.updates(listener.subscription, sent)
    if (frames.length === 0) {
      skipTo(listener, this.#host.offset())
      return
    }
    if (listener.behindSince !== null) this.conflations++
    for (const frame of frames) this.send(socket, frame)
    this.#saveSent(socket, listener, now)
  }

  #saveSent(socket: WebSocket, listener: PortfolioConnection, now: number): void {
    this.markSent(socket, listener, this.#host.offset(), now)
    savePortfolioConnection(socket, listener)
  }

  /** Sends a snapshot to who is owed one: at once, or when the lots of it were read. */
  #sendSnapshot(socket: WebSocket, listener: PortfolioConnection, now: number): void {
    if (listener.isLoadingLots) return
    const ids = this.#frames.assetsWithLots(listener.subscription)
    if (ids.length === 0) {
      this.#sendSnapshots(socket, listener.subscription, NO_LOTS)
      this.#saveSent(socket, listener, now)
      return
    }
    listener.isLoadingLots = true
    // It has its turn when the lots are there.
    listener.nextSendAt = Number.POSITIVE_INFINITY
    markBehind(listener, now)
    this.#host.track(this.#loadAndSendSnapshot(socket, listener, ids))
  }

  async #loadAndSendSnapshot(socket: WebSocket, listener: PortfolioConnection, ids: readonly number[]): Promise<void> {
    let lots: OpenLots | null = null
    try {
      lots = await this.#host.readLots(ids)
    } catch (error) {
      this.#host.log('lots_read_failed', { error: String(error) })
    }
    listener.isLoadingLots = false
    listener.nextSendAt = 0
    if (!this.connections.has(socket)) return
    const now = this.#host.now()
    if (lots === null) this.#close(socket, CLOSE_CODES.unavailable, 'the database cannot be read')
    else if (this.#resumableOffset(listener.sentOffset) !== null || !this.#hasLotsFor(lots, listener.subscription))
      this.sendOrDefer(socket, listener, now)
    else {
      this.#sendSnapshots(socket, listener.subscription, lots)
      this.#saveSent(socket, listener, now)
    }
  }

  #hasLotsFor(lots: OpenLots, what: PortfolioSubscription): boolean {
    const needed = this.#frames.assetsWithLots(what)
    return needed.length === 0 || (lots.lotsAt === this.#host.lotsAt() && needed.every((id) => lots.byAsset.has(id)))
  }

  #sendSnapshots(socket: WebSocket, what: PortfolioSubscription, lots: OpenLots): void {
    this.send(socket, subscribedFrame(getChannelNames(what), this.#frames.position, false, undefined))
    for (const frame of this.#frames.snapshots(what, lots)) this.send(socket, frame)
  }

  /** Handles one message of a client; a promise where something has to be found out first. */
  onMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    const listener = this.connections.get(socket)
    if (listener === undefined) return undefined
    const message = this.readMessage(socket, listener, data)
    if (message === null) return undefined
    return handleInOrder(listener, message, {
      prepare: (asked) => (asked.op === 'subscribe' ? this.#prepare(listener, asked) : null),
      handle: (asked) => this.handleMessage(socket, listener, asked),
      refuse: ({ req_id }) =>
        this.sendError(
          socket,
          { code: 'too_many_requests', message: 'too many messages at once', field: null },
          req_id,
        ),
    })
  }

  /** Finds out what has to be known before a subscription can be answered. Never rejects. */
  async #prepare(listener: PortfolioConnection, message: Extract<Subscribe, { op: 'subscribe' }>): Promise<void> {
    listener.prepared = null
    try {
      const named = await this.#host.resolve(getChannelSymbols(message.channels))
      const asked = parsePortfolioChannels(message.channels, listener.subscription, named, this.#host.maxChannels)
      let lots = NO_LOTS
      if (!('error' in asked)) {
        await this.#host.subscribeQuotes(asked.assets)
        const fresh = this.#snapshotScope(listener, asked, message.since)
        const needed = this.#frames.assetsWithLots(fresh)
        if (needed.length > 0) lots = await this.#host.readLots(needed)
      }
      listener.prepared = { matches: named, lots }
    } catch (error) {
      this.#host.log('portfolio_read_failed', { error: String(error) })
    }
  }

  /** Of what a snapshot is to be sent when these channels are subscribed to. */
  #snapshotScope(
    listener: PortfolioConnection,
    asked: PortfolioSubscription,
    since: string | undefined,
  ): PortfolioSubscription {
    const before =
      listener.subscription.key !== '' && this.#resumableOffset(listener.sentOffset) === null
        ? listener.subscription
        : NO_SUBSCRIPTION
    return this.#resumeOffset(since) === null ? mergeSubscriptions(before, asked) : before
  }

  #resumeOffset(since: string | undefined): number | null {
    return since === undefined ? null : this.#resumableOffset(this.#frames.offsetOf(since))
  }

  protected override offsetOf(position: string): number | null {
    return this.#host.frames()?.offsetOf(position) ?? null
  }

  protected override subscribe(
    socket: WebSocket,
    listener: PortfolioConnection,
    message: Subscribe,
    now: number,
  ): void {
    const { channels, req_id } = message
    if (message.op === 'unsubscribe') {
      const before = listener.subscription
      listener.subscription = removeChannels(before, channels)
      if (listener.subscription.key === '') skipTo(listener, this.#host.offset())
      savePortfolioConnection(socket, listener)
      this.send(socket, unsubscribedFrame(channels, req_id))
      if (listener.subscription.assets.size < before.assets.size) this.#host.onUnsubscribe()
      return
    }
    const { since } = message
    const { prepared } = listener
    listener.prepared = null
    const busy = { code: 'unavailable', message: 'the portfolio cannot be read at the moment', field: null } as const
    if (prepared === null) {
      this.sendError(socket, busy, req_id)
      return
    }
    const asked = parsePortfolioChannels(channels, listener.subscription, prepared.matches, this.#host.maxChannels)
    if ('error' in asked) {
      this.sendError(socket, asked.error, req_id)
      return
    }
    if (!this.#hasLotsFor(prepared.lots, this.#snapshotScope(listener, asked, since))) {
      this.sendError(socket, busy, req_id)
      return
    }
    // The positions that it gets from here on say that it has all up to now, of what it had before too.
    if (listener.subscription.key !== '' && listener.sentOffset !== this.#host.offset())
      this.#sendMissed(socket, listener, prepared.lots, now)
    listener.subscription = mergeSubscriptions(listener.subscription, asked)
    this.#sendSubscribed(socket, asked, channels, since, prepared.lots, req_id)
    this.markSubscribed(listener, this.#host.offset())
    savePortfolioConnection(socket, listener)
  }

  #sendMissed(socket: WebSocket, listener: PortfolioConnection, lots: OpenLots, now: number): void {
    if (this.#resumableOffset(listener.sentOffset) !== null) this.catchUp(socket, listener, now)
    else this.#sendSnapshots(socket, listener.subscription, lots)
  }

  /** Says where the stream stands, then what has changed since, or a snapshot (D2). */
  #sendSubscribed(
    socket: WebSocket,
    asked: PortfolioSubscription,
    channels: string[],
    since: string | undefined,
    lots: OpenLots,
    reqId: ClientMessage['req_id'],
  ): void {
    const from = this.#resumeOffset(since)
    const position = from === null ? this.#frames.position : (since as string)
    this.send(socket, subscribedFrame(channels, position, from !== null, reqId))
    const frames = from === null ? this.#frames.snapshots(asked, lots) : this.#frames.updates(asked, from)
    for (const frame of frames) this.send(socket, frame)
  }
}
