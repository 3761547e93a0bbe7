import type { StaleReason } from '../protocol/quote.ts'
import { staleReason } from './freshness.ts'
import { type Anchor, type CachedQuote, hasSameVisibleFields, mergeBesideFeed, supersedes } from './quote.ts'

/** Why the last attempt has no price. */
export type ProviderFailure = Exclude<StaleReason, 'expired'>

/** The cached state of one asset's price, which is stored as it is. Times are unix milliseconds. */
export type QuoteEntry = {
  quote: CachedQuote | null
  /** The exchange's last REST price, from which the change of a feed's prices is derived. */
  anchor: Anchor | null
  /** The last attempt to refresh it; null: none. */
  triedAt: number | null
  trouble: ProviderFailure | null
  /** When the next attempt may be made, where the failure says so. */
  retryAt: number | null
  /** The published state: why it is stale, or null, and the provider's update. */
  told: { stale: StaleReason | null; updatedAt: number } | null
  /** The batch of the last visible change, and the one that brought the quote. */
  changed: number
  brought: number
}

/** The changes of one batch, which are stored before they are published. */
export type QuoteBatch = {
  n: number
  entries: [asset_id: number, entry: QuoteEntry][]
  /** Removed assets. */
  dropped: number[]
  /** The last openings of markets, unix milliseconds. */
  opened: [market: string, at: number][]
}

const EMPTY_ENTRY: QuoteEntry = {
  quote: null,
  anchor: null,
  triedAt: null,
  trouble: null,
  retryAt: null,
  told: null,
  changed: 0,
  brought: 0,
}

/** The outcome of an attempt to refresh. */
export type RefreshAttempt = { at: number; trouble: ProviderFailure | null; retryAt: number | null }

/**
 * The quotes of one board and their published states. `commit` makes a numbered batch of the changes; the numbers are the
 * offsets of stream positions (D2).
 */
export class QuoteCache {
  readonly #freshUntil: (quote: CachedQuote) => number
  readonly #entries = new Map<number, QuoteEntry>()
  /** The last opening of each market, unix milliseconds. */
  readonly marketOpenedAt = new Map<string, number>()
  /** The assets that have changed since the last batch, and whether the change is visible to clients. */
  readonly #dirty = new Map<number, boolean>()
  readonly #dropped = new Set<number>()
  readonly #newlyOpened = new Map<string, number>()
  #lastBatch = 0
  /** A client that resumes from before this batch gets a snapshot: assets were removed since. */
  #minResumableBatch = 0

  /**
   * @param freshUntil the end of a quote's time to live, unix milliseconds
   * @param batches the stored batches, ascending
   * @param floor the stored `minResumableBatch`
   */
  constructor(freshUntil: (quote: CachedQuote) => number, batches: Iterable<QuoteBatch> = [], floor = 0) {
    this.#freshUntil = freshUntil
    this.#minResumableBatch = floor
    for (const { n, entries, dropped, opened } of batches) {
      this.#lastBatch = n
      for (const [id, entry] of entries) this.#entries.set(id, entry)
      for (const id of dropped) this.#entries.delete(id)
      for (const [market, at] of opened) this.marketOpenedAt.set(market, at)
    }
  }

  /** The number of the last batch. */
  get lastBatch(): number {
    return this.#lastBatch
  }

  get minResumableBatch(): number {
    return this.#minResumableBatch
  }

  entry(id: number): QuoteEntry | undefined {
    return this.#entries.get(id)
  }

  quote(id: number): CachedQuote | null {
    return this.#entries.get(id)?.quote ?? null
  }

  /** The cached assets. */
  ids(): IterableIterator<number> {
    return this.#entries.keys()
  }

  /** Whether a change since the last batch is visible to clients. */
  get hasVisibleChanges(): boolean {
    return [...this.#dirty.values()].includes(true)
  }

  #change(id: number, change: Partial<QuoteEntry>, visible: boolean): void {
    const before = this.#entries.get(id) ?? EMPTY_ENTRY
    this.#entries.set(id, { ...before, ...change })
    this.#dirty.set(id, visible || this.#dirty.get(id) === true)
  }

  /**
   * Caches a quote, unless it is older than the cached one.
   * @param anchor the exchange's own price and change, if the quote is of it
   * @param stored whether Postgres has the quote already
   * @returns whether it was cached
   */
  put(quote: CachedQuote, anchor: Anchor | null = null, stored = false): boolean {
    const entry = this.#entries.get(quote.asset_id) ?? EMPTY_ENTRY
    const cached = entry.quote
    if (!supersedes(quote, cached)) return false
    const { market } = quote
    if (market !== null && cached?.market_state === 'closed' && quote.market_state !== 'closed') {
      const at = Date.parse(quote.updated_at)
      this.marketOpenedAt.set(market, at)
      this.#newlyOpened.set(market, at)
    }
    const brought = stored ? 0 : this.#lastBatch + 1
    const change = { quote, brought, anchor: anchor ?? entry.anchor }
    this.#change(quote.asset_id, change, cached === null || !hasSameVisibleFields(cached, quote))
    return true
  }

  /** Caches an exchange's REST quote, whose price the open feed has. */
  putBesideFeed(quote: CachedQuote, anchor: Anchor): void {
    const cached = this.quote(quote.asset_id)
    this.put(cached === null ? quote : mergeBesideFeed(quote, cached), anchor)
  }

  /** Records an attempt to refresh an asset. */
  recordAttempt(id: number, { at, trouble, retryAt }: RefreshAttempt): void {
    this.#change(id, { triedAt: at, trouble, retryAt }, false)
  }

  /** Renames an asset. */
  setSymbol(id: number, symbol: string): void {
    const quote = this.quote(id)
    if (quote && quote.symbol !== symbol) this.#change(id, { quote: { ...quote, symbol } }, true)
  }

  /** Removes an asset. */
  remove(id: number): void {
    this.#entries.delete(id)
    this.#dirty.delete(id)
    this.#dropped.add(id)
  }

  /** Marks the quotes for the next batch whose published staleness is not that of `now` any more. */
  markStale(now: number): void {
    for (const [id, entry] of this.#entries)
      if (entry.told !== null && this.#staleReason(entry, now) !== entry.told.stale) this.#change(id, {}, false)
  }

  #staleReason({ quote, trouble }: QuoteEntry, now: number): StaleReason | null {
    return quote && staleReason({ freshUntil: this.#freshUntil(quote), trouble }, now)
  }

  /** When the first quote that is published as fresh becomes stale, unix milliseconds. */
  nextStaleAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const { quote, told } of this.#entries.values())
      if (quote && told?.stale === null) at = Math.min(at, this.#freshUntil(quote) + 1)
    return at
  }

  /**
   * Makes a batch of the changes; null if there are none. `changed` are the assets whose change is to be published: also a
   * quote that has become stale, or whose update is newer than the published one by half of its time to live.
   */
  commit(now: number): { batch: QuoteBatch; changed: number[] } | null {
    if (this.#dirty.size === 0 && this.#dropped.size === 0) return null
    const n = ++this.#lastBatch
    const changed: number[] = []
    const entries: QuoteBatch['entries'] = []
    for (const [id, visible] of this.#dirty) {
      const entry = this.#entries.get(id) as QuoteEntry
      const stale = this.#staleReason(entry, now)
      if (entry.quote && this.#shouldPublish(entry.quote, entry.told, stale, visible)) {
        changed.push(id)
        const told = { stale, updatedAt: Date.parse(entry.quote.updated_at) }
        this.#entries.set(id, { ...entry, told, changed: n })
      }
      entries.push([id, this.#entries.get(id) as QuoteEntry])
    }
    const batch = { n, entries, dropped: [...this.#dropped], opened: [...this.#newlyOpened] }
    if (batch.dropped.length > 0) this.#minResumableBatch = n
    this.#dirty.clear()
    this.#dropped.clear()
    this.#newlyOpened.clear()
    return { batch, changed }
  }

  #shouldPublish(
    quote: CachedQuote,
    published: QuoteEntry['told'],
    stale: StaleReason | null,
    visible: boolean,
  ): boolean {
    if (visible || published === null || published.stale !== stale) return true
    const updatedAt = Date.parse(quote.updated_at)
    return (updatedAt - published.updatedAt) * 2 >= this.#freshUntil(quote) - updatedAt
  }

  /** The whole cache as one batch, with the number of the last one. */
  toBatch(): QuoteBatch {
    return { n: this.#lastBatch, entries: [...this.#entries], dropped: [], opened: [...this.marketOpenedAt] }
  }

  /** The quotes that are newer than a batch: what Postgres lacks when it has that batch. */
  quotesAfter(n: number): CachedQuote[] {
    return [...this.#entries.values()].flatMap(({ quote, brought }) => (quote && brought > n ? [quote] : []))
  }
}
