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
  sentOffset,
  skipTo,
  waitingSince,
} from '../../src/delivery/delivery-state.ts'
import { CLOSE_CODES, type ErrorCode } from '../../src/protocol/errors.ts'
import {
  type ClientMessage,
  errorFrame,
  PING_TEXT,
  parseClientMessage,
  pongFrame,
  type RequestId,
  subscribedFrame,
  unsubscribedFrame,
} from '../../src/protocol/messages.ts'
import type { ObjectContext, SocketHub, SocketOptions } from '../realtime-object.ts'
import { type Connection, loadAttachment, newConnection, saveAttachment } from './connection.ts'
import { handleInOrder } from './in-order.ts'
import type { ChannelSource, SubscriptionMessage } from './source.ts'

/** The `lastMessageAt` of an attachment may be this old, milliseconds. */
const ATTACHMENT_MAX_AGE_MS = 60_000

const CLOSE_BY_REASON: Record<CloseReason, { code: number; reason: string }> = {
  slow: { code: CLOSE_CODES.slow_reader, reason: 'too far behind: no update was acked for too long' },
  silent: { code: CLOSE_CODES.silent_reader, reason: 'no message for too long: send a ping now and then' },
}

type HubOptions = ObjectContext & {
  limits: DeliveryLimits
  /** Called after a connection was removed. */
  onRemove?(): void
}

/**
 * The client connections of one object: subscribes them to the channels of its source (D4), sends each what it lacks as
 * fast as it reads (D1, D3), resumes those that return (D2), and closes the dead. Connections outlive a sleep of the
 * object (D5). The hub sets no timers: `dueAt` says when `tick` is due.
 */
export class Hub<S, P = never> implements SocketHub {
  readonly #ctx: DurableObjectState
  readonly #source: ChannelSource<S, P>
  readonly #options: HubOptions
  readonly #connections = new Map<WebSocket, Connection<S>>()
  /** End of the interval that connections share which never ack. */
  #intervalEndsAt = 0
  #dueAt = Number.POSITIVE_INFINITY
  /** No connection's authorization ends before this. */
  #expiresAt = Number.POSITIVE_INFINITY
  /** Frames that held several updates for a connection that was behind. */
  conflations = 0
  /** Connections that were closed for not keeping up, by reason. */
  readonly closedConnections: Record<CloseReason, number> = { slow: 0, silent: 0 }

  constructor(ctx: DurableObjectState, source: ChannelSource<S, P>, options: HubOptions) {
    this.#ctx = ctx
    this.#source = source
    this.#options = options
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING_TEXT, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const connection = loadAttachment(socket, source)
      if (connection === null) continue
      this.#add(socket, connection)
      source.onChange?.(source.none, connection.subscription, connection)
    }
  }

  get position(): string {
    return this.#source.position
  }

  get dueAt(): number {
    return this.#dueAt
  }

  get socketCount(): number {
    return this.#connections.size
  }

  /** Connections that are not passive. */
  get viewers(): number {
    let viewers = 0
    for (const { passive } of this.#connections.values()) if (!passive) viewers++
    return viewers
  }

  subscriptions(): S[] {
    return [...this.#connections.values()].map(({ subscription }) => subscription)
  }

  /** Open sockets of one client. */
  countSockets(client: string): number {
    this.closeExpired()
    let sockets = 0
    for (const connection of this.#connections.values()) if (connection.client === client) sockets++
    return sockets
  }

  accept(socket: WebSocket, options: SocketOptions): void {
    this.#ctx.acceptWebSocket(socket)
    const connection = newConnection(options, this.#source.none, this.#options.now())
    this.#add(socket, connection)
    this.#save(socket, connection)
  }

  #add(socket: WebSocket, connection: Connection<S>): void {
    this.#connections.set(socket, connection)
    this.#expiresAt = Math.min(this.#expiresAt, connection.authorizedUntil)
    this.#updateDue(connection)
  }

  remove(socket: WebSocket): void {
    const connection = this.#connections.get(socket)
    if (!connection) return
    this.#connections.delete(socket)
    this.#source.onChange?.(connection.subscription, this.#source.none, connection)
    this.#options.onRemove?.()
  }

  #close(socket: WebSocket, code: number, reason: string): void {
    this.remove(socket)
    socket.serializeAttachment(null)
    socket.close(code, reason)
  }

  closeAll(code: number, reason: string): void {
    for (const socket of this.#connections.keys()) this.#close(socket, code, reason)
  }

  /** Closes connections whose authorization has ended: with a new ticket they can connect again. */
  closeExpired(): void {
    const now = this.#options.now()
    if (now < this.#expiresAt) return
    this.#expiresAt = Number.POSITIVE_INFINITY
    for (const [socket, { authorizedUntil }] of this.#connections)
      if (authorizedUntil <= now) this.#close(socket, CLOSE_CODES.session_expired, 'come back with a new ticket')
      else this.#expiresAt = Math.min(this.#expiresAt, authorizedUntil)
  }

  /** Sends what waited for the end of an interval, and closes connections that do not keep up. */
  tick(): void {
    this.closeExpired()
    const { now: getNow, limits } = this.#options
    const now = getNow()
    if (now < this.#dueAt) return
    for (const [socket, connection] of this.#connections) {
      const reason = getCloseReason(connection, now, limits)
      if (reason === 'slow' || (reason === 'silent' && !this.#hasPinged(socket, connection, now))) {
        this.closedConnections[reason]++
        this.#close(socket, CLOSE_BY_REASON[reason].code, CLOSE_BY_REASON[reason].reason)
      } else this.#sendPending(socket, connection, now)
    }
    this.#dueAt = Number.POSITIVE_INFINITY
    for (const connection of this.#connections.values()) this.#updateDue(connection)
  }

  #updateDue(connection: Connection<S>): void {
    this.#dueAt = Math.min(this.#dueAt, getDueAt(connection, this.#options.limits))
  }

  /** True if the runtime answered a ping since the last look; records it as a message. */
  #hasPinged(socket: WebSocket, connection: Connection<S>, now: number): boolean {
    const pingedAt = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    if (pingedAt === connection.pingedAt) return false
    connection.pingedAt = pingedAt
    // The runtime's clock need not be the object's.
    const at = pingedAt > connection.lastMessageAt && pingedAt < now ? pingedAt : now
    recordMessage(connection, at, this.#intervalEndsAt)
    this.#save(socket, connection)
    return true
  }

  #save(socket: WebSocket, connection: Connection<S>): void {
    if (this.#connections.has(socket)) saveAttachment(socket, connection, this.#source)
  }

  /** Sends the source's newest update to every connection that it concerns, or lets it wait. */
  broadcast(): void {
    const { now: getNow, limits } = this.#options
    const now = getNow()
    for (const [socket, connection] of this.#connections) {
      if (this.#source.isEmpty(connection.subscription)) continue
      // One that waits already has its turn later, whatever has changed.
      if (waitingSince(connection) === null || canSend(connection, now, limits)) this.#deliver(socket, connection, now)
    }
  }

  /** Sends a text that is no update to every connection that subscribes to anything. */
  broadcastText(frame: string): void {
    for (const [socket, { subscription }] of this.#connections)
      if (!this.#source.isEmpty(subscription)) this.#send(socket, frame)
  }

  /**
   * Changes subscriptions on the source's part, such as when an asset is gone.
   * @param revise gives what is left of a subscription and the frames that say so; null: it stays as it is
   */
  reviseSubscriptions(revise: (subscription: S) => { subscription: S; frames: string[] } | null): void {
    for (const [socket, connection] of this.#connections) {
      const revised = revise(connection.subscription)
      if (revised === null) continue
      this.#setSubscription(connection, revised.subscription)
      this.#save(socket, connection)
      this.#sendAll(socket, revised.frames)
    }
  }

  #setSubscription(connection: Connection<S>, subscription: S): void {
    const before = connection.subscription
    connection.subscription = subscription
    if (this.#source.isEmpty(subscription)) skipTo(connection, this.#source.offset)
    this.#source.onChange?.(before, subscription, connection)
  }

  /** Brings a connection to the present, or lets it wait. */
  #deliver(socket: WebSocket, connection: Connection<S>, now: number): void {
    const updates = this.#updates(connection)
    if (updates?.length === 0) skipTo(connection, this.#source.offset)
    else if (!canSend(connection, now, this.#options.limits)) {
      markBehind(connection, now)
      this.#updateDue(connection)
    } else {
      const frames = updates ?? this.#snapshot(connection, undefined)
      if (frames === null) this.#loadSnapshot(socket, connection, now)
      else this.#sendCatchUp(socket, connection, frames, now)
    }
  }

  /** The updates that a connection lacks; null: it is owed a snapshot. */
  #updates(connection: Connection<S>): string[] | null {
    const from = sentOffset(connection)
    return from === null ? null : this.#source.updates(connection.subscription, from)
  }

  /** A snapshot that says so (D2); null: `prepared` lacks what it needs. */
  #snapshot({ subscription }: Connection<S>, prepared: P | undefined): string[] | null {
    const source = this.#source
    const frames = source.snapshot(subscription, prepared)
    return frames && [...this.#welcome(source.channelNames(subscription), null, undefined), ...frames]
  }

  /** @param since the position that a client has resumed from; null: a snapshot follows */
  #welcome(channels: readonly string[], since: string | null, reqId: RequestId): string[] {
    const subscribed = subscribedFrame(channels, since ?? this.#source.position, since !== null, reqId)
    return this.#source.statusFrame ? [subscribed, this.#source.statusFrame()] : [subscribed]
  }

  #loadSnapshot(socket: WebSocket, connection: Connection<S>, now: number): void {
    const { track, log, now: getNow } = this.#options
    const loading = { kind: 'loading_snapshot', since: waitingSince(connection) ?? now } as const
    connection.progress = loading
    const isWanted = () => connection.progress === loading && this.#connections.has(socket)
    const load = async (): Promise<void> => {
      const prepared = await this.#source.prepareSnapshot?.(connection.subscription)
      if (!isWanted()) return
      connection.progress = { kind: 'owes_snapshot', since: loading.since }
      const frames = this.#snapshot(connection, prepared)
      // What was read may be out of date by now.
      if (frames === null) this.#deliver(socket, connection, getNow())
      else this.#sendCatchUp(socket, connection, frames, getNow())
    }
    track(
      load().catch((error: unknown) => {
        log('snapshot_read_failed', { error: String(error) })
        if (isWanted()) this.#close(socket, CLOSE_CODES.unavailable, 'the database cannot be read')
      }),
    )
  }

  #sendCatchUp(socket: WebSocket, connection: Connection<S>, frames: readonly string[], now: number): void {
    const { offset } = this.#source
    if (connection.progress.kind === 'behind' && connection.progress.offset < offset - 1) this.conflations++
    this.#sendAll(socket, frames)
    if (connection.framesSinceMessage === SLOWDOWN_AFTER_FRAMES - 1) this.#hasPinged(socket, connection, now)
    const intervalEndsAt = now + this.#options.limits.sendIntervalMs
    recordSent(connection, offset, intervalEndsAt)
    if (connection.nextSendAt === intervalEndsAt) this.#intervalEndsAt = intervalEndsAt
    if (this.#source.isDurable) this.#save(socket, connection)
  }

  /** Handles a message of a client. @returns a promise where something must be read first */
  onMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    this.closeExpired()
    const connection = this.#connections.get(socket)
    if (connection === undefined) return undefined
    const now = this.#options.now()
    recordMessage(connection, now, this.#intervalEndsAt)
    if (now - connection.savedMessageAt >= ATTACHMENT_MAX_AGE_MS) this.#save(socket, connection)
    const read =
      typeof data === 'string'
        ? parseClientMessage(data)
        : { error: errorFrame('invalid_message', 'messages are text, not binary', null) }
    if ('error' in read) {
      this.#send(socket, read.error)
      this.#sendPending(socket, connection, now)
      return undefined
    }
    return handleInOrder<P | null>(connection, read.message, {
      prepare: (message) => ('channels' in message ? this.#source.prepare?.(message, connection) : undefined),
      handle: (message, prepared) => this.#handle(socket, connection, message, prepared),
      refuse: ({ req_id }) =>
        this.#send(socket, errorFrame('too_many_requests', 'too many messages at once', null, req_id)),
    })
  }

  #handle(socket: WebSocket, connection: Connection<S>, message: ClientMessage, prepared: P | null | undefined): void {
    if (!this.#connections.has(socket)) return
    const now = this.#options.now()
    switch (message.op) {
      case 'ping':
        this.#send(socket, pongFrame(message.req_id))
        break
      case 'ack': {
        const isFirst = connection.unackedOffsets === null
        recordAck(connection, this.#source.offsetOf(message.position))
        if (isFirst) this.#save(socket, connection)
        break
      }
      case 'unsubscribe':
        this.#unsubscribe(socket, connection, message, now)
        break
      case 'subscribe':
        this.#subscribe(socket, connection, message, prepared, now)
    }
    this.#sendPending(socket, connection, now)
  }

  /** Sends what waits, if the connection's turn has come. */
  #sendPending(socket: WebSocket, connection: Connection<S>, now: number): void {
    if (waitingSince(connection) !== null && this.#connections.has(socket)) this.#deliver(socket, connection, now)
  }

  #unsubscribe(socket: WebSocket, connection: Connection<S>, message: SubscriptionMessage, now: number): void {
    const { channels, req_id } = message
    const result = this.#source.unsubscribe(connection.subscription, channels)
    if ('error' in result) {
      this.#sendError(socket, result.error, req_id)
      return
    }
    connection.subscribedAt = now
    this.#setSubscription(connection, result.subscription)
    this.#save(socket, connection)
    this.#send(socket, unsubscribedFrame(channels, req_id))
  }

  #subscribe(
    socket: WebSocket,
    connection: Connection<S>,
    { channels, since, req_id }: Extract<SubscriptionMessage, { op: 'subscribe' }>,
    prepared: P | null | undefined,
    now: number,
  ): void {
    const source = this.#source
    const unavailable = { code: 'unavailable', message: 'not available at the moment', field: null } as const
    if (prepared === null) {
      this.#sendError(socket, unavailable, req_id)
      return
    }
    const asked = source.subscribe(connection.subscription, channels, prepared)
    if ('error' in asked) {
      this.#sendError(socket, asked.error, req_id)
      return
    }
    source.publishDue?.()
    // From here on its positions cover everything up to now, of what it had before too.
    const pending = source.isEmpty(connection.subscription)
      ? []
      : (this.#updates(connection) ?? this.#snapshot(connection, prepared))
    const missed = since === undefined ? null : source.resume(asked.subscription, since)
    const frames = missed ?? source.snapshot(asked.subscription, prepared)
    if (pending === null || frames === null) {
      this.#sendError(socket, unavailable, req_id)
      return
    }
    if (pending.length > 0) this.#sendCatchUp(socket, connection, pending, now)
    if (!this.#connections.has(socket)) return
    connection.subscribedAt = now
    this.#setSubscription(connection, source.merge(connection.subscription, asked.subscription))
    const resumedFrom = missed === null ? null : (since as string)
    this.#sendAll(socket, [...this.#welcome(channels, resumedFrom, req_id), ...frames])
    skipTo(connection, source.offset)
    connection.unackedOffsets?.push(source.offset)
    connection.nextSendAt = Math.max(connection.nextSendAt, this.#intervalEndsAt)
    this.#save(socket, connection)
  }

  #sendError(
    socket: WebSocket,
    { code, message, field }: { code: ErrorCode; message: string; field: string | null },
    reqId: RequestId,
  ): void {
    this.#send(socket, errorFrame(code, message, field, reqId))
  }

  #sendAll(socket: WebSocket, frames: readonly string[]): void {
    for (const frame of frames) this.#send(socket, frame)
  }

  #send(socket: WebSocket, frame: string): void {
    try {
      socket.send(frame)
    } catch {
      // The socket is gone; its close event may come later or never.
      this.remove(socket)
    }
  }
}
