import type { Bar } from '../../src/market/bar.ts'
import type { TradeCoverageState } from '../../src/market/coverage.ts'
import { formatUnits, parseUnits } from '../../src/market/decimal.ts'
import { createRevision, type Revision } from '../../src/market/revision.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../src/protocol/granularity.ts'

/** What one product's object knows beside its bars. `lastGoodAt` is unix milliseconds. */
export type StoredState = { ledger: TradeCoverageState; lastGoodAt: number }

type Row = { size: number; start: number; body: string; unflushed: number }

const serializeBar = (bar: Bar): string => JSON.stringify({ ...bar, volume: formatUnits(bar.volume), touched: false })

function parseBar(body: string): Bar {
  const bar = JSON.parse(body) as Bar & { volume: string }
  return { ...bar, volume: parseUnits(bar.volume) }
}

/** The object's own SQLite: where a closed candle is before anybody is told, and until Postgres has it (C12). */
export class CandleStore {
  readonly #storage: DurableObjectStorage

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
    storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS bars (
         size INTEGER NOT NULL, start INTEGER NOT NULL, body TEXT NOT NULL, unflushed INTEGER NOT NULL,
         PRIMARY KEY (size, start)
       ) WITHOUT ROWID`,
    )
    // What Postgres lacks of the revisions log: a bar's rows go when the bar itself is there (C12).
    storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS revisions (
         size INTEGER NOT NULL, start INTEGER NOT NULL, rev INTEGER NOT NULL, body TEXT NOT NULL,
         PRIMARY KEY (size, start, rev)
       ) WITHOUT ROWID`,
    )
    storage.sql.exec('CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL)')
  }

  /** What was stored last; null in a new object. */
  loadState(): StoredState | null {
    const [row] = this.#storage.sql.exec<{ body: string }>('SELECT body FROM state').toArray()
    return row ? (JSON.parse(row.body) as StoredState) : null
  }

  /** Every stored bar, minutes first, and whether Postgres lacks it. */
  loadBars(): { bar: Bar; unflushed: boolean }[] {
    return this.#storage.sql
      .exec<Row>('SELECT size, start, body, unflushed FROM bars ORDER BY size, start')
      .toArray()
      .map((row) => ({ bar: parseBar(row.body), unflushed: row.unflushed === 1 }))
  }

  /**
   * Stores bars and state at once, and with them what has changed of bars that were complete (`now` in unix
   * milliseconds). Complete bars are marked as not yet in Postgres.
   */
  save(bars: Iterable<Bar>, state: StoredState, now: number): void {
    this.#storage.transactionSync(() => {
      for (const bar of bars) {
        if (bar.rev > 0) this.#saveRevision(bar, now)
        this.#storage.sql.exec(
          'INSERT OR REPLACE INTO bars (size, start, body, unflushed) VALUES (?, ?, ?, ?)',
          bar.size,
          bar.start,
          serializeBar(bar),
          bar.complete ? 1 : 0,
        )
      }
      this.#storage.sql.exec('INSERT OR REPLACE INTO state (id, body) VALUES (1, ?)', JSON.stringify(state))
    })
  }

  /** The stored bar is what was last told: every state of a complete bar is stored before it is (C12). */
  #saveRevision(bar: Bar, now: number): void {
    const { sql } = this.#storage
    const [row] = sql.exec<Row>('SELECT body FROM bars WHERE size = ? AND start = ?', bar.size, bar.start).toArray()
    const revision = createRevision(bar, row ? parseBar(row.body) : null, now)
    if (revision === null) return
    sql.exec(
      'INSERT OR REPLACE INTO revisions (size, start, rev, body) VALUES (?, ?, ?, ?)',
      bar.size,
      bar.start,
      bar.rev,
      JSON.stringify(revision),
    )
  }

  /** What Postgres lacks of the revisions of these candles, ascending for each. */
  loadRevisions(candles: readonly Candle[]): Revision[] {
    return candles
      .filter((candle) => candle.rev > 0)
      .flatMap((candle) =>
        this.#storage.sql
          .exec<{ body: string }>(
            'SELECT body FROM revisions WHERE size = ? AND start = ? ORDER BY rev',
            GRANULARITIES.indexOf(candle.granularity),
            candle.timestamp,
          )
          .toArray(),
      )
      .map(({ body }) => JSON.parse(body) as Revision)
  }

  /** Postgres has these now, and their revisions. */
  markFlushed(bars: Iterable<Bar>): void {
    this.#storage.transactionSync(() => {
      for (const bar of bars) {
        this.#storage.sql.exec('UPDATE bars SET unflushed = 0 WHERE size = ? AND start = ?', bar.size, bar.start)
        if (bar.rev > 0)
          this.#storage.sql.exec('DELETE FROM revisions WHERE size = ? AND start = ?', bar.size, bar.start)
      }
    })
  }

  /** Forgets what is older than `start` (unix seconds) and in Postgres. */
  deleteBefore(start: number): void {
    this.#storage.sql.exec('DELETE FROM bars WHERE start < ? AND unflushed = 0', start)
  }
}
