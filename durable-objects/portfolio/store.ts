import type { RateSource } from '../../src/portfolio/rates.ts'
import type { PositionBase } from '../../src/portfolio/valuation.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { toJsonRows } from '../json-rows.ts'
import { type Migration, migrateStorage, SCHEMA_VERSION_KEY } from '../store-schema.ts'

/** Rows of price batches; when they are full, one row of all prices replaces them. */
const PRICE_SLOTS = 64

/**
 * The stored state of a portfolio beside positions and prices. A client that resumes from before `floor` gets a snapshot;
 * lots last changed at `lotsAt`. Every write up to version `whole` was read; `seen` are later writes that were read ahead of
 * a missing one.
 */
export type PortfolioHead = {
  epoch: string
  n: number
  floor: number
  lotsAt: number
  currency: string
  version: number
  whole: number
  seen: [before: number, version: number][]
  rateSources: RateSource[]
  /** The last read of the database, unix milliseconds, and the number of reads. */
  loadedAt: number
  loads: number
}

/** The end of the active time after a read without a socket; the start of a refresh. */
type TimestampName = 'active_until' | 'refresh_asked'

/** A value, and its last change. */
export type WithOffset<T> = { of: T; n: number }

/** The stored portfolio. A null position was removed. `lastPriceAt` is in unix milliseconds. */
export type StoredPortfolio = {
  head: PortfolioHead
  positions: Map<number, WithOffset<PositionBase | null>>
  prices: Map<number, WithOffset<PortfolioPrice>>
  lastPriceAt: number
}

/** The subscriptions that boards have accepted, by shard, and when, unix milliseconds. */
export type StoredSubscriptions = { [shard: string]: { ids: number[]; watched?: number[]; at: number } }

type StoredPrice = WithOffset<PortfolioPrice>
type PriceRow = { slot: number; n: number; at: number; body: string }

const MIGRATIONS: readonly Migration[] = [
  (sql) =>
    sql.exec(`
      CREATE TABLE IF NOT EXISTS positions (asset_id INTEGER PRIMARY KEY, n INTEGER, body TEXT);
      CREATE TABLE IF NOT EXISTS prices (slot INTEGER PRIMARY KEY, n INTEGER, at INTEGER, body TEXT NOT NULL)`),
]

/**
 * The object's SQLite. Prices that arrive together share a row, because each row written costs money. They fill the slots
 * from 0 on; rows below 0 hold all prices of the moment when the slots were full, and outdate older slots.
 */
export class PortfolioStore {
  readonly #storage: DurableObjectStorage
  #nextSlot = 0

  /** Creates no table: a request for a user without a portfolio leaves nothing behind. */
  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
    if (storage.kv.get('head') !== undefined) migrateStorage(storage, MIGRATIONS)
  }

  /** Deletes everything but the subscriptions at boards. */
  clear(): void {
    this.#storage.transactionSync(() => {
      for (const key of ['head', 'active_until', 'refresh_asked', SCHEMA_VERSION_KEY]) this.#storage.kv.delete(key)
      this.#storage.sql.exec('DROP TABLE IF EXISTS positions')
      this.#storage.sql.exec('DROP TABLE IF EXISTS prices')
    })
    this.#nextSlot = 0
  }

  loadSubscriptions(): StoredSubscriptions {
    return this.#storage.kv.get<StoredSubscriptions>('following') ?? {}
  }

  saveSubscriptions(following: StoredSubscriptions): void {
    this.#storage.kv.put('following', following)
  }

  /** Unix milliseconds; 0 when it was never saved. */
  loadTimestamp(name: TimestampName): number {
    return this.#storage.kv.get<number>(name) ?? 0
  }

  saveTimestamp(name: TimestampName, at: number): void {
    this.#storage.kv.put(name, at)
  }

  /** Null when nothing was ever stored. */
  load(): StoredPortfolio | null {
    const head = this.#storage.kv.get<PortfolioHead>('head')
    if (head === undefined) return null
    const positions = new Map<number, WithOffset<PositionBase | null>>()
    const rows = this.#storage.sql.exec<{ asset_id: number; n: number; body: string }>('SELECT * FROM positions')
    for (const { asset_id, n, body } of rows) positions.set(asset_id, { of: JSON.parse(body), n })
    const prices = new Map<number, StoredPrice>()
    const all = this.#storage.sql.exec<PriceRow>('SELECT * FROM prices ORDER BY slot >= 0, n').toArray()
    const whole = all.find(({ slot }) => slot === -1)?.n ?? 0
    const batches = all.filter(({ slot, n }) => (slot < 0 ? n === whole : n > whole))
    for (const { body } of batches)
      for (const price of JSON.parse(body) as StoredPrice[]) prices.set(price.of.asset_id, price)
    this.#nextSlot = batches.filter(({ slot }) => slot >= 0).length
    const n = Math.max(head.n, ...batches.map((batch) => batch.n))
    return { head: { ...head, n }, positions, prices, lastPriceAt: Math.max(0, ...batches.map(({ at }) => at)) }
  }

  /**
   * Stores a batch of prices, which was change `n`.
   * @param all returns every price; called when the slots are full
   */
  savePrices(n: number, at: number, prices: readonly StoredPrice[], all: () => StoredPrice[]): void {
    this.#storage.transactionSync(() => this.#savePrices(n, at, prices, all))
  }

  #savePrices(n: number, at: number, prices: readonly StoredPrice[], all: () => StoredPrice[]): void {
    const parts = toJsonRows(prices)
    if (this.#nextSlot + parts.length <= PRICE_SLOTS)
      for (const body of parts) this.#putPriceRow(this.#nextSlot++, n, at, body)
    else {
      for (const [part, body] of toJsonRows(all()).entries()) this.#putPriceRow(-1 - part, n, at, body)
      this.#nextSlot = 0
    }
  }

  #putPriceRow(slot: number, n: number, at: number, body: string): void {
    this.#storage.sql.exec('INSERT OR REPLACE INTO prices (slot, n, at, body) VALUES (?, ?, ?, ?)', slot, n, at, body)
  }

  saveHead(head: PortfolioHead): void {
    this.#storage.kv.put('head', head)
  }

  /** Stores the changed positions and prices of a load. */
  saveLoad(
    head: PortfolioHead,
    positions: Iterable<readonly [number, WithOffset<PositionBase | null>]>,
    prices: readonly StoredPrice[],
    all: () => StoredPrice[],
  ): void {
    this.#storage.transactionSync(() => {
      migrateStorage(this.#storage, MIGRATIONS)
      this.saveHead(head)
      for (const [id, { of, n }] of positions) {
        const put = 'INSERT OR REPLACE INTO positions (asset_id, n, body) VALUES (?, ?, ?)'
        this.#storage.sql.exec(put, id, n, JSON.stringify(of))
      }
      if (prices.length > 0) this.#savePrices(head.n, head.loadedAt, prices, all)
    })
  }
}
