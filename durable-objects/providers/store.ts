import type { QuoteProviderName } from '../../src/protocol/asset.ts'
import type { ProviderState, Purpose } from '../../src/providers/rate-limit.ts'
import type { Migration } from '../store-schema.ts'

/** The purposes as they are stored, with the name that `interactive` had before. */
type StoredPurpose = Purpose | 'look'

/** The schema of the gate's SQLite. */
export const PROVIDER_MIGRATIONS: readonly Migration[] = [
  (sql) =>
    sql.exec(`
      CREATE TABLE IF NOT EXISTS providers (provider TEXT PRIMARY KEY, state TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS bad_ids (
        provider TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (provider, id)
      ) WITHOUT ROWID`),
]

/** One provider's part of the gate's SQLite: the state of its rate limit, and its bad ids. Times are unix milliseconds. */
export class ProviderStore {
  readonly #sql: SqlStorage
  readonly #provider: QuoteProviderName

  constructor(sql: SqlStorage, provider: QuoteProviderName) {
    this.#sql = sql
    this.#provider = provider
  }

  /** The state that was saved last; null: none yet. */
  loadState(): ProviderState | null {
    const [row] = this.#sql.exec<{ state: string }>('SELECT state FROM providers WHERE provider = ?', this.#provider)
    if (row === undefined) return null
    const state = JSON.parse(row.state) as ProviderState
    const renamed = (purpose: StoredPurpose): Purpose => (purpose === 'look' ? 'interactive' : purpose)
    return { ...state, spent: state.spent.map((one) => ({ ...one, purpose: renamed(one.purpose) })) }
  }

  /** Is on disk before any request that is sent afterwards. */
  saveState(state: ProviderState): void {
    const put = 'INSERT OR REPLACE INTO providers (provider, state) VALUES (?, ?)'
    this.#sql.exec(put, this.#provider, JSON.stringify(state))
  }

  /** The ids that spoil batches, each with the time until which it is left out; the first to expire first. */
  loadBadIds(now: number): [id: string, until: number][] {
    this.#sql.exec('DELETE FROM bad_ids WHERE provider = ? AND until <= ?', this.#provider, now)
    const select = 'SELECT id, until FROM bad_ids WHERE provider = ? ORDER BY until'
    return [...this.#sql.exec<{ id: string; until: number }>(select, this.#provider)].map(({ id, until }) => [
      id,
      until,
    ])
  }

  saveBadId(id: string, until: number): void {
    const put = 'INSERT OR REPLACE INTO bad_ids (provider, id, until) VALUES (?, ?, ?)'
    this.#sql.exec(put, this.#provider, id, until)
  }

  forgetBadId(id: string): void {
    this.#sql.exec('DELETE FROM bad_ids WHERE provider = ? AND id = ?', this.#provider, id)
  }
}
