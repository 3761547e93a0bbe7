import type { ClientMessage } from '../../src/protocol/messages.ts'
import { type Connection, loadAttachment, newConnection, saveAttachment } from '../sockets/connection.ts'
import { type QuoteSubscription, subscriptionKey } from './subscription.ts'

/** What is kept with a socket beside what is kept with each: 16 KiB in all. */
type StoredFields = { all: boolean; ids: number[]; since: number; sent: number | null }

/**
 * One socket of a board. `since`: when its subscription has changed last. `waiting`: messages that are to be handled
 * yet.
 */
export type QuoteConnection = Connection & QuoteSubscription & { since: number; queuedMessages: ClientMessage[] | null }

const toConnection = (reader: Connection, { all, ids, since, sent }: StoredFields): QuoteConnection => ({
  ...reader,
  all,
  ids: new Set(ids),
  key: subscriptionKey(all, ids),
  since,
  sentOffset: sent,
  queuedMessages: null,
})

export const newQuoteConnection = (now: number, client: string, passive: boolean): QuoteConnection =>
  toConnection(newConnection(now, client, passive), { all: false, ids: [], since: now, sent: null })

/** Keeps with a socket what is to be known of it after a sleep. */
export function saveQuoteConnection(socket: WebSocket, listener: QuoteConnection): void {
  const { all, ids, since, sentOffset: sent } = listener
  const own: StoredFields = { all, ids: [...ids], since, sent }
  saveAttachment(socket, listener, own)
}

/** What was kept with a socket; null for one that was let go, and whose other side has not answered yet. */
export function loadQuoteConnection(socket: WebSocket): QuoteConnection | null {
  const was = loadAttachment<StoredFields>(socket)
  return was && toConnection(was.reader, was.own)
}

/** Messages of one socket that may wait for the database to say what a name means. */
const MAX_QUEUED_MESSAGES = 64

type MessageHandler = {
  /** Finds what has to be known before a message can be handled; null: that is at hand. */
  prepare(message: ClientMessage): Promise<unknown> | null
  handle(message: ClientMessage): void
  refuse(message: ClientMessage): void
}

type MessageQueue = Pick<QuoteConnection, 'queuedMessages'>

/**
 * Has a socket's message handled, at once or when what it needs was found; those that come meanwhile
 * are handled after it, in their order.
 * @returns a promise where something has to be found first
 */
export function handleInOrder(
  listener: MessageQueue,
  message: ClientMessage,
  handling: MessageHandler,
): Promise<void> | undefined {
  if (listener.queuedMessages === null) return handleAll(listener, [message], handling)
  if (listener.queuedMessages.length < MAX_QUEUED_MESSAGES) listener.queuedMessages.push(message)
  else handling.refuse(message)
  return undefined
}

function handleAll(
  listener: MessageQueue,
  messages: ClientMessage[],
  handling: MessageHandler,
): Promise<void> | undefined {
  listener.queuedMessages = null
  for (let message = messages.shift(); message !== undefined; message = messages.shift()) {
    const asked = message
    const finding = handling.prepare(asked)
    if (finding === null) handling.handle(asked)
    else {
      listener.queuedMessages = messages
      return finding.then(() => {
        handling.handle(asked)
        return handleAll(listener, messages, handling)
      })
    }
  }
  return undefined
}

/** Which assets sockets follow by name: how many, and since when. */
export class WatchCounts {
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
