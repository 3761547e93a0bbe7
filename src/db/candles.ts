import type { Candle, Gap } from '../protocol/candle.ts'
import type { Granularity } from '../protocol/granularity.ts'
import { DAY_MS } from '../time.ts'
import {
  type CachedSql,
  cachedQuery,
  deleteInBatches,
  type LiveSql,
  liveQuery,
  singleValue,
  writeWithPartitions,
} from './client.ts'

/** The candles to read: `start` inclusive and `end` exclusive in unix seconds; of more than `limit`, the last ones. */
export type CandleRange = {
  exchange: string
  product: string
  granularity: Granularity
  start: number
  end: number
  limit: number
}

type Row = Omit<Candle, 'exchange' | 'product_id' | 'timestamp'> & { timestamp: string }

/** DELETEs of one call; the next call deletes the rest. */
const MAX_DELETE_BATCHES = 200

const toSeconds = (time: string): number => Date.parse(time) / 1000
const toDate = (unixSeconds: number): Date => new Date(unixSeconds * 1000)

/** True if `next` may replace `stored`: complete beats forming, then the higher revision, then the later time. */
function replaces(next: Candle, stored: Candle): boolean {
  if (next.is_complete !== stored.is_complete) return next.is_complete
  if (next.rev !== stored.rev) return next.rev > stored.rev
  return Date.parse(next.last_update) >= Date.parse(stored.last_update)
}

/** Of several states of one key only the newest; of equal ones the last. */
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
  // One JSON text whose decimals are strings: they become NUMERIC without passing through a float (C3).
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
 * Writes candles in one statement and returns the number of rows written. A stored candle never goes back from complete to
 * forming, to an older revision, or to an older `last_update` of the same one; such rows are not written. Writing the same
 * candles twice is safe. Missing partitions are created.
 * @throws PostgresError, and nothing is written.
 */
export const upsertCandles = liveQuery(async (sql, candles: readonly Candle[]): Promise<number> => {
  const batch = latestStates(candles)
  if (batch.length === 0) return 0
  return writeWithPartitions(
    () => writeCandles(sql, batch),
    async () => {
      const months = new Set(batch.map((c) => toDate(c.timestamp).toISOString().slice(0, 7)))
      for (const month of [...months].sort()) {
        const day = `${month}-01T00:00:00Z`
        await sql`SELECT ensure_live_candles_partitions(${day}, ${day})`
      }
    },
  )
})

/** Creates the partitions from one time to another (unix seconds, both inclusive), and returns how many were missing. */
export const ensureCandlePartitions = liveQuery(
  (sql, from: number, to: number): Promise<number> =>
    singleValue(sql`SELECT ensure_live_candles_partitions(${toDate(from)}, ${toDate(to)})`),
)

async function readLastCandles(sql: LiveSql | CachedSql, range: CandleRange, closedOnly: boolean): Promise<Candle[]> {
  // No functions: Hyperdrive does not cache a query that calls a function which is not immutable.
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
 * The last `limit` complete candles of a range, ascending. They may be 75 s old: use it only for a range that no late trade
 * changes any more, and with ends that recur, so that the cache can answer.
 */
export const readClosedCandles = cachedQuery((sql, range: CandleRange) => readLastCandles(sql, range, true))

/** The last `limit` candles of a range as they are stored now, ascending, forming ones included. */
export const readCandles = liveQuery((sql, range: CandleRange) => readLastCandles(sql, range, false))

/** The gaps that touch [from, to), unix seconds, ascending, cut to that range. */
export const readGaps = liveQuery(async (sql, exchange: string, product: string, [from, to]: Gap): Promise<Gap[]> => {
  const rows = await sql<{ started_at: string; ended_at: string }[]>`
      SELECT started_at, ended_at FROM candle_gaps
      WHERE exchange = ${exchange} AND product_id = ${product}
        AND started_at < ${toDate(to)} AND ended_at > ${toDate(from)}
      ORDER BY started_at`
  return rows.map((row) => [Math.max(from, toSeconds(row.started_at)), Math.min(to, toSeconds(row.ended_at))])
})

/**
 * Replaces the gaps inside [from, to) (unix seconds) by `gaps`; gaps outside stay, and gaps that touch become one. One
 * statement, so no reader sees an intermediate state. A product's object is the only writer, so two calls for the same
 * product at once are not expected.
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
        RETURNING tstzrange(started_at, ended_at) AS stretch
      ), outside AS (
        SELECT unnest(range_agg(stretch) - tstzmultirange(tstzrange(${toDate(from)}, ${toDate(to)}))) AS stretch FROM known
      ), missing AS (
        SELECT tstzrange(start, "end") AS stretch
        FROM json_to_recordset(${rows}::text::json) AS batch (start timestamptz, "end" timestamptz)
      ), joined AS (
        SELECT unnest(range_agg(stretch)) AS stretch
        FROM (SELECT stretch FROM outside UNION ALL SELECT stretch FROM missing) AS both_parts
      )
      INSERT INTO candle_gaps (exchange, product_id, started_at, ended_at)
      SELECT ${exchange}, ${product}, lower(stretch), upper(stretch) FROM joined`
  },
)

/** The result of a clean-up; `done` is false when the next call has rows left to delete. */
export type RetentionResult = { deleted: number; partitions: number; done: boolean }

/**
 * Deletes candles older than the retention of their granularity (days; without one they stay), in batches, then drops old
 * partitions that are empty.
 * @param now unix milliseconds.
 */
export const deleteExpiredCandles = liveQuery(
  async (sql, retention: Partial<Record<Granularity, number>>, now: number): Promise<RetentionResult> => {
    const kept = Object.entries(retention)
    let deleted = 0
    let batches = MAX_DELETE_BATCHES
    for (const [granularity, days] of kept) {
      const before = new Date(now - days * DAY_MS)
      const result = await deleteInBatches(
        (limit) => sql`
          DELETE FROM live_candles
          WHERE timestamp < ${before} AND (exchange, product_id, granularity, timestamp) IN (
            SELECT exchange, product_id, granularity, timestamp FROM live_candles
            WHERE granularity = ${granularity} AND timestamp < ${before}
            LIMIT ${limit})`,
        batches,
      )
      deleted += result.deleted
      batches -= result.batches
      if (!result.done) return { deleted, partitions: 0, done: false }
    }
    if (kept.length === 0) return { deleted, partitions: 0, done: true }
    const oldest = new Date(now - Math.min(...Object.values(retention)) * DAY_MS)
    const partitions = await singleValue<number>(sql`SELECT drop_empty_live_candles_partitions(${oldest})`)
    return { deleted, partitions, done: true }
  },
)
