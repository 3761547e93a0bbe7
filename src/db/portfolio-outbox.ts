import { type LiveSql, liveQuery } from './client.ts'

/** Rows that are taken at once: well under what Hyperdrive gives a transaction while objects are told. */
const BATCH_ROWS = 200

/**
 * What one user's object has yet to be told. `derive`: the assets of which lots are to be made first, null: all of them;
 * `written`: something was written with its lots, too.
 */
export type PendingChange = { userId: string; derive: number[] | null; written: boolean }

type Row = { id: string; user_id: string; asset_id: number | null; derive: boolean }

const affectedAssets = (rows: readonly Row[]): number[] | null => {
  const ids = new Set(rows.map(({ asset_id }) => asset_id))
  return ids.has(null) ? null : [...ids].filter((id) => id !== null)
}

/**
 * Takes a batch of the oldest rows, has them delivered, and deletes those of users for whom `deliver` gives true, all in
 * one transaction: what breaks off in between leaves every row. Another run meanwhile passes them by.
 * @param without users who are left out: those who could not be told before
 * @returns the users that were told, and those that were not
 */
export const drainOutbox = liveQuery(
  async (
    sql,
    without: readonly string[],
    deliver: (untold: readonly PendingChange[]) => Promise<readonly boolean[]>,
  ): Promise<{ told: string[]; failed: string[] }> => {
    const result = await sql.begin(async (transaction) => {
      const rows = await transaction<Row[]>`
        SELECT id::text, user_id, asset_id, derive FROM portfolio_outbox
        WHERE user_id NOT IN (SELECT value::uuid FROM json_array_elements_text(${JSON.stringify(without)}::text::json))
        ORDER BY id LIMIT ${BATCH_ROWS} FOR UPDATE SKIP LOCKED`
      const byUser = [...Map.groupBy(rows, ({ user_id }) => user_id)]
      const untold = byUser.map(([userId, of]) => {
        const [derive = [], written = []] = [true, false].map((yes) => of.filter((row) => row.derive === yes))
        return { userId, derive: affectedAssets(derive), written: written.length > 0 }
      })
      const outcomes = await deliver(untold)
      const users = (outcome: boolean) => byUser.map(([id]) => id).filter((_, i) => outcomes[i] === outcome)
      const told = new Set(users(true))
      const ids = rows.filter(({ user_id }) => told.has(user_id)).map(({ id }) => id)
      await transaction`
        DELETE FROM portfolio_outbox
        WHERE id IN (SELECT value::bigint FROM json_array_elements_text(${JSON.stringify(ids)}::text::json))`
      return { of: { told: [...told], failed: users(false) } }
    })
    return result.of
  },
)

/** How many rows wait, and since when the oldest does (RFC 3339); null: none does. */
export const readOutboxLength = liveQuery(async (sql): Promise<{ rows: number; since: string | null }> => {
  const [row] = await sql<{ rows: number; since: string | null }[]>`
    SELECT count(*)::integer AS rows, min(created_at) AS since FROM portfolio_outbox`
  return row!
})

/** Fills the rates of days that can be known by now; users concerned come into the outbox. Gives how many it filled. */
export const fillFxRates = liveQuery(async (sql): Promise<number> => {
  const [row] = await sql<{ filled: number }[]>`SELECT fill_fx_rates() AS filled`
  return row!.filled
})

/**
 * Puts into the outbox what was entered, and splits that were told, before their time came, where it has come after
 * `since` and until `now`; `since` null: whenever. Gives how many assets of users that are.
 */
export const queueDueActivities = liveQuery(async (sql, since: Date | null, now: Date): Promise<number> => {
  const { count } = await sql`
    INSERT INTO portfolio_outbox (user_id, asset_id, derive)
    SELECT DISTINCT user_id, coalesce(asset_id, 0), TRUE FROM activities
    WHERE updated_at < traded_at AND traded_at <= ${now} AND traded_at > ${since ?? new Date(0)}
    UNION
    SELECT l.user_id, l.asset_id, TRUE
    FROM corporate_actions c JOIN lots l ON l.asset_id = c.asset_id
    WHERE c.kind = 'split' AND c.ex_date::timestamp AT TIME ZONE 'UTC' <= ${now}
      AND c.ex_date::timestamp AT TIME ZONE 'UTC' > ${since ?? new Date(0)}`
  return count
})

/** The users whose portfolio's turn is at this minute of the hour: each has one, by a hash of the user. */
export const readPortfoliosOfMinute = liveQuery(async (sql: LiveSql, minute: number): Promise<string[]> => {
  const rows = await sql<{ user_id: string }[]>`
    SELECT user_id FROM portfolios WHERE mod(hashtext(user_id::text) & 2147483647, 60) = ${minute}`
  return rows.map(({ user_id }) => user_id)
})
