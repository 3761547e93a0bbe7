import type { Coverage, Gap } from '../protocol/candle.ts'

const MINUTE_S = 60
const DAY_S = 86_400

const startOfDay = (minute: number): number => minute - (minute % DAY_S)

/**
 * Trade ids that are missing: those strictly between `after` and `before` (0 after nothing known). Their trades lie in
 * the minutes `from` to `to`, both inclusive, unix seconds.
 */
export type MissingTrades = {
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
export type UncertainRange = { from: number; to: number | null }

/** A hole that nobody has asked REST about. */
const NOT_REQUESTED = { pages: 0, failures: 0, pausedUntil: 0 }

/** Everything that is known about which trades are in (C8). Kept as one row, so it survives a restart (C2). */
export type TradeCoverageState = {
  last: number
  lastMinute: number
  holes: MissingTrades[]
  doubt: UncertainRange | null
}

/**
 * Which trades of a product are in. Trade ids are dense, so all that has to be kept is the highest id and the holes
 * below it; coverage of a minute is then a question to the holes.
 */
export class TradeCoverage {
  lastTradeId: number
  lastMinute: number
  missing: MissingTrades[]
  uncertain: UncertainRange | null
  /** Minutes whose coverage may have changed since it was last taken; both ends inclusive. */
  #changed: Gap | null = null

  constructor(state: TradeCoverageState = { last: 0, lastMinute: 0, holes: [], doubt: null }) {
    this.lastTradeId = state.last
    this.lastMinute = state.lastMinute
    this.missing = state.holes
    this.uncertain = state.doubt
  }

  state(): TradeCoverageState {
    return { last: this.lastTradeId, lastMinute: this.lastMinute, holes: this.missing, doubt: this.uncertain }
  }

  /** Nothing is known before `minute`, where the first connection began. Only the first call counts. */
  start(minute: number, now: number): void {
    if (this.lastTradeId !== 0 || this.missing.length > 0) return
    const before = Number.MAX_SAFE_INTEGER
    const from = startOfDay(minute)
    this.missing.push({
      after: 0,
      before,
      from,
      to: minute,
      low: from,
      high: minute,
      start: true,
      seenAt: now,
      ...NOT_REQUESTED,
    })
    this.#markChanged(from, minute)
  }

  /** Whether a trade of this id is in already. */
  has(id: number): boolean {
    return id <= this.lastTradeId && !this.missing.some((hole) => id > hole.after && id < hole.before)
  }

  /**
   * Takes note of a trade.
   * @returns false when it was in already.
   */
  record(id: number, minute: number, now: number): boolean {
    // Id 1 follows nothing known: before it lies the start, like before any other first trade.
    if (id === this.lastTradeId + 1 && (id > 1 || this.missing.length === 0)) {
      this.lastTradeId = id
      if (minute > this.lastMinute) this.lastMinute = minute
      return true
    }
    if (id > this.lastTradeId) this.#recordAhead(id, minute, now)
    else if (!this.#recordMissingTrade(id, minute)) return false
    return true
  }

  /** A trade above the highest: everything between is a hole, or, with the very first trade, the unknown past. */
  #recordAhead(id: number, minute: number, now: number): void {
    const past = this.missing.find((hole) => hole.before === Number.MAX_SAFE_INTEGER)
    const low = Math.min(this.lastMinute, minute)
    const high = Math.max(this.lastMinute, minute)
    if (past) {
      past.before = id
      past.high = minute
      // A snapshot reaches back to before the connection: what it holds is whole. What was lost before it is not.
      past.to = this.uncertain ? Math.min(minute, this.uncertain.to ?? minute) : Math.min(minute, past.to)
      past.from = past.low = Math.min(past.from, startOfDay(past.to))
      this.#markChanged(past.from, minute)
    } else {
      // The connection's own record says where the loss can lie, when it says anything that fits.
      const doubt =
        this.uncertain !== null && this.uncertain.from <= high && (this.uncertain.to ?? high) >= low
          ? this.uncertain
          : null
      const from = Math.max(low, doubt?.from ?? low)
      const to = Math.min(high, doubt?.to ?? high)
      this.missing.push({
        after: this.lastTradeId,
        before: id,
        from,
        to,
        low,
        high,
        start: false,
        seenAt: now,
        ...NOT_REQUESTED,
      })
      this.#markChanged(from, to)
    }
    this.lastTradeId = id
    this.lastMinute = high
  }

  #recordMissingTrade(id: number, minute: number): boolean {
    const index = this.missing.findIndex((hole) => id > hole.after && id < hole.before)
    const hole = this.missing[index]
    if (!hole) return false
    this.#markChanged(hole.from, hole.to)
    const parts: MissingTrades[] = []
    // What of the start was healed stays healed, unless the trade shows that there is a day before it.
    const start = minute < startOfDay(hole.from) ? startOfDay(minute) : hole.from
    // Only the exchange can say that nothing lies before the first id, so that the start stays open below it.
    if (id - hole.after > 1 || (hole.start && hole.after === 0)) {
      const left = { ...hole, before: id, high: Math.max(hole.low, minute) }
      if (hole.start) left.from = left.low = start
      parts.push(hole.start ? { ...left, to: Math.min(hole.to, minute) } : clampToNeighbours(left))
    }
    if (hole.before - id > 1) {
      const right = { ...hole, after: id, low: Math.min(hole.high, minute) }
      // What lies between a trade and the first one seen was lost while we watched: the start says nothing about it.
      const from = Math.min(Math.max(right.low, start), right.high)
      parts.push(hole.start ? { ...right, from, to: right.high, start: minute < hole.to } : clampToNeighbours(right))
    }
    this.missing.splice(index, 1, ...parts)
    for (const part of parts) this.#markChanged(part.from, part.to)
    return true
  }

  /** A trade too old for the fold: its minute is wrong until the exchange's own candle replaces it. */
  recordTooOld(id: number, minute: number, now: number): void {
    if (id <= this.lastTradeId) return
    this.record(id, minute, now)
    const zone = { from: minute, to: minute, low: minute, high: minute }
    this.missing.push({ after: id - 1, before: id + 1, ...zone, start: false, seenAt: now, ...NOT_REQUESTED })
    this.#markChanged(minute, minute)
  }

  /** From `from` on trades may have been lost; `to` null while it goes on. Up to the last trade, dense ids prove more. */
  markUncertain(from: number, to: number | null): void {
    const earliest = Math.min(Math.max(from, this.lastMinute), this.uncertain?.from ?? Number.MAX_SAFE_INTEGER)
    const latest = to === null || this.uncertain?.to === null ? null : Math.max(earliest, to, this.uncertain?.to ?? 0)
    this.uncertain = { from: earliest, to: latest }
    this.#markChanged(earliest, latest ?? Number.MAX_SAFE_INTEGER)
  }

  /** The feed is back since `minute`: from here on nothing more is lost. */
  endUncertain(minute: number): void {
    if (this.uncertain?.to === null)
      this.uncertain = { from: this.uncertain.from, to: Math.max(this.uncertain.from, minute) }
  }

  /** The next trade has come: what was missing is now a hole, or nothing was. */
  resolveUncertain(): void {
    if (this.uncertain === null) return
    this.#markChanged(this.uncertain.from, this.uncertain.to ?? Number.MAX_SAFE_INTEGER)
    this.uncertain = null
  }

  /** The minutes [from, to], both inclusive, are whole from elsewhere; a hole without minutes left is closed. */
  markComplete(from: number, to: number): void {
    this.#markChanged(from, to)
    for (const hole of this.missing) if (hole.from >= from && hole.from <= to) hole.from = to + MINUTE_S
    this.missing = this.missing.filter((hole) => hole.from <= hole.to)
  }

  /** What lies before `minute` is no longer ours to heal: it is history, which the exchange's own candles tell. */
  dropBefore(minute: number): void {
    for (const hole of this.missing) hole.from = Math.max(hole.from, minute)
    this.missing = this.missing.filter((hole) => hole.from <= hole.to)
    if (this.uncertain && this.uncertain.from < minute) this.uncertain.from = minute
    if (this.uncertain?.to != null && this.uncertain.to < this.uncertain.from) this.uncertain = null
  }

  /** Nothing of a hole lies after `minute`: the trades between are all in. */
  limitTo(hole: MissingTrades, minute: number): void {
    this.#markChanged(hole.from, hole.to)
    hole.to = Math.min(hole.to, minute)
    this.missing = this.missing.filter((other) => other.from <= other.to)
  }

  /** Coverage of [start, end), unix seconds: the worst of its minutes, gap before partial before full. */
  coverage(start: number, end: number): Coverage {
    const doubt = this.uncertain
    if (doubt !== null && doubt.from < end && (doubt.to === null || doubt.to + MINUTE_S > start)) return 'gap'
    let coverage: Coverage = 'full'
    for (const hole of this.missing)
      if (hole.from < end && hole.to + MINUTE_S > start) {
        if (!hole.start) return 'gap'
        coverage = 'partial'
      }
    return coverage
  }

  /** Where trades are missing inside [start, end): ascending, not touching each other. */
  gaps(start: number, end: number): Gap[] {
    const raw: Gap[] = this.missing.filter((hole) => !hole.start).map((hole) => [hole.from, hole.to + MINUTE_S])
    if (this.uncertain) raw.push([this.uncertain.from, this.uncertain.to === null ? end : this.uncertain.to + MINUTE_S])
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

  #markChanged(from: number, to: number): void {
    this.#changed = this.#changed ? [Math.min(this.#changed[0], from), Math.max(this.#changed[1], to)] : [from, to]
  }
}

/** A hole within its neighbours' minutes, as far as what the connection said of it still fits them. */
function clampToNeighbours(hole: MissingTrades): MissingTrades {
  const from = Math.max(hole.from, hole.low)
  const to = Math.min(hole.to, hole.high)
  return from <= to ? { ...hole, from, to } : { ...hole, from: hole.low, to: hole.high }
}
