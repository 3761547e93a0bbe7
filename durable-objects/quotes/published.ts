import type { CachedQuote } from '../../src/pricing/quote.ts'
import type { QuoteCache, QuoteEntry } from '../../src/pricing/quote-cache.ts'
import { type PortfolioPrice, portfolioPriceSchema } from '../../src/protocol/portfolio.ts'
import { formatQuote, type StaleReason } from '../../src/protocol/quote.ts'

/** A published quote: as JSON text, as portfolios get it, and the batch of its last visible change. */
export type PublishedQuote = { readonly text: string; readonly price: PortfolioPrice; readonly changed: number }

/** The published state of the cached quotes, each formatted once for all connections and subscribers (D1). */
export class PublishedQuotes {
  readonly #cache: QuoteCache
  readonly #published = new WeakMap<QuoteEntry, PublishedQuote>()

  constructor(cache: QuoteCache) {
    this.#cache = cache
  }

  /** The last batch. */
  get offset(): number {
    return this.#cache.lastBatch
  }

  /** The published state of an asset; null: nothing is published. */
  get(id: number): PublishedQuote | null {
    const entry = this.#cache.entry(id)
    if (!entry?.quote || !entry.told) return null
    const known = this.#published.get(entry)
    if (known) return known
    const published = newPublishedQuote(entry.quote, entry.told.stale, entry.changed)
    this.#published.set(entry, published)
    return published
  }
}

/** Both forms are made when they are first needed. */
function newPublishedQuote(quote: CachedQuote, stale: StaleReason | null, changed: number): PublishedQuote {
  let text: string | undefined
  let price: PortfolioPrice | undefined
  return {
    changed,
    get text() {
      text ??= formatQuote(quote, 'cache', stale)
      return text
    },
    get price() {
      price ??= toPortfolioPrice(quote, stale)
      return price
    },
  }
}

const PRICE_KEYS = portfolioPriceSchema.omit({ stale: true }).keyof().options

const toPortfolioPrice = (quote: CachedQuote, stale: StaleReason | null): PortfolioPrice => {
  const fields = Object.fromEntries(PRICE_KEYS.map((key) => [key, quote[key]]))
  return { ...(fields as Omit<PortfolioPrice, 'stale'>), stale }
}
