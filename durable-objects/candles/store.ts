import type { Bar } from '../../src/market/bar.ts'
import type { TradeCoverageState } from '../../src/market/coverage.ts'
import { formatUnits, parseUnits } from '../../src/market/decimal.ts'
import { createRevision, type Revision } from '../../src/market/revision.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import type { Granularity } from '../../src/protocol/granularity.ts'
import { type Migration, migrateStorage } from '../store-schema.ts'

/** What an object stores beside its bars. `lastGoodAt` is unix milliseconds. */
export type StoredState = { coverage: TradeCoverageState; lastGoodAt: number }

type Row = { granularity: Granularity; start: number; body: string; unflushed: number }

/** The granularity of a row of version 1, which stored its index in the list of that time. */
const V1_GRANULARITIES = 'ONE_MINUTE FIVE_MINUTES FIFTEEN_MINUTES THIRTY_MINUTES ONE_HOUR TWO_HOURS SIX_HOURS ONE_DAY'
const V1_GRANULARITY = `'${JSON.stringify(V1_GRANULARITIES.split(' '))}' ->> size`

const MIGRATIONS: readonly Migration[] = [
  (sql) =>
    sql.exec(`
      CREATE TABLE IF NOT EXISTS bars (
        size INTEGER NOT NULL, start INTEGER NOT NULL, body TEXT NOT NULL, unflushed INTEGER NOT NULL,
        PRIMARY KEY (size, start)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS revisions (
        size INTEGER NOT NULL, start INTEGER NOT NULL, rev INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (size, start, rev)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL)`),
  // Granularities by name in place of their index, which changes when a granularity is inserted.
  (sql) =>
    sql.exec(`
      ALTER TABLE bars RENAME TO v1_bars;
      CREATE TABLE bars (
        granularity TEXT NOT NULL, start INTEGER NOT NULL, body TEXT NOT NULL, unflushed INTEGER NOT NULL,
        PRIMARY KEY (granularity, start)
      ) WITHOUT ROWID;
      INSERT INTO bars SELECT ${V1_GRANULARITY}, start,
        json_set(json_remove(body, '$.size'), '$.granularity', ${V1_GRANULARITY}), unflushed FROM v1_bars;
      DROP TABLE v1_bars;
      ALTER TABLE revisions RENAME TO v1_revisions;
      CREATE TABLE revisions (
        granularity TEXT NOT NULL, start INTEGER NOT NULL, rev INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (granularity, start, rev)
      ) WITHOUT ROWID;
      INSERT INTO revisions SELECT ${V1_GRANULARITY}, start, rev, body FROM v1_revisions;
      DROP TABLE v1_revisions;
      UPDATE state SET body = json_object(
        'coverage', json_object(
          'lastTradeId', body -> '$.ledger.last',
          'lastMinute', body -> '$.ledger.lastMinute',
          'missing', body -> '$.ledger.holes',
          'uncertain', body -> '$.ledger.doubt'
        ),
        'lastGoodAt', body -> '$.lastGoodAt'
      )`),
]

const serializeBar = (bar: Bar): string => JSON.stringify({ ...bar, volume: formatUnits(bar.volume), touched: false })

function parseBar(body: string): Bar {
  const bar = JSON.parse(body) as Bar & { volume: string }
  return { ...bar, volume: parseUnits(bar.volume) }
}

/**
 * A product's bars in its object's SQLite. A closed candle is stored here before any viewer gets it, and until Postgres
 * has it (C12). `revisions` holds the part of the revision log that Postgres lacks.
 */
export class CandleStore {
  readonly #storage: DurableObjectStorage

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
    migrateStorage(storage, MIGRATIONS)
  }

  /** The state as it was last stored; null in a new object. */
  loadState(): StoredState | null {
    const [row] = this.#storage.sql.exec<{ body: string }>('SELECT body FROM state').toArray()
    return row ? (JSON.parse(row.body) as StoredState) : null
  }

  /** All stored bars; `unflushed` ones are complete and not in Postgres yet. */
  loadBars(): { bar: Bar; unflushed: boolean }[] {
    return this.#storage.sql
      .exec<Row>('SELECT body, unflushed FROM bars ORDER BY granularity, start')
      .toArray()
      .map((row) => ({ bar: parseBar(row.body), unflushed: row.unflushed === 1 }))
  }

  /**
   * Stores bars and state in one transaction, with a revision for each complete bar that changed. Complete bars are
   * marked as not yet in Postgres. `now` is unix milliseconds.
   */
  save(bars: Iterable<Bar>, state: StoredState, now: number): void {
    this.#storage.transactionSync(() => {
      for (const bar of bars) {
        if (bar.rev > 0) this.#saveRevision(bar, now)
        this.#storage.sql.exec(
          'INSERT OR REPLACE INTO bars (granularity, start, body, unflushed) VALUES (?, ?, ?, ?)',
          bar.granularity,
          bar.start,
          serializeBar(bar),
          bar.complete ? 1 : 0,
        )
      }
      this.#storage.sql.exec('INSERT OR REPLACE INTO state (id, body) VALUES (1, ?)', JSON.stringify(state))
    })
  }

  /** Compares with the stored bar, which holds what was last published: each state is stored before that (C12). */
  #saveRevision(bar: Bar, now: number): void {
    const { sql } = this.#storage
    const [row] = sql
      .exec<Row>('SELECT body FROM bars WHERE granularity = ? AND start = ?', bar.granularity, bar.start)
      .toArray()
    const revision = createRevision(bar, row ? parseBar(row.body) : null, now)
    if (revision === null) return
    sql.exec(
      'INSERT OR REPLACE INTO revisions (granularity, start, rev, body) VALUES (?, ?, ?, ?)',
      bar.granularity,
      bar.start,
      bar.rev,
      JSON.stringify(revision),
    )
  }

  /** The revisions of these candles that Postgres lacks, ascending for each candle. */
  loadRevisions(candles: readonly Candle[]): Revision[] {
    return candles
      .filter((candle) => candle.rev > 0)
      .flatMap((candle) =>
        this.#storage.sql
          .exec<{ body: string }>(
            'SELECT body FROM revisions WHERE granularity = ? AND start = ? ORDER BY rev',
            candle.granularity,
            candle.timestamp,
          )
          .toArray(),
      )
      .map(({ body }) => JSON.parse(body) as Revision)
  }

  /** Notes that Postgres has these bars and their revisions. */
  markFlushed(bars: Iterable<Bar>): void {
    const { sql } = this.#storage
    this.#storage.transactionSync(() => {
      for (const { granularity, start, rev } of bars) {
        sql.exec('UPDATE bars SET unflushed = 0 WHERE granularity = ? AND start = ?', granularity, start)
        if (rev > 0) sql.exec('DELETE FROM revisions WHERE granularity = ? AND start = ?', granularity, start)
      }
    })
  }

  /** Deletes the bars that start before `start` (unix seconds) and are in Postgres. */
  deleteBefore(start: number): void {
    this.#storage.sql.exec('DELETE FROM bars WHERE start < ? AND unflushed = 0', start)
  }
}
