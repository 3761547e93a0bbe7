import type { RequestId } from './messages.ts'

/** The messages of a client as text. This file has no schema library, so that it can go to browsers. */

/** A ping. The server answers this very text without waking the object that it reaches. */
export const PING_TEXT = '{"op":"ping"}'

/** @param since position to continue from; null asks for a snapshot */
export const subscribeMessage = (channels: readonly string[], since: string | null, reqId: RequestId): string =>
  JSON.stringify({ op: 'subscribe', channels, ...(since === null ? {} : { since }), req_id: reqId })

export const unsubscribeMessage = (channels: readonly string[]): string =>
  JSON.stringify({ op: 'unsubscribe', channels })

export const ackMessage = (position: string): string => JSON.stringify({ op: 'ack', position })
