import type { RateSource } from '../../src/portfolio/rates.ts'
import type { PositionBase } from '../../src/portfolio/valuation.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import type { StoredSubscriptions } from './quote-subscriptions.ts'

/** Batches of prices that are kept one by one; then one row takes the place of all of them. */
const PRICE_SLOTS = 64

/** Longest text of one row, in characters: a row has 2 MB at most, and a character up to 3 bytes. */
const MAX_ROW_CHARS = 600_000

/**
 * What is kept of a portfolio beside its positions and prices. Returns to before `floor` get a snapshot; lots have
 * changed at `lotsAt` last. `whole`: the version up to which everything was read; `seen`: from which version to which
 * writes after that were read, ahead of one that was not.
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
  /** When the database was read last, unix milliseconds, and how often it was in all. */
  loadedAt: number
  loads: number
}

/** Until when it counts as read, without a socket; since when a refresh is under way. */
type TimestampName = 'active_until' | 'refresh_asked'

/** Something, and the change in which it has changed last. */
export type WithOffset<T> = { of: T; n: number }

/** All that is kept. A position that is null is gone. `heardAt`: when a price was heard last, unix milliseconds. */
export type StoredPortfolio = {
  head: PortfolioHead
  positions: Map<number, WithOffset<PositionBase | null>>
  prices: Map<number, WithOffset<PortfolioPrice>>
  lastPriceAt: number
}

type StoredPrice = WithOffset<PortfolioPrice>
type PriceRow = { slot: number; n: number; at: number; body: string }

/** Parts of a list, each of which is at most ROW_CHARS characters of JSON, unless one element alone is longer. */
function splitIntoRows(list: readonly StoredPrice[]): string[] {
  const parts: string[][] = [[]]
  let chars = 0
  for (const one of list) {
    const text = JSON.stringify(one)
    if (chars + text.length > MAX_ROW_CHARS && chars > 0) {
      parts.push([])
      chars = 0
    }
    parts.at(-1)?.push(text)
    chars += text.length + 1
  }
  return parts.map((texts) => `[${texts.join(',')}]`)
}

/**
 * A user's own SQLite. Prices that come together are one row: rows written cost money. They go round the slots from 0 on;
 * below 0 is what was known when the slots were full, newer than all that is left over in slots from before.
 */
export class PortfolioStore {
  readonly #storage: DurableObjectStorage
  #nextSlot = 0

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
  }

  /** Not before there is something to be kept: who only asks for a user leaves nothing behind. */
  #createTables(): void {
    const { sql } = this.#storage
    sql.exec('CREATE TABLE IF NOT EXISTS positions (asset_id INTEGER PRIMARY KEY, n INTEGER, body TEXT)')
    sql.exec('CREATE TABLE IF NOT EXISTS prices (slot INTEGER PRIMARY KEY, n INTEGER, at INTEGER, body TEXT NOT NULL)')
  }

  /** Forgets everything but what the boards tell. */
  clear(): void {
    this.#storage.transactionSync(() => {
      for (const key of ['head', 'active_until', 'refresh_asked']) this.#storage.kv.delete(key)
      this.#storage.sql.exec('DROP TABLE IF EXISTS positions')
      this.#storage.sql.exec('DROP TABLE IF EXISTS prices')
    })
    this.#nextSlot = 0
  }

  /** What the boards tell; see `Following`. */
  loadSubscriptions(): StoredSubscriptions {
    return this.#storage.kv.get<StoredSubscriptions>('following') ?? {}
  }

  saveSubscriptions(following: StoredSubscriptions): void {
    this.#storage.kv.put('following', following)
  }

  /** A moment by its name, unix milliseconds; 0: it was never noted. */
  loadTimestamp(name: TimestampName): number {
    return this.#storage.kv.get<number>(name) ?? 0
  }

  saveTimestamp(name: TimestampName, at: number): void {
    this.#storage.kv.put(name, at)
  }

  /** Null: nothing was ever stored. */
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
   * @param all every price that is to be kept, asked for when one row is made of all
   */
  savePrices(n: number, at: number, prices: readonly StoredPrice[], all: () => StoredPrice[]): void {
    this.#storage.transactionSync(() => this.#savePrices(n, at, prices, all))
  }

  #savePrices(n: number, at: number, prices: readonly StoredPrice[], all: () => StoredPrice[]): void {
    const parts = splitIntoRows(prices)
    if (this.#nextSlot + parts.length <= PRICE_SLOTS)
      for (const body of parts) this.#putPriceRow(this.#nextSlot++, n, at, body)
    else {
      for (const [part, body] of splitIntoRows(all()).entries()) this.#putPriceRow(-1 - part, n, at, body)
      this.#nextSlot = 0
    }
  }

  #putPriceRow(slot: number, n: number, at: number, body: string): void {
    this.#storage.sql.exec('INSERT OR REPLACE INTO prices (slot, n, at, body) VALUES (?, ?, ?, ?)', slot, n, at, body)
  }

  saveHead(head: PortfolioHead): void {
    this.#storage.kv.put('head', head)
  }

  /** Stores what the database has told: the positions that have changed, and prices with them. */
  saveLoad(
    head: PortfolioHead,
    positions: Iterable<readonly [number, WithOffset<PositionBase | null>]>,
    prices: readonly StoredPrice[],
    all: () => StoredPrice[],
  ): void {
    this.#storage.transactionSync(() => {
      this.#createTables()
      this.saveHead(head)
      for (const [id, { of, n }] of positions) {
        const put = 'INSERT OR REPLACE INTO positions (asset_id, n, body) VALUES (?, ?, ?)'
        this.#storage.sql.exec(put, id, n, JSON.stringify(of))
      }
      if (prices.length > 0) this.#savePrices(head.n, head.loadedAt, prices, all)
    })
  }
}
