import type { CandleAggregator } from '../../src/market/aggregator.ts'
import {
  type BackfillLimits,
  NOTHING_REFUSED,
  nextBackfillStep,
  type RefusedRequests,
  TRADES_PER_PAGE,
} from '../../src/market/backfill.ts'
import { parseTime, type Trade } from '../../src/market/coinbase.ts'
import type { MissingTrades } from '../../src/market/coverage.ts'
import { fetchCandles, fetchTrades, type RestTrade } from '../../src/providers/coinbase.ts'
import type { Result } from '../../src/providers/result.ts'

/** Pause after REST has refused: doubles with full jitter. Milliseconds. */
const BACKOFF_MIN_MS = 5_000
const BACKOFF_MAX_MS = 300_000

/** What a backfill needs of the object that holds it. Times are unix milliseconds. */
export type BackfillHost = {
  aggregator: CandleAggregator
  limits: BackfillLimits
  restUrl: string
  exchangeUrl: string
  now(): number
  /** Evenly in [0, 1). */
  random(): number
  track(work: Promise<unknown>): void
  /** Something was healed: the book is to be drained. */
  onHealed(): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Heals the holes of one book from the exchange's REST (C9), one request at a time, beside the live feed. */
export class Backfill {
  readonly #host: BackfillHost
  #running = false
  #failures = 0
  #pausedUntil = 0
  /** New trades that REST brought. */
  trades = 0
  /** Pages of trades that REST brought, stretches of the exchange's minutes, and requests that it refused. */
  pages = 0
  reconciliations = 0
  refused = 0

  constructor(host: BackfillHost) {
    this.#host = host
  }

  /** When there is something to do, unix milliseconds; infinite when there is not. */
  get dueAt(): number {
    if (this.#running) return Number.POSITIVE_INFINITY
    const { aggregator: book, limits } = this.#host
    const now = this.#host.now()
    const step = nextBackfillStep(book.tradeCoverage.missing, now, limits, () => NOTHING_REFUSED)
    if (step === null) return Number.POSITIVE_INFINITY
    return Math.max(this.#pausedUntil, step.kind === 'wait' ? step.until : 0)
  }

  /** Begins what is due, if anything is. */
  tick(): void {
    if (this.#host.now() < this.dueAt) return
    this.#running = true
    this.#host.track(
      this.#run().finally(() => {
        this.#running = false
        this.#host.onHealed()
      }),
    )
  }

  async #run(): Promise<void> {
    const { aggregator: book, limits } = this.#host
    /** What nobody gets an answer about now, and what there is no answer about for a hole. */
    const down: RefusedRequests = { trades: false, candles: false }
    const unknown = new Map<MissingTrades, RefusedRequests>()
    const refusedOf = (hole: MissingTrades): RefusedRequests => {
      const own = unknown.get(hole)
      return { trades: down.trades || own?.trades === true, candles: down.candles || own?.candles === true }
    }
    let retryAfter = 0
    for (;;) {
      const step = nextBackfillStep(book.tradeCoverage.missing, this.#host.now(), limits, refusedOf)
      if (step === null || step.kind === 'wait') break
      const failure =
        step.kind === 'trades'
          ? await this.#fetchTrades(step.missing, step.limit, step.floor)
          : await this.#fetchCandles(step)
      if (failure === null) {
        step.missing.failures = 0
        this.#host.onHealed()
        continue
      }
      this.refused++
      this.#host.log('backfill_fetch_failed', { asked: step.kind, reason: failure.reason, detail: failure.detail })
      if (failure.reason === 'unavailable' || failure.reason === 'rate_limited') {
        down[step.kind] = true
        retryAfter = Math.max(retryAfter, failure.retryAfter ?? 0)
      } else unknown.set(step.missing, { ...refusedOf(step.missing), [step.kind]: true })
    }
    for (const hole of unknown.keys()) hole.pausedUntil = this.#retryAt(hole.failures++)
    if (down.trades || down.candles)
      this.#pausedUntil = Math.max(this.#host.now() + retryAfter, this.#retryAt(this.#failures++))
    else this.#failures = 0
  }

  /** When to ask again after so many failures in a row: pauses double, with full jitter. Unix milliseconds. */
  #retryAt(failures: number): number {
    return (
      this.#host.now() + this.#host.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures, 20))
    )
  }

  /** One page of trades into the book. */
  async #fetchTrades(hole: MissingTrades, limit: number, floor: number): Promise<Failure | null> {
    const { aggregator: book, exchangeUrl, limits } = this.#host
    const { before } = hole
    const answer = await fetchTrades(fetch, exchangeUrl, book.product, {
      after: before,
      limit: Math.min(limit, TRADES_PER_PAGE),
    })
    if (!answer.ok) return answer
    const page = answer.value.filter((trade) => trade.tradeId < before && trade.tradeId > hole.after)
    const trades = page.map((trade) => toTrade(book.product, trade))
    // The socket's ids and REST's are one series as far as is known; where they are not, its times do not fit. A trade
    // may be published late, but none that is still folded is older than the kept time.
    const earliest = hole.after > 0 ? hole.low - limits.tradeWindowMs / 1000 : 0
    const fits = ({ minute }: Trade) => minute >= earliest && minute <= hole.high + 60
    if (!trades.every(fits)) return invalidAnswer('ids of REST and socket do not fit')
    if (trades.length === 0 && hole.after > 0) return invalidAnswer('the missing trades are not there')
    hole.pages++
    this.pages++
    const needed = trades.filter((trade) => trade.minute >= floor)
    this.trades += book.addTrades(needed, this.#host.now(), 'backfill')
    // Past the floor, or past the exchange's very first trade, nothing of this hole is left above.
    if (needed.length < trades.length || trades.length === 0) {
      const lowest = needed.reduce((low, trade) => Math.min(low, trade.id), before)
      const rest = book.tradeCoverage.missing.find((other) => other.before === lowest)
      if (rest) book.tradeCoverage.limitTo(rest, trades.length === 0 ? -1 : floor - 60)
    }
    return null
  }

  /** The exchange's own minutes into the book. */
  async #fetchCandles(step: { from: number; to: number }): Promise<Failure | null> {
    const { aggregator: book, restUrl } = this.#host
    const range = { granularity: 'ONE_MINUTE' as const, start: step.from, end: step.to + 60 }
    const answer = await fetchCandles(fetch, restUrl, book.product, range)
    if (!answer.ok) return answer
    book.reconcile(step.from, step.to, answer.value, this.#host.now())
    this.reconciliations++
    return null
  }
}

type Failure = Extract<Result<unknown>, { ok: false }>

const invalidAnswer = (detail: string): Failure => ({
  ok: false,
  reason: 'invalid',
  status: null,
  retryAfter: null,
  detail,
})

function toTrade(product: string, trade: RestTrade): Trade {
  const at = parseTime(trade.time) ?? Number.NaN
  return {
    product,
    id: trade.tradeId,
    price: trade.price,
    size: trade.size,
    time: trade.time,
    minute: Math.floor(at / 60_000) * 60,
  }
}
