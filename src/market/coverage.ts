import type { Coverage, Gap } from '../protocol/candle.ts'

const MINUTE = 60
const DAY = 86_400

const dayOf = (minute: number): number => minute - (minute % DAY)

/**
 * Trade ids that are missing: those strictly between `after` and `before` (0 after nothing known). Their trades lie in
 * the minutes `from` to `to`, both inclusive, unix seconds.
 */
export type Hole = {
  after: number
  before: number
  from: number
  to: number
  /** Minutes of the trades `after` and `before`; what the connection's own record cannot narrow lies between them. */
  low: number
  high: number
  /** The hole that lies before the first trade we ever saw: `partial`, not `gap`. */
  start: boolean
  /** When it was found, unix milliseconds. */
  seenAt: number
  /** Pages of trades that were spent on it. */
  pages: number
  /** How often in a row REST had nothing for it, and until when it is left alone for that, unix milliseconds. */
  failures: number
  pausedUntil: number
}

/** Minutes in which trades may be missing, until the next trade proves that the ids are dense. `to` grows while null. */
export type Doubt = { from: number; to: number | null }

/** A hole that nobody has asked REST about. */
const UNASKED = { pages: 0, failures: 0, pausedUntil: 0 }

/** Everything that is known about which trades are in (C8). Kept as one row, so it survives a restart (C2). */
export type LedgerState = { last: number; lastMinute: number; holes: Hole[]; doubt: Doubt | null }

/**
 * Which trades of a product are in. Trade ids are dense, so all that has to be kept is the highest id and the holes
 * below it; coverage of a minute is then a question to the holes.
 */
export class Ledger {
  last: number
  lastMinute: number
  holes: Hole[]
  doubt: Doubt | null
  /** Minutes whose coverage may have changed since it was last taken; both ends inclusive. */
  #changed: Gap | null = null

  constructor(state: LedgerState = { last: 0, lastMinute: 0, holes: [], doubt: null }) {
    this.last = state.last
    this.lastMinute = state.lastMinute
    this.holes = state.holes
    this.doubt = state.doubt
  }

  state(): LedgerState {
    return { last: this.last, lastMinute: this.lastMinute, holes: this.holes, doubt: this.doubt }
  }

  /** Nothing is known before `minute`, where the first connection began. Only the first call counts. */
  begin(minute: number, now: number): void {
    if (this.last !== 0 || this.holes.length > 0) return
    const before = Number.MAX_SAFE_INTEGER
    const from = dayOf(minute)
    this.holes.push({
      after: 0,
      before,
      from,
      to: minute,
      low: from,
      high: minute,
      start: true,
      seenAt: now,
      ...UNASKED,
    })
    this.#touch(from, minute)
  }

  /** Whether a trade of this id is in already. */
  has(id: number): boolean {
    return id <= this.last && !this.holes.some((hole) => id > hole.after && id < hole.before)
  }

  /**
   * Takes note of a trade.
   * @returns false when it was in already.
   */
  take(id: number, minute: number, now: number): boolean {
    // Id 1 follows nothing known: before it lies the start, like before any other first trade.
    if (id === this.last + 1 && (id > 1 || this.holes.length === 0)) {
      this.last = id
      if (minute > this.lastMinute) this.lastMinute = minute
      return true
    }
    if (id > this.last) this.#jump(id, minute, now)
    else if (!this.#fill(id, minute)) return false
    return true
  }

  /** A trade above the highest: everything between is a hole, or, with the very first trade, the unknown past. */
  #jump(id: number, minute: number, now: number): void {
    const past = this.holes.find((hole) => hole.before === Number.MAX_SAFE_INTEGER)
    const low = Math.min(this.lastMinute, minute)
    const high = Math.max(this.lastMinute, minute)
    if (past) {
      past.before = id
      past.high = minute
      // A snapshot reaches back to before the connection: what it holds is whole. What was lost before it is not.
      past.to = this.doubt ? Math.min(minute, this.doubt.to ?? minute) : Math.min(minute, past.to)
      past.from = past.low = Math.min(past.from, dayOf(past.to))
      this.#touch(past.from, minute)
    } else {
      // The connection's own record says where the loss can lie, when it says anything that fits.
      const doubt = this.doubt !== null && this.doubt.from <= high && (this.doubt.to ?? high) >= low ? this.doubt : null
      const from = Math.max(low, doubt?.from ?? low)
      const to = Math.min(high, doubt?.to ?? high)
      this.holes.push({ after: this.last, before: id, from, to, low, high, start: false, seenAt: now, ...UNASKED })
      this.#touch(from, to)
    }
    this.last = id
    this.lastMinute = high
  }

  #fill(id: number, minute: number): boolean {
    const index = this.holes.findIndex((hole) => id > hole.after && id < hole.before)
    const hole = this.holes[index]
    if (!hole) return false
    this.#touch(hole.from, hole.to)
    const parts: Hole[] = []
    // What of the start was healed stays healed, unless the trade shows that there is a day before it.
    const start = minute < dayOf(hole.from) ? dayOf(minute) : hole.from
    // Only the exchange can say that nothing lies before the first id, so that the start stays open below it.
    if (id - hole.after > 1 || (hole.start && hole.after === 0)) {
      const left = { ...hole, before: id, high: Math.max(hole.low, minute) }
      if (hole.start) left.from = left.low = start
      parts.push(hole.start ? { ...left, to: Math.min(hole.to, minute) } : narrow(left))
    }
    if (hole.before - id > 1) {
      const right = { ...hole, after: id, low: Math.min(hole.high, minute) }
      // What lies between a trade and the first one seen was lost while we watched: the start says nothing about it.
      const from = Math.min(Math.max(right.low, start), right.high)
      parts.push(hole.start ? { ...right, from, to: right.high, start: minute < hole.to } : narrow(right))
    }
    this.holes.splice(index, 1, ...parts)
    for (const part of parts) this.#touch(part.from, part.to)
    return true
  }

  /** A trade too old for the fold: its minute is wrong until the exchange's own candle replaces it. */
  miss(id: number, minute: number, now: number): void {
    if (id <= this.last) return
    this.take(id, minute, now)
    const zone = { from: minute, to: minute, low: minute, high: minute }
    this.holes.push({ after: id - 1, before: id + 1, ...zone, start: false, seenAt: now, ...UNASKED })
    this.#touch(minute, minute)
  }

  /** From `from` on trades may have been lost; `to` null while it goes on. Up to the last trade, dense ids prove more. */
  suspect(from: number, to: number | null): void {
    const earliest = Math.min(Math.max(from, this.lastMinute), this.doubt?.from ?? Number.MAX_SAFE_INTEGER)
    const latest = to === null || this.doubt?.to === null ? null : Math.max(earliest, to, this.doubt?.to ?? 0)
    this.doubt = { from: earliest, to: latest }
    this.#touch(earliest, latest ?? Number.MAX_SAFE_INTEGER)
  }

  /** The feed is back since `minute`: from here on nothing more is lost. */
  resume(minute: number): void {
    if (this.doubt?.to === null) this.doubt = { from: this.doubt.from, to: Math.max(this.doubt.from, minute) }
  }

  /** The next trade has come: what was missing is now a hole, or nothing was. */
  settle(): void {
    if (this.doubt === null) return
    this.#touch(this.doubt.from, this.doubt.to ?? Number.MAX_SAFE_INTEGER)
    this.doubt = null
  }

  /** The minutes [from, to], both inclusive, are whole from elsewhere; a hole without minutes left is closed. */
  heal(from: number, to: number): void {
    this.#touch(from, to)
    for (const hole of this.holes) if (hole.from >= from && hole.from <= to) hole.from = to + MINUTE
    this.holes = this.holes.filter((hole) => hole.from <= hole.to)
  }

  /** What lies before `minute` is no longer ours to heal: it is history, which the exchange's own candles tell. */
  giveUp(minute: number): void {
    for (const hole of this.holes) hole.from = Math.max(hole.from, minute)
    this.holes = this.holes.filter((hole) => hole.from <= hole.to)
    if (this.doubt && this.doubt.from < minute) this.doubt.from = minute
    if (this.doubt?.to != null && this.doubt.to < this.doubt.from) this.doubt = null
  }

  /** Nothing of a hole lies after `minute`: the trades between are all in. */
  bound(hole: Hole, minute: number): void {
    this.#touch(hole.from, hole.to)
    hole.to = Math.min(hole.to, minute)
    this.holes = this.holes.filter((other) => other.from <= other.to)
  }

  /** Coverage of [start, end), unix seconds: the worst of its minutes, gap before partial before full. */
  coverage(start: number, end: number): Coverage {
    const doubt = this.doubt
    if (doubt !== null && doubt.from < end && (doubt.to === null || doubt.to + MINUTE > start)) return 'gap'
    let coverage: Coverage = 'full'
    for (const hole of this.holes)
      if (hole.from < end && hole.to + MINUTE > start) {
        if (!hole.start) return 'gap'
        coverage = 'partial'
      }
    return coverage
  }

  /** Where trades are missing inside [start, end): ascending, not touching each other. */
  gaps(start: number, end: number): Gap[] {
    const raw: Gap[] = this.holes.filter((hole) => !hole.start).map((hole) => [hole.from, hole.to + MINUTE])
    if (this.doubt) raw.push([this.doubt.from, this.doubt.to === null ? end : this.doubt.to + MINUTE])
    const gaps: Gap[] = []
    for (const [from, to] of raw.sort((a, b) => a[0] - b[0])) {
      const gap: Gap = [Math.max(from, start), Math.min(to, end)]
      const previous = gaps.at(-1)
      if (gap[0] >= gap[1]) continue
      if (previous && gap[0] <= previous[1]) previous[1] = Math.max(previous[1], gap[1])
      else gaps.push(gap)
    }
    return gaps
  }

  /** The minutes whose coverage may have changed since the last call, both ends inclusive; null when none. */
  takeChanged(): Gap | null {
    const changed = this.#changed
    this.#changed = null
    return changed
  }

  #touch(from: number, to: number): void {
    this.#changed = this.#changed ? [Math.min(this.#changed[0], from), Math.max(this.#changed[1], to)] : [from, to]
  }
}

/** A hole within its neighbours' minutes, as far as what the connection said of it still fits them. */
function narrow(hole: Hole): Hole {
  const from = Math.max(hole.from, hole.low)
  const to = Math.min(hole.to, hole.high)
  return from <= to ? { ...hole, from, to } : { ...hole, from: hole.low, to: hole.high }
}
