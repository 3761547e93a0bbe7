import { newReader, type Reader } from '../src/delivery/reader.ts'
import type { ClientMessage } from '../src/protocol/messages.ts'
import { keyOf, type Subscription } from './quote-subscription.ts'

/** What is kept with a socket, so that it outlives the object's sleep: 16 KiB at most. */
type Attachment = {
  all: boolean
  ids: number[]
  since: number
  sent: number | null
  passive: boolean
  client: string
  acks: boolean
  heardAt: number
  pingedAt: number
}

/**
 * One socket of a board. `since`: when its subscription has changed last. `notedAt` is the `heardAt` of its attachment,
 * `pingedAt` the last ping that was answered without us, by its clock. `waiting`: messages that are to be handled yet.
 */
export type Listener = Reader &
  Subscription & {
    since: number
    passive: boolean
    client: string
    notedAt: number
    pingedAt: number
    waiting: ClientMessage[] | null
  }

export const newListener = (now: number, client: string, passive: boolean): Listener => ({
  ...newReader(now),
  all: false,
  ids: new Set(),
  key: '',
  since: now,
  passive,
  client,
  notedAt: now,
  pingedAt: 0,
  waiting: null,
})

/** Keeps with a socket what is to be known of it after a sleep. */
export function note(socket: WebSocket, listener: Listener): void {
  const { all, ids, since, sent, passive, client, unacked, heardAt, pingedAt } = listener
  const acks = unacked !== null
  const attachment: Attachment = { all, ids: [...ids], since, sent, passive, client, acks, heardAt, pingedAt }
  listener.notedAt = heardAt
  socket.serializeAttachment(attachment)
}

/** What was kept with a socket; null for one that was let go, and whose other side has not answered yet. */
export function restored(socket: WebSocket): Listener | null {
  const kept = socket.deserializeAttachment() as Attachment | null
  if (kept === null) return null
  const { all, ids, since, sent, passive, client, acks, heardAt, pingedAt } = kept
  return {
    ...newListener(heardAt, client, passive),
    all,
    ids: new Set(ids),
    key: keyOf(all, ids),
    since,
    sent,
    unacked: acks ? [] : null,
    pingedAt,
  }
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
