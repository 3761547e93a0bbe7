import type { CachedQuote } from '../../src/pricing/quote.ts'
import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { RefreshSettings } from '../../src/pricing/refresh-settings.ts'
import type { QuoteDatabase } from './database.ts'

/** A write of which nothing was heard for so long is lost, milliseconds. */
const WRITE_TIMEOUT_MS = 60_000

/** What a flush needs of the object that holds it. Times are unix milliseconds. */
export type QuoteWriteBehindHost = {
  cache: QuoteCache
  /** The last batch that Postgres has, as it was kept. */
  writtenBatch: number
  refreshSettings(): RefreshSettings
  now(): number
  database(): Pick<QuoteDatabase, 'writePrices'>
  /** Keeps which batch Postgres has now. */
  save(flushed: number): void
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Brings quotes to Postgres: what it lacks, the last state of each, in one write a beat; one that fails waits for the next. */
export class QuoteWriteBehind {
  readonly #host: QuoteWriteBehindHost
  #writtenBatch: number
  #mayWrite = true
  #writingSince = 0
  failures = 0

  constructor(host: QuoteWriteBehindHost) {
    this.#host = host
    this.#writtenBatch = host.writtenBatch
  }

  /** The quotes that Postgres lacks. */
  get pending(): CachedQuote[] {
    return this.#host.cache.quotesAfter(this.#writtenBatch)
  }

  /** A beat begins: what could not be written in the last one has its turn now, and this one allows another. */
  onRefreshTick(): void {
    this.writePending()
    this.#mayWrite = true
  }

  /** Writes, if this beat has not written yet. */
  writePending(): void {
    const now = this.#host.now()
    if (!this.#mayWrite || now < this.#writingSince + WRITE_TIMEOUT_MS) return
    const quotes = this.pending
    if (quotes.length === 0) return
    this.#mayWrite = false
    this.#writingSince = now
    this.#host.track(this.#write(quotes, this.#host.cache.lastBatch))
  }

  async #write(quotes: CachedQuote[], upTo: number): Promise<void> {
    const { refreshSettings: rules, database, save, log } = this.#host
    try {
      await database().writePrices(quotes, rules())
      this.#writtenBatch = Math.max(this.#writtenBatch, upTo)
      save(this.#writtenBatch)
    } catch (error) {
      this.failures++
      log('flush_failed', { quotes: quotes.length, error: String(error) })
    } finally {
      this.#writingSince = 0
    }
  }
}
