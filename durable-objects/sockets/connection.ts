import { type DeliveryState, newDeliveryState } from '../../src/delivery/delivery-state.ts'

/**
 * The reader at the other end of a socket. `notedAt` is the `heardAt` of its attachment; `pingedAt` the last ping that
 * was answered without us, by its clock.
 */
export type Connection = DeliveryState & { passive: boolean; client: string; savedMessageAt: number; pingedAt: number }

export const newConnection = (now: number, client: string, passive: boolean): Connection => ({
  ...newDeliveryState(now),
  passive,
  client,
  savedMessageAt: now,
  pingedAt: 0,
})

/** What is kept with every socket, so that it outlives the object's sleep. */
type Attachment = { passive: boolean; client: string; acks: boolean; heardAt: number; pingedAt: number }

/**
 * Keeps with a socket what is to be known of its reader after a sleep.
 * @param own what its object keeps beside that
 */
export function saveAttachment(socket: WebSocket, reader: Connection, own: object): void {
  const { passive, client, unackedOffsets: unacked, lastMessageAt: heardAt, pingedAt } = reader
  const attachment: Attachment = { ...own, passive, client, acks: unacked !== null, heardAt, pingedAt }
  reader.savedMessageAt = heardAt
  socket.serializeAttachment(attachment)
}

/** What `keep` was given; null for a socket that was let go, and whose other side has not answered yet. */
export function loadAttachment<Own extends object>(socket: WebSocket): { reader: Connection; own: Own } | null {
  const own = socket.deserializeAttachment() as (Attachment & Own) | null
  if (own === null) return null
  const { passive, client, acks, heardAt, pingedAt } = own
  const reader = { ...newConnection(heardAt, client, passive), unackedOffsets: acks ? [] : null, pingedAt }
  return { reader, own }
}

/** How the readers of one object begin, and what is kept of them. */
export type AttachmentCodec<R extends Connection> = {
  create(now: number, client: string, passive: boolean): R
  save(socket: WebSocket, listener: R): void
  /** Null: see `kept`. */
  load(socket: WebSocket): R | null
}
