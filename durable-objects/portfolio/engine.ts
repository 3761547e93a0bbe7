import type { PortfolioChange } from '../../src/objects.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { MAX_SNAPSHOT_LOTS } from '../../src/protocol/portfolio.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { OpenLots } from './connection.ts'
import type { PortfolioDatabase } from './database.ts'
import { PortfolioFrames } from './frames.ts'
import { type PortfolioLoad, PortfolioState, type PortfolioUpdate } from './state.ts'
import type { PortfolioStore, StoredPortfolio } from './store.ts'

/** What a desk needs of the object that holds it. Times are unix milliseconds. */
export type PortfolioEngineHost = {
  store: PortfolioStore
  now(): number
  database(): PortfolioDatabase
  /** Assets whose prices matter beside those of the portfolio. */
  watched(): Pick<ReadonlyMap<number, unknown>, 'has'>
  /** A change is stored. */
  announce(change: PortfolioUpdate): void
}

/**
 * The portfolio itself: read once, then brought up to date by what is written and by prices. What asks the database comes
 * one after the other, so that what was read is announced before anything that was read later.
 */
export class PortfolioEngine {
  readonly #host: PortfolioEngineHost
  #state: PortfolioState | null = null
  #frames: PortfolioFrames | null = null
  #lastRead: Promise<unknown> = Promise.resolve()

  constructor(host: PortfolioEngineHost) {
    this.#host = host
    const kept = host.store.load()
    if (kept) this.#init(kept)
  }

  #init(kept: StoredPortfolio): PortfolioState {
    const book = new PortfolioState(kept)
    this.#state = book
    this.#frames = new PortfolioFrames(book)
    return book
  }

  /** Null: nothing was ever read. */
  get state(): PortfolioState | null {
    return this.#state
  }

  get frames(): PortfolioFrames | null {
    return this.#frames
  }

  /** Takes prices in that were told at `at`; what is new is stored and announced. */
  applyPrices(prices: readonly PortfolioPrice[], at = this.#host.now()): void {
    const { store, announce, watched } = this.#host
    const book = this.#state
    const heard = book?.applyPrices(prices, watched(), at)
    if (!book || !heard) return
    store.savePrices(heard.change.n, book.lastPriceAt, heard.prices, () => book.prunePrices(watched()))
    announce(heard.change)
  }

  /** These prices cannot be told as fresh: who knows them cannot be reached, or does not know them any more. */
  markStale(ids: readonly number[], stale: StaleReason): void {
    const book = this.#state
    if (book === null) return
    const known = ids.flatMap((id) => book.price(id) ?? [])
    this.applyPrices(
      known.map((price) => ({ ...price, stale: price.stale ?? stale })),
      book.lastPriceAt,
    )
  }

  /** Forgets everything, after what is being read. */
  async forget(): Promise<void> {
    await this.#runInOrder(async () => {
      this.#host.store.clear()
      this.#state = null
      this.#frames = null
    })
  }

  /** Sees to it that the portfolio was read. @throws when it cannot be */
  async ensureLoaded(): Promise<PortfolioState> {
    if (this.#state === null) await this.#runInOrder(async () => this.#state ?? this.#readAll())
    return this.#state as unknown as PortfolioState
  }

  /** Reads everything. @throws when it cannot be read */
  async refresh(): Promise<void> {
    await this.#runInOrder(() => this.#readAll())
  }

  /** Reads what was written, unless it was read already; what was never read is read when somebody wants it. */
  async applyChange(change: PortfolioChange): Promise<void> {
    if (this.#state === null || this.#hasRead(this.#state, change)) return
    await this.#runInOrder(() => this.#readChanged(change))
  }

  /**
   * Where it is not known what was written, all has to be read that is not known to have been. At version 0 there is no
   * portfolio, or not any more, and nothing to go by.
   */
  #hasRead(book: PortfolioState, { version, asset_ids }: PortfolioChange): boolean {
    return version > 0 && book.hasSeen(version, asset_ids === null)
  }

  /** The open lots of these assets. @throws when they cannot be read */
  readLots(ids: readonly number[]): Promise<OpenLots> {
    return this.#runInOrder(async () => {
      const lots = await this.#host.database().openLots([...ids])
      const of = Map.groupBy(lots, ({ asset_id }) => asset_id)
      this.#countRead()
      return { lotsAt: this.#state?.head.lotsAt ?? 0, byAsset: new Map(ids.map((id) => [id, of.get(id) ?? []])) }
    })
  }

  #countRead(): void {
    if (this.#state === null) return
    this.#state.head.loads++
    this.#host.store.saveHead(this.#state.head)
  }

  #runInOrder<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#lastRead.then(work)
    this.#lastRead = mine.catch(() => {})
    return mine
  }

  async #readAll(): Promise<void> {
    const { portfolio } = await this.#host.database().read(null, [])
    const book = this.#state ?? this.#init(newPortfolio())
    // Which lots have changed is not known then.
    const afresh = portfolio.version !== book.head.whole
    this.#applyLoad({
      portfolio,
      assetIds: null,
      write: null,
      lots: [],
      removedLots: [],
      needsSnapshot: afresh,
      now: this.#host.now(),
    })
  }

  async #readChanged(change: PortfolioChange): Promise<void> {
    if (this.#state && this.#hasRead(this.#state, change)) return
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
    this.#applyLoad({
      portfolio,
      assetIds: asset_ids,
      write: { before, version },
      lots: read.lots,
      removedLots,
      needsSnapshot: many,
      now,
    })
  }

  #applyLoad(load: PortfolioLoad): void {
    const { store, announce, watched } = this.#host
    const book = this.#state as PortfolioState
    book.head.loads++
    const { change, stored } = book.load(load)
    store.saveLoad(book.head, stored.positions, stored.prices, () => book.prunePrices(watched()))
    announce(change)
  }
}

const newPortfolio = (): StoredPortfolio => ({
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
  lastPriceAt: 0,
})
