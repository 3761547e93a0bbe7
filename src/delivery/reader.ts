/** What is allowed to one reader; see READER_WINDOW, READER_BEAT_MS, READER_SILENCE_MS and READER_DEAD_MS. */
export type ReaderLimits = { window: number; beat: number; silence: number; dead: number }

/**
 * Frames to a reader that says nothing at all, a minute of beats: whether it reads cannot be seen, and what it does not
 * read lies in buffers of the runtime. From then on it gets a frame per SLOW_MS, until it says something.
 */
export const UNHEARD_FRAMES = 600
export const SLOW_MS = 5_000

/** What is known of one reader. Times are unix milliseconds, offsets those of the updates of one object. */
export type Reader = {
  /** Bit n is set for the granularity of index n. */
  mask: number
  /** Everything up to here has been sent to it; null: not known, it is owed a snapshot. */
  sent: number | null
  /** The updates that it has been sent and has not acked; null until its first ack. */
  unacked: number[] | null
  /** Since when an update waits for it; null: none does. */
  behindSince: number | null
  /** It gets no update before this, unless it acks. */
  nextAt: number
  heardAt: number
  /** Updates sent to it since it was heard. */
  unheard: number
}

/** A reader that has subscribed to nothing yet. */
export const newReader = (now: number): Reader => ({
  mask: 0,
  sent: null,
  unacked: null,
  behindSince: null,
  nextAt: 0,
  heardAt: now,
  unheard: 0,
})

/** Whether an update may go to it now: its window is open, or its beat over (D3). */
export const isReady = (reader: Reader, now: number, limits: ReaderLimits): boolean =>
  reader.unacked === null ? now >= reader.nextAt : reader.unacked.length < limits.window

/** Why a reader is let go: it has not acked for too long, or it has never acked and said nothing for too long. */
export type ReaderEnd = 'slow' | 'silent'

/** Whether a reader is to be let go. */
export function endOf(reader: Reader, now: number, limits: ReaderLimits): ReaderEnd | null {
  if (reader.unacked === null) return now >= reader.heardAt + limits.silence ? 'silent' : null
  return reader.behindSince !== null && now >= reader.behindSince + limits.dead ? 'slow' : null
}

/** When there will be something to do for a reader, if it and the market stay as they are; infinite if nothing. */
export function dueOf(reader: Reader, limits: ReaderLimits): number {
  if (reader.unacked !== null)
    return reader.behindSince === null ? Number.POSITIVE_INFINITY : reader.behindSince + limits.dead
  const silent = reader.heardAt + limits.silence
  return reader.behindSince === null ? silent : Math.min(silent, reader.nextAt)
}

/** An update has come that it may not get yet. */
export function hold(reader: Reader, now: number): void {
  reader.behindSince ??= now
}

/**
 * Everything up to `offset` has been sent. Readers that never ack share their beat, which is over at `beatAt`: one alarm
 * serves all of them, and one text.
 */
export function delivered(reader: Reader, offset: number, beatAt: number): void {
  reader.sent = offset
  reader.behindSince = null
  if (reader.unacked !== null) {
    reader.unacked.push(offset)
    return
  }
  reader.unheard++
  // All that are this slow at the same moments: else each would wake the object on its own.
  reader.nextAt = reader.unheard < UNHEARD_FRAMES ? beatAt : Math.ceil((beatAt + SLOW_MS / 2) / SLOW_MS) * SLOW_MS
}

/** Nothing that it wants has changed up to `offset`. */
export function passed(reader: Reader, offset: number): void {
  reader.sent = offset
  reader.behindSince = null
}

/** It has said something: it is there, and takes part in the beat that is over at `beatAt`. */
export function heard(reader: Reader, now: number, beatAt: number): void {
  reader.heardAt = now
  if (reader.unheard >= UNHEARD_FRAMES) reader.nextAt = beatAt
  reader.unheard = 0
}

/** It has handled everything up to `offset`; null: a position that is not one of ours, which proves no more than life. */
export function acked(reader: Reader, offset: number | null): void {
  reader.unacked ??= []
  if (offset === null) return
  const left = reader.unacked.findIndex((sent) => sent > offset)
  reader.unacked.splice(0, left < 0 ? reader.unacked.length : left)
}
