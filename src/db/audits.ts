import type { CandleComparison, CandleRepair } from '../market/audit.ts'
import type { Granularity } from '../protocol/granularity.ts'
import { type LiveSql, liveQuery } from './client.ts'

/** After this, an attempt without a result counts as failed and may be claimed again. */
const RETRY_AFTER = '10 minutes'

/** One product's day, `YYYY-MM-DD` in UTC. */
export type AuditDay = { product: string; day: string }

/** The days to audit: `from` and `to` are `YYYY-MM-DD`, both inclusive. */
export type AuditPlan = {
  exchange: string
  products: readonly string[]
  /** The products that must have candles every day. */
  alwaysOn: readonly string[]
  from: string
  to: string
  limit: number
}

/** One row of `candle_audits`. Counts are null until the day was compared, `repaired` until it was repaired. */
export type Audit = {
  exchange: string
  product_id: string
  day: string
  granularity: Granularity
  status: 'pending' | 'compared' | 'done'
  compared: number | null
  equal: number | null
  repaired: number | null
  missing_here: number | null
  missing_there: number | null
  attempts: number
  attempted_at: string
  done_at: string | null
  /** Why the last attempt failed. */
  error: string | null
}

/**
 * Claims at most `limit` days that are not done, the newest first, and records the attempt, so that no other run claims
 * them for a while. A day needs a minute that was built from trades; for products that are always on, a minute of an earlier
 * day of the plan will do.
 * @param now unix milliseconds.
 */
export const claimAudits = liveQuery(
  (sql, plan: AuditPlan, now: number): Promise<AuditDay[]> =>
    sql<AuditDay[]>`
    WITH due AS (
      SELECT product_id, days.day::date AS day
      FROM json_array_elements_text(${JSON.stringify(plan.products)}::text::json) AS products (product_id),
        generate_series(${plan.from}::text::timestamp, ${plan.to}::text::timestamp, '1 day') AS days (day)
      WHERE NOT EXISTS (
          SELECT FROM candle_audits a
          WHERE a.exchange = ${plan.exchange} AND a.product_id = products.product_id AND a.day = days.day::date
            AND (a.status = 'done' OR a.attempted_at > ${new Date(now)}::timestamptz - ${RETRY_AFTER}::text::interval))
        AND EXISTS (
          SELECT FROM live_candles c
          WHERE c.exchange = ${plan.exchange} AND c.product_id = products.product_id AND c.granularity = 'ONE_MINUTE'
            AND c.source = 'trades'
            AND c.timestamp < (days.day + '1 day') AT TIME ZONE 'UTC'
            AND c.timestamp >= CASE
              WHEN products.product_id IN (SELECT json_array_elements_text(${JSON.stringify(plan.alwaysOn)}::text::json))
              THEN ${plan.from}::text::timestamp AT TIME ZONE 'UTC' ELSE days.day AT TIME ZONE 'UTC' END)
      ORDER BY days.day DESC, product_id
      LIMIT ${plan.limit}
    ), claimed AS (
      INSERT INTO candle_audits AS known (exchange, product_id, day, granularity, attempted_at)
      SELECT ${plan.exchange}, product_id, day, granularity, ${new Date(now)}
      FROM due, unnest(enum_range(NULL::granularity)) AS granularity
      ON CONFLICT (exchange, product_id, day, granularity) DO UPDATE
        SET attempts = known.attempts + 1, attempted_at = excluded.attempted_at, error = NULL
        WHERE known.status <> 'done' AND known.attempted_at <= ${new Date(now)}::timestamptz - ${RETRY_AFTER}::text::interval
      RETURNING product_id, day
    )
    SELECT DISTINCT product_id AS product, day::text FROM claimed ORDER BY day DESC, product`,
)

/** Records why the audit of a day failed; it is tried again. */
export const recordAuditFailure = liveQuery(
  async (sql, exchange: string, day: AuditDay, error: string): Promise<void> => {
    await sql`
    UPDATE candle_audits SET error = ${error}
    WHERE exchange = ${exchange} AND product_id = ${day.product} AND day = ${day.day}::text::date AND status <> 'done'`
  },
)

/** Comparisons of all eight granularities of a day. */
export type DayComparison = Readonly<Record<Granularity, CandleComparison>>

/** Records the comparison of a day. The result of an earlier attempt, from before its repair, stays. */
export const recordComparison = liveQuery(
  async (sql, exchange: string, day: AuditDay, found: DayComparison): Promise<void> => {
    await sql`
      UPDATE candle_audits SET status = 'compared', compared = found.compared, equal = found.equal,
        missing_here = found."missingHere", missing_there = found."missingThere"
      FROM ${comparisonRows(sql, found)}
      WHERE exchange = ${exchange} AND product_id = ${day.product} AND day = ${day.day}::text::date
        AND candle_audits.granularity = found.granularity AND status = 'pending'`
  },
)

/** Records that a day is done: candles that are equal only `after` the repair count as repaired. `now` in unix milliseconds. */
export const finishAudit = liveQuery(
  async (sql, exchange: string, day: AuditDay, after: DayComparison, now: number): Promise<void> => {
    await sql`
      UPDATE candle_audits SET status = 'done', repaired = greatest(found.equal - candle_audits.equal, 0),
        done_at = ${new Date(now)}, error = NULL
      FROM ${comparisonRows(sql, after)}
      WHERE exchange = ${exchange} AND product_id = ${day.product} AND day = ${day.day}::text::date
        AND candle_audits.granularity = found.granularity AND status = 'compared'`
  },
)

function comparisonRows(sql: LiveSql, found: DayComparison) {
  const rows = JSON.stringify(Object.entries(found).map(([granularity, counts]) => ({ granularity, ...counts })))
  return sql`json_to_recordset(${rows}::text::json) AS found (granularity granularity, compared integer, equal integer,
    "missingHere" integer, "missingThere" integer)`
}

/**
 * Writes corrected candles, each as the next revision of the stored one, together with their revisions in one statement.
 * Candles that are correct already stay. For days that no object holds any more, whose partitions exist. Returns the number
 * of candles written.
 * @param now unix milliseconds.
 */
export const repairCandles = liveQuery(
  async (sql, exchange: string, product: string, candles: readonly CandleRepair[], now: number): Promise<number> => {
    if (candles.length === 0) return 0
    const rows = JSON.stringify(candles.map((c) => ({ ...c, timestamp: new Date(c.timestamp * 1000) })))
    const result = await sql`
      WITH batch AS (
        SELECT * FROM json_to_recordset(${rows}::text::json) AS batch (granularity granularity, timestamp timestamptz,
          open numeric, high numeric, low numeric, close numeric, volume numeric)
      ), old AS (
        SELECT batch.granularity, batch.timestamp, c.open, c.high, c.low, c.close, c.volume, c.coverage, c.rev,
          c.is_complete
        FROM batch JOIN live_candles c ON c.exchange = ${exchange} AND c.product_id = ${product}
          AND c.granularity = batch.granularity AND c.timestamp = batch.timestamp
      ), written AS (
        INSERT INTO live_candles AS stored (exchange, product_id, granularity, timestamp, open, high, low, close, volume,
          last_update, is_complete, coverage, rev, source)
        SELECT ${exchange}, ${product}, batch.granularity, batch.timestamp, batch.open, batch.high, batch.low,
          batch.close, batch.volume, ${new Date(now)}, TRUE, 'full', coalesce(old.rev, 0) + 1, 'exchange'
        FROM batch LEFT JOIN old USING (granularity, timestamp)
        ON CONFLICT (exchange, product_id, granularity, timestamp) DO UPDATE SET
          open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
          volume = excluded.volume, last_update = excluded.last_update, is_complete = TRUE, coverage = 'full',
          rev = stored.rev + 1, source = excluded.source
        WHERE (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.is_complete, stored.coverage)
          IS DISTINCT FROM
          (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, TRUE, 'full')
        RETURNING granularity, timestamp, open, high, low, close, volume, rev
      )
      INSERT INTO candle_revisions (exchange, product_id, granularity, timestamp, rev, reason,
        old_open, old_high, old_low, old_close, old_volume, old_coverage,
        new_open, new_high, new_low, new_close, new_volume, new_coverage, recorded_at)
      SELECT ${exchange}, ${product}, w.granularity, w.timestamp, w.rev,
        CASE WHEN (old.open, old.high, old.low, old.close, old.volume) = (w.open, w.high, w.low, w.close, w.volume)
          THEN 'coverage' ELSE 'audit' END,
        old.open, old.high, old.low, old.close, old.volume, old.coverage,
        w.open, w.high, w.low, w.close, w.volume, 'full', ${new Date(now)}
      FROM written w LEFT JOIN old
        ON old.granularity = w.granularity AND old.timestamp = w.timestamp AND old.is_complete`
    return result.count
  },
)

/** The audits to read: `from` and `to` are `YYYY-MM-DD`, both inclusive; a null product reads all. */
export type AuditRange = { exchange: string; product: string | null; from: string; to: string; limit: number }

/** At most `limit` audits, the newest day first, then by product and granularity. */
export const readAudits = liveQuery(
  (sql, range: AuditRange): Promise<Audit[]> =>
    sql<Audit[]>`
    SELECT exchange, product_id, day::text, granularity, status, compared, equal, repaired, missing_here,
      missing_there, attempts, attempted_at, done_at, error
    FROM candle_audits
    WHERE exchange = ${range.exchange} AND day BETWEEN ${range.from}::text::date AND ${range.to}::text::date
      ${range.product === null ? sql`` : sql`AND product_id = ${range.product}`}
    ORDER BY candle_audits.day DESC, product_id, granularity
    LIMIT ${range.limit}`,
)
