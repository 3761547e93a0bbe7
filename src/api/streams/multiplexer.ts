import {
  type ClientConnection,
  type ConnectionDeps,
  isStopCode,
  openConnection,
  type RetryPolicy,
  type StreamSocket,
} from '../../delivery/client-connection.ts'
import { CLOSE_CODES, CodedError, ERROR_CODES } from '../../protocol/errors.ts'
import type { RequestId } from '../../protocol/messages.ts'
import { joinStreamPositions } from '../../protocol/stream-position.ts'
import { PORTFOLIO_KEY } from './channels.ts'
import { framePosition, frameType, withPosition } from './frames.ts'

/** Objects get one ping of a client in this time: they wait for minutes before they close a silent socket. */
const PING_INTERVAL_MS = 10_000

/** Seven attempts take about 15 s in all; then the client must come back later. */
const RETRY: RetryPolicy = {
  minMs: 400,
  maxMs: 5_000,
  floorMs: () => 100,
  restartSpreadMs: 200,
  maxFailures: 7,
  // "Stop", and that the client does not read, which another socket would not change.
  isFinal: (code) => isStopCode(code) || code === CLOSE_CODES.slow_reader || code === CLOSE_CODES.silent_reader,
}

type SubscribedEvent = {
  /** Names the object here and in joined positions: a product's id, the key of a quote board, or `PORTFOLIO_KEY`. */
  key: string
  channels: string[]
  /** Where this object is now, and where the client is in the others. If not recovered, a snapshot follows. */
  position: string
  recovered: boolean
  req_id?: RequestId
}

/** Receives one client's joined frames. Positions in them are joined positions. */
export type MultiplexerHandlers = {
  /**
   * An object accepted a subscription. Called once per object for each subscribe, and again without `req_id` when the
   * object's socket was lost and the updates in between cannot be recovered: then a snapshot follows.
   */
  onSubscribed(answer: SubscribedEvent): void
  /** A snapshot, or an update of any type, with its numbers untouched. */
  onFrame(text: string, key: string, type: 'update' | 'snapshot'): void
  /** The `feed` frame of a product. */
  onFeed(text: string, key: string): void
  /** An object refused a subscribe, or refused its socket for good. */
  onRefused(error: { key: string; code: string; message: string; req_id?: RequestId }): void
  /** This object is not available any more: `code` says what the client should do. */
  onLost(key: string, code: number, reason: string): void
}

export type MultiplexerDeps = ConnectionDeps & {
  /** Opens the socket of the object with this key. @throws CodedError: 4xx is final, anything else is tried again */
  connect(key: string): Promise<StreamSocket>
}

/**
 * A subscribe in progress. `isOwn`: ours, after a lost socket. `pendingSnapshots`: how many are still to come since the
 * object responded.
 */
type SubscribeRequest = {
  channels: string[]
  since: string | null
  req_id?: RequestId
  isOwn: boolean
  pendingSnapshots: number
}

/** The fields of an object's `subscribed` or `error` that are read here. */
type ObjectReply = {
  req_id?: number
  channels?: string[]
  position?: string
  recovered?: boolean
  code?: string
  message?: string
}

type Upstream = {
  key: string
  channels: Set<string>
  connection: ClientConnection
  /** Where the client is in this object's stream; null until it has a snapshot. */
  position: string | null
  /** Subscribes that are not complete for the client, by the number they were sent under. */
  requests: Map<number, SubscribeRequest>
}

/**
 * Joins the sockets of any number of objects for one client: one socket per object, opened by its first channel and
 * closed with its last. A socket that drops is opened again from the client's position.
 */
export function createMultiplexer(client: MultiplexerHandlers, deps: MultiplexerDeps) {
  const upstreams = new Map<string, Upstream>()
  let requestCount = 0
  let pingedAt = Number.NEGATIVE_INFINITY

  /** The client's position in all objects; `at` replaces that of the object with this key. */
  function position(key?: string, at?: string): string {
    const known = new Map<string, string>()
    for (const up of upstreams.values()) {
      const own = up.key === key ? (at ?? up.position) : up.position
      if (own !== null) known.set(up.key, own)
    }
    return joinStreamPositions(known)
  }

  function request(up: Upstream, what: SubscribeRequest): void {
    const number = ++requestCount
    up.requests.set(number, what)
    if (up.connection.hasSocket) up.connection.subscribe(what.channels, what.since, number)
  }

  function drop(up: Upstream): void {
    upstreams.delete(up.key)
    up.connection.close(1000, '')
  }

  function open(key: string, since: string | null): Upstream {
    const connection = openConnection(
      {
        async dial(isCurrent) {
          try {
            return await deps.connect(key)
          } catch (error) {
            if (!(error instanceof CodedError) || !isFinalError(error)) throw error
            if (isCurrent()) refuse(up, error)
            return null
          }
        },
        onSocket: () => resubscribe(up),
        onMessage: (text) => receive(up, text),
        onLost() {},
        onStop: (code, reason) => stop(up, code, reason),
      },
      RETRY,
      deps,
    )
    const up: Upstream = { key, channels: new Set(), connection, position: since, requests: new Map() }
    upstreams.set(key, up)
    return up
  }

  function refuse(up: Upstream, { code, message }: CodedError): void {
    const req_id = [...up.requests.values()].find(({ isOwn }) => !isOwn)?.req_id
    drop(up)
    client.onRefused({ key: up.key, code, message, req_id })
  }

  function stop(up: Upstream, code: number, reason: string): void {
    drop(up)
    // The client's other channels are public.
    if (code === CLOSE_CODES.signed_out && up.key === PORTFOLIO_KEY)
      client.onRefused({ key: up.key, code: 'unauthorized', message: 'signed out' })
    else client.onLost(up.key, code, code === CLOSE_CODES.unavailable ? `${up.key} ${reason}` : reason)
  }

  /** On a new socket, repeats the subscribes that are not complete, and resumes the others from the client's position. */
  function resubscribe(up: Upstream): void {
    up.connection.markEstablished()
    const waiting = [...up.requests.values()].filter(({ isOwn }) => !isOwn)
    up.requests.clear()
    const pending = new Set(waiting.flatMap(({ channels }) => channels))
    const running = [...up.channels].filter((channel) => !pending.has(channel))
    if (running.length > 0) request(up, { channels: running, since: up.position, isOwn: true, pendingSnapshots: 0 })
    for (const what of waiting) request(up, { ...what, pendingSnapshots: 0 })
  }

  /** Counts a snapshot for the oldest subscribe that waits for any. */
  function countSnapshot(up: Upstream): void {
    const [number, what] = [...up.requests].find(([, { pendingSnapshots }]) => pendingSnapshots > 0) ?? []
    if (number !== undefined && what !== undefined && --what.pendingSnapshots === 0) up.requests.delete(number)
  }

  function receive(up: Upstream, text: string): void {
    const type = frameType(text)
    if (type === 'snapshot' || (type !== null && UPDATE_TYPES.has(type))) {
      up.position = framePosition(text)
      up.connection.countFrame()
      if (type === 'snapshot') countSnapshot(up)
      client.onFrame(withPosition(text, position()), up.key, type === 'snapshot' ? type : 'update')
    } else if (type === 'feed') client.onFeed(text, up.key)
    else if (type === 'subscribed') receiveSubscribed(up, JSON.parse(text))
    else if (type === 'error') receiveError(up, JSON.parse(text))
  }

  function receiveError(up: Upstream, { req_id: number = 0, code = 'internal', message = '' }: ObjectReply): void {
    const req_id = up.requests.get(number)?.req_id
    up.requests.delete(number)
    client.onRefused({ key: up.key, code, message, req_id })
  }

  function receiveSubscribed(up: Upstream, reply: ObjectReply): void {
    const number = reply.req_id ?? 0
    const what = up.requests.get(number)
    const recovered = reply.recovered === true
    if (what && !recovered && !what.isOwn) what.pendingSnapshots = expectedSnapshots(up.key, what.channels)
    else up.requests.delete(number)
    // A snapshot brings its own position: until it is here, the client cannot resume from a new one.
    if (recovered) up.position ??= what?.since ?? null
    if (what?.isOwn && recovered) return
    client.onSubscribed({
      key: up.key,
      channels: reply.channels ?? [],
      position: position(up.key, reply.position),
      recovered,
      req_id: what?.req_id,
    })
  }

  return {
    /** Adds channels of one object. @param since the client's position in that object */
    subscribe(key: string, channels: string[], since: string | null, req_id?: RequestId): void {
      const known = upstreams.get(key)
      const up = known ?? open(key, since)
      for (const channel of channels) up.channels.add(channel)
      request(up, { channels, since, req_id, isOwn: false, pendingSnapshots: 0 })
      if (!known) up.connection.dial()
    },
    unsubscribe(key: string, channels: string[]): void {
      const up = upstreams.get(key)
      if (!up) return
      for (const channel of channels) up.channels.delete(channel)
      if (up.channels.size === 0) {
        drop(up)
        return
      }
      for (const [number, what] of up.requests) {
        what.channels = what.channels.filter((name) => up.channels.has(name))
        if (what.channels.length === 0) up.requests.delete(number)
      }
      up.connection.unsubscribe(channels)
    },
    /** Passes the client's ack on, to each object its part. */
    ack(positions: ReadonlyMap<string, string>): void {
      for (const [key, at] of positions) upstreams.get(key)?.connection.ack(at)
    },
    /** The client has taken every frame of this object: acks them if that is due. */
    ackReceived(key: string): void {
      const up = upstreams.get(key)
      if (up && up.position !== null) up.connection.ackIfDue(up.position)
    },
    /** The client has taken every frame of every object: acks them now. */
    ackAllReceived(): void {
      for (const { connection, position: at } of upstreams.values()) if (at !== null) connection.ack(at)
    },
    /** The client is alive, even if it never acks: objects close the sockets of silent clients. */
    ping(): void {
      if (deps.now() - pingedAt < PING_INTERVAL_MS) return
      pingedAt = deps.now()
      for (const { connection } of upstreams.values()) connection.ping()
    },
    close(): void {
      for (const up of [...upstreams.values()]) drop(up)
    },
  }
}

/** Types of frames that continue from the client's position: those of products and quote boards, and of a user's object. */
const UPDATE_TYPES = new Set(['update', 'price_update', 'position_update', 'lot_update'])

/** An object answers a subscribe with one snapshot; a user's object with one for each channel. */
const expectedSnapshots = (key: string, channels: readonly string[]): number =>
  key === PORTFOLIO_KEY ? channels.length : 1

/** True for a refusal that does not change by asking again. */
const isFinalError = (error: CodedError): boolean => ERROR_CODES[error.code].status < 500
