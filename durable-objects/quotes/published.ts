import type { QuoteCache, QuoteEntry } from '../../src/pricing/quote-cache.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { formatQuote } from '../../src/protocol/quote.ts'
import { toPortfolioPrice } from './portfolio-price.ts'

/** The published state of the cached quotes, each formatted once for all connections and subscribers (D1). */
export class PublishedQuotes {
  readonly #cache: QuoteCache
  readonly #texts = new WeakMap<QuoteEntry, string>()
  readonly #prices = new WeakMap<QuoteEntry, PortfolioPrice>()

  constructor(cache: QuoteCache) {
    this.#cache = cache
  }

  /** The last batch. */
  get offset(): number {
    return this.#cache.lastBatch
  }

  /** A quote as JSON text, and the batch of its last visible change; null: nothing is published. */
  quote(id: number): { text: string; changed: number } | null {
    const entry = this.#cache.entry(id)
    if (!entry?.quote || !entry.told) return null
    let text = this.#texts.get(entry)
    if (text === undefined) {
      text = formatQuote(entry.quote, 'cache', entry.told.stale)
      this.#texts.set(entry, text)
    }
    return { text, changed: entry.changed }
  }

  /** A price as portfolios get it, and the batch of its last visible change; null: nothing is published. */
  price(id: number): { price: PortfolioPrice; changed: number } | null {
    const entry = this.#cache.entry(id)
    if (!entry?.quote || !entry.told) return null
    let price = this.#prices.get(entry)
    if (price === undefined) {
      price = toPortfolioPrice(entry.quote, entry.told.stale)
      this.#prices.set(entry, price)
    }
    return { price, changed: entry.changed }
  }
}
