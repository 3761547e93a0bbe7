import type { Bar } from '../../src/market/bar.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'

/** Pause after Postgres has refused: doubles with full jitter. Milliseconds. */
const BACKOFF_MIN_MS = 1_000
const BACKOFF_MAX_MS = 30_000

/** Rows of one upsert: bounded in memory when Postgres comes back after a day. */
const MAX_BATCH_ROWS = 500

const barKey = (bar: Bar): string => `${bar.size}/${bar.start}`

/** What a flush needs of the object that holds it. Times are unix milliseconds. */
export type CandleWriteBehindHost = {
  /** See FLUSH_CLOSED_MS, FLUSH_ROWS and FLUSH_FORMING_MS. */
  closedWithinMs: number
  maxRows: number
  formingWithinMs: number
  now(): number
  /** Evenly in [0, 1). */
  random(): number
  track(work: Promise<unknown>): void
  toCandle(bar: Bar): Candle
  /** Where trades are missing now, and the stretch of time that this is said of; null when that did not change. */
  gaps(): { range: Gap; gaps: Gap[] } | null
  /** Writes to Postgres; rejects when it cannot. */
  write(candles: Candle[], gaps: { range: Gap; gaps: Gap[] } | null): Promise<void>
  /** These complete bars are in Postgres. */
  onWritten(bars: Bar[]): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Brings candles to Postgres: the last state of each key, closed ones soon, forming ones now and then (C12). */
export class CandleWriteBehind {
  readonly #host: CandleWriteBehindHost
  readonly #closed = new Map<string, Bar>()
  readonly #forming = new Map<string, Bar>()
  #closedSince = 0
  #formingSince = 0
  #running = false
  #pausedUntil = 0
  #consecutiveFailures = 0
  failures = 0

  constructor(host: CandleWriteBehindHost) {
    this.#host = host
  }

  /** How many complete candles Postgres lacks. */
  get pendingCount(): number {
    return this.#closed.size
  }

  /** Notes bars that have changed. */
  add(bars: Iterable<Bar>): void {
    const now = this.#host.now()
    for (const bar of bars) {
      if (bar.complete) {
        if (this.#closed.size === 0) this.#closedSince = now
        this.#closed.set(barKey(bar), bar)
        this.#forming.delete(barKey(bar))
      } else {
        if (this.#forming.size === 0) this.#formingSince = now
        this.#forming.set(barKey(bar), bar)
      }
    }
  }

  /** When the next write is due, unix milliseconds. */
  get dueAt(): number {
    if (this.#running) return Number.POSITIVE_INFINITY
    let due = Number.POSITIVE_INFINITY
    if (this.#closed.size > 0)
      due = this.#closedSince + (this.#closed.size >= this.#host.maxRows ? 0 : this.#host.closedWithinMs)
    if (this.#forming.size > 0) due = Math.min(due, this.#formingSince + this.#host.formingWithinMs)
    return Math.max(due, this.#pausedUntil)
  }

  /** Begins the write that is due, if one is. */
  tick(): void {
    if (this.#host.now() < this.dueAt) return
    this.#running = true
    this.#host.track(
      this.#run().finally(() => {
        this.#running = false
      }),
    )
  }

  async #run(): Promise<void> {
    const now = this.#host.now()
    const closed = [...this.#closed.values()].slice(0, MAX_BATCH_ROWS)
    const forming = now >= this.#formingSince + this.#host.formingWithinMs ? [...this.#forming.values()] : []
    if (forming.length > 0) this.#formingSince = now
    // The state of this moment: what changes while the write is under way stays noted.
    const candles = [...closed, ...forming].map((bar) => this.#host.toCandle(bar))
    const revisions = closed.map((bar) => bar.rev)
    for (const bar of forming) this.#forming.delete(barKey(bar))
    try {
      await this.#host.write(candles, this.#host.gaps())
    } catch (error) {
      this.failures++
      const pause = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(this.#consecutiveFailures++, 20))
      this.#pausedUntil = this.#host.now() + this.#host.random() * pause
      for (const bar of forming)
        if (!this.#forming.has(barKey(bar)) && !bar.complete) this.#forming.set(barKey(bar), bar)
      this.#host.log('flush_failed', {
        detail: error instanceof Error ? error.message : String(error),
        rows: candles.length,
      })
      return
    }
    this.#consecutiveFailures = 0
    this.#pausedUntil = 0
    const done = closed.filter((bar, index) => bar.rev === revisions[index])
    for (const bar of done) this.#closed.delete(barKey(bar))
    this.#closedSince = this.#host.now()
    this.#host.onWritten(done)
  }
}
