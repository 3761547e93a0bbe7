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
  parseClientMessage,
  pongFrame,
  type RequestId,
  subscribedFrame,
  unsubscribedFrame,
} from '../../src/protocol/messages.ts'
import { formatStreamPosition, offsetInStream } from '../../src/protocol/stream-position.ts'
import type { WorkContext } from '../object-context.ts'
import type { Connection, SocketOptions } from './connection.ts'
import { ConnectionSet } from './connection-set.ts'
import { handleInOrder } from './in-order.ts'
import type { ChannelSource, SubscriptionMessage } from './source.ts'

/** The `lastMessageAt` of an attachment may be this old, milliseconds. */
const ATTACHMENT_MAX_AGE_MS = 60_000

const CLOSE_BY_REASON: Record<CloseReason, { code: number; reason: string }> = {
  slow: { code: CLOSE_CODES.slow_reader, reason: 'too far behind: no update was acked for too long' },
  silent: { code: CLOSE_CODES.silent_reader, reason: 'no message for too long: send a ping now and then' },
}

type HubContext = WorkContext & {
  settings: DeliveryLimits
  /** Called after a connection was removed. */
  onRemove?(): void
}

/**
 * Subscribes the connections of one object to the channels of its source (D4), sends each what it lacks as fast as it
 * reads (D1, D3), resumes those that return (D2), and closes the dead. It sets no timers: `dueAt` says when `tick` is due.
 */
export class Hub<S, P = never> {
  readonly connections: ConnectionSet<S>
  readonly #source: ChannelSource<S, P>
  readonly #context: HubContext
  /** End of the interval that connections share which never ack. */
  #intervalEndsAt = 0
  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  dueAt = Number.POSITIVE_INFINITY
  /** Frames that held several updates for a connection that was behind. */
  conflations = 0
  /** Connections that were closed for not keeping up, by reason. */
  readonly closedConnections: Record<CloseReason, number> = { slow: 0, silent: 0 }

  constructor(ctx: DurableObjectState, source: ChannelSource<S, P>, context: HubContext) {
    this.#source = source
    this.#context = context
    this.connections = new ConnectionSet(ctx, source, context)
    for (const [, connection] of this.connections) this.#updateDue(connection)
  }

  get position(): string {
    return formatStreamPosition(this.#source)
  }

  countSockets(client: string): number {
    this.connections.closeExpired()
    return this.connections.countOf(client)
  }

  accept(socket: WebSocket, options: SocketOptions): void {
    this.#updateDue(this.connections.accept(socket, options))
  }

  remove(socket: WebSocket): void {
    this.connections.remove(socket)
  }

  /** Sends what waited for the end of an interval, and closes connections that do not keep up. */
  tick(): void {
    this.connections.closeExpired()
    const { now: getNow, settings } = this.#context
    const now = getNow()
    if (now < this.dueAt) return
    for (const [socket, connection] of this.connections) {
      const reason = getCloseReason(connection, now, settings)
      if (reason === 'slow' || (reason === 'silent' && !this.#recordPing(socket, connection, now))) {
        this.closedConnections[reason]++
        this.connections.close(socket, CLOSE_BY_REASON[reason].code, CLOSE_BY_REASON[reason].reason)
      } else this.#sendPending(socket, connection, now)
    }
    this.dueAt = Number.POSITIVE_INFINITY
    for (const [, connection] of this.connections) this.#updateDue(connection)
  }

  #updateDue(connection: Connection<S>): void {
    this.dueAt = Math.min(this.dueAt, getDueAt(connection, this.#context.settings))
  }

  /** Records a ping that the runtime has answered; false: there was none since the last call. */
  #recordPing(socket: WebSocket, connection: Connection<S>, now: number): boolean {
    const pingedAt = this.connections.takeNewPing(socket, connection)
    if (pingedAt === null) return false
    const at = pingedAt > connection.lastMessageAt && pingedAt < now ? pingedAt : now
    recordMessage(connection, at, this.#intervalEndsAt)
    this.connections.save(socket, connection)
    return true
  }

  /** Sends the source's newest update to every connection that it concerns, or lets it wait. */
  broadcast(): void {
    const { now: getNow, settings } = this.#context
    const now = getNow()
    for (const [socket, connection] of this.connections) {
      if (this.#source.isEmpty(connection.subscription)) continue
      // One that waits already has its turn later, whatever has changed.
      if (waitingSince(connection) === null || canSend(connection, now, settings))
        this.#deliver(socket, connection, now)
    }
  }

  /** Sends a text that is no update to every connection that subscribes to anything. */
  broadcastText(frame: string): void {
    for (const [socket, { subscription }] of this.connections)
      if (!this.#source.isEmpty(subscription)) this.#send(socket, frame)
  }

  /**
   * Changes subscriptions on the source's part, such as when an asset is gone.
   * @param revise gives what is left of a subscription and the frames that say so; null: it stays as it is
   */
  reviseSubscriptions(revise: (subscription: S) => { subscription: S; frames: string[] } | null): void {
    for (const [socket, connection] of this.connections) {
      const revised = revise(connection.subscription)
      if (revised === null) continue
      this.#setSubscription(connection, revised.subscription)
      this.connections.save(socket, connection)
      this.connections.send(socket, revised.frames)
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
    else if (!canSend(connection, now, this.#context.settings)) {
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
    const subscribed = subscribedFrame(channels, since ?? this.position, since !== null, reqId)
    return this.#source.statusFrame ? [subscribed, this.#source.statusFrame()] : [subscribed]
  }

  #loadSnapshot(socket: WebSocket, connection: Connection<S>, now: number): void {
    const { track, log, now: getNow } = this.#context
    const loading = { kind: 'loading_snapshot', since: waitingSince(connection) ?? now } as const
    connection.progress = loading
    const isWanted = () => connection.progress === loading && this.connections.has(socket)
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
        if (isWanted()) this.connections.close(socket, CLOSE_CODES.unavailable, 'the database cannot be read')
      }),
    )
  }

  #sendCatchUp(socket: WebSocket, connection: Connection<S>, frames: readonly string[], now: number): void {
    const { offset } = this.#source
    if (connection.progress.kind === 'behind' && connection.progress.offset < offset - 1) this.conflations++
    this.connections.send(socket, frames)
    if (connection.framesSinceMessage === SLOWDOWN_AFTER_FRAMES - 1) this.#recordPing(socket, connection, now)
    const intervalEndsAt = now + this.#context.settings.UNACKED_SEND_INTERVAL_MS
    recordSent(connection, offset, intervalEndsAt)
    if (connection.nextSendAt === intervalEndsAt) this.#intervalEndsAt = intervalEndsAt
    if (this.#source.isDurable) this.connections.save(socket, connection)
  }

  /** Handles a message of a client. @returns a promise where something must be read first */
  onMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> | undefined {
    this.connections.closeExpired()
    const connection = this.connections.get(socket)
    if (connection === undefined) return undefined
    const now = this.#context.now()
    recordMessage(connection, now, this.#intervalEndsAt)
    if (now - connection.savedMessageAt >= ATTACHMENT_MAX_AGE_MS) this.connections.save(socket, connection)
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
    if (!this.connections.has(socket)) return
    const now = this.#context.now()
    switch (message.op) {
      case 'ping':
        this.#send(socket, pongFrame(message.req_id))
        break
      case 'ack': {
        const isFirst = connection.unackedOffsets === null
        recordAck(connection, offsetInStream(message.position, this.#source))
        if (isFirst) this.connections.save(socket, connection)
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
    if (waitingSince(connection) !== null && this.connections.has(socket)) this.#deliver(socket, connection, now)
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
    this.connections.save(socket, connection)
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
    const from = since === undefined ? null : offsetInStream(since, source)
    const missed = from === null ? null : (source.resume ?? source.updates).call(source, asked.subscription, from)
    const frames = missed ?? source.snapshot(asked.subscription, prepared)
    if (pending === null || frames === null) {
      this.#sendError(socket, unavailable, req_id)
      return
    }
    if (pending.length > 0) this.#sendCatchUp(socket, connection, pending, now)
    if (!this.connections.has(socket)) return
    connection.subscribedAt = now
    this.#setSubscription(connection, source.merge(connection.subscription, asked.subscription))
    const resumedFrom = missed === null ? null : (since as string)
    this.connections.send(socket, [...this.#welcome(channels, resumedFrom, req_id), ...frames])
    skipTo(connection, source.offset)
    connection.unackedOffsets?.push(source.offset)
    connection.nextSendAt = Math.max(connection.nextSendAt, this.#intervalEndsAt)
    this.connections.save(socket, connection)
  }

  #send(socket: WebSocket, frame: string): void {
    this.connections.send(socket, [frame])
  }

  #sendError(
    socket: WebSocket,
    { code, message, field }: { code: ErrorCode; message: string; field: string | null },
    reqId: RequestId,
  ): void {
    this.#send(socket, errorFrame(code, message, field, reqId))
  }
}
