import type { StaleReason } from '../protocol/quote.ts'
import { staleReason } from './freshness.ts'
import { type Anchor, type CachedQuote, hasSameVisibleFields, mergeBesideFeed, supersedes } from './quote.ts'

/** Why the last try gave no price. */
export type ProviderFailure = Exclude<StaleReason, 'expired'>

/** What is known of one asset's price. Times are unix milliseconds. */
export type QuoteEntry = {
  quote: CachedQuote | null
  /** What its exchange told by REST: the change of a feed's prices follows from it. */
  anchor: Anchor | null
  /** When a provider was asked last; null: never. */
  triedAt: number | null
  trouble: ProviderFailure | null
  /** When the provider may be asked again, where the trouble says so. */
  retryAt: number | null
  /** As clients were told last: whether it is stale, and when it was told by its provider. */
  told: { stale: StaleReason | null; updatedAt: number } | null
  /** The batch in which what clients see has changed last, and the one that brought the quote. */
  changed: number
  brought: number
}

/** What one batch has changed: what has to be stored before anybody is told. */
export type QuoteBatch = {
  n: number
  entries: [asset_id: number, entry: QuoteEntry][]
  /** Assets that are gone. */
  dropped: number[]
  /** When markets were last seen to open. */
  opened: [market: string, at: number][]
}

/** Nothing is known yet. */
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

/** What came of a try. */
export type RefreshAttempt = { at: number; trouble: ProviderFailure | null; retryAt: number | null }

/**
 * The quotes of one board, and what its clients were told of them. Changes gather until `commit` makes a batch of them;
 * batches are numbered, and the numbers are the offsets of positions (D2).
 */
export class QuoteCache {
  readonly #freshUntil: (quote: CachedQuote) => number
  readonly #entries = new Map<number, QuoteEntry>()
  /** When each market was last seen to open, unix milliseconds. */
  readonly marketOpenedAt = new Map<string, number>()
  /** What has changed since the last batch, and whether clients can see it. */
  readonly #dirty = new Map<number, boolean>()
  readonly #dropped = new Set<number>()
  readonly #newlyOpened = new Map<string, number>()
  #lastBatch = 0
  /** Returns to before this batch are answered by a snapshot: assets have gone since. */
  #minResumableBatch = 0

  /**
   * @param freshUntil until when a quote is within its time to live, unix milliseconds
   * @param batches as they were stored, ascending
   * @param floor as it was when they were
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

  /** The assets of which anything is known. */
  ids(): IterableIterator<number> {
    return this.#entries.keys()
  }

  /** Whether something has changed since the last batch that clients can see. */
  get hasVisibleChanges(): boolean {
    for (const visible of this.#dirty.values()) if (visible) return true
    return false
  }

  entries(): IterableIterator<[number, QuoteEntry]> {
    return this.#entries.entries()
  }

  #change(id: number, change: Partial<QuoteEntry>, visible: boolean): void {
    const before = this.#entries.get(id) ?? EMPTY_ENTRY
    this.#entries.set(id, { ...before, ...change })
    this.#dirty.set(id, visible || this.#dirty.get(id) === true)
  }

  /**
   * Takes a quote in, unless it is older than the one that is held.
   * @param anchor what the exchange itself has told with it, if it has
   * @param stored whether Postgres has it already
   * @returns whether it is the one that is held now
   */
  put(quote: CachedQuote, anchor: Anchor | null = null, stored = false): boolean {
    const entry = this.#entries.get(quote.asset_id) ?? EMPTY_ENTRY
    const held = entry.quote
    if (!supersedes(quote, held)) return false
    const { market } = quote
    if (market !== null && held?.market_state === 'closed' && quote.market_state !== 'closed') {
      const at = Date.parse(quote.updated_at)
      this.marketOpenedAt.set(market, at)
      this.#newlyOpened.set(market, at)
    }
    const brought = stored ? 0 : this.#lastBatch + 1
    const change = { quote, brought, anchor: anchor ?? entry.anchor }
    this.#change(quote.asset_id, change, held === null || !hasSameVisibleFields(held, quote))
    return true
  }

  /** Takes in what an exchange told by REST while its feed is open, which has the price. */
  putBesideFeed(quote: CachedQuote, anchor: Anchor): void {
    const held = this.quote(quote.asset_id)
    this.put(held === null ? quote : mergeBesideFeed(quote, held), anchor)
  }

  /** Notes that a provider was asked, and what came of it. */
  recordAttempt(id: number, { at, trouble, retryAt }: RefreshAttempt): void {
    this.#change(id, { triedAt: at, trouble, retryAt }, false)
  }

  /** An asset is called otherwise now. */
  setSymbol(id: number, symbol: string): void {
    const quote = this.quote(id)
    if (quote && quote.symbol !== symbol) this.#change(id, { quote: { ...quote, symbol } }, true)
  }

  /** Lets go of an asset. */
  remove(id: number): void {
    this.#entries.delete(id)
    this.#dirty.delete(id)
    this.#dropped.add(id)
  }

  /** Notes what is stale at `now` and was not told to be so, or the other way round. */
  markStale(now: number): void {
    for (const [id, entry] of this.#entries)
      if (entry.told !== null && this.#staleReason(entry, now) !== entry.told.stale) this.#change(id, {}, false)
  }

  #staleReason({ quote, trouble }: QuoteEntry, now: number): StaleReason | null {
    return quote && staleReason({ freshUntil: this.#freshUntil(quote), trouble }, now)
  }

  /** When the next of the quotes that were told as fresh is not fresh any more, unix milliseconds. */
  nextStaleAt(): number {
    let at = Number.POSITIVE_INFINITY
    for (const { quote, told } of this.#entries.values())
      if (quote && told?.stale === null) at = Math.min(at, this.#freshUntil(quote) + 1)
    return at
  }

  /**
   * Makes a batch of what has changed; null if nothing has. `changed` are the assets of which clients see a change: also
   * that a quote has become stale, or was told again when half of its time to live was over.
   */
  commit(now: number): { batch: QuoteBatch; changed: number[] } | null {
    if (this.#dirty.size === 0 && this.#dropped.size === 0) return null
    const n = ++this.#lastBatch
    const changed: number[] = []
    const entries: QuoteBatch['entries'] = []
    for (const [id, visible] of this.#dirty) {
      const entry = this.#entries.get(id) as QuoteEntry
      const stale = this.#staleReason(entry, now)
      const told =
        entry.quote && this.#shouldPublish(entry, stale, visible) ? this.#publishedState(entry.quote, stale) : null
      if (told) {
        changed.push(id)
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

  #publishedState(quote: CachedQuote, stale: StaleReason | null): NonNullable<QuoteEntry['told']> {
    return { stale, updatedAt: Date.parse(quote.updated_at) }
  }

  #shouldPublish({ quote, told }: QuoteEntry, stale: StaleReason | null, visible: boolean): boolean {
    if (quote === null) return false
    if (visible || told === null || told.stale !== stale) return true
    const updatedAt = Date.parse(quote.updated_at)
    return (updatedAt - told.updatedAt) * 2 >= this.#freshUntil(quote) - updatedAt
  }

  /** All that is known, as one batch of the present number. */
  toBatch(): QuoteBatch {
    return { n: this.#lastBatch, entries: [...this.#entries], dropped: [], opened: [...this.marketOpenedAt] }
  }

  /** The quotes that were brought after a batch, and so are not in Postgres when all up to that one are. */
  quotesAfter(n: number): CachedQuote[] {
    const quotes: CachedQuote[] = []
    for (const { quote, brought } of this.#entries.values()) if (quote && brought > n) quotes.push(quote)
    return quotes
  }
}
