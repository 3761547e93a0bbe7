/** The settings that limit one connection. */
export type DeliveryLimits = {
  MAX_UNACKED_FRAMES: number
  UNACKED_SEND_INTERVAL_MS: number
  CONNECTION_IDLE_TIMEOUT_MS: number
  ACK_TIMEOUT_MS: number
}

/**
 * Frames to a client that sends nothing at all, a minute's worth: the server cannot see if it reads, and what it does not
 * read fills buffers of the runtime. From then on it gets a frame per SLOW_SEND_INTERVAL_MS, until it sends something.
 */
export const SLOWDOWN_AFTER_FRAMES = 600
export const SLOW_SEND_INTERVAL_MS = 5_000

/**
 * What a connection has been sent of the updates of its subscription. Offsets are those of the object's stream; `since`
 * is when the first update came that it has not been sent (unix milliseconds).
 */
type Progress =
  /** Everything up to `offset`. */
  | { kind: 'current'; offset: number }
  /** Everything up to `offset`; later updates wait. */
  | { kind: 'behind'; offset: number; since: number }
  /** Unknown: it gets a snapshot with the next update. `since` is null until that update comes. */
  | { kind: 'owes_snapshot'; since: number | null }
  /** The same, and what the snapshot needs is being read. */
  | { kind: 'loading_snapshot'; since: number }

/** How one connection keeps up (D3). Times are unix milliseconds. */
export type DeliveryState = {
  progress: Progress
  /** Offsets that it was sent and has not acknowledged; null until its first ack. */
  unackedOffsets: number[] | null
  /** One that never acks gets no update before this. */
  nextSendAt: number
  lastMessageAt: number
  /** Updates sent since its last message. */
  framesSinceMessage: number
}

/** A connection without subscriptions. */
export const newDeliveryState = (now: number): DeliveryState => ({
  progress: { kind: 'owes_snapshot', since: null },
  unackedOffsets: null,
  nextSendAt: 0,
  lastMessageAt: now,
  framesSinceMessage: 0,
})

/** The offset up to which everything was sent; null where a snapshot is due. */
export const sentOffset = ({ progress }: DeliveryState): number | null =>
  progress.kind === 'current' || progress.kind === 'behind' ? progress.offset : null

/** Since when an update waits, unix milliseconds; null: none does. */
export const waitingSince = ({ progress }: DeliveryState): number | null =>
  progress.kind === 'current' ? null : progress.since

/** True if an update may be sent now: the window is open, or the interval over (D3). */
export function canSend(state: DeliveryState, now: number, limits: DeliveryLimits): boolean {
  if (state.progress.kind === 'loading_snapshot') return false
  return state.unackedOffsets === null
    ? now >= state.nextSendAt
    : state.unackedOffsets.length < limits.MAX_UNACKED_FRAMES
}

/** `slow`: acks, but not for too long. `silent`: never acked, and said nothing for too long. */
export type CloseReason = 'slow' | 'silent'

/** The reason to close the connection now; null: there is none. */
export function getCloseReason(state: DeliveryState, now: number, limits: DeliveryLimits): CloseReason | null {
  if (state.unackedOffsets === null)
    return now >= state.lastMessageAt + limits.CONNECTION_IDLE_TIMEOUT_MS ? 'silent' : null
  const since = waitingSince(state)
  return since !== null && now >= since + limits.ACK_TIMEOUT_MS ? 'slow' : null
}

/** When something is due for the connection if neither client nor market moves; infinite if nothing is. */
export function getDueAt(state: DeliveryState, limits: DeliveryLimits): number {
  const since = waitingSince(state)
  if (state.unackedOffsets !== null) return since === null ? Number.POSITIVE_INFINITY : since + limits.ACK_TIMEOUT_MS
  const idle = state.lastMessageAt + limits.CONNECTION_IDLE_TIMEOUT_MS
  const isWaiting = since !== null && state.progress.kind !== 'loading_snapshot'
  return isWaiting ? Math.min(idle, state.nextSendAt) : idle
}

/** Records an update that may not be sent yet. */
export function markBehind(state: DeliveryState, now: number): void {
  const { progress } = state
  if (progress.kind === 'current') state.progress = { kind: 'behind', offset: progress.offset, since: now }
  else if (progress.since === null) state.progress = { kind: 'owes_snapshot', since: now }
}

/**
 * Records that everything up to `offset` was sent. Connections that never ack share their interval, which ends at
 * `intervalEndsAt`: one alarm serves all of them, and one text.
 */
export function recordSent(state: DeliveryState, offset: number, intervalEndsAt: number): void {
  state.progress = { kind: 'current', offset }
  if (state.unackedOffsets !== null) {
    state.unackedOffsets.push(offset)
    return
  }
  state.framesSinceMessage++
  // Slow ones share the same moments: otherwise each would wake the object on its own.
  state.nextSendAt =
    state.framesSinceMessage < SLOWDOWN_AFTER_FRAMES
      ? intervalEndsAt
      : Math.ceil((intervalEndsAt + SLOW_SEND_INTERVAL_MS / 2) / SLOW_SEND_INTERVAL_MS) * SLOW_SEND_INTERVAL_MS
}

/** Records that nothing it subscribes to has changed up to `offset`. */
export function skipTo(state: DeliveryState, offset: number): void {
  state.progress = { kind: 'current', offset }
}

/** Records a message of the client: it joins the interval that ends at `intervalEndsAt` again. */
export function recordMessage(state: DeliveryState, now: number, intervalEndsAt: number): void {
  state.lastMessageAt = now
  if (state.framesSinceMessage >= SLOWDOWN_AFTER_FRAMES) state.nextSendAt = intervalEndsAt
  state.framesSinceMessage = 0
}

/** Records an ack of everything up to `offset`; null: a position of another stream, which proves no more than life. */
export function recordAck(state: DeliveryState, offset: number | null): void {
  state.unackedOffsets ??= []
  if (offset === null) return
  const left = state.unackedOffsets.findIndex((sent) => sent > offset)
  state.unackedOffsets.splice(0, left < 0 ? state.unackedOffsets.length : left)
}
