/** What is allowed to one reader; see MAX_UNACKED_FRAMES, UNACKED_SEND_INTERVAL_MS, CONNECTION_IDLE_TIMEOUT_MS and ACK_TIMEOUT_MS. */
export type DeliveryLimits = {
  maxUnackedFrames: number
  sendIntervalMs: number
  idleTimeoutMs: number
  ackTimeoutMs: number
}

/**
 * Frames to a reader that says nothing at all, a minute of beats: whether it reads cannot be seen, and what it does not
 * read lies in buffers of the runtime. From then on it gets a frame per SLOW_MS, until it says something.
 */
export const SLOWDOWN_AFTER_FRAMES = 600
export const SLOW_SEND_INTERVAL_MS = 5_000

/** What is known of one reader. Times are unix milliseconds, offsets those of the updates of one object. */
export type DeliveryState = {
  /** Bit n is set for the granularity of index n. */
  mask: number
  /** Everything up to here has been sent to it; null: not known, it is owed a snapshot. */
  sentOffset: number | null
  /** The updates that it has been sent and has not acked; null until its first ack. */
  unackedOffsets: number[] | null
  /** Since when an update waits for it; null: none does. */
  behindSince: number | null
  /** It gets no update before this, unless it acks. */
  nextSendAt: number
  lastMessageAt: number
  /** Updates sent to it since it was heard. */
  framesSinceMessage: number
}

/** A reader that has subscribed to nothing yet. */
export const newDeliveryState = (now: number): DeliveryState => ({
  mask: 0,
  sentOffset: null,
  unackedOffsets: null,
  behindSince: null,
  nextSendAt: 0,
  lastMessageAt: now,
  framesSinceMessage: 0,
})

/** Whether an update may go to it now: its window is open, or its beat over (D3). */
export const canSend = (reader: DeliveryState, now: number, limits: DeliveryLimits): boolean =>
  reader.unackedOffsets === null ? now >= reader.nextSendAt : reader.unackedOffsets.length < limits.maxUnackedFrames

/** Why a reader is let go: it has not acked for too long, or it has never acked and said nothing for too long. */
export type CloseReason = 'slow' | 'silent'

/** Whether a reader is to be let go. */
export function getCloseReason(reader: DeliveryState, now: number, limits: DeliveryLimits): CloseReason | null {
  if (reader.unackedOffsets === null) return now >= reader.lastMessageAt + limits.idleTimeoutMs ? 'silent' : null
  return reader.behindSince !== null && now >= reader.behindSince + limits.ackTimeoutMs ? 'slow' : null
}

/** When there will be something to do for a reader, if it and the market stay as they are; infinite if nothing. */
export function getDueAt(reader: DeliveryState, limits: DeliveryLimits): number {
  if (reader.unackedOffsets !== null)
    return reader.behindSince === null ? Number.POSITIVE_INFINITY : reader.behindSince + limits.ackTimeoutMs
  const silent = reader.lastMessageAt + limits.idleTimeoutMs
  return reader.behindSince === null ? silent : Math.min(silent, reader.nextSendAt)
}

/** An update has come that it may not get yet. */
export function markBehind(reader: DeliveryState, now: number): void {
  reader.behindSince ??= now
}

/**
 * Everything up to `offset` has been sent. Readers that never ack share their beat, which is over at `beatAt`: one alarm
 * serves all of them, and one text.
 */
export function recordSent(reader: DeliveryState, offset: number, beatAt: number): void {
  reader.sentOffset = offset
  reader.behindSince = null
  if (reader.unackedOffsets !== null) {
    reader.unackedOffsets.push(offset)
    return
  }
  reader.framesSinceMessage++
  // All that are this slow at the same moments: else each would wake the object on its own.
  reader.nextSendAt =
    reader.framesSinceMessage < SLOWDOWN_AFTER_FRAMES
      ? beatAt
      : Math.ceil((beatAt + SLOW_SEND_INTERVAL_MS / 2) / SLOW_SEND_INTERVAL_MS) * SLOW_SEND_INTERVAL_MS
}

/** Nothing that it wants has changed up to `offset`. */
export function skipTo(reader: DeliveryState, offset: number): void {
  reader.sentOffset = offset
  reader.behindSince = null
}

/** It has said something: it is there, and takes part in the beat that is over at `beatAt`. */
export function recordMessage(reader: DeliveryState, now: number, beatAt: number): void {
  reader.lastMessageAt = now
  if (reader.framesSinceMessage >= SLOWDOWN_AFTER_FRAMES) reader.nextSendAt = beatAt
  reader.framesSinceMessage = 0
}

/** It has handled everything up to `offset`; null: a position that is not one of ours, which proves no more than life. */
export function recordAck(reader: DeliveryState, offset: number | null): void {
  reader.unackedOffsets ??= []
  if (offset === null) return
  const left = reader.unackedOffsets.findIndex((sent) => sent > offset)
  reader.unackedOffsets.splice(0, left < 0 ? reader.unackedOffsets.length : left)
}
