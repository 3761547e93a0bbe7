import type { HeldQuote } from '../../src/pricing/quote.ts'
import type { QuoteBook } from '../../src/pricing/quote-cache.ts'
import type { RefreshSettings } from '../../src/pricing/refresh-settings.ts'
import type { QuoteDatabase } from './database.ts'

/** A write of which nothing was heard for so long is lost, milliseconds. */
const LOST_MS = 60_000

/** What a flush needs of the object that holds it. Times are unix milliseconds. */
export type QuoteFlushHost = {
  book: QuoteBook
  /** The last batch that Postgres has, as it was kept. */
  flushed: number
  rules(): RefreshSettings
  now(): number
  database(): Pick<QuoteDatabase, 'writePrices'>
  /** Keeps which batch Postgres has now. */
  save(flushed: number): void
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Brings quotes to Postgres: what it lacks, the last state of each, in one write a beat; one that fails waits for the next. */
export class QuoteFlush {
  readonly #host: QuoteFlushHost
  #flushed: number
  #mayWrite = true
  #since = 0
  failures = 0

  constructor(host: QuoteFlushHost) {
    this.#host = host
    this.#flushed = host.flushed
  }

  /** The quotes that Postgres lacks. */
  get waiting(): HeldQuote[] {
    return this.#host.book.broughtAfter(this.#flushed)
  }

  /** A beat begins: what could not be written in the last one has its turn now, and this one allows another. */
  beat(): void {
    this.run()
    this.#mayWrite = true
  }

  /** Writes, if this beat has not written yet. */
  run(): void {
    const now = this.#host.now()
    if (!this.#mayWrite || now < this.#since + LOST_MS) return
    const quotes = this.waiting
    if (quotes.length === 0) return
    this.#mayWrite = false
    this.#since = now
    this.#host.track(this.#write(quotes, this.#host.book.n))
  }

  async #write(quotes: HeldQuote[], upTo: number): Promise<void> {
    const { rules, database, save, log } = this.#host
    try {
      await database().writePrices(quotes, rules())
      this.#flushed = Math.max(this.#flushed, upTo)
      save(this.#flushed)
    } catch (error) {
      this.failures++
      log('flush_failed', { quotes: quotes.length, error: String(error) })
    } finally {
      this.#since = 0
    }
  }
}
