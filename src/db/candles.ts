import type { Candle, Gap } from '../protocol/candle.ts'
import type { Granularity } from '../protocol/granularity.ts'
import { DAY_MS } from '../time.ts'
import { type CachedSql, cachedQuery, type LiveSql, liveQuery } from './client.ts'

/** A query for candles: `start` inclusive and `end` exclusive, unix seconds. The last `limit` of them are read. */
export type CandleRange = {
  exchange: string
  product: string
  granularity: Granularity
  start: number
  end: number
  limit: number
}

type Row = Omit<Candle, 'exchange' | 'product_id' | 'timestamp'> & { timestamp: string }

/** Rows of one DELETE: well under Hyperdrive's limit of 60 s for a query. */
const DELETE_BATCH_ROWS = 10_000
/** The most DELETEs of one call; the next call deletes the rest. */
const MAX_DELETE_BATCHES = 200

/** SQLSTATE check_violation: also the error for a row without a partition. */
const CHECK_VIOLATION = '23514'

const toSeconds = (time: string): number => Date.parse(time) / 1000
const toDate = (unixSeconds: number): Date => new Date(unixSeconds * 1000)

/** True if `next` replaces `stored`: complete before forming, then the higher revision, then the later or same time. */
function replaces(next: Candle, stored: Candle): boolean {
  if (next.is_complete !== stored.is_complete) return next.is_complete
  if (next.rev !== stored.rev) return next.rev > stored.rev
  return Date.parse(next.last_update) >= Date.parse(stored.last_update)
}

/** The newest state of each candle; of equal ones the last. */
function latestStates(candles: readonly Candle[]): Candle[] {
  const states = new Map<string, Candle>()
  for (const candle of candles) {
    const key = `${candle.exchange} ${candle.product_id} ${candle.granularity} ${candle.timestamp}`
    const stored = states.get(key)
    if (!stored || replaces(candle, stored)) states.set(key, candle)
  }
  return [...states.values()]
}

async function writeCandles(sql: LiveSql, candles: readonly Candle[]): Promise<number> {
  // As one JSON text, whose decimals are strings: they become NUMERIC without passing through a float (C3).
  const rows = JSON.stringify(candles.map((c) => ({ ...c, timestamp: toDate(c.timestamp) })))
  const result = await sql`
    INSERT INTO live_candles AS stored (exchange, product_id, granularity, timestamp, open, high, low, close, volume,
      last_update, is_complete, coverage, rev, source)
    SELECT exchange, product_id, granularity, timestamp, open, high, low, close, volume,
      last_update, is_complete, coverage, rev, source
    FROM json_to_recordset(${rows}::text::json) AS batch (exchange text, product_id text, granularity granularity,
      timestamp timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric,
      last_update timestamptz, is_complete boolean, coverage text, rev integer,
      source text)
    ON CONFLICT (exchange, product_id, granularity, timestamp) DO UPDATE SET
      open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
      volume = excluded.volume, last_update = excluded.last_update, is_complete = excluded.is_complete,
      coverage = excluded.coverage, rev = excluded.rev, source = excluded.source
    WHERE (excluded.is_complete, excluded.rev, excluded.last_update)
      >= (stored.is_complete, stored.rev, stored.last_update)`
  return result.count
}

/**
 * Writes candles in one statement. A stored candle never goes back: not from complete to forming, not to an older
 * revision, not to an older `last_update` of the same one. Idempotent. Creates missing partitions.
 * @returns the number of rows written
 * @throws PostgresError, and nothing is written
 */
export const upsertCandles = liveQuery(async (sql, candles: readonly Candle[]): Promise<number> => {
  const batch = latestStates(candles)
  if (batch.length === 0) return 0
  try {
    return await writeCandles(sql, batch)
  } catch (error) {
    if ((error as { code?: string }).code !== CHECK_VIOLATION) throw error
    // Happens about once a month, so no other write checks for its partitions.
    const months = new Set(batch.map((c) => toDate(c.timestamp).toISOString().slice(0, 7)))
    for (const month of [...months].sort()) {
      const day = `${month}-01T00:00:00Z`
      await sql`SELECT ensure_live_candles_partitions(${day}, ${day})`
    }
    return await writeCandles(sql, batch)
  }
})

/** Creates the partitions for [from, to], unix seconds, both inclusive. Returns how many were missing. */
export const ensureCandlePartitions = liveQuery(async (sql, from: number, to: number): Promise<number> => {
  const [row] = await sql<
    { made: number }[]
  >`SELECT ensure_live_candles_partitions(${toDate(from)}, ${toDate(to)}) AS made`
  return row!.made
})

async function readLastCandles(sql: LiveSql | CachedSql, range: CandleRange, closedOnly: boolean): Promise<Candle[]> {
  // Calls no function: Hyperdrive does not cache a query with a function that is not immutable.
  const rows = await sql<Row[]>`
    SELECT granularity, timestamp, open, high, low, close, volume, is_complete, coverage, rev, last_update, source
    FROM live_candles
    WHERE exchange = ${range.exchange} AND product_id = ${range.product} AND granularity = ${range.granularity}
      AND timestamp >= ${toDate(range.start)} AND timestamp < ${toDate(range.end)}
      ${closedOnly ? sql`AND is_complete` : sql``}
    ORDER BY timestamp DESC
    LIMIT ${range.limit}`
  return rows
    .map(({ timestamp, ...row }) => ({
      exchange: range.exchange,
      product_id: range.product,
      timestamp: toSeconds(timestamp),
      ...row,
    }))
    .reverse()
}

/**
 * The last `limit` complete candles of a range, ascending, up to 75 s old. Use it for a range that late trades can no
 * longer change, with ends that recur, so that the cache can answer.
 */
export const readClosedCandles = cachedQuery((sql, range: CandleRange) => readLastCandles(sql, range, true))

/** The last `limit` candles of a range as stored now, ascending, forming ones included. */
export const readCandles = liveQuery((sql, range: CandleRange) => readLastCandles(sql, range, false))

/** The ranges of missing trades within [from, to), unix seconds, ascending. */
export const readGaps = liveQuery(async (sql, exchange: string, product: string, [from, to]: Gap): Promise<Gap[]> => {
  const rows = await sql<{ started_at: string; ended_at: string }[]>`
      SELECT started_at, ended_at FROM candle_gaps
      WHERE exchange = ${exchange} AND product_id = ${product}
        AND started_at < ${toDate(to)} AND ended_at > ${toDate(from)}
      ORDER BY started_at`
  return rows.map((row) => [Math.max(from, toSeconds(row.started_at)), Math.min(to, toSeconds(row.ended_at))])
})

/**
 * Replaces the gaps within [from, to), unix seconds, by `gaps`. Gaps outside stay; those that touch become one. One
 * statement, so no query sees half of it. A product's object is its only writer: two calls never run at once.
 */
export const replaceGaps = liveQuery(
  async (sql, exchange: string, product: string, [from, to]: Gap, gaps: readonly Gap[]): Promise<void> => {
    const inside = gaps.map(([start, end]) => [Math.max(from, start), Math.min(to, end)] as const)
    const rows = JSON.stringify(
      inside.filter(([start, end]) => start < end).map(([start, end]) => ({ start: toDate(start), end: toDate(end) })),
    )
    await sql`
      WITH known AS (
        DELETE FROM candle_gaps
        WHERE exchange = ${exchange} AND product_id = ${product}
          AND started_at <= ${toDate(to)} AND ended_at >= ${toDate(from)}
        RETURNING tstzrange(started_at, ended_at) AS gap
      ), outside AS (
        SELECT unnest(range_agg(gap) - tstzmultirange(tstzrange(${toDate(from)}, ${toDate(to)}))) AS gap FROM known
      ), missing AS (
        SELECT tstzrange(start, "end") AS gap
        FROM json_to_recordset(${rows}::text::json) AS batch (start timestamptz, "end" timestamptz)
      ), joined AS (
        SELECT unnest(range_agg(gap)) AS gap
        FROM (SELECT gap FROM outside UNION ALL SELECT gap FROM missing) AS both_parts
      )
      INSERT INTO candle_gaps (exchange, product_id, started_at, ended_at)
      SELECT ${exchange}, ${product}, lower(gap), upper(gap) FROM joined`
  },
)

/** The result of a clean-up; `done` is false if rows are left for the next call. */
export type RetentionResult = { deleted: number; partitions: number; done: boolean }

/**
 * Deletes candles older than the retention of their granularity in batches, then drops old partitions that are empty.
 * @param retention days by granularity; the candles of others are not deleted
 * @param now unix milliseconds
 */
export const deleteExpiredCandles = liveQuery(
  async (sql, retention: Partial<Record<Granularity, number>>, now: number): Promise<RetentionResult> => {
    const limits = Object.entries(retention)
    let deleted = 0
    let batches = 0
    for (const [granularity, days] of limits) {
      const before = new Date(now - days * DAY_MS)
      let rows = DELETE_BATCH_ROWS
      while (rows === DELETE_BATCH_ROWS && batches < MAX_DELETE_BATCHES) {
        const result = await sql`
          DELETE FROM live_candles
          WHERE timestamp < ${before} AND (exchange, product_id, granularity, timestamp) IN (
            SELECT exchange, product_id, granularity, timestamp FROM live_candles
            WHERE granularity = ${granularity} AND timestamp < ${before}
            LIMIT ${DELETE_BATCH_ROWS})`
        rows = result.count
        deleted += rows
        batches++
      }
      if (rows === DELETE_BATCH_ROWS) return { deleted, partitions: 0, done: false }
    }
    if (limits.length === 0) return { deleted, partitions: 0, done: true }
    const oldest = new Date(now - Math.min(...Object.values(retention)) * DAY_MS)
    const [row] = await sql<{ dropped: number }[]>`SELECT drop_empty_live_candles_partitions(${oldest}) AS dropped`
    return { deleted, partitions: row!.dropped, done: true }
  },
)
