import { DAY_MS } from '../time.ts'
import { deleteInBatches, liveQuery, singleValue } from './client.ts'

/** One figure. A name that ends in `_total` counts since the label `since`; any other is a current value. */
export type Metric = { metric_name: string; value: number; labels: Readonly<Record<string, string>> }

/** Writes figures of one time (unix milliseconds) in one statement. */
export const insertMetrics = liveQuery(async (sql, metrics: readonly Metric[], now: number): Promise<void> => {
  if (metrics.length === 0) return
  await sql`
    INSERT INTO system_metrics (metric_name, value, labels, recorded_at)
    SELECT metric_name, value, labels, ${new Date(now)}
    FROM json_to_recordset(${JSON.stringify(metrics)}::text::json) AS batch (metric_name text, value double precision,
      labels jsonb)`
})

/** The size of the database on disk, in bytes. */
export const readDatabaseBytes = liveQuery(
  (sql): Promise<number> => singleValue(sql`SELECT pg_database_size(current_database())::double precision`),
)

/** DELETEs of one call; the next call deletes the rest. */
const MAX_DELETE_BATCHES = 200

/** Logs with a retention. */
const LOG_TABLES = ['candle_revisions', 'system_metrics'] as const
export type RetentionDays = Readonly<Record<(typeof LOG_TABLES)[number], number>>

/** Deletes records older than these numbers of days at `now` (unix milliseconds), and returns how many. */
export const deleteOldRecords = liveQuery(async (sql, kept: RetentionDays, now: number): Promise<RetentionDays> => {
  const deleted = { candle_revisions: 0, system_metrics: 0 }
  let batches = MAX_DELETE_BATCHES
  for (const table of LOG_TABLES) {
    const before = new Date(now - kept[table] * DAY_MS)
    const result = await deleteInBatches(
      (limit) => sql`
        DELETE FROM ${sql(table)} WHERE ctid IN (
          SELECT ctid FROM ${sql(table)} WHERE recorded_at < ${before} LIMIT ${limit})`,
      batches,
    )
    deleted[table] = result.deleted
    batches -= result.batches
  }
  return deleted
})
