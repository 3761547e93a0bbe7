import type { QuoteBoardStatus } from '../../src/objects.ts'
import type { QuoteBatch } from '../../src/pricing/quote-cache.ts'
import type { QuotePlan } from '../../src/pricing/refresh-settings.ts'
import { toJsonRows } from '../json-rows.ts'
import { type Migration, migrateStorage } from '../store-schema.ts'

/**
 * After this many rows or characters, all batches are compacted to one. An object that hibernates between two ticks reads
 * them on each wake-up: some 20 ms.
 */
const COMPACT_ROWS = 200
const COMPACT_CHARS = 2_000_000

/**
 * Stored beside the batches. `epoch` is part of each stream position; a client that resumes from before `floor` gets a
 * snapshot. `flushed` is the last batch that Postgres has.
 */
export type QuoteHead = { epoch: string; floor: number; flushed: number }

/** A board's counters since `since` (unix milliseconds): lookups by the layer that answered, ticks, refreshed quotes. */
export type BoardCounts = Pick<QuoteBoardStatus, 'since' | 'looks' | 'beats' | 'refreshed' | 'failed'>

type Row = { n: number; body: string }

/** The schema of all of a board's SQLite, the portfolios that subscribe included. */
export const QUOTE_MIGRATIONS: readonly Migration[] = [
  (sql) =>
    sql.exec(`
      CREATE TABLE IF NOT EXISTS batches (
        n INTEGER NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (n, part)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS plan (part INTEGER PRIMARY KEY, body TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS unknown (name TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS unknown_until ON unknown (until);
      CREATE TABLE IF NOT EXISTS followers (user TEXT PRIMARY KEY, ids TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS watchers (
        user TEXT PRIMARY KEY, ids TEXT NOT NULL, since INTEGER NOT NULL
      ) WITHOUT ROWID`),
]

/** A board's SQLite: its batches, the plan, the names that no provider knows, and the head. */
export class QuoteStore {
  readonly #storage: DurableObjectStorage
  #head: QuoteHead
  /** Since the first batch. */
  #rows = 0
  #chars = 0

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
    migrateStorage(storage, QUOTE_MIGRATIONS)
    const head = storage.kv.get<QuoteHead>('head')
    this.#head = head ?? { epoch: crypto.randomUUID().replaceAll('-', '').slice(0, 16), floor: 0, flushed: 0 }
    if (head === undefined) this.saveHead({})
  }

  get head(): Readonly<QuoteHead> {
    return this.#head
  }

  saveHead(change: Partial<QuoteHead>): void {
    this.#head = { ...this.#head, ...change }
    this.#storage.kv.put('head', this.#head)
  }

  loadCounts(): BoardCounts | null {
    return this.#storage.kv.get<BoardCounts>('counts') ?? null
  }

  /** Called once a tick: later counts are lost with the object. */
  saveCounts(counts: BoardCounts): void {
    this.#storage.kv.put('counts', counts)
  }

  /** The batches since the last compaction, ascending; a large one comes in several parts of the same number. */
  loadBatches(): QuoteBatch[] {
    const rows = this.#storage.sql.exec<Row>('SELECT n, body FROM batches ORDER BY n, part').toArray()
    const since = rows.filter(({ n }) => n !== rows[0]?.n)
    this.#rows = since.length
    this.#chars = since.reduce((sum, { body }) => sum + body.length, 0)
    return rows.map(({ n, body }) => ({ n, ...(JSON.parse(body) as Omit<QuoteBatch, 'n'>) }))
  }

  /** Stores a batch; when it is time to compact, `whole` replaces all stored batches instead. */
  saveBatch(batch: QuoteBatch, whole: () => QuoteBatch): void {
    this.#storage.transactionSync(() => {
      if (this.#rows < COMPACT_ROWS && this.#chars < COMPACT_CHARS) {
        this.#write(batch)
        return
      }
      this.#storage.sql.exec('DELETE FROM batches')
      this.#write(whole())
      this.#rows = 0
      this.#chars = 0
    })
  }

  #write({ n, entries, dropped, opened }: QuoteBatch): void {
    for (const [part, text] of toJsonRows(entries).entries()) {
      const rest = part === 0 ? { dropped, opened } : { dropped: [], opened: [] }
      const body = `{"entries":${text},"dropped":${JSON.stringify(rest.dropped)},"opened":${JSON.stringify(rest.opened)}}`
      this.#storage.sql.exec('INSERT OR REPLACE INTO batches (n, part, body) VALUES (?, ?, ?)', n, part, body)
      this.#rows++
      this.#chars += body.length
    }
  }

  /** The current plan; null: none yet. */
  loadPlan(): QuotePlan | null {
    const rows = this.#storage.sql.exec<{ body: string }>('SELECT body FROM plan ORDER BY part').toArray()
    const [head, ...parts] = rows.map(({ body }) => JSON.parse(body))
    return head === undefined ? null : { ...(head as Omit<QuotePlan, 'assets'>), assets: parts.flat() }
  }

  savePlan({ at, settings, assets }: QuotePlan): void {
    this.#storage.transactionSync(() => {
      this.#storage.sql.exec('DELETE FROM plan')
      const bodies = [JSON.stringify({ at, settings }), ...toJsonRows(assets)]
      for (const [part, body] of bodies.entries())
        this.#storage.sql.exec('INSERT INTO plan (part, body) VALUES (?, ?)', part, body)
    })
  }

  /** Until when a name counts as unknown to all providers, unix milliseconds; 0: it does not. */
  unknownUntil(name: string): number {
    const [row] = this.#storage.sql.exec<{ until: number }>('SELECT until FROM unknown WHERE name = ?', name)
    return row?.until ?? 0
  }

  /** Stores that no provider knows a name, and deletes expired ones. The providers' rate limits bound their number. */
  saveUnknown(name: string, until: number, now: number): void {
    this.#storage.transactionSync(() => {
      this.#storage.sql.exec('DELETE FROM unknown WHERE until <= ?', now)
      this.#storage.sql.exec('INSERT OR REPLACE INTO unknown (name, until) VALUES (?, ?)', name, until)
    })
  }

  forgetUnknown(name: string): void {
    this.#storage.sql.exec('DELETE FROM unknown WHERE name = ?', name)
  }
}
