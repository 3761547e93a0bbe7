import type { QuoteBook } from '../../src/pricing/quote-cache.ts'
import type { QuoteDatabase } from './database.ts'

/** A database that did not answer is left alone for this long, milliseconds. */
const REST_MS = 2_000

/** What loading needs of the object that holds it. Times are unix milliseconds. */
export type LoadHost = {
  book: QuoteBook
  simulated: boolean
  now(): number
  database(): Pick<QuoteDatabase, 'readPrices'>
  /** Whether nobody can be asked for an asset. */
  isManual(id: number): boolean
  commit(): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Prices from Postgres: read once for all who want the same. */
export class QuoteLoad {
  readonly #host: LoadHost
  readonly #loading = new Map<number, Promise<void>>()
  readonly #read = new Set<number>()
  #restUntil = 0

  constructor(host: LoadHost) {
    this.#host = host
  }

  isLoading(id: number): boolean {
    return this.#loading.has(id)
  }

  /** Brings prices of those of these that were not read yet: what Postgres did not have, this board has written since. */
  first(ids: readonly number[]): Promise<void> {
    return this.load(ids.filter((id) => !this.#read.has(id)))
  }

  /** Brings prices of these, as far as Postgres has any and answers. Never rejects. */
  async load(ids: readonly number[]): Promise<void> {
    const waits = new Set<Promise<void>>()
    const missing: number[] = []
    for (const id of ids) {
      const other = this.#loading.get(id)
      if (other) waits.add(other)
      else missing.push(id)
    }
    if (missing.length > 0 && this.#host.now() >= this.#restUntil) {
      const loading = this.#run(missing).finally(() => {
        for (const id of missing) this.#loading.delete(id)
      })
      for (const id of missing) this.#loading.set(id, loading)
      waits.add(loading)
    }
    await Promise.all(waits)
  }

  async #run(ids: number[]): Promise<void> {
    const { book, simulated, now, database, isManual, commit, log } = this.#host
    try {
      const quotes = await database().readPrices(ids)
      for (const id of ids) this.#read.add(id)
      for (const quote of quotes) {
        // Prices that are made up are never told with those of a market.
        if ((quote.provider === 'simulated') !== simulated) continue
        const { asset_id, price, change24h, updated_at } = quote
        if (!book.offer(quote, { price, change24h }, true)) continue
        const at = isManual(asset_id) ? now() : Date.parse(updated_at)
        book.tried(asset_id, { at, trouble: null, retryAt: null })
      }
      commit()
    } catch (error) {
      this.#restUntil = now() + REST_MS
      log('prices_unread', { assets: ids.length, error: String(error) })
    }
  }
}
