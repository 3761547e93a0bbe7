import type { QuoteBatch } from '../../src/pricing/quote-cache.ts'
import type { QuotePlan } from '../../src/pricing/refresh-settings.ts'
import type { QuoteLayer } from '../../src/protocol/quote.ts'

/** Longest text of one row, in characters: a row has 2 MB at most, and a character up to 3 bytes. */
const MAX_ROW_CHARS = 600_000

/**
 * When so many rows, or so many characters, have gathered since the first batch, one batch is made of all. An object that
 * sleeps between two beats reads them each time: some 20 ms.
 */
const COMPACT_ROWS = 200
const COMPACT_CHARS = 2_000_000

/**
 * What is kept beside the batches. `epoch` and `floor` are of positions: returns to before `floor` get a snapshot.
 * `flushed` is the last batch that Postgres has.
 */
export type QuoteHead = { epoch: string; floor: number; flushed: number }

/** What a board counts since `since` (unix milliseconds): looks by the layer that answered, and what beats have brought. */
export type BoardCounts = {
  since: number
  looks: Record<QuoteLayer | 'none', number>
  beats: number
  refreshed: number
  failed: number
}

type Row = { n: number; body: string }

/** Parts of a list, each of which is at most ROW_CHARS characters of JSON, unless one element alone is longer. */
function splitIntoRows<T>(list: readonly T[]): string[] {
  const parts: string[] = []
  let texts: string[] = []
  let chars = 0
  for (const one of list) {
    const text = JSON.stringify(one)
    if (chars + text.length > MAX_ROW_CHARS && texts.length > 0) {
      parts.push(`[${texts.join(',')}]`)
      texts = []
      chars = 0
    }
    texts.push(text)
    chars += text.length + 1
  }
  parts.push(`[${texts.join(',')}]`)
  return parts
}

/** A board's own SQLite: one row a batch, the plan, and what is kept beside them. */
export class QuoteStore {
  readonly #storage: DurableObjectStorage
  /** Since the first batch. */
  #rows = 0
  #chars = 0

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage
    storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS batches (
         n INTEGER NOT NULL, part INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (n, part)
       ) WITHOUT ROWID`,
    )
    storage.sql.exec('CREATE TABLE IF NOT EXISTS plan (part INTEGER PRIMARY KEY, body TEXT NOT NULL)')
    storage.sql.exec('CREATE TABLE IF NOT EXISTS unknown (name TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID')
    storage.sql.exec('CREATE INDEX IF NOT EXISTS unknown_until ON unknown (until)')
  }

  loadHead(): QuoteHead | null {
    return this.#storage.kv.get<QuoteHead>('head') ?? null
  }

  saveHead(head: QuoteHead): void {
    this.#storage.kv.put('head', head)
  }

  loadCounts(): BoardCounts | null {
    return this.#storage.kv.get<BoardCounts>('counts') ?? null
  }

  /** Once a beat: what was counted since is lost with the object. */
  saveCounts(counts: BoardCounts): void {
    this.#storage.kv.put('counts', counts)
  }

  /** Every batch since the last compaction, ascending; a large one in several parts of the same number. */
  loadBatches(): QuoteBatch[] {
    const rows = this.#storage.sql.exec<Row>('SELECT n, body FROM batches ORDER BY n, part').toArray()
    const since = rows.filter(({ n }) => n !== rows[0]?.n)
    this.#rows = since.length
    this.#chars = since.reduce((sum, { body }) => sum + body.length, 0)
    return rows.map(({ n, body }) => ({ n, ...(JSON.parse(body) as Omit<QuoteBatch, 'n'>) }))
  }

  /** Stores a batch; now and then `whole`, all that is known, takes the place of all that were stored. */
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
    for (const [part, text] of splitIntoRows(entries).entries()) {
      const rest = part === 0 ? { dropped, opened } : { dropped: [], opened: [] }
      const body = `{"entries":${text},"dropped":${JSON.stringify(rest.dropped)},"opened":${JSON.stringify(rest.opened)}}`
      this.#storage.sql.exec('INSERT OR REPLACE INTO batches (n, part, body) VALUES (?, ?, ?)', n, part, body)
      this.#rows++
      this.#chars += body.length
    }
  }

  /** The plan in force; null: none has come yet. */
  loadPlan(): QuotePlan | null {
    const rows = this.#storage.sql.exec<{ body: string }>('SELECT body FROM plan ORDER BY part').toArray()
    const [head, ...parts] = rows.map(({ body }) => JSON.parse(body))
    return head === undefined ? null : { ...(head as Omit<QuotePlan, 'assets'>), assets: parts.flat() }
  }

  savePlan({ at, settings, assets }: QuotePlan): void {
    this.#storage.transactionSync(() => {
      this.#storage.sql.exec('DELETE FROM plan')
      const bodies = [JSON.stringify({ at, settings }), ...splitIntoRows(assets)]
      for (const [part, body] of bodies.entries())
        this.#storage.sql.exec('INSERT INTO plan (part, body) VALUES (?, ?)', part, body)
    })
  }

  /** Until when it is believed that no provider knows a name, unix milliseconds; 0: nobody has said so. */
  unknownUntil(name: string): number {
    const [row] = this.#storage.sql.exec<{ until: number }>('SELECT until FROM unknown WHERE name = ?', name)
    return row?.until ?? 0
  }

  /** Notes that no provider knows a name; what is over by now is forgotten. The providers' budgets keep these few. */
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
