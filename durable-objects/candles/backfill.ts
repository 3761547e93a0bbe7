import { backoffMs } from '../../src/backoff.ts'
import type { CandleAggregator } from '../../src/market/aggregator.ts'
import {
  type BackfillLimits,
  type BackfillStep,
  NOTHING_REFUSED,
  nextBackfillStep,
  type RefusedRequests,
  TRADES_PER_PAGE,
} from '../../src/market/backfill.ts'
import { parseTime, type Trade } from '../../src/market/coinbase.ts'
import type { MissingTrades } from '../../src/market/coverage.ts'
import { fetchCandles, fetchTrades, type RestTrade } from '../../src/providers/coinbase.ts'
import { type Failure, failure } from '../../src/providers/result.ts'
import { MINUTE_MS, MINUTE_S } from '../../src/time.ts'
import type { ObjectContext } from '../object-context.ts'

/** Pause after a request to the exchange's REST failed. */
const BACKOFF_MIN_MS = 5_000
const BACKOFF_MAX_MS = 300_000

/** Fetches missing trades and minutes from the exchange's REST (C9), one request at a time, beside the live feed. */
export class Backfill {
  readonly #context: ObjectContext
  readonly #limits: BackfillLimits
  readonly #aggregator: CandleAggregator
  readonly #onProgress: () => void
  #running = false
  #failures = 0
  #pausedUntil = 0
  /** New trades from REST. */
  trades = 0
  /** Fetched pages of trades. */
  pages = 0
  /** Fetched ranges of the exchange's minutes. */
  reconciliations = 0
  /** Failed requests. */
  refused = 0

  /** @param onProgress called when the aggregator may have changed */
  constructor(context: ObjectContext, aggregator: CandleAggregator, onProgress: () => void) {
    this.#context = context
    const { TRADE_WINDOW_MS, BACKFILL_PAGES, BACKFILL_DELAY_MS, RECONCILE_SETTLE_MS } = context.settings
    this.#limits = {
      tradeWindowMs: TRADE_WINDOW_MS,
      maxPages: BACKFILL_PAGES,
      delayMs: BACKFILL_DELAY_MS,
      settleMs: RECONCILE_SETTLE_MS,
    }
    this.#aggregator = aggregator
    this.#onProgress = onProgress
  }

  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  get dueAt(): number {
    if (this.#running) return Number.POSITIVE_INFINITY
    const step = this.#nextStep(() => NOTHING_REFUSED)
    if (step === null) return Number.POSITIVE_INFINITY
    return Math.max(this.#pausedUntil, step.kind === 'wait' ? step.until : 0)
  }

  #nextStep(refused: (missing: MissingTrades) => RefusedRequests): BackfillStep | null {
    return nextBackfillStep(this.#aggregator.tradeCoverage.missing, this.#context.now(), this.#limits, refused)
  }

  /** Begins what is due, if anything is. */
  tick(): void {
    if (this.#context.now() < this.dueAt) return
    this.#running = true
    this.#context.track(
      this.#run().finally(() => {
        this.#running = false
        this.#onProgress()
      }),
    )
  }

  async #run(): Promise<void> {
    /** Requests that fail for everything now, and those that failed for some of the missing trades only. */
    const down: RefusedRequests = { trades: false, candles: false }
    const refusals = new Map<MissingTrades, RefusedRequests>()
    const refusedOf = (missing: MissingTrades): RefusedRequests => {
      const refusal = refusals.get(missing)
      return { trades: down.trades || refusal?.trades === true, candles: down.candles || refusal?.candles === true }
    }
    let retryAfter = 0
    for (;;) {
      const step = this.#nextStep(refusedOf)
      if (step === null || step.kind === 'wait') break
      const failed =
        step.kind === 'trades'
          ? await this.#fetchTrades(step.missing, step.limit, step.floor)
          : await this.#fetchCandles(step)
      if (failed === null) {
        step.missing.failures = 0
        this.#onProgress()
        continue
      }
      this.refused++
      this.#context.log('backfill_fetch_failed', { request: step.kind, reason: failed.reason, detail: failed.detail })
      if (failed.reason === 'unavailable' || failed.reason === 'rate_limited') {
        down[step.kind] = true
        retryAfter = Math.max(retryAfter, failed.retryAfter ?? 0)
      } else refusals.set(step.missing, { ...refusedOf(step.missing), [step.kind]: true })
    }
    for (const missing of refusals.keys()) missing.pausedUntil = this.#retryAt(missing.failures++)
    if (down.trades || down.candles)
      this.#pausedUntil = Math.max(this.#context.now() + retryAfter, this.#retryAt(this.#failures++))
    else this.#failures = 0
  }

  #retryAt(failures: number): number {
    return this.#context.now() + backoffMs(failures, BACKOFF_MIN_MS, BACKOFF_MAX_MS, Math.random())
  }

  /** Adds one page of trades to the aggregator. */
  async #fetchTrades(missing: MissingTrades, limit: number, floor: number): Promise<Failure | null> {
    const { product, tradeCoverage } = this.#aggregator
    const { after, before } = missing
    const page = { after: before, limit: Math.min(limit, TRADES_PER_PAGE) }
    const result = await fetchTrades(fetch, this.#context.settings.COINBASE_EXCHANGE_URL, product, page)
    if (!result.ok) return result
    const trades = result.value
      .filter(({ tradeId }) => tradeId < before && tradeId > after)
      .map((trade) => toTrade(product, trade))
    // Socket and REST number their trades alike as far as is known; if they do not, the times show it. A trade may be
    // published late, but not by more than the trade window.
    const earliest = after > 0 ? missing.low - this.#limits.tradeWindowMs / 1000 : 0
    if (!trades.every(({ minute }) => minute >= earliest && minute <= missing.high + MINUTE_S))
      return failure('invalid', 'the trade ids of REST and socket do not match')
    if (trades.length === 0 && after > 0) return failure('invalid', 'REST does not have the missing trades')
    missing.pages++
    this.pages++
    const needed = trades.filter((trade) => trade.minute >= floor)
    this.trades += this.#aggregator.addTrades(needed, this.#context.now(), 'backfill')
    // The page reached below the floor, or the exchange's first trade: nothing else is missing above the floor.
    if (needed.length < trades.length || trades.length === 0) {
      const lowest = needed.reduce((low, trade) => Math.min(low, trade.id), before)
      const rest = tradeCoverage.missing.find((other) => other.before === lowest)
      if (rest) tradeCoverage.limitTo(rest, trades.length === 0 ? -1 : floor - MINUTE_S)
    }
    return null
  }

  /** Replaces the aggregator's minutes by the exchange's own. */
  async #fetchCandles({ from, to }: { from: number; to: number }): Promise<Failure | null> {
    const range = { granularity: 'ONE_MINUTE' as const, start: from, end: to + MINUTE_S }
    const result = await fetchCandles(fetch, this.#context.settings.COINBASE_REST_URL, this.#aggregator.product, range)
    if (!result.ok) return result
    this.#aggregator.reconcile(from, to, result.value, this.#context.now())
    this.reconciliations++
    return null
  }
}

function toTrade(product: string, trade: RestTrade): Trade {
  const at = parseTime(trade.time) ?? Number.NaN
  return {
    product,
    id: trade.tradeId,
    price: trade.price,
    size: trade.size,
    time: trade.time,
    minute: Math.floor(at / MINUTE_MS) * MINUTE_S,
  }
}
