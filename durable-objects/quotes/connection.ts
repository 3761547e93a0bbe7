import type { ClientMessage } from '../../src/protocol/messages.ts'
import { keep, kept, newSocketReader, type SocketReader } from '../sockets/connection.ts'
import { keyOf, type Subscription } from './subscription.ts'

/** What is kept with a socket beside what is kept with each: 16 KiB in all. */
type Own = { all: boolean; ids: number[]; since: number; sent: number | null }

/**
 * One socket of a board. `since`: when its subscription has changed last. `waiting`: messages that are to be handled
 * yet.
 */
export type Listener = SocketReader & Subscription & { since: number; waiting: ClientMessage[] | null }

const listenerOf = (reader: SocketReader, { all, ids, since, sent }: Own): Listener => ({
  ...reader,
  all,
  ids: new Set(ids),
  key: keyOf(all, ids),
  since,
  sent,
  waiting: null,
})

export const newListener = (now: number, client: string, passive: boolean): Listener =>
  listenerOf(newSocketReader(now, client, passive), { all: false, ids: [], since: now, sent: null })

/** Keeps with a socket what is to be known of it after a sleep. */
export function note(socket: WebSocket, listener: Listener): void {
  const { all, ids, since, sent } = listener
  const own: Own = { all, ids: [...ids], since, sent }
  keep(socket, listener, own)
}

/** What was kept with a socket; null for one that was let go, and whose other side has not answered yet. */
export function restored(socket: WebSocket): Listener | null {
  const was = kept<Own>(socket)
  return was && listenerOf(was.reader, was.own)
}

/** Messages of one socket that may wait for the database to say what a name means. */
const MAX_WAITING = 64

type Handling = {
  /** Finds what has to be known before a message can be handled; null: that is at hand. */
  find(message: ClientMessage): Promise<unknown> | null
  handle(message: ClientMessage): void
  refuse(message: ClientMessage): void
}

type Waiting = Pick<Listener, 'waiting'>

/**
 * Has a socket's message handled, at once or when what it needs was found; those that come meanwhile
 * are handled after it, in their order.
 * @returns a promise where something has to be found first
 */
export function inOrder(listener: Waiting, message: ClientMessage, handling: Handling): Promise<void> | undefined {
  if (listener.waiting === null) return run(listener, [message], handling)
  if (listener.waiting.length < MAX_WAITING) listener.waiting.push(message)
  else handling.refuse(message)
  return undefined
}

function run(listener: Waiting, messages: ClientMessage[], handling: Handling): Promise<void> | undefined {
  listener.waiting = null
  for (let message = messages.shift(); message !== undefined; message = messages.shift()) {
    const asked = message
    const finding = handling.find(asked)
    if (finding === null) handling.handle(asked)
    else {
      listener.waiting = messages
      return finding.then(() => {
        handling.handle(asked)
        return run(listener, messages, handling)
      })
    }
  }
  return undefined
}

/** Which assets sockets follow by name: how many, and since when. */
export class Watched {
  readonly #watched = new Map<number, { sockets: number; since: number }>()

  ids(): Iterable<number> {
    return this.#watched.keys()
  }

  /** Unix milliseconds; null: nobody follows it. */
  since(id: number): number | null {
    return this.#watched.get(id)?.since ?? null
  }

  add(ids: Iterable<number>, since: number): void {
    for (const id of ids) {
      const watched = this.#watched.get(id)
      if (watched) {
        watched.sockets++
        watched.since = Math.min(watched.since, since)
      } else this.#watched.set(id, { sockets: 1, since })
    }
  }

  remove(ids: Iterable<number>): void {
    for (const id of ids) {
      const watched = this.#watched.get(id)
      if (watched && --watched.sockets === 0) this.#watched.delete(id)
    }
  }
}
