import type { PortfolioChange } from '../../src/objects.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { MAX_SNAPSHOT_LOTS } from '../../src/protocol/portfolio.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { Lots } from './connection.ts'
import type { PortfolioDatabase } from './database.ts'
import { PortfolioFrames } from './frames.ts'
import { type Change, type Load, PortfolioBook } from './state.ts'
import type { Kept, PortfolioStore } from './store.ts'

/** What a desk needs of the object that holds it. Times are unix milliseconds. */
export type PortfolioDeskHost = {
  store: PortfolioStore
  now(): number
  database(): PortfolioDatabase
  /** Assets whose prices matter beside those of the portfolio. */
  watched(): Pick<ReadonlyMap<number, unknown>, 'has'>
  /** A change is stored. */
  announce(change: Change): void
}

/**
 * The portfolio itself: read once, then brought up to date by what is written and by prices. What asks the database comes
 * one after the other, so that what was read is announced before anything that was read later.
 */
export class PortfolioDesk {
  readonly #host: PortfolioDeskHost
  #book: PortfolioBook | null = null
  #frames: PortfolioFrames | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(host: PortfolioDeskHost) {
    this.#host = host
    const kept = host.store.kept()
    if (kept) this.#begin(kept)
  }

  #begin(kept: Kept): PortfolioBook {
    const book = new PortfolioBook(kept)
    this.#book = book
    this.#frames = new PortfolioFrames(book)
    return book
  }

  /** Null: nothing was ever read. */
  get book(): PortfolioBook | null {
    return this.#book
  }

  get frames(): PortfolioFrames | null {
    return this.#frames
  }

  /** Takes prices in that were told at `at`; what is new is stored and announced. */
  hear(prices: readonly PortfolioPrice[], at = this.#host.now()): void {
    const { store, announce, watched } = this.#host
    const book = this.#book
    const heard = book?.hear(prices, watched(), at)
    if (!book || !heard) return
    store.savePrices(heard.change.n, book.heardAt, heard.prices, () => book.keptPrices(watched()))
    announce(heard.change)
  }

  /** These prices cannot be told as fresh: who knows them cannot be reached, or does not know them any more. */
  lost(ids: readonly number[], stale: StaleReason): void {
    const book = this.#book
    if (book === null) return
    const known = ids.flatMap((id) => book.price(id) ?? [])
    this.hear(
      known.map((price) => ({ ...price, stale: price.stale ?? stale })),
      book.heardAt,
    )
  }

  /** Forgets everything, after what is being read. */
  async forget(): Promise<void> {
    await this.#inTurn(async () => {
      this.#host.store.clear()
      this.#book = null
      this.#frames = null
    })
  }

  /** Sees to it that the portfolio was read. @throws when it cannot be */
  async ready(): Promise<PortfolioBook> {
    if (this.#book === null) await this.#inTurn(async () => this.#book ?? this.#readAll())
    return this.#book as unknown as PortfolioBook
  }

  /** Reads everything. @throws when it cannot be read */
  async refresh(): Promise<void> {
    await this.#inTurn(() => this.#readAll())
  }

  /** Reads what was written, unless it was read already; what was never read is read when somebody wants it. */
  async changed(change: PortfolioChange): Promise<void> {
    if (this.#book === null || this.#hasSeen(this.#book, change)) return
    await this.#inTurn(() => this.#readChanged(change))
  }

  /**
   * Where it is not known what was written, all has to be read that is not known to have been. At version 0 there is no
   * portfolio, or not any more, and nothing to go by.
   */
  #hasSeen(book: PortfolioBook, { version, asset_ids }: PortfolioChange): boolean {
    return version > 0 && book.hasSeen(version, asset_ids === null)
  }

  /** The open lots of these assets. @throws when they cannot be read */
  readLots(ids: readonly number[]): Promise<Lots> {
    return this.#inTurn(async () => {
      const lots = await this.#host.database().openLots([...ids])
      const of = Map.groupBy(lots, ({ asset_id }) => asset_id)
      this.#count()
      return { lotsAt: this.#book?.head.lotsAt ?? 0, of: new Map(ids.map((id) => [id, of.get(id) ?? []])) }
    })
  }

  #count(): void {
    if (this.#book === null) return
    this.#book.head.loads++
    this.#host.store.saveHead(this.#book.head)
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => {})
    return mine
  }

  async #readAll(): Promise<void> {
    const { portfolio } = await this.#host.database().read(null, [])
    const book = this.#book ?? this.#begin(nothing())
    // Which lots have changed is not known then.
    const afresh = portfolio.version !== book.head.whole
    this.#take({ portfolio, ids: null, told: null, lots: [], removedLots: [], afresh, now: this.#host.now() })
  }

  async #readChanged(change: PortfolioChange): Promise<void> {
    if (this.#book && this.#hasSeen(this.#book, change)) return
    const { version, before = version - 1, asset_ids, lots, removed_lots } = change
    if (asset_ids === null) {
      await this.#readAll()
      return
    }
    const many = lots.length + removed_lots.length > MAX_SNAPSHOT_LOTS
    const read = await this.#host.database().read(asset_ids, many ? [] : lots)
    const there = new Set(read.lots.map(({ id }) => id))
    const removedLots = many ? [] : [...removed_lots, ...lots.filter((id) => !there.has(id))]
    const now = this.#host.now()
    const { portfolio } = read
    this.#take({
      portfolio,
      ids: asset_ids,
      told: { before, version },
      lots: read.lots,
      removedLots,
      afresh: many,
      now,
    })
  }

  #take(load: Load): void {
    const { store, announce, watched } = this.#host
    const book = this.#book as PortfolioBook
    book.head.loads++
    const { change, stored } = book.load(load)
    store.saveLoad(book.head, stored.positions, stored.prices, () => book.keptPrices(watched()))
    announce(change)
  }
}

const nothing = (): Kept => ({
  head: {
    epoch: crypto.randomUUID().replaceAll('-', '').slice(0, 16),
    n: 0,
    floor: 0,
    lotsAt: 0,
    currency: '',
    version: 0,
    whole: -1,
    seen: [],
    rateSources: [],
    loadedAt: 0,
    loads: 0,
  },
  positions: new Map(),
  prices: new Map(),
  heardAt: 0,
})
