import { type DeliveryState, newDeliveryState, sentOffset, skipTo } from '../../src/delivery/delivery-state.ts'
import type { ClientMessage } from '../../src/protocol/messages.ts'

/** The client of a socket. `authorizedUntil` is unix milliseconds, infinite where connections need no authorization. */
export type SocketOptions = { client: string; passive: boolean; authorizedUntil: number }

/**
 * One client at the other end of a socket. Times are unix milliseconds. `subscribedAt` is when the subscription was
 * changed last by the client, `savedMessageAt` the `lastMessageAt` that the attachment has, `pingedAt` the last ping that
 * the runtime answered, by its clock.
 */
export type Connection<S> = DeliveryState &
  SocketOptions & {
    subscription: S
    subscribedAt: number
    savedMessageAt: number
    pingedAt: number
    queuedMessages: ClientMessage[] | null
  }

/** What is stored with a socket while the object sleeps, besides its subscription: 16 KiB in all. */
type Attachment = {
  passive: boolean
  client: string
  acks: boolean
  heardAt: number
  pingedAt: number
  since?: number
  sent?: number | null
  until?: number
}

export const newConnection = <S>(options: SocketOptions, subscription: S, now: number): Connection<S> => ({
  ...newDeliveryState(now),
  ...options,
  subscription,
  subscribedAt: now,
  savedMessageAt: now,
  pingedAt: 0,
  queuedMessages: null,
})

export type AttachmentCodec<S> = {
  /** True if positions outlive the object: then each is stored with its socket. */
  readonly isDurable: boolean
  /** The fields of the attachment that name a subscription. */
  encode(subscription: S): object
  /** The reverse of `encode`. */
  decode(stored: object): S
}

/** Stores with a socket what must outlive a sleep of the object. */
export function saveAttachment<S>(socket: WebSocket, connection: Connection<S>, codec: AttachmentCodec<S>): void {
  const { passive, client, unackedOffsets, lastMessageAt, pingedAt, subscribedAt, authorizedUntil } = connection
  const attachment: Attachment = {
    ...codec.encode(connection.subscription),
    passive,
    client,
    acks: unackedOffsets !== null,
    heardAt: lastMessageAt,
    pingedAt,
    since: subscribedAt,
    ...(codec.isDurable && { sent: sentOffset(connection) }),
    ...(authorizedUntil < Number.POSITIVE_INFINITY && { until: authorizedUntil }),
  }
  connection.savedMessageAt = lastMessageAt
  socket.serializeAttachment(attachment)
}

/** The stored connection; null for a socket that was closed, and whose other side has not answered yet. */
export function loadAttachment<S>(socket: WebSocket, codec: AttachmentCodec<S>): Connection<S> | null {
  const stored = socket.deserializeAttachment() as Attachment | null
  if (stored === null) return null
  const { passive, client, acks, heardAt, pingedAt, since = heardAt, until = Number.POSITIVE_INFINITY } = stored
  const options = { passive, client, authorizedUntil: until }
  const connection = newConnection(options, codec.decode(stored), heardAt)
  Object.assign(connection, { unackedOffsets: acks ? [] : null, pingedAt, subscribedAt: since })
  if (codec.isDurable && typeof stored.sent === 'number') skipTo(connection, stored.sent)
  return connection
}
