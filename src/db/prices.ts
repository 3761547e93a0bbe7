import type { ProviderLimit } from '../pricing/provider-limit.ts'
import type { CachedQuote } from '../pricing/quote.ts'
import type { RefreshSettings } from '../pricing/refresh-settings.ts'
import { DAY_MS } from '../time.ts'
import { type LiveSql, liveQuery, singleValue, writeWithPartitions } from './client.ts'

/** A past price, with the market's own time, RFC 3339. */
export type Snapshot = { recorded_at: string; price: string }

const toDate = (unixSeconds: number): Date => new Date(unixSeconds * 1000)

/** The last prices of these assets, in no order; an asset without one is left out. */
export const readPrices = liveQuery(async (sql, assetIds: readonly number[]): Promise<CachedQuote[]> => {
  if (assetIds.length === 0) return []
  return sql<CachedQuote[]>`
    SELECT p.asset_id, a.symbol, p.price, p.currency, p.previous_close, p.change_24h AS change24h, p.market_state,
      p.market, p.open, p.high, p.low, p.volume, p.eps, p.pe_ratio, p.pe_as_of, p.provider, p.as_of, p.updated_at
    FROM json_array_elements_text(${JSON.stringify(assetIds)}::text::json) AS asked (id)
    JOIN prices_current p ON p.asset_id = asked.id::integer
    JOIN assets a ON a.asset_id = p.asset_id`
})

/** Of several quotes of one asset only the newest; of equal ones the last. */
function latestQuotes(quotes: readonly CachedQuote[]): CachedQuote[] {
  const last = new Map<number, CachedQuote>()
  for (const quote of quotes) {
    const known = last.get(quote.asset_id)
    if (!known || Date.parse(quote.updated_at) >= Date.parse(known.updated_at)) last.set(quote.asset_id, quote)
  }
  return [...last.values()]
}

/**
 * Writes quotes, in one statement to `prices_current` and one to `price_snapshots`, and returns how many rows of each were
 * written. A stored price is never replaced by one with an older `updated_at`, but simulated and real prices always replace
 * each other. A snapshot is taken where the price differs from the asset's last snapshot and that one is
 * `snapshot_seconds` older, by the market's time; a price older than the retention of snapshots leaves none. Quotes of
 * deleted assets are ignored. Rows are written in the order of their assets, so that two writers at once never deadlock.
 * Missing partitions are created.
 * @throws PostgresError; the same quotes can be written again.
 */
export const writePrices = liveQuery(
  async (
    sql,
    quotes: readonly CachedQuote[],
    { snapshot_seconds }: Pick<RefreshSettings, 'snapshot_seconds'>,
  ): Promise<{ current: number; snapshots: number }> => {
    const batch = latestQuotes(quotes)
    if (batch.length === 0) return { current: 0, snapshots: 0 }
    // One JSON text whose decimals are strings: they become NUMERIC without passing through a float.
    const rows = JSON.stringify(batch)
    const current = await sql`
      INSERT INTO prices_current AS stored (asset_id, price, currency, previous_close, change_24h, market_state, market,
        open, high, low, volume, eps, pe_ratio, pe_as_of, provider, as_of, updated_at)
      SELECT asset_id, price, batch.currency, previous_close, change24h, market_state, market,
        open, high, low, volume, eps, pe_ratio, pe_as_of, batch.provider, as_of, updated_at
      FROM json_to_recordset(${rows}::text::json) AS batch (asset_id integer, price numeric, currency text,
        previous_close numeric, change24h numeric, market_state text, market text, open numeric, high numeric,
        low numeric, volume numeric, eps numeric, pe_ratio numeric, pe_as_of timestamptz, provider text,
        as_of timestamptz, updated_at timestamptz)
      JOIN assets USING (asset_id)
      ORDER BY asset_id
      ON CONFLICT (asset_id) DO UPDATE SET
        price = excluded.price, currency = excluded.currency, previous_close = excluded.previous_close,
        change_24h = excluded.change_24h, market_state = excluded.market_state, market = excluded.market,
        open = excluded.open, high = excluded.high, low = excluded.low, volume = excluded.volume, eps = excluded.eps,
        pe_ratio = excluded.pe_ratio, pe_as_of = excluded.pe_as_of, provider = excluded.provider,
        as_of = excluded.as_of, updated_at = excluded.updated_at
      WHERE excluded.updated_at >= stored.updated_at
        OR (excluded.provider = 'simulated') <> (stored.provider = 'simulated')`
    const snapshots = await writeWithPartitions(
      () => insertSnapshots(sql, rows, snapshot_seconds),
      () => addSnapshotPartitions(sql, rows),
    )
    return { current: current.count, snapshots }
  },
)

/** The quotes that may become snapshots, by the market's time, or the time of the update if that is earlier. */
const snapshotCandidates = (sql: LiveSql, rows: string) => sql`
  SELECT asset_id, least(as_of, updated_at) AS recorded_at, provider = 'simulated' AS simulated, price
  FROM json_to_recordset(${rows}::text::json) AS batch (asset_id integer, price numeric, provider text,
    as_of timestamptz, updated_at timestamptz)
  WHERE as_of >= updated_at
    - (SELECT value::integer FROM app_settings WHERE name = 'snapshot_days') * INTERVAL '1 day'`

async function insertSnapshots(sql: LiveSql, rows: string, apartSeconds: number): Promise<number> {
  const { count } = await sql`
    INSERT INTO price_snapshots (asset_id, recorded_at, simulated, price)
    SELECT asset_id, candidate.recorded_at, candidate.simulated, candidate.price
    FROM (${snapshotCandidates(sql, rows)}) AS candidate
    JOIN assets USING (asset_id)
    LEFT JOIN LATERAL (
      SELECT recorded_at, price FROM price_snapshots s
      WHERE s.asset_id = candidate.asset_id AND s.simulated = candidate.simulated
      ORDER BY recorded_at DESC LIMIT 1) AS last ON TRUE
    WHERE last.recorded_at IS NULL
      OR candidate.price <> last.price
        AND candidate.recorded_at >= last.recorded_at + ${apartSeconds}::integer * INTERVAL '1 second'
    ORDER BY asset_id
    ON CONFLICT DO NOTHING`
  return count
}

const addSnapshotPartitions = (sql: LiveSql, rows: string) => sql`
  SELECT ensure_price_snapshots_partitions(day, day)
  FROM (SELECT DISTINCT date_trunc('day', recorded_at, 'UTC') AS day FROM (${snapshotCandidates(sql, rows)}) AS candidates
    ORDER BY day) AS days`

/** The snapshots of an asset in [from, to) (unix seconds), ascending, from the same market (simulated or real) as its last price. */
export const readSnapshots = liveQuery(
  (sql, assetId: number, from: number, to: number): Promise<Snapshot[]> =>
    sql<Snapshot[]>`
      SELECT recorded_at, price FROM price_snapshots
      WHERE asset_id = ${assetId} AND recorded_at >= ${toDate(from)} AND recorded_at < ${toDate(to)}
        AND simulated = (SELECT provider = 'simulated' FROM prices_current WHERE asset_id = ${assetId})
      ORDER BY recorded_at`,
)

/** Creates the days' partitions from one time to another (unix seconds, both inclusive); returns how many were missing. */
export const ensureSnapshotPartitions = liveQuery(
  (sql, from: number, to: number): Promise<number> =>
    singleValue(sql`SELECT ensure_price_snapshots_partitions(${toDate(from)}, ${toDate(to)})`),
)

/**
 * Drops the partitions of days that ended this many days before `now` (unix milliseconds), and returns how many.
 * @throws PostgresError when the table is in use for more than 2 s; nothing has changed then.
 */
export const dropOldSnapshotPartitions = liveQuery(
  (sql, days: number, now: number): Promise<number> =>
    singleValue(sql`SELECT drop_price_snapshots_partitions(${new Date(now - days * DAY_MS)})`),
)

/** Writes the state of the providers' rate limits at `now` (unix milliseconds); a later state stays. */
export const writeProviderLimits = liveQuery(
  async (sql, limits: readonly ProviderLimit[], now: number): Promise<void> => {
    if (limits.length === 0) return
    const at = (ms: number | null) => (ms === null ? null : new Date(ms))
    const rows = JSON.stringify(
      limits.map(({ blocked_until, last_request_at, since, ...limit }) => {
        return { ...limit, blocked_until: at(blocked_until), last_request_at: at(last_request_at), since: at(since) }
      }),
    )
    await sql`
      INSERT INTO provider_rate_limits AS stored (provider, window_ms, used, budget, told_used, in_flight, concurrency,
        breaker, failures, blocked_until, last_status, last_error, last_request_at, requests_total, refused_total,
        rate_limited_total, since, updated_at)
      SELECT provider, window_ms, used, budget, told_used, in_flight, concurrency, breaker, failures, blocked_until,
        last_status, last_error, last_request_at, requests_total, refused_total, rate_limited_total, since,
        ${new Date(now)}
      FROM json_to_recordset(${rows}::text::json) AS batch (provider text, window_ms integer, used integer,
        budget integer, told_used integer, in_flight integer, concurrency integer, breaker text, failures integer,
        blocked_until timestamptz, last_status integer, last_error text, last_request_at timestamptz,
        requests_total bigint, refused_total bigint, rate_limited_total bigint, since timestamptz)
      ORDER BY provider
      ON CONFLICT (provider) DO UPDATE SET
        window_ms = excluded.window_ms, used = excluded.used, budget = excluded.budget,
        told_used = excluded.told_used, in_flight = excluded.in_flight, concurrency = excluded.concurrency,
        breaker = excluded.breaker, failures = excluded.failures, blocked_until = excluded.blocked_until,
        last_status = excluded.last_status, last_error = excluded.last_error,
        last_request_at = excluded.last_request_at, requests_total = excluded.requests_total,
        refused_total = excluded.refused_total, rate_limited_total = excluded.rate_limited_total,
        since = excluded.since, updated_at = excluded.updated_at
      WHERE excluded.updated_at >= stored.updated_at`
  },
)
