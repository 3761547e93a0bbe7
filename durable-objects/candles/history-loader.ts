import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity } from '../../src/protocol/granularity.ts'
import { fetchCandles } from '../../src/providers/coinbase.ts'

/** Longest wait of a reader for the exchange's history: past it the answer holds what there is. Milliseconds. */
const LOAD_TIMEOUT_MS = 3_000

/** Loads within a minute: a reader that walks through all of time must not use up what the exchange grants us. */
const MAX_LOADS_PER_MINUTE = 20

/** Stretches that are remembered for each granularity. */
const MAX_RANGES = 50

/** A stretch of time, unix seconds, the end exclusive. */
type TimeRange = [from: number, to: number]

/** What was loaded, by granularity. */
export type LoadedRanges = Partial<Record<Granularity, TimeRange[]>>

/** What loading history needs of the object that holds it. */
export type HistoryLoaderHost = {
  exchange: string
  product: string
  restUrl: string
  /** See CANDLE_RETENTION: days that a granularity is kept. */
  retentionDays: Partial<Record<Granularity, number>>
  now(): number
  loadedRanges(): LoadedRanges
  save(loaded: LoadedRanges): void
  write(candles: Candle[]): Promise<void>
  log(event: string, fields: Record<string, unknown>): void
}

/**
 * Candles from before the object's own record: the exchange's own, asked for when a reader wants them, once, and kept
 * in Postgres as `source: exchange`.
 */
export class HistoryLoader {
  readonly #host: HistoryLoaderHost
  readonly #inFlight = new Map<string, Promise<void>>()
  #minute = 0
  #loads = 0

  constructor(host: HistoryLoaderHost) {
    this.#host = host
  }

  /**
   * Has the closed candles of [from, to) (unix seconds) in Postgres, as far as the exchange has them and answers in
   * time. Never rejects: what cannot be had now is asked for again by the next reader.
   */
  async ensureLoaded(granularity: Granularity, from: number, to: number): Promise<void> {
    const now = Math.floor(this.#host.now() / 1000)
    const size = GRANULARITY_SECONDS[granularity]
    const days = this.#host.retentionDays[granularity]
    const start = Math.max(from - (from % size), days === undefined ? 0 : now - days * 86_400, 0)
    const end = Math.min(to, now - (now % size))
    if (start >= end || this.#isLoaded(granularity, start, end) || !this.#takeLoad(now)) return
    const key = `${granularity}/${start}/${end}`
    const known = this.#inFlight.get(key)
    if (known) return known
    const work = this.#load(granularity, start, end).finally(() => this.#inFlight.delete(key))
    this.#inFlight.set(key, work)
    return work
  }

  #isLoaded(granularity: Granularity, start: number, end: number): boolean {
    return (this.#host.loadedRanges()[granularity] ?? []).some(([from, to]) => from <= start && to >= end)
  }

  #takeLoad(now: number): boolean {
    const minute = Math.floor(now / 60)
    if (minute !== this.#minute) this.#loads = 0
    this.#minute = minute
    return ++this.#loads <= MAX_LOADS_PER_MINUTE
  }

  async #load(granularity: Granularity, start: number, end: number): Promise<void> {
    const { exchange, product, restUrl } = this.#host
    const answer = await fetchCandles(
      fetch,
      restUrl,
      product,
      { granularity, start, end },
      AbortSignal.timeout(LOAD_TIMEOUT_MS),
    )
    if (!answer.ok)
      return this.#host.log('history_fetch_failed', { granularity, reason: answer.reason, detail: answer.detail })
    const last_update = new Date(this.#host.now()).toISOString()
    try {
      await this.#host.write(
        answer.value.map(({ start: timestamp, ...numbers }) => ({
          exchange,
          product_id: product,
          granularity,
          timestamp,
          ...numbers,
          is_complete: true,
          coverage: 'full',
          rev: 0,
          last_update,
          source: 'exchange',
        })),
      )
    } catch (error) {
      return this.#host.log('history_write_failed', { granularity, detail: String(error) })
    }
    const loaded = this.#host.loadedRanges()
    const stretches = mergeRanges([...(loaded[granularity] ?? []), [start, end]]).slice(-MAX_RANGES)
    this.#host.save({ ...loaded, [granularity]: stretches })
  }
}

/** Stretches in order, those that touch made one. */
function mergeRanges(stretches: TimeRange[]): TimeRange[] {
  const joined: TimeRange[] = []
  for (const [from, to] of stretches.sort((a, b) => a[0] - b[0])) {
    const previous = joined.at(-1)
    if (previous && from <= previous[1]) previous[1] = Math.max(previous[1], to)
    else joined.push([from, to])
  }
  return joined
}
