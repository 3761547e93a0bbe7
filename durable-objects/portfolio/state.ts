import { currentRates, type Rates } from '../../src/portfolio/rates.ts'
import { computeTotals, replacePosition, sumPositions, type TotalSums } from '../../src/portfolio/totals.ts'
import { changedKeys } from '../../src/portfolio/updates.ts'
import { type PositionBase, valueLot, valuePosition } from '../../src/portfolio/valuation.ts'
import {
  type LotView,
  type PortfolioPrice,
  type Position,
  portfolioPriceSchema,
  type Totals,
} from '../../src/protocol/portfolio.ts'
import type { LoadedPortfolio } from './database.ts'
import type { PortfolioHead, StoredPortfolio, WithOffset } from './store.ts'

/** Writes that are recorded one by one: concurrent writes may be reported in any order. */
const MAX_SEEN_WRITES = 50

/** A position before and after a change; null when it did not exist. */
export type PositionChange = { before: Position | null; after: Position | null }

/** The effect of one change; `n` is its offset. */
export type PortfolioUpdate = {
  n: number
  prices: ReadonlyMap<number, PortfolioPrice>
  positions: ReadonlyMap<number, PositionChange>
  totals: { before: Totals; after: Totals }
  lots: readonly LotView[]
  removedLots: readonly string[]
}

/** A read of the database: `assetIds` are the assets that were read (null: all), `write` the versions of its cause. */
export type PortfolioLoad = {
  portfolio: LoadedPortfolio
  assetIds: readonly number[] | null
  write: { before: number; version: number } | null
  lots: readonly LotView[]
  removedLots: readonly string[]
  /** Changed lots are unknown or too many: every connection gets a snapshot. */
  needsSnapshot: boolean
  now: number
}

type Watched = Pick<ReadonlyMap<number, unknown>, 'has'>

/** The rows of a load to be stored. */
export type ChangedRows = {
  positions: Map<number, WithOffset<PositionBase | null>>
  prices: WithOffset<PortfolioPrice>[]
}

/**
 * A portfolio in memory: positions without prices, the prices, and the values that follow. A change costs only what it
 * touches: positions whose price, rate or lots have changed, and the sums by their difference.
 */
export class PortfolioState {
  readonly head: PortfolioHead
  readonly #bases: Map<number, WithOffset<PositionBase>>
  /** Removed positions, and the change that removed them. */
  readonly #removedAt: Map<number, number>
  readonly #prices: Map<number, WithOffset<PortfolioPrice>>
  #rates: Rates = { now: new Map() }
  readonly #positions = new Map<number, Position>()
  /** The last change of each position; after a restart, an upper bound. */
  readonly #changedAt = new Map<number, number>()
  #sums: TotalSums
  /** The last time prices arrived, unix milliseconds. */
  lastPriceAt: number

  constructor({ head, positions, prices, lastPriceAt }: StoredPortfolio) {
    this.head = head
    this.#bases = new Map()
    this.#removedAt = new Map()
    for (const [id, { of, n }] of positions)
      if (of) this.#bases.set(id, { of, n })
      else this.#removedAt.set(id, n)
    this.#prices = prices
    this.lastPriceAt = Math.max(lastPriceAt, head.loadedAt)
    this.#rates = currentRates(head.rateSources, this.#sourcePrices())
    for (const [id, base] of this.#bases) {
      this.#positions.set(id, this.#valuePosition(base.of))
      this.#changedAt.set(id, Math.max(base.n, this.#prices.get(id)?.n ?? 0, this.#rateChangedAt(base.of)))
    }
    this.#sums = sumPositions(this.#positions.values())
  }

  get offset(): number {
    return this.head.n
  }

  get totals(): Totals {
    return computeTotals(this.#sums, this.head)
  }

  /** All of them, by symbol. */
  positions(): Position[] {
    return [...this.#positions.values()].sort((a, b) =>
      a.symbol === b.symbol ? a.asset_id - b.asset_id : a.symbol < b.symbol ? -1 : 1,
    )
  }

  position(id: number): Position | null {
    return this.#positions.get(id) ?? null
  }

  price(id: number): PortfolioPrice | null {
    return this.#prices.get(id)?.of ?? null
  }

  /** True if lots of the asset are open. */
  isHeld(id: number): boolean {
    return (this.#bases.get(id)?.of.lots ?? 0) > 0
  }

  /** The asset held under a symbol; null for none, or several. */
  findHolding(symbol: string): number | null {
    const found = [...this.#bases.values()].filter(({ of }) => of.symbol === symbol)
    const open = found.filter(({ of }) => of.lots > 0)
    const [one, ...others] = open.length > 0 ? open : found
    return one && others.length === 0 ? one.of.asset_id : null
  }

  /** The assets whose prices are needed, for positions and rates; the symbol is null where it is unknown. */
  pricedAssets(): Map<number, string | null> {
    const ids = new Map<number, string | null>()
    for (const { asset_id } of this.head.rateSources) ids.set(asset_id, this.price(asset_id)?.symbol ?? null)
    for (const [id, { of }] of this.#bases) if (id > 0 && of.lots > 0) ids.set(id, of.symbol)
    return ids
  }

  /** True if `pricedAssets` has it, without computing the others. */
  #isPriced(id: number): boolean {
    return (
      (id > 0 && (this.#bases.get(id)?.of.lots ?? 0) > 0) ||
      this.head.rateSources.some(({ asset_id }) => asset_id === id)
    )
  }

  /** Prices and positions that have changed after `from`, and ids of positions removed since. */
  changesSince(from: number): { prices: PortfolioPrice[]; positions: Position[]; removed: number[] } {
    return {
      prices: [...this.#prices.values()].filter(({ n }) => n > from).map(({ of }) => of),
      positions: [...this.#positions.values()].filter(({ asset_id }) => (this.#changedAt.get(asset_id) ?? 0) > from),
      removed: [...this.#removedAt].filter(([, n]) => n > from).map(([id]) => id),
    }
  }

  /** A lot at current prices. */
  lot(lot: LotView): LotView {
    return valueLot(lot, this.price(lot.asset_id), this.#rates, this.head.currency)
  }

  /** True if a write was read already; with `all`, if every write up to it was. */
  hasSeen(version: number, all: boolean): boolean {
    const { whole, seen } = this.head
    return version <= whole || (!all && seen.some((write) => write[0] < version && version <= write[1]))
  }

  /** Applies prices; null when none is new. `watched` are wanted assets beside those of the portfolio. */
  applyPrices(
    prices: readonly PortfolioPrice[],
    watched: Watched,
    now: number,
  ): { change: PortfolioUpdate; prices: WithOffset<PortfolioPrice>[] } | null {
    this.lastPriceAt = now
    const news = prices.filter((price) => {
      const stored = this.#prices.get(price.asset_id)?.of
      if (stored && (isSamePrice(stored, price) || !isNewer(price, stored))) return false
      return this.#isPriced(price.asset_id) || watched.has(price.asset_id)
    })
    if (news.length === 0) return null
    const before = this.totals
    const n = ++this.head.n
    const applied = this.#setPrices(news, n)
    const positions = this.#revalue(this.#affectedBy(applied.keys()), n)
    const change = { n, prices: applied, positions, totals: { before, after: this.totals } }
    return { change: { ...change, lots: [], removedLots: [] }, prices: news.map((of) => ({ of, n })) }
  }

  /** Applies a read of the database, of all assets or of some. */
  load({ portfolio, assetIds: ids, write, lots, removedLots, now, ...load }: PortfolioLoad): {
    change: PortfolioUpdate
    stored: ChangedRows
  } {
    const head = this.head
    const before = this.totals
    const n = ++head.n
    const isNew = this.#setRateSources(portfolio, ids)
    const lotsUnknown = ids !== null && lots.length === 0 && removedLots.length === 0
    const needsSnapshot =
      load.needsSnapshot || isNew || (lotsUnknown && portfolio.positions.some((base) => this.#hasChangedLots(base)))
    head.loadedAt = now
    if (ids === null) Object.assign(head, { version: portfolio.version, whole: portfolio.version, seen: [] })
    else if (write !== null) this.#recordWrite(write)
    if (needsSnapshot) head.floor = n
    if (needsSnapshot || lots.length > 0 || removedLots.length > 0) head.lotsAt = n
    const bases = this.#setBases(portfolio.positions, ids ?? [...this.#bases.keys()], n)
    const news = portfolio.prices.filter((price) => {
      const stored = this.price(price.asset_id)
      // Of two prices of the same time, the board's has more: its staleness.
      return stored === null || (isNewer(price, stored) && price.updated_at !== stored.updated_at)
    })
    const prices = this.#setPrices(news, n)
    const touched = this.#affectedBy(prices.keys())
    const positions = this.#revalue(isNew ? this.#allIds() : union(touched, bases.keys()), n)
    this.lastPriceAt = Math.max(this.lastPriceAt, now)
    const change = { n, prices, positions, totals: { before, after: this.totals } }
    return {
      change: { ...change, lots: lots.map((lot) => this.lot(lot)), removedLots },
      stored: { positions: bases, prices: news.map((of) => ({ of, n })) },
    }
  }

  /** Records that a write was read; `whole` advances over writes without a gap. */
  #recordWrite({ before, version }: { before: number; version: number }): void {
    const head = this.head
    head.version = Math.max(head.version, version)
    const writes = [...head.seen, [before, version] as [number, number]].sort((a, b) => a[0] - b[0])
    for (const write of writes) if (write[0] <= head.whole) head.whole = Math.max(head.whole, write[1])
    head.seen = writes.filter((write) => write[1] > head.whole).slice(-MAX_SEEN_WRITES)
  }

  /** Deletes prices that are not needed any more, and returns the others. */
  prunePrices(watched: Watched): WithOffset<PortfolioPrice>[] {
    const needed = this.pricedAssets()
    for (const id of this.#prices.keys()) if (!needed.has(id) && !watched.has(id)) this.#prices.delete(id)
    return [...this.#prices.values()]
  }

  /** Sets the currency and the sources of rates; returns whether they have changed. */
  #setRateSources({ currency, rateSources }: LoadedPortfolio, ids: readonly number[] | null): boolean {
    const head = this.head
    const before = new Map(head.rateSources.map((source) => [source.currency, source]))
    const isNew =
      head.currency !== currency ||
      rateSources.some((source) => (before.get(source.currency) ?? source).asset_id !== source.asset_id)
    const others = ids === null ? [] : head.rateSources
    const known = new Map([...others, ...rateSources].map((source) => [source.currency, source]))
    Object.assign(head, { currency, rateSources: [...known.values()] })
    return isNew
  }

  /** True if some lot of the position must have changed. */
  #hasChangedLots({ asset_id, lots, quantity, invested }: PositionBase): boolean {
    const before = this.#bases.get(asset_id)?.of ?? { lots: 0, quantity: '0', invested: '0' }
    return before.lots !== lots || before.quantity !== quantity || before.invested !== invested
  }

  /** Replaces the positions of these assets; those left out are removed. */
  #setBases(
    bases: readonly PositionBase[],
    ids: readonly number[],
    n: number,
  ): Map<number, WithOffset<PositionBase | null>> {
    const changed = new Map<number, WithOffset<PositionBase | null>>()
    const present = new Set<number>()
    for (const of of bases) {
      present.add(of.asset_id)
      this.#removedAt.delete(of.asset_id)
      if (JSON.stringify(this.#bases.get(of.asset_id)?.of) === JSON.stringify(of)) continue
      this.#bases.set(of.asset_id, { of, n })
      changed.set(of.asset_id, { of, n })
    }
    for (const id of ids) {
      if (present.has(id) || !this.#bases.delete(id)) continue
      this.#removedAt.set(id, n)
      changed.set(id, { of: null, n })
    }
    return changed
  }

  #setPrices(prices: readonly PortfolioPrice[], n: number): Map<number, PortfolioPrice> {
    for (const of of prices) this.#prices.set(of.asset_id, { of, n })
    return new Map(prices.map((price) => [price.asset_id, price]))
  }

  #allIds(): Set<number> {
    return union(this.#bases.keys(), this.#positions.keys())
  }

  /** Updates rates by these prices, and returns the positions that they affect. */
  #affectedBy(priced: Iterable<number>): Set<number> {
    const touched = new Set<number>()
    for (const id of priced) if (this.#bases.has(id)) touched.add(id)
    const before = this.#rates
    const after = currentRates(this.head.rateSources, this.#sourcePrices())
    this.#rates = after
    const currencies = [...before.now.keys(), ...after.now.keys()]
    const rateOf = ({ now, stale }: Rates, of: string) => `${now.get(of) ?? ''} ${stale?.get(of) ?? ''}`
    const moved = new Set(currencies.filter((of) => rateOf(before, of) !== rateOf(after, of)))
    if (moved.size === 0) return touched
    const { currency } = this.head
    for (const [id, { of }] of this.#bases) {
      const own = this.#currencyOf(of)
      if (own !== currency && (moved.has(currency) || moved.has(own))) touched.add(id)
    }
    return touched
  }

  #sourcePrices(): Map<number, PortfolioPrice> {
    const sources = this.head.rateSources.flatMap(({ asset_id }) => this.price(asset_id) ?? [])
    return new Map(sources.map((price) => [price.asset_id, price]))
  }

  #currencyOf({ asset_id, cmp_currency }: PositionBase): string {
    return this.price(asset_id)?.currency ?? cmp_currency
  }

  /** The last change of a rate of the position. */
  #rateChangedAt(base: PositionBase): number {
    const own = this.#currencyOf(base)
    const { currency, rateSources } = this.head
    if (own === currency) return 0
    const sources = rateSources.filter((source) => source.currency === own || source.currency === currency)
    return Math.max(0, ...sources.map(({ asset_id }) => this.#prices.get(asset_id)?.n ?? 0))
  }

  #valuePosition(base: PositionBase): Position {
    return valuePosition(base, this.price(base.asset_id), this.#rates, this.head.currency)
  }

  #revalue(ids: Iterable<number>, n: number): Map<number, PositionChange> {
    const moved = new Map<number, PositionChange>()
    for (const id of ids) {
      const base = this.#bases.get(id)
      const before = this.#positions.get(id) ?? null
      const after = base ? this.#valuePosition(base.of) : null
      if (after ? changedKeys(before, after) === null : before === null) continue
      moved.set(id, { before, after })
      this.#sums = replacePosition(this.#sums, before, after)
      this.#changedAt.set(id, n)
      if (after) this.#positions.set(id, after)
      else this.#positions.delete(id)
    }
    return moved
  }
}

const PRICE_KEYS = portfolioPriceSchema.keyof().options

const isSamePrice = (a: PortfolioPrice, b: PortfolioPrice): boolean => PRICE_KEYS.every((key) => a[key] === b[key])

/** True if a price may replace the stored one: neither its update nor its market time may go back. */
const isNewer = (next: PortfolioPrice, stored: PortfolioPrice): boolean =>
  Date.parse(next.updated_at) >= Date.parse(stored.updated_at) && Date.parse(next.as_of) >= Date.parse(stored.as_of)

const union = (a: Iterable<number>, b: Iterable<number>): Set<number> => new Set([...a, ...b])
