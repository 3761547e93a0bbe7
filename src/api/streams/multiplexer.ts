import { CLOSE_CODES, CodedError, ERROR_CODES } from '../../protocol/errors.ts'
import { PING_TEXT, type RequestId } from '../../protocol/messages.ts'
import { joinStreamPositions } from '../../protocol/stream-position.ts'
import { PORTFOLIO_KEY } from './channels.ts'
import { framePosition, frameType, withPosition } from './frames.ts'

/** Attempts to get one object's socket back before the reader is told to come back later; about 15 s in all. */
const MAX_ATTEMPTS = 7
const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 5_000
/** A socket that lived this long was no failed attempt. */
const MIN_UPTIME_MS = 10_000
/** Frames to one ack of ours: half of the least window that makes sense, a sixteenth of the work of acking each. */
const ACK_FRAMES = 16
/** That the reader is there is passed on this often at most; objects wait for minutes. */
const PING_INTERVAL_MS = 10_000

/** The little that joining needs of a socket to an object: one that is accepted already. */
export type ObjectSocket = Pick<WebSocket, 'send' | 'close'> & {
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
  addEventListener(type: 'error', listener: () => void): void
}

export type SubscribedEvent = {
  /** Names the object here and in joined positions: a product's id, or that of a board of quotes. */
  key: string
  channels: string[]
  /** Where this object now is, and the others as the reader has them. What is not recovered, a snapshot brings first. */
  position: string
  recovered: boolean
  req_id?: RequestId
}

/** Where one reader's joined frames go. Positions in them are the joined ones. */
export type MultiplexerHandlers = {
  /**
   * An object took channels in. Told once per object for each subscribe, and again without `req_id` when its socket
   * was lost and what came in between cannot be had: then a snapshot follows.
   */
  onSubscribed(answer: SubscribedEvent): void
  /** A snapshot or an update of whichever type, its numbers untouched. */
  onFrame(text: string, key: string, type: 'update' | 'snapshot'): void
  /** How the feed of a product's object is: its own frame. */
  onFeed(text: string, key: string): void
  /** An object refused a subscribe, or its socket for good. */
  onRefused(error: { key: string; code: string; message: string; req_id?: RequestId }): void
  /** This object cannot be had now, nothing more comes of it: `code` tells the reader what to do. */
  onLost(key: string, code: number, reason: string): void
}

/** What joining takes from outside: sockets, time, chance. */
export type MultiplexerDeps = {
  /** Opens the socket of the object with this key. @throws CodedError; one with a 4xx code is final, all else is tried again */
  connect(key: string): Promise<ObjectSocket>
  now(): number
  random(): number
  setTimeout(run: () => void, ms: number): unknown
}

/** A subscribe on its way. `own`: ours after a lost socket. `answered`: only so many snapshots are still to come. */
type SubscribeRequest = { channels: string[]; since: string | null; req_id?: RequestId; own: boolean; answered: number }

/** An object's `subscribed` or `error`, as far as it is read. */
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
  socket: ObjectSocket | null
  openedAt: number
  attempts: number
  /** What the reader has of this object; null until it has a snapshot. */
  position: string | null
  /** What this socket has been told that the reader has handled, and the frames that came since. */
  acked: string | null
  unackedFrames: number
  /** Subscribes that the reader has not got everything for, by the number they were sent under. */
  requests: Map<number, SubscribeRequest>
}

/**
 * Joins the sockets of any number of objects for one reader: one socket per object, opened by its first channel and
 * closed with its last. A socket that drops is opened again from where the reader stands.
 */
export function createMultiplexer(reader: MultiplexerHandlers, deps: MultiplexerDeps) {
  const upstreams = new Map<string, Upstream>()
  let asks = 0
  let aliveAt = Number.NEGATIVE_INFINITY

  const alive = (up: Upstream) => upstreams.get(up.key) === up

  /** Everything the reader has, in the form in which it brings it back. */
  function position(key?: string, told?: string): string {
    const known = new Map<string, string>()
    for (const up of upstreams.values()) {
      const at = up.key === key ? (told ?? up.position) : up.position
      if (at !== null) known.set(up.key, at)
    }
    return joinStreamPositions(known)
  }

  function send(up: Upstream, message: object | string): void {
    try {
      up.socket?.send(typeof message === 'string' ? message : JSON.stringify(message))
    } catch {
      // The socket is closing: its close event opens the next one, which asks for everything again.
    }
  }

  function ask(up: Upstream, what: SubscribeRequest): void {
    const number = ++asks
    up.requests.set(number, what)
    const { channels, since } = what
    send(up, { op: 'subscribe', channels, ...(since === null ? {} : { since }), req_id: number })
  }

  function ack(up: Upstream, at: string): void {
    if (at === up.acked) return
    up.acked = at
    up.unackedFrames = 0
    send(up, { op: 'ack', position: at })
  }

  function drop(up: Upstream, code = 1000, reason = ''): void {
    if (!alive(up)) return
    upstreams.delete(up.key)
    up.socket?.close(code, reason)
    up.socket = null
  }

  async function open(up: Upstream): Promise<void> {
    let socket: ObjectSocket
    try {
      socket = await deps.connect(up.key)
    } catch (error) {
      if (!alive(up)) return
      if (error instanceof CodedError && isFinalError(error)) {
        const req_id = [...up.requests.values()].find((what) => !what.own)?.req_id
        drop(up)
        reader.onRefused({ key: up.key, code: error.code, message: error.message, req_id })
      } else retry(up, CLOSE_CODES.unavailable)
      return
    }
    if (!alive(up)) return socket.close(1000, '')
    up.socket = socket
    up.openedAt = deps.now()
    up.acked = null
    up.unackedFrames = 0
    socket.addEventListener('message', (event) => {
      if (up.socket === socket && typeof event.data === 'string') receive(up, event.data)
    })
    const gone = (code: number, reason: string) => {
      if (up.socket !== socket) return
      up.socket = null
      if (deps.now() - up.openedAt >= MIN_UPTIME_MS) up.attempts = 0
      if (code === CLOSE_CODES.signed_out && up.key === PORTFOLIO_KEY) {
        // The reader may have others, which are for everybody.
        drop(up)
        reader.onRefused({ key: up.key, code: 'unauthorized', message: 'signed out' })
      } else if (closesClient(code)) {
        drop(up)
        reader.onLost(up.key, code, reason)
      } else retry(up, code)
    }
    socket.addEventListener('close', (event) => gone(event.code, event.reason))
    socket.addEventListener('error', () => gone(1006, ''))
    // What was never answered is asked again as it was; what was, goes on from where the reader stands.
    const waiting = [...up.requests.values()].filter((what) => !what.own)
    up.requests.clear()
    const pending = new Set(waiting.flatMap((what) => what.channels))
    const running = [...up.channels].filter((channel) => !pending.has(channel))
    if (running.length > 0) ask(up, { channels: running, since: up.position, own: true, answered: 0 })
    for (const what of waiting) ask(up, { ...what, answered: 0 })
  }

  /** Pauses with full jitter, doubling; an object that says "at once" (4200-4299) is taken at its word the first time. */
  function retry(up: Upstream, code: number): void {
    if (++up.attempts > MAX_ATTEMPTS) {
      drop(up)
      reader.onLost(up.key, CLOSE_CODES.unavailable, `${up.key} cannot be reached`)
      return
    }
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** up.attempts)
    const atOnce = up.attempts === 1 && code >= 4200 && code < 4300
    deps.setTimeout(
      () => {
        if (alive(up) && up.socket === null) void open(up)
      },
      atOnce ? deps.random() * RETRY_MIN_MS : RETRY_MIN_MS / 2 + deps.random() * ceiling,
    )
  }

  /** One more snapshot of the first subscribe that waits for any is here. */
  function arrived(up: Upstream): void {
    const [number, what] = [...up.requests].find(([, { answered }]) => answered > 0) ?? []
    if (number !== undefined && what !== undefined && --what.answered === 0) up.requests.delete(number)
  }

  function receive(up: Upstream, text: string): void {
    const type = frameType(text)
    if (type === 'snapshot' || (type !== null && UPDATE_TYPES.has(type))) {
      up.position = framePosition(text)
      up.unackedFrames++
      if (type === 'snapshot') arrived(up)
      reader.onFrame(withPosition(text, position()), up.key, type === 'snapshot' ? type : 'update')
      return
    }
    if (type === 'feed') reader.onFeed(text, up.key)
    if (type !== 'subscribed' && type !== 'error') return
    const answer: ObjectReply = JSON.parse(text)
    const number = answer.req_id ?? 0
    const what = up.requests.get(number)
    if (type === 'error') {
      up.requests.delete(number)
      const { code = 'internal', message = '' } = answer
      reader.onRefused({ key: up.key, code, message, req_id: what?.req_id })
      return
    }
    const recovered = answer.recovered === true
    if (what && !recovered && !what.own) what.answered = expectedSnapshots(up.key, what.channels)
    else up.requests.delete(number)
    // A snapshot brings its own position: until it is here, the reader has nothing new to come back with.
    if (recovered) up.position ??= what?.since ?? null
    if (what?.own && recovered) return
    reader.onSubscribed({
      key: up.key,
      channels: answer.channels ?? [],
      position: position(up.key, answer.position),
      recovered,
      req_id: what?.req_id,
    })
  }

  return {
    /** Joins channels of one object in. `since` is what the reader has of that object. */
    subscribe(key: string, channels: string[], since: string | null, req_id?: RequestId): void {
      const up = upstreams.get(key)
      if (up) {
        for (const channel of channels) up.channels.add(channel)
        const what = { channels, since, req_id, own: false, answered: 0 }
        if (up.socket) ask(up, what)
        else up.requests.set(++asks, what)
        return
      }
      const first: Upstream = {
        key,
        channels: new Set(channels),
        socket: null,
        openedAt: 0,
        attempts: 0,
        // Until the object has answered, that is what the reader has of it.
        position: since,
        acked: null,
        unackedFrames: 0,
        requests: new Map([[++asks, { channels, since, req_id, own: false, answered: 0 }]]),
      }
      upstreams.set(key, first)
      void open(first)
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
      send(up, { op: 'unsubscribe', channels })
    },
    /** Passes on what the reader says it has handled, to each object its part. */
    ack(positions: ReadonlyMap<string, string>): void {
      for (const [key, at] of positions) {
        const up = upstreams.get(key)
        if (up) ack(up, at)
      }
    },
    /**
     * The reader has taken all that came of this object, or of every object; objects are told at once on a new
     * socket, or where none is named, and else from time to time.
     */
    ackReceived(key?: string): void {
      const ups = key === undefined ? upstreams.values() : [upstreams.get(key)]
      for (const up of ups) {
        if (!up?.socket || up.position === null) continue
        if (key === undefined || up.acked === null || up.unackedFrames >= ACK_FRAMES) ack(up, up.position)
      }
    },
    /** The reader is there, even if it never acks: objects let go of those that say nothing. */
    ping(): void {
      if (deps.now() - aliveAt < PING_INTERVAL_MS) return
      aliveAt = deps.now()
      for (const up of upstreams.values()) send(up, PING_TEXT)
    },
    close(): void {
      for (const up of [...upstreams.values()]) drop(up)
    },
  }
}

/** Frames that carry on from where the reader stands: of products and boards, and those of a user's object. */
const UPDATE_TYPES = new Set(['update', 'price_update', 'position_update', 'lot_update'])

/** An object answers a subscribe with one snapshot, that of a user with one for each channel. */
const expectedSnapshots = (key: string, channels: readonly string[]): number =>
  key === PORTFOLIO_KEY ? channels.length : 1

/** Codes that are meant for the reader: "stop", and that it does not read, which another socket would not change. */
const closesClient = (code: number): boolean =>
  (code >= 4000 && code < 4100) || code === CLOSE_CODES.slow_reader || code === CLOSE_CODES.silent_reader

/** A refusal that will not change by asking again. */
const isFinalError = (error: CodedError): boolean => ERROR_CODES[error.code].status < 500
