import { unionGaps } from '../../src/market/gaps.ts'
import type { CandleQuery } from '../../src/objects.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITY_SECONDS, type Granularity } from '../../src/protocol/granularity.ts'
import { fetchCandles } from '../../src/providers/coinbase.ts'
import { DAY_S, MINUTE_S } from '../../src/time.ts'
import type { ObjectContext } from '../object-context.ts'

/** The longest that a request waits for the exchange; then it gets what Postgres has. */
const LOAD_TIMEOUT_MS = 3_000

/** A client that walks back through all of time must not use up the exchange's rate limit. */
const MAX_LOADS_PER_MINUTE = 20

/** The most candles that one request loads: as many as one answer holds. */
const MAX_CANDLES = 1_000

/** Loaded ranges stored for each granularity. */
const MAX_RANGES = 50

const LOADED_RANGES_KEY = 'loaded'

/** Unix seconds, the end exclusive. */
type TimeRange = [from: number, to: number]

type LoadedRanges = Partial<Record<Granularity, TimeRange[]>>

/**
 * Loads candles from before the object's own record: the exchange's own, fetched once, when a client first asks for
 * them. Postgres stores them with `source: exchange`.
 */
export class HistoryLoader {
  readonly #context: ObjectContext
  readonly #product: string
  readonly #write: (candles: Candle[]) => Promise<void>
  readonly #inFlight = new Map<string, Promise<void>>()
  #minute = 0
  #loads = 0

  /** @param write writes candles to Postgres; rejects when Postgres cannot take them */
  constructor(context: ObjectContext, product: string, write: (candles: Candle[]) => Promise<void>) {
    this.#context = context
    this.#product = product
    this.#write = write
  }

  /**
   * Writes the closed candles that `query` asks for from before `recordStart` (unix seconds; null: there is no record)
   * to Postgres, as far as the exchange has them and answers in time. Never rejects: the next query tries again.
   */
  async ensureLoaded(query: CandleQuery, recordStart: number | null): Promise<void> {
    const { granularity, start = 0, end = Number.MAX_SAFE_INTEGER, limit } = query
    const seconds = GRANULARITY_SECONDS[granularity]
    const now = Math.floor(this.#context.now() / 1000)
    const retentionDays = this.#context.settings.CANDLE_RETENTION[granularity]
    const oldest = retentionDays === undefined ? 0 : Math.max(0, now - retentionDays * DAY_S)
    const last = Math.min(end, now)
    const first = Math.max(start, last - Math.min(limit, MAX_CANDLES) * seconds)
    const from = Math.max(first - (first % seconds), oldest)
    const to = Math.min(last, recordStart ?? now, now - (now % seconds))
    if (first >= (recordStart ?? now) || from >= to || this.#isLoaded(granularity, from, to)) return
    if (!this.#takeLoad(now)) return
    const key = `${granularity}/${from}/${to}`
    const same = this.#inFlight.get(key)
    if (same) return same
    const load = this.#load(granularity, from, to).finally(() => this.#inFlight.delete(key))
    this.#inFlight.set(key, load)
    return load
  }

  get #loadedRanges(): LoadedRanges {
    return this.#context.storage.kv.get<LoadedRanges>(LOADED_RANGES_KEY) ?? {}
  }

  #isLoaded(granularity: Granularity, start: number, end: number): boolean {
    return (this.#loadedRanges[granularity] ?? []).some(([from, to]) => from <= start && to >= end)
  }

  #takeLoad(now: number): boolean {
    const minute = Math.floor(now / MINUTE_S)
    if (minute !== this.#minute) this.#loads = 0
    this.#minute = minute
    return ++this.#loads <= MAX_LOADS_PER_MINUTE
  }

  async #load(granularity: Granularity, start: number, end: number): Promise<void> {
    const { EXCHANGE: exchange, COINBASE_REST_URL } = this.#context.settings
    const product = this.#product
    const range = { granularity, start, end }
    const result = await fetchCandles(fetch, COINBASE_REST_URL, product, range, AbortSignal.timeout(LOAD_TIMEOUT_MS))
    if (!result.ok) {
      const { reason, detail } = result
      return this.#context.log('history_fetch_failed', { granularity, reason, detail })
    }
    const last_update = new Date(this.#context.now()).toISOString()
    try {
      await this.#write(
        result.value.map(({ start: timestamp, ...numbers }) => ({
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
      return this.#context.log('history_write_failed', { granularity, detail: String(error) })
    }
    const loaded = this.#loadedRanges
    const ranges = unionGaps([...(loaded[granularity] ?? []), [start, end]]).slice(-MAX_RANGES)
    this.#context.storage.kv.put(LOADED_RANGES_KEY, { ...loaded, [granularity]: ranges })
  }
}
