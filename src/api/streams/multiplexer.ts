import { CLOSE, CodedError, ERROR_CODES } from '../../protocol/errors.ts'
import { PING, type RequestId } from '../../protocol/messages.ts'
import { joinPositions } from '../../protocol/stream-position.ts'
import { PORTFOLIO_KEY } from './channels.ts'
import { framePosition, frameType, withPosition } from './frames.ts'

/** Attempts to get one object's socket back before the reader is told to come back later; about 15 s in all. */
const MAX_ATTEMPTS = 7
const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 5_000
/** A socket that lived this long was no failed attempt. */
const PROVEN_MS = 10_000
/** Frames to one ack of ours: half of the least window that makes sense, a sixteenth of the work of acking each. */
const ACK_FRAMES = 16
/** That the reader is there is passed on this often at most; objects wait for minutes. */
const ALIVE_MS = 10_000

/** The little that joining needs of a socket to an object: one that is accepted already. */
export type ObjectSocket = Pick<WebSocket, 'send' | 'close'> & {
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
  addEventListener(type: 'error', listener: () => void): void
}

export type JoinAnswer = {
  /** Names the object here and in joined positions: a product's id, or that of a board of quotes. */
  key: string
  channels: string[]
  /** Where this object now is, and the others as the reader has them. What is not recovered, a snapshot brings first. */
  position: string
  recovered: boolean
  req_id?: RequestId
}

/** Where one reader's joined frames go. Positions in them are the joined ones. */
export type JoinReader = {
  /**
   * An object took channels in. Told once per object for each subscribe, and again without `req_id` when its socket
   * was lost and what came in between cannot be had: then a snapshot follows.
   */
  subscribed(answer: JoinAnswer): void
  /** A snapshot or an update of whichever type, its numbers untouched. */
  frame(text: string, key: string, type: 'update' | 'snapshot'): void
  /** How the feed of a product's object is: its own frame. */
  feed(text: string, key: string): void
  /** An object refused a subscribe, or its socket for good. */
  refused(error: { key: string; code: string; message: string; req_id?: RequestId }): void
  /** This object cannot be had now, nothing more comes of it: `code` tells the reader what to do. */
  lost(key: string, code: number, reason: string): void
}

/** What joining takes from outside: sockets, time, chance. */
export type JoinDeps = {
  /** Opens the socket of the object with this key. @throws CodedError; one with a 4xx code is final, all else is tried again */
  connect(key: string): Promise<ObjectSocket>
  now(): number
  random(): number
  setTimeout(run: () => void, ms: number): unknown
}

/** A subscribe on its way. `own`: ours after a lost socket. `answered`: only so many snapshots are still to come. */
type Ask = { channels: string[]; since: string | null; req_id?: RequestId; own: boolean; answered: number }

/** An object's `subscribed` or `error`, as far as it is read. */
type Answer = {
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
  unacked: number
  /** Subscribes that the reader has not got everything for, by the number they were sent under. */
  asked: Map<number, Ask>
}

/**
 * Joins the sockets of any number of objects for one reader: one socket per object, opened by its first channel and
 * closed with its last. A socket that drops is opened again from where the reader stands.
 */
export function joinObjects(reader: JoinReader, deps: JoinDeps) {
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
    return joinPositions(known)
  }

  function send(up: Upstream, message: object | string): void {
    try {
      up.socket?.send(typeof message === 'string' ? message : JSON.stringify(message))
    } catch {
      // The socket is closing: its close event opens the next one, which asks for everything again.
    }
  }

  function ask(up: Upstream, what: Ask): void {
    const number = ++asks
    up.asked.set(number, what)
    const { channels, since } = what
    send(up, { op: 'subscribe', channels, ...(since === null ? {} : { since }), req_id: number })
  }

  function ack(up: Upstream, at: string): void {
    if (at === up.acked) return
    up.acked = at
    up.unacked = 0
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
      if (error instanceof CodedError && isFinal(error)) {
        const req_id = [...up.asked.values()].find((what) => !what.own)?.req_id
        drop(up)
        reader.refused({ key: up.key, code: error.code, message: error.message, req_id })
      } else retry(up, CLOSE.unavailable)
      return
    }
    if (!alive(up)) return socket.close(1000, '')
    up.socket = socket
    up.openedAt = deps.now()
    up.acked = null
    up.unacked = 0
    socket.addEventListener('message', (event) => {
      if (up.socket === socket && typeof event.data === 'string') receive(up, event.data)
    })
    const gone = (code: number, reason: string) => {
      if (up.socket !== socket) return
      up.socket = null
      if (deps.now() - up.openedAt >= PROVEN_MS) up.attempts = 0
      if (code === CLOSE.signed_out && up.key === PORTFOLIO_KEY) {
        // The reader may have others, which are for everybody.
        drop(up)
        reader.refused({ key: up.key, code: 'unauthorized', message: 'signed out' })
      } else if (endsReader(code)) {
        drop(up)
        reader.lost(up.key, code, reason)
      } else retry(up, code)
    }
    socket.addEventListener('close', (event) => gone(event.code, event.reason))
    socket.addEventListener('error', () => gone(1006, ''))
    // What was never answered is asked again as it was; what was, goes on from where the reader stands.
    const waiting = [...up.asked.values()].filter((what) => !what.own)
    up.asked.clear()
    const pending = new Set(waiting.flatMap((what) => what.channels))
    const running = [...up.channels].filter((channel) => !pending.has(channel))
    if (running.length > 0) ask(up, { channels: running, since: up.position, own: true, answered: 0 })
    for (const what of waiting) ask(up, { ...what, answered: 0 })
  }

  /** Pauses with full jitter, doubling; an object that says "at once" (4200-4299) is taken at its word the first time. */
  function retry(up: Upstream, code: number): void {
    if (++up.attempts > MAX_ATTEMPTS) {
      drop(up)
      reader.lost(up.key, CLOSE.unavailable, `${up.key} cannot be reached`)
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
    const [number, what] = [...up.asked].find(([, { answered }]) => answered > 0) ?? []
    if (number !== undefined && what !== undefined && --what.answered === 0) up.asked.delete(number)
  }

  function receive(up: Upstream, text: string): void {
    const type = frameType(text)
    if (type === 'snapshot' || (type !== null && UPDATES.has(type))) {
      up.position = framePosition(text)
      up.unacked++
      if (type === 'snapshot') arrived(up)
      reader.frame(withPosition(text, position()), up.key, type === 'snapshot' ? type : 'update')
      return
    }
    if (type === 'feed') reader.feed(text, up.key)
    if (type !== 'subscribed' && type !== 'error') return
    const answer: Answer = JSON.parse(text)
    const number = answer.req_id ?? 0
    const what = up.asked.get(number)
    if (type === 'error') {
      up.asked.delete(number)
      const { code = 'internal', message = '' } = answer
      reader.refused({ key: up.key, code, message, req_id: what?.req_id })
      return
    }
    const recovered = answer.recovered === true
    if (what && !recovered && !what.own) what.answered = snapshotsOf(up.key, what.channels)
    else up.asked.delete(number)
    // A snapshot brings its own position: until it is here, the reader has nothing new to come back with.
    if (recovered) up.position ??= what?.since ?? null
    if (what?.own && recovered) return
    reader.subscribed({
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
        else up.asked.set(++asks, what)
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
        unacked: 0,
        asked: new Map([[++asks, { channels, since, req_id, own: false, answered: 0 }]]),
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
      for (const [number, what] of up.asked) {
        what.channels = what.channels.filter((name) => up.channels.has(name))
        if (what.channels.length === 0) up.asked.delete(number)
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
    handled(key?: string): void {
      const ups = key === undefined ? upstreams.values() : [upstreams.get(key)]
      for (const up of ups) {
        if (!up?.socket || up.position === null) continue
        if (key === undefined || up.acked === null || up.unacked >= ACK_FRAMES) ack(up, up.position)
      }
    },
    /** The reader is there, even if it never acks: objects let go of those that say nothing. */
    alive(): void {
      if (deps.now() - aliveAt < ALIVE_MS) return
      aliveAt = deps.now()
      for (const up of upstreams.values()) send(up, PING)
    },
    close(): void {
      for (const up of [...upstreams.values()]) drop(up)
    },
  }
}

/** Frames that carry on from where the reader stands: of products and boards, and those of a user's object. */
const UPDATES = new Set(['update', 'price_update', 'position_update', 'lot_update'])

/** An object answers a subscribe with one snapshot, that of a user with one for each channel. */
const snapshotsOf = (key: string, channels: readonly string[]): number => (key === PORTFOLIO_KEY ? channels.length : 1)

/** Codes that are meant for the reader: "stop", and that it does not read, which another socket would not change. */
const endsReader = (code: number): boolean =>
  (code >= 4000 && code < 4100) || code === CLOSE.slow_reader || code === CLOSE.silent_reader

/** A refusal that will not change by asking again. */
const isFinal = (error: CodedError): boolean => ERROR_CODES[error.code].status < 500
