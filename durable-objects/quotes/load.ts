import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { QuoteDatabase } from './database.ts'

/** A database that did not answer is left alone for this long, milliseconds. */
const DATABASE_RETRY_MS = 2_000

/** What loading needs of the object that holds it. Times are unix milliseconds. */
export type PriceLoaderHost = {
  cache: QuoteCache
  simulated: boolean
  now(): number
  database(): Pick<QuoteDatabase, 'readPrices'>
  /** Whether nobody can be asked for an asset. */
  isManual(id: number): boolean
  commit(): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Prices from Postgres: read once for all who want the same. */
export class PriceLoader {
  readonly #host: PriceLoaderHost
  readonly #loading = new Map<number, Promise<void>>()
  readonly #loadedIds = new Set<number>()
  #databaseRetryAt = 0

  constructor(host: PriceLoaderHost) {
    this.#host = host
  }

  isLoading(id: number): boolean {
    return this.#loading.has(id)
  }

  /** Brings prices of those of these that were not read yet: what Postgres did not have, this board has written since. */
  loadOnce(ids: readonly number[]): Promise<void> {
    return this.load(ids.filter((id) => !this.#loadedIds.has(id)))
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
    if (missing.length > 0 && this.#host.now() >= this.#databaseRetryAt) {
      const loading = this.#loadPrices(missing).finally(() => {
        for (const id of missing) this.#loading.delete(id)
      })
      for (const id of missing) this.#loading.set(id, loading)
      waits.add(loading)
    }
    await Promise.all(waits)
  }

  async #loadPrices(ids: number[]): Promise<void> {
    const { cache: book, simulated, now, database, isManual, commit, log } = this.#host
    try {
      const quotes = await database().readPrices(ids)
      for (const id of ids) this.#loadedIds.add(id)
      for (const quote of quotes) {
        // Prices that are made up are never told with those of a market.
        if ((quote.provider === 'simulated') !== simulated) continue
        const { asset_id, price, change24h, updated_at } = quote
        if (!book.put(quote, { price, change24h }, true)) continue
        const at = isManual(asset_id) ? now() : Date.parse(updated_at)
        book.recordAttempt(asset_id, { at, trouble: null, retryAt: null })
      }
      commit()
    } catch (error) {
      this.#databaseRetryAt = now() + DATABASE_RETRY_MS
      log('prices_read_failed', { assets: ids.length, error: String(error) })
    }
  }
}
