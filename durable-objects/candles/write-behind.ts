import { backoffMs } from '../../src/backoff.ts'
import { errorText } from '../../src/log.ts'
import type { CandleAggregator } from '../../src/market/aggregator.ts'
import type { Bar } from '../../src/market/bar.ts'
import type { Revision } from '../../src/market/revision.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import type { ObjectContext } from '../object-context.ts'
import type { CandleStore } from './store.ts'

/** Pause after Postgres refused a write. */
const BACKOFF_MIN_MS = 1_000
const BACKOFF_MAX_MS = 30_000

/** The most candles of one write: bounds memory when Postgres comes back after a day. */
const MAX_BATCH_ROWS = 500

const barKey = (bar: Bar): string => `${bar.granularity}/${bar.start}`

/** Where trades are missing within `range`. */
export type GapUpdate = { range: Gap; gaps: Gap[] }

/** Writes candles, changed gaps (null: unchanged) and revisions to Postgres. Rejects when Postgres cannot take them. */
type WriteCandles = (candles: Candle[], gaps: GapUpdate | null, revisions: Revision[]) => Promise<void>

/** Writes the last state of each candle to Postgres: complete ones soon, forming ones now and then (C12). */
export class CandleWriteBehind {
  readonly #context: ObjectContext
  readonly #aggregator: CandleAggregator
  readonly #store: CandleStore
  readonly #write: WriteCandles
  readonly #closed = new Map<string, Bar>()
  readonly #forming = new Map<string, Bar>()
  #closedSince = 0
  #formingSince = 0
  #running = false
  #pausedUntil = 0
  #consecutiveFailures = 0
  /** JSON of the gaps that Postgres has. */
  #writtenGaps = ''
  /** Writes that failed. */
  failures = 0

  constructor(context: ObjectContext, aggregator: CandleAggregator, store: CandleStore, write: WriteCandles) {
    this.#context = context
    this.#aggregator = aggregator
    this.#store = store
    this.#write = write
  }

  /** The number of complete candles that Postgres lacks. */
  get pendingCount(): number {
    return this.#closed.size
  }

  /** Takes bars that changed. */
  add(bars: Iterable<Bar>): void {
    const now = this.#context.now()
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

  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  get dueAt(): number {
    if (this.#running) return Number.POSITIVE_INFINITY
    const { FLUSH_CLOSED_MS, FLUSH_ROWS, FLUSH_FORMING_MS } = this.#context.settings
    let due = Number.POSITIVE_INFINITY
    if (this.#closed.size > 0) due = this.#closedSince + (this.#closed.size >= FLUSH_ROWS ? 0 : FLUSH_CLOSED_MS)
    if (this.#forming.size > 0) due = Math.min(due, this.#formingSince + FLUSH_FORMING_MS)
    return Math.max(due, this.#pausedUntil)
  }

  /** Begins the write that is due, if one is. */
  tick(): void {
    if (this.#context.now() < this.dueAt) return
    this.#running = true
    this.#context.track(
      this.#run().finally(() => {
        this.#running = false
      }),
    )
  }

  async #run(): Promise<void> {
    const now = this.#context.now()
    const closed = [...this.#closed.values()].slice(0, MAX_BATCH_ROWS)
    const forming =
      now >= this.#formingSince + this.#context.settings.FLUSH_FORMING_MS ? [...this.#forming.values()] : []
    if (forming.length > 0) this.#formingSince = now
    // A bar that changes during the write stays pending.
    const candles = [...closed, ...forming].map((bar) => this.#aggregator.toCandle(bar))
    const revisions = closed.map((bar) => bar.rev)
    for (const bar of forming) this.#forming.delete(barKey(bar))
    try {
      const gaps = this.#changedGaps()
      await this.#write(candles, gaps, this.#store.loadRevisions(candles))
      if (gaps) this.#writtenGaps = JSON.stringify(gaps.gaps)
    } catch (error) {
      this.failures++
      const pauseMs = backoffMs(this.#consecutiveFailures++, BACKOFF_MIN_MS, BACKOFF_MAX_MS, Math.random())
      this.#pausedUntil = this.#context.now() + pauseMs
      for (const bar of forming)
        if (!this.#forming.has(barKey(bar)) && !bar.complete) this.#forming.set(barKey(bar), bar)
      this.#context.log('flush_failed', { detail: errorText(error), rows: candles.length })
      return
    }
    this.#consecutiveFailures = 0
    this.#pausedUntil = 0
    const written = closed.filter((bar, index) => bar.rev === revisions[index])
    for (const bar of written) this.#closed.delete(barKey(bar))
    this.#closedSince = this.#context.now()
    this.#store.markFlushed(written)
  }

  #changedGaps(): GapUpdate | null {
    const now = this.#context.now()
    const range: Gap = [this.#aggregator.oldestOpenDay(now), Math.floor(now / 1000) + 1]
    const gaps = this.#aggregator.tradeCoverage.gaps(...range)
    return JSON.stringify(gaps) === this.#writtenGaps ? null : { range, gaps }
  }
}
