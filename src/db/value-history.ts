import type { Activity, Split } from '../portfolio/activity.ts'
import type { RateSource } from '../portfolio/rates.ts'
import type { Close, TakenPart } from '../portfolio/value-history.ts'
import type { HistoryInterval } from '../protocol/price-history.ts'
import { type LiveSql, liveQuery, type UserSql, userQuery } from './client.ts'
import { HISTORY_TABLES, type StoredInterval } from './price-history.ts'
import { readActivities } from './read-activities.ts'

/** Everything that the value history of a portfolio is computed from, except prices. */
export type PortfolioHistoryData = {
  currency: string
  activities: Activity[]
  splits: Map<number, Split[]>
  taken: TakenPart[]
  /** The currencies of listed assets. */
  currencyOf: Map<number, string>
  rateSources: RateSource[]
  /** A currency's value in US dollars on a day; the key is `EUR 2025-12-03`. */
  usdOfDay: Map<string, string>
}

/** The data of a user's value history; at most `limit` activities, the newest first. */
export const readPortfolioHistoryData = userQuery(
  async (sql, userId: string, limit: number): Promise<PortfolioHistoryData> => {
    const [[profile], activities, splits, taken, assets, rates] = await Promise.all([
      sql<{ currency: string }[]>`SELECT currency FROM profiles WHERE user_id = ${userId}`,
      readActivities(sql, userId, { assetIds: null, kind: null, limit, after: null }),
      sql<(Split & { asset_id: number })[]>`
      SELECT asset_id, ex_date, numerator, denominator FROM corporate_actions
      WHERE kind = 'split' AND asset_id IN (SELECT asset_id FROM activities WHERE user_id = ${userId})`,
      sql<TakenPart[]>`
      SELECT c.asset_id, c.traded_at, c.cost, l.currency, l.traded_at AS lot_traded_at,
        c.proceeds IS NULL AS transfer
      FROM lot_closures c JOIN lots l ON l.id = c.lot_id AND l.user_id = c.user_id
      WHERE c.user_id = ${userId} AND (c.asset_id < 0 OR c.proceeds IS NULL)`,
      sql<{ asset_id: number; currency: string }[]>`
      SELECT asset_id, coalesce(p.currency, a.currency) AS currency FROM assets a
      LEFT JOIN prices_current p USING (asset_id)
      WHERE asset_id IN (SELECT asset_id FROM activities WHERE user_id = ${userId})`,
      sql<{ name: string; usd: string }[]>`
      SELECT currency || ' ' || day AS name, usd FROM fx_rates
      WHERE usd IS NOT NULL AND day IN (SELECT m.day FROM portfolio_movements_view m WHERE m.user_id = ${userId})`,
    ])
    const currency = profile?.currency ?? 'USD'
    const currencies = [...new Set([currency, ...assets.map((asset) => asset.currency)])]
    return {
      currency,
      activities,
      splits: Map.groupBy(splits, ({ asset_id }) => asset_id),
      taken,
      currencyOf: new Map(assets.map((asset) => [asset.asset_id, asset.currency])),
      rateSources: await readRateSources(sql, currencies),
      usdOfDay: new Map(rates.map(({ name, usd }) => [name, usd])),
    }
  },
)

const readRateSources = (sql: UserSql, currencies: readonly string[]): Promise<RateSource[]> =>
  sql<RateSource[]>`
    SELECT c.currency, s.asset_id, s.inverse
    FROM json_array_elements_text(${JSON.stringify(currencies)}::text::json) AS c (currency)
    CROSS JOIN LATERAL rate_source(c.currency) AS s`

type CloseRow = { asset_id: number; at: number; close: string }

/**
 * Raw closes of many assets from `from` (unix seconds) on, and the last one before it, ascending by asset. A close is
 * valid from the start of its day, week or month, and a snapshot from its own time, in microseconds.
 */
export const readCloses = liveQuery(
  async (
    sql,
    assetIds: readonly number[],
    interval: HistoryInterval,
    from: number,
    simulated: boolean,
  ): Promise<Map<number, Close[]>> => {
    if (assetIds.length === 0) return new Map()
    const ids = `{${assetIds.join()}}`
    const start = new Date(from * 1000)
    const rows =
      interval === 'FIVE_MINUTES' || interval === 'THIRTY_MINUTES'
        ? await sql<CloseRow[]>`
            SELECT asset_id, (extract(epoch FROM recorded_at) * 1000000)::double precision AS at, price AS close
            FROM price_snapshots
            WHERE asset_id = ANY (${ids}::text::integer[]) AND recorded_at >= ${start} AND simulated = ${simulated}
            ORDER BY asset_id, recorded_at`
        : await readStoredCloses(sql, ids, interval, start)
    return Map.groupBy(rows, ({ asset_id }) => asset_id)
  },
)

/** Covers days without trading before the range. */
const LOOKBACK_DAYS = 45

function readStoredCloses(sql: LiveSql, ids: string, interval: StoredInterval, start: Date): Promise<CloseRow[]> {
  const { table, column } = HISTORY_TABLES[interval]
  const day = start.toISOString().slice(0, 10)
  return sql<CloseRow[]>`
    SELECT asset_id, (extract(epoch FROM ${sql(column)}) * 1000000)::double precision AS at, close FROM ${sql(table)}
    WHERE asset_id = ANY (${ids}::text::integer[]) AND ${sql(column)} >= ${day}::text::date - ${LOOKBACK_DAYS}::integer
    ORDER BY asset_id, ${sql(column)}`
}
