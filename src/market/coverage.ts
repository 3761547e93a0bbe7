import type { Coverage, Gap } from '../protocol/candle.ts'
import { DAY_S, MINUTE_S } from '../time.ts'
import { unionGaps } from './gaps.ts'

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
  /** Minutes of the trades `after` and `before`: the widest range, which the connection's state may narrow. */
  low: number
  high: number
  /** True for the trades before the first one seen: they make a minute `partial`, not `gap`. */
  start: boolean
  /** When they were found to be missing, unix milliseconds. */
  seenAt: number
  /** Pages of trades fetched for them. */
  pages: number
  /** Failed requests in a row, and the end of the pause that follows them, unix milliseconds. */
  failures: number
  pausedUntil: number
}

/** Minutes in which trades may be missing, until the next trade shows. `to` is null while the range still grows. */
export type UncertainRange = { from: number; to: number | null }

type MissingIds = Pick<MissingTrades, 'after' | 'before' | 'from' | 'to' | 'low' | 'high'>

/** Trades that are found to be missing at `now` (unix milliseconds); nothing was requested from REST yet. */
const newMissing = (ids: MissingIds, start: boolean, now: number): MissingTrades => ({
  ...ids,
  start,
  seenAt: now,
  pages: 0,
  failures: 0,
  pausedUntil: 0,
})

/** A `TradeCoverage` as JSON (C8). The object stores it in one row, so it survives a restart (C2). */
export type TradeCoverageState = {
  lastTradeId: number
  lastMinute: number
  missing: MissingTrades[]
  uncertain: UncertainRange | null
}

/**
 * The trades of a product that are known and missing (C8). Trade ids are dense, so the highest id and the missing ids
 * below it say everything; the coverage of a minute follows from the missing ones.
 */
export class TradeCoverage {
  lastTradeId: number
  lastMinute: number
  missing: MissingTrades[]
  uncertain: UncertainRange | null
  /** Minutes whose coverage may have changed since `takeChanged`; both ends inclusive. */
  #changed: Gap | null = null

  constructor(state: TradeCoverageState = { lastTradeId: 0, lastMinute: 0, missing: [], uncertain: null }) {
    this.lastTradeId = state.lastTradeId
    this.lastMinute = state.lastMinute
    this.missing = state.missing
    this.uncertain = state.uncertain
  }

  state(): TradeCoverageState {
    const { lastTradeId, lastMinute, missing, uncertain } = this
    return { lastTradeId, lastMinute, missing, uncertain }
  }

  /** Marks everything before `minute`, where the first connection began, as missing. Only the first call counts. */
  start(minute: number, now: number): void {
    if (this.lastTradeId !== 0 || this.missing.length > 0) return
    const before = Number.MAX_SAFE_INTEGER
    const from = startOfDay(minute)
    this.missing.push(newMissing({ after: 0, before, from, to: minute, low: from, high: minute }, true, now))
    this.#markChanged(from, minute)
  }

  /** True if the trade of this id is known. */
  has(id: number): boolean {
    return id <= this.lastTradeId && !this.missing.some((range) => id > range.after && id < range.before)
  }

  /**
   * Records a trade.
   * @returns false if it was known already.
   */
  record(id: number, minute: number, now: number): boolean {
    // Id 1 follows no known trade: like any other first trade, it has the start before it.
    if (id === this.lastTradeId + 1 && (id > 1 || this.missing.length === 0)) {
      this.lastTradeId = id
      if (minute > this.lastMinute) this.lastMinute = minute
      return true
    }
    if (id > this.lastTradeId) this.#recordAhead(id, minute, now)
    else if (!this.#recordMissingTrade(id, minute)) return false
    return true
  }

  /** Records a trade above the highest id: the ids between are missing or, for the first trade, part of the past. */
  #recordAhead(id: number, minute: number, now: number): void {
    const past = this.missing.find((range) => range.before === Number.MAX_SAFE_INTEGER)
    const low = Math.min(this.lastMinute, minute)
    const high = Math.max(this.lastMinute, minute)
    if (past) {
      past.before = id
      past.high = minute
      // A snapshot reaches back to before the connection, without a gap. Trades before it may be missing.
      past.to = this.uncertain ? Math.min(minute, this.uncertain.to ?? minute) : Math.min(minute, past.to)
      past.from = past.low = Math.min(past.from, startOfDay(past.to))
      this.#markChanged(past.from, minute)
    } else {
      // Trades can be missing only while the connection was broken, if the times of that fit.
      const uncertain =
        this.uncertain !== null && this.uncertain.from <= high && (this.uncertain.to ?? high) >= low
          ? this.uncertain
          : null
      const from = Math.max(low, uncertain?.from ?? low)
      const to = Math.min(high, uncertain?.to ?? high)
      this.missing.push(newMissing({ after: this.lastTradeId, before: id, from, to, low, high }, false, now))
      this.#markChanged(from, to)
    }
    this.lastTradeId = id
    this.lastMinute = high
  }

  #recordMissingTrade(id: number, minute: number): boolean {
    const index = this.missing.findIndex((range) => id > range.after && id < range.before)
    const range = this.missing[index]
    if (!range) return false
    this.#markChanged(range.from, range.to)
    const parts: MissingTrades[] = []
    // Minutes of the start that were completed stay complete, unless the trade shows that there is a day before.
    const start = minute < startOfDay(range.from) ? startOfDay(minute) : range.from
    // Only the exchange knows whether an id exists below the first one, so the start stays open.
    if (id - range.after > 1 || (range.start && range.after === 0)) {
      const left = { ...range, before: id, high: Math.max(range.low, minute) }
      if (range.start) left.from = left.low = start
      parts.push(range.start ? { ...left, to: Math.min(range.to, minute) } : clampToNeighbours(left))
    }
    if (range.before - id > 1) {
      const right = { ...range, after: id, low: Math.min(range.high, minute) }
      // Trades between this one and the first one seen were lost during the connection: they are a gap.
      const from = Math.min(Math.max(right.low, start), right.high)
      parts.push(range.start ? { ...right, from, to: right.high, start: minute < range.to } : clampToNeighbours(right))
    }
    this.missing.splice(index, 1, ...parts)
    for (const part of parts) this.#markChanged(part.from, part.to)
    return true
  }

  /** Records a trade too old to be folded: its minute stays a gap until the exchange's own candle replaces it. */
  recordTooOld(id: number, minute: number, now: number): void {
    if (id <= this.lastTradeId) return
    this.record(id, minute, now)
    const zone = { from: minute, to: minute, low: minute, high: minute }
    this.missing.push(newMissing({ after: id - 1, before: id + 1, ...zone }, false, now))
    this.#markChanged(minute, minute)
  }

  /** Marks minutes in which trades may be missing; `to` is null while that goes on. Up to the last trade, ids decide. */
  markUncertain(from: number, to: number | null): void {
    const earliest = Math.min(Math.max(from, this.lastMinute), this.uncertain?.from ?? Number.MAX_SAFE_INTEGER)
    const latest = to === null || this.uncertain?.to === null ? null : Math.max(earliest, to, this.uncertain?.to ?? 0)
    this.uncertain = { from: earliest, to: latest }
    this.#markChanged(earliest, latest ?? Number.MAX_SAFE_INTEGER)
  }

  /** Ends the growing range: the feed is back since `minute`. */
  endUncertain(minute: number): void {
    if (this.uncertain?.to === null)
      this.uncertain = { from: this.uncertain.from, to: Math.max(this.uncertain.from, minute) }
  }

  /** Call after the next trade: if any were missing, their ids are known now. */
  resolveUncertain(): void {
    if (this.uncertain === null) return
    this.#markChanged(this.uncertain.from, this.uncertain.to ?? Number.MAX_SAFE_INTEGER)
    this.uncertain = null
  }

  /** Marks the minutes [from, to], both inclusive, as complete: they came from elsewhere. */
  markComplete(from: number, to: number): void {
    this.#markChanged(from, to)
    for (const range of this.missing) if (range.from >= from && range.from <= to) range.from = to + MINUTE_S
    this.missing = this.missing.filter((range) => range.from <= range.to)
  }

  /** Forgets what is missing before `minute`: the exchange's own candles are the record there. */
  dropBefore(minute: number): void {
    for (const range of this.missing) range.from = Math.max(range.from, minute)
    this.missing = this.missing.filter((range) => range.from <= range.to)
    if (this.uncertain && this.uncertain.from < minute) this.uncertain.from = minute
    if (this.uncertain?.to != null && this.uncertain.to < this.uncertain.from) this.uncertain = null
  }

  /** Notes that none of the missing trades lies after `minute`. */
  limitTo(range: MissingTrades, minute: number): void {
    this.#markChanged(range.from, range.to)
    range.to = Math.min(range.to, minute)
    this.missing = this.missing.filter((other) => other.from <= other.to)
  }

  /** The coverage of [start, end), unix seconds: the worst of its minutes, where gap is worse than partial. */
  coverage(start: number, end: number): Coverage {
    const { uncertain } = this
    if (uncertain !== null && uncertain.from < end && (uncertain.to === null || uncertain.to + MINUTE_S > start))
      return 'gap'
    let coverage: Coverage = 'full'
    for (const range of this.missing)
      if (range.from < end && range.to + MINUTE_S > start) {
        if (!range.start) return 'gap'
        coverage = 'partial'
      }
    return coverage
  }

  /** The ranges within [start, end) in which trades are missing: ascending and apart. */
  gaps(start: number, end: number): Gap[] {
    const raw: Gap[] = this.missing.filter((range) => !range.start).map((range) => [range.from, range.to + MINUTE_S])
    if (this.uncertain) raw.push([this.uncertain.from, this.uncertain.to === null ? end : this.uncertain.to + MINUTE_S])
    return unionGaps(raw, start, end)
  }

  /** The minutes whose coverage may have changed since the last call, both ends inclusive; null if none. */
  takeChanged(): Gap | null {
    const changed = this.#changed
    this.#changed = null
    return changed
  }

  #markChanged(from: number, to: number): void {
    this.#changed = this.#changed ? [Math.min(this.#changed[0], from), Math.max(this.#changed[1], to)] : [from, to]
  }
}

/** Limits `from` and `to` to the neighbours' minutes; where they do not overlap, the neighbours decide. */
function clampToNeighbours(range: MissingTrades): MissingTrades {
  const from = Math.max(range.from, range.low)
  const to = Math.min(range.to, range.high)
  return from <= to ? { ...range, from, to } : { ...range, from: range.low, to: range.high }
}
