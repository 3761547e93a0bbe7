import type { PortfolioChange, QuoteBoardObject } from '../../src/objects.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { MAX_SNAPSHOT_LOTS } from '../../src/protocol/portfolio.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { ObjectContext } from '../object-context.ts'
import type { PortfolioDatabase } from './database.ts'
import { type OpenLots, PortfolioFrames } from './frames.ts'
import { type PortfolioLoad, PortfolioState, type PortfolioUpdate } from './state.ts'
import type { PortfolioStore, StoredPortfolio } from './store.ts'

/** What every part of a user's object shares: also the user's id, and what it calls over the network. */
export type PortfolioContext = ObjectContext & {
  user: string
  database(): PortfolioDatabase
  board(shard: number): Pick<QuoteBoardObject, 'subscribe' | 'lookup'>
}

/** The connections, as the engine needs them. */
type PortfolioViewers = {
  /** Assets that connections subscribe to by name, with their symbols. */
  watched(): ReadonlyMap<number, string>
  /** Called with each change once it is stored. */
  onUpdate(update: PortfolioUpdate): void
}

/**
 * The portfolio: read once, then updated by writes and by prices. Reads of the database run one after the
 * other, so that each is sent before any later read.
 */
export class PortfolioEngine {
  readonly #context: PortfolioContext
  readonly #store: PortfolioStore
  readonly #viewers: PortfolioViewers
  /** The portfolio and its frames; null until it was read for the first time. */
  state: PortfolioState | null = null
  frames: PortfolioFrames | null = null
  #lastRead: Promise<unknown> = Promise.resolve()

  constructor(context: PortfolioContext, store: PortfolioStore, viewers: PortfolioViewers) {
    this.#context = context
    this.#store = store
    this.#viewers = viewers
    const stored = store.load()
    if (stored) this.#init(stored)
  }

  #init(stored: StoredPortfolio): PortfolioState {
    const state = new PortfolioState(stored)
    this.state = state
    this.frames = new PortfolioFrames(state)
    return state
  }

  /** Assets whose prices are needed, for the portfolio and for connections; the symbol is null where it is unknown. */
  wantedAssets(): Map<number, string | null> {
    return new Map([...(this.state?.pricedAssets() ?? []), ...this.#viewers.watched()])
  }

  /** Assets that only connections need: neither held, nor a source of a rate. */
  unheldAssets(): Set<number> {
    const priced = this.state?.pricedAssets()
    return new Set([...this.#viewers.watched().keys()].filter((id) => !priced?.has(id)))
  }

  /** Applies prices of the time `at` (unix milliseconds); new ones are stored and published. */
  applyPrices(prices: readonly PortfolioPrice[], at = this.#context.now()): void {
    const state = this.state
    const watched = this.#viewers.watched()
    const applied = state?.applyPrices(prices, watched, at)
    if (!state || !applied) return
    this.#store.savePrices(applied.change.n, state.lastPriceAt, applied.prices, () => state.prunePrices(watched))
    this.#viewers.onUpdate(applied.change)
  }

  /** Marks these prices stale, because their board is unreachable or does not have them any more. */
  markStale(ids: readonly number[], stale: StaleReason): void {
    const state = this.state
    if (state === null) return
    const known = ids.flatMap((id) => state.price(id) ?? [])
    this.applyPrices(
      known.map((price) => ({ ...price, stale: price.stale ?? stale })),
      state.lastPriceAt,
    )
  }

  /** Deletes everything, after reads that are under way. */
  async forget(): Promise<void> {
    await this.#runInOrder(async () => {
      this.#store.clear()
      this.state = null
      this.frames = null
    })
  }

  /** The portfolio, read if it never was. @throws when it cannot be read */
  async ensureLoaded(): Promise<PortfolioState> {
    if (this.state === null) await this.#runInOrder(async () => this.state ?? this.#readAll())
    return this.state as unknown as PortfolioState
  }

  /** Reads everything. @throws when it cannot be read */
  async refresh(): Promise<void> {
    await this.#runInOrder(() => this.#readAll())
  }

  /** Reads a write, unless it was read already. A portfolio that was never read is read when it is needed. */
  async applyChange(change: PortfolioChange): Promise<void> {
    if (this.state === null || this.#hasRead(this.state, change)) return
    await this.#runInOrder(() => this.#readChanged(change))
  }

  /** Version 0 means that there is no portfolio, or that it was deleted: then versions prove nothing. */
  #hasRead(state: PortfolioState, { version, asset_ids }: PortfolioChange): boolean {
    return version > 0 && state.hasSeen(version, asset_ids === null)
  }

  /** The open lots of these assets. @throws when they cannot be read */
  readLots(ids: readonly number[]): Promise<OpenLots> {
    return this.#runInOrder(async () => {
      const lots = await this.#context.database().openLots([...ids])
      const byAsset = Map.groupBy(lots, ({ asset_id }) => asset_id)
      this.#countRead()
      return { lotsAt: this.state?.head.lotsAt ?? 0, byAsset: new Map(ids.map((id) => [id, byAsset.get(id) ?? []])) }
    })
  }

  #countRead(): void {
    if (this.state === null) return
    this.state.head.loads++
    this.#store.saveHead(this.state.head)
  }

  #runInOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastRead.then(work)
    this.#lastRead = result.catch(() => {})
    return result
  }

  async #readAll(): Promise<void> {
    const { portfolio } = await this.#context.database().read(null, [])
    const state = this.state ?? this.#init(newPortfolio())
    this.#applyLoad({
      portfolio,
      assetIds: null,
      write: null,
      lots: [],
      removedLots: [],
      // The changed lots are unknown.
      needsSnapshot: portfolio.version !== state.head.whole,
      now: this.#context.now(),
    })
  }

  async #readChanged(change: PortfolioChange): Promise<void> {
    if (this.state && this.#hasRead(this.state, change)) return
    const { version, before = version - 1, asset_ids, lots, removed_lots } = change
    if (asset_ids === null) {
      await this.#readAll()
      return
    }
    const many = lots.length + removed_lots.length > MAX_SNAPSHOT_LOTS
    const read = await this.#context.database().read(asset_ids, many ? [] : lots)
    const found = new Set(read.lots.map(({ id }) => id))
    this.#applyLoad({
      portfolio: read.portfolio,
      assetIds: asset_ids,
      write: { before, version },
      lots: read.lots,
      removedLots: many ? [] : [...removed_lots, ...lots.filter((id) => !found.has(id))],
      needsSnapshot: many,
      now: this.#context.now(),
    })
  }

  #applyLoad(load: PortfolioLoad): void {
    const state = this.state as PortfolioState
    state.head.loads++
    const { change, stored } = state.load(load)
    this.#store.saveLoad(state.head, stored.positions, stored.prices, () => state.prunePrices(this.#viewers.watched()))
    this.#viewers.onUpdate(change)
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
