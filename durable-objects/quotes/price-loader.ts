import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { QuoteContext } from './remotes.ts'
import { SharedReads } from './shared-reads.ts'
import type { SymbolResolver } from './symbol-resolver.ts'

/** Loads prices from Postgres into the cache; callers that want the same assets share one read. */
export class PriceLoader {
  readonly #context: QuoteContext
  readonly #cache: QuoteCache
  readonly #symbols: SymbolResolver
  readonly #onLoaded: () => void
  readonly #reads: SharedReads<number>
  readonly #loadedIds = new Set<number>()

  /** @param onLoaded called when prices are in the cache */
  constructor(context: QuoteContext, cache: QuoteCache, symbols: SymbolResolver, onLoaded: () => void) {
    this.#context = context
    this.#cache = cache
    this.#symbols = symbols
    this.#onLoaded = onLoaded
    this.#reads = new SharedReads(context, (ids) => this.#read(ids), { event: 'prices_read_failed', unit: 'assets' })
  }

  isLoading(id: number): boolean {
    return this.#reads.isReading(id)
  }

  /** Loads those of these prices that were never loaded: everything newer comes from this object. Never rejects. */
  loadOnce(ids: readonly number[]): Promise<void> {
    return this.load(ids.filter((id) => !this.#loadedIds.has(id)))
  }

  /** Loads the prices of these assets, where Postgres has one. Never rejects. */
  load(ids: readonly number[]): Promise<void> {
    return this.#reads.load(ids)
  }

  async #read(ids: number[]): Promise<void> {
    const { now, settings } = this.#context
    const quotes = await this.#context.database().readPrices(ids)
    for (const id of ids) this.#loadedIds.add(id)
    for (const quote of quotes) {
      // Simulated prices and those of a real market must never be mixed.
      if ((quote.provider === 'simulated') !== (settings.EXCHANGE === 'simulated')) continue
      const { asset_id, price, change24h, updated_at } = quote
      if (!this.#cache.put(quote, { price, change24h }, true)) continue
      const isManual = this.#symbols.asset(asset_id)?.provider === 'manual'
      const at = isManual ? now() : Date.parse(updated_at)
      this.#cache.recordAttempt(asset_id, { at, trouble: null, retryAt: null })
    }
    this.#onLoaded()
  }
}
