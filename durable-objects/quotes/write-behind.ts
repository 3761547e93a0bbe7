import type { CachedQuote } from '../../src/pricing/quote.ts'
import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import { MINUTE_MS } from '../../src/time.ts'
import type { RefreshPolicy } from './refresh-policy.ts'
import type { QuoteContext } from './remotes.ts'
import type { QuoteStore } from './store.ts'

/** A write that has not ended after this long counts as lost. */
const WRITE_TIMEOUT_MS = MINUTE_MS

/** Writes the latest state of changed quotes to Postgres, at most once a tick; a failed write waits for the next tick. */
export class QuoteWriteBehind {
  readonly #context: QuoteContext
  readonly #cache: QuoteCache
  readonly #store: QuoteStore
  readonly #policy: RefreshPolicy
  #mayWrite = true
  #writingSince = 0
  failures = 0

  constructor(context: QuoteContext, cache: QuoteCache, store: QuoteStore, policy: RefreshPolicy) {
    this.#context = context
    this.#cache = cache
    this.#store = store
    this.#policy = policy
  }

  /** The quotes that Postgres lacks. */
  get pending(): CachedQuote[] {
    return this.#cache.quotesAfter(this.#store.head.flushed)
  }

  /** A tick begins: writes what the last one could not, and allows another write. */
  onRefreshTick(): void {
    this.writePending()
    this.#mayWrite = true
  }

  /** Writes, if this tick has not written yet. */
  writePending(): void {
    const now = this.#context.now()
    if (!this.#mayWrite || now < this.#writingSince + WRITE_TIMEOUT_MS) return
    const quotes = this.pending
    if (quotes.length === 0) return
    this.#mayWrite = false
    this.#writingSince = now
    this.#context.track(this.#write(quotes, this.#cache.lastBatch))
  }

  async #write(quotes: CachedQuote[], lastBatch: number): Promise<void> {
    try {
      await this.#context.database().writePrices(quotes, this.#policy.settings)
      this.#store.saveHead({ flushed: Math.max(this.#store.head.flushed, lastBatch) })
    } catch (error) {
      this.failures++
      this.#context.log('flush_failed', { quotes: quotes.length, error: String(error) })
    } finally {
      this.#writingSince = 0
    }
  }
}
