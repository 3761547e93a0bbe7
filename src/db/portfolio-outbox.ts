import { type LiveSql, liveQuery, singleValue } from './client.ts'

/** Rows that are claimed at once. */
const BATCH_ROWS = 200

/**
 * The outbox rows of one user (`rowIds`) and what they request. `derive`: the assets whose lots have to be derived first,
 * null for all of them; `written`: true if there are also changes whose lots are derived already.
 */
export type PendingChange = { rowIds: string[]; userId: string; derive: number[] | null; written: boolean }

type Row = { id: string; user_id: string; asset_id: number | null; derive: boolean }

function toPendingChange([userId, rows]: [string, Row[]]): PendingChange {
  const derived = rows.filter(({ derive }) => derive)
  const assetIds = new Set(derived.map(({ asset_id }) => asset_id))
  return {
    rowIds: rows.map(({ id }) => id),
    userId,
    derive: assetIds.has(null) ? null : [...assetIds].filter((id) => id !== null),
    written: derived.length < rows.length,
  }
}

/** Claims the oldest rows that no other run has claimed at `now`, until `until`, and returns them by user. */
export const claimOutbox = liveQuery(async (sql, now: Date, until: Date): Promise<PendingChange[]> => {
  const rows = await sql<Row[]>`
    UPDATE portfolio_outbox SET claimed_until = ${until}
    WHERE id IN (
      SELECT id FROM portfolio_outbox WHERE claimed_until IS NULL OR claimed_until < ${now}
      ORDER BY id LIMIT ${BATCH_ROWS} FOR UPDATE SKIP LOCKED
    )
    RETURNING id::text, user_id, asset_id, derive`
  return [...Map.groupBy(rows, ({ user_id }) => user_id)].map(toPendingChange)
})

const idList = (sql: LiveSql, changes: readonly PendingChange[]) =>
  sql`(SELECT value::bigint FROM json_array_elements_text(${JSON.stringify(changes.flatMap(({ rowIds }) => rowIds))}::text::json))`

/** Deletes rows whose changes were delivered. */
export const deleteFromOutbox = liveQuery(async (sql, changes: readonly PendingChange[]): Promise<void> => {
  await sql`DELETE FROM portfolio_outbox WHERE id IN ${idList(sql, changes)}`
})

/** Gives claimed rows back to the next run. */
export const releaseOutbox = liveQuery(async (sql, changes: readonly PendingChange[]): Promise<void> => {
  await sql`UPDATE portfolio_outbox SET claimed_until = NULL WHERE id IN ${idList(sql, changes)}`
})

/** The number of rows, and the time of the oldest (RFC 3339, null for none). */
export const readOutboxLength = liveQuery(async (sql): Promise<{ rows: number; since: string | null }> => {
  const [row] = await sql<{ rows: number; since: string | null }[]>`
    SELECT count(*)::integer AS rows, min(created_at) AS since FROM portfolio_outbox`
  return row!
})

/** Fills in rates of days that have become known, queues the affected users, and returns the number of rates. */
export const fillFxRates = liveQuery((sql): Promise<number> => singleValue(sql`SELECT fill_fx_rates()`))

/**
 * Queues activities and splits that were entered before their time, and whose time is after `since` (null for any) and until
 * `now`. Returns the number of queued assets of users.
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

/** The users whose portfolios are refreshed at this minute of the hour: a hash of the id spreads them. */
export const readPortfoliosOfMinute = liveQuery(async (sql: LiveSql, minute: number): Promise<string[]> => {
  const rows = await sql<{ user_id: string }[]>`
    SELECT user_id FROM portfolios WHERE mod(hashtext(user_id::text) & 2147483647, 60) = ${minute}`
  return rows.map(({ user_id }) => user_id)
})
