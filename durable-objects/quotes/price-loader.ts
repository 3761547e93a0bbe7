import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { ObjectContext } from '../object-context.ts'
import type { QuoteRemotes } from './remotes.ts'
import type { SymbolResolver } from './symbol-resolver.ts'

/** After a failed read the database is not asked again for this long. */
const DATABASE_RETRY_MS = 2_000

/** Loads prices from Postgres into the cache; callers that want the same assets share one read. */
export class PriceLoader {
  readonly #context: ObjectContext
  readonly #remotes: QuoteRemotes
  readonly #cache: QuoteCache
  readonly #symbols: SymbolResolver
  readonly #simulated: boolean
  readonly #onLoaded: () => void
  readonly #loading = new Map<number, Promise<void>>()
  readonly #loadedIds = new Set<number>()
  #databaseRetryAt = 0

  /**
   * @param simulated whether the prices of this deployment are simulated
   * @param onLoaded called when prices are in the cache
   */
  constructor(
    context: ObjectContext,
    remotes: QuoteRemotes,
    parts: { cache: QuoteCache; symbols: SymbolResolver },
    simulated: boolean,
    onLoaded: () => void,
  ) {
    this.#context = context
    this.#remotes = remotes
    this.#cache = parts.cache
    this.#symbols = parts.symbols
    this.#simulated = simulated
    this.#onLoaded = onLoaded
  }

  isLoading(id: number): boolean {
    return this.#loading.has(id)
  }

  /** Loads those of these prices that were never loaded: everything newer comes from this object. Never rejects. */
  loadOnce(ids: readonly number[]): Promise<void> {
    return this.load(ids.filter((id) => !this.#loadedIds.has(id)))
  }

  /** Loads the prices of these assets, where Postgres has one. Never rejects. */
  async load(ids: readonly number[]): Promise<void> {
    const waits = new Set<Promise<void>>()
    const missing: number[] = []
    for (const id of ids) {
      const other = this.#loading.get(id)
      if (other) waits.add(other)
      else missing.push(id)
    }
    if (missing.length > 0 && this.#context.now() >= this.#databaseRetryAt) {
      const loading = this.#loadPrices(missing).finally(() => {
        for (const id of missing) this.#loading.delete(id)
      })
      for (const id of missing) this.#loading.set(id, loading)
      waits.add(loading)
    }
    await Promise.all(waits)
  }

  async #loadPrices(ids: number[]): Promise<void> {
    try {
      const quotes = await this.#remotes.database().readPrices(ids)
      for (const id of ids) this.#loadedIds.add(id)
      for (const quote of quotes) {
        // Simulated prices and those of a real market must never be mixed.
        if ((quote.provider === 'simulated') !== this.#simulated) continue
        const { asset_id, price, change24h, updated_at } = quote
        if (!this.#cache.put(quote, { price, change24h }, true)) continue
        const isManual = this.#symbols.asset(asset_id)?.provider === 'manual'
        const at = isManual ? this.#context.now() : Date.parse(updated_at)
        this.#cache.recordAttempt(asset_id, { at, trouble: null, retryAt: null })
      }
      this.#onLoaded()
    } catch (error) {
      this.#databaseRetryAt = this.#context.now() + DATABASE_RETRY_MS
      this.#context.log('prices_read_failed', { assets: ids.length, error: String(error) })
    }
  }
}
