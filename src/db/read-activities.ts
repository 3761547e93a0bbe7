import { fromSplitColumns, type SplitColumns } from '../portfolio/activity.ts'
import type { ActivityView } from '../protocol/activity.ts'
import type { Asset } from '../protocol/asset.ts'
import type { ActivityKind } from '../protocol/portfolio.ts'
import { firstRow, singleValue, type UserSql, userQuery } from './client.ts'

/** The keys in the order of a response: `split` and `lots` last. */
const toActivityView = ({ lots, ...row }: SplitColumns<ActivityView>): ActivityView => ({
  ...fromSplitColumns<Omit<ActivityView, 'lots'>>(row),
  lots,
})

const selectActivities = (sql: UserSql) => sql`
  SELECT a.id, a.kind, a.asset_id, coalesce(l.symbol, o.symbol) AS symbol, coalesce(l.name, o.name) AS name, a.quantity,
    a.price, a.fees, a.currency, a.traded_at, a.split_numerator, a.split_denominator, a.named_lots AS lots, a.note, a.short,
    a.version, a.created_at, a.updated_at
  FROM activities a
  LEFT JOIN assets l ON l.asset_id = a.listed_asset_id
  LEFT JOIN own_assets o ON o.asset_id = a.own_asset_id AND o.user_id = a.user_id`

/** The activity with this id, or null. */
export const findActivity = userQuery(async (sql, userId: string, id: string): Promise<ActivityView | null> => {
  const row = await firstRow(
    sql<SplitColumns<ActivityView>[]>`${selectActivities(sql)} WHERE a.user_id = ${userId} AND a.id = ${id}`,
  )
  return row && toActivityView(row)
})

/** Time and id of the last activity of a page. */
export type ActivityCursor = { traded_at: string; id: string }

/**
 * Activities of these assets and this kind (null: of all), the newest first, after a cursor. Successive pages neither skip
 * nor repeat an activity that existed all the time.
 */
export const readActivities = userQuery(
  async (
    sql,
    userId: string,
    asked: {
      assetIds: readonly number[] | null
      kind: ActivityKind | null
      limit: number
      after: ActivityCursor | null
    },
  ): Promise<ActivityView[]> => {
    const { assetIds, kind, limit, after } = asked
    const ids = assetIds === null ? null : JSON.stringify(assetIds)
    const rows = await sql<SplitColumns<ActivityView>[]>`
      ${selectActivities(sql)}
      WHERE a.user_id = ${userId}
        ${ids === null ? sql`` : sql`AND a.asset_id IN (SELECT value::integer FROM json_array_elements_text(${ids}::text::json))`}
        ${kind === null ? sql`` : sql`AND a.kind = ${kind}`}
        ${after === null ? sql`` : sql`AND (a.traded_at, a.id) < (${after.traded_at}::timestamptz, ${after.id}::uuid)`}
      ORDER BY a.traded_at DESC, a.id DESC
      LIMIT ${limit}`
    return rows.map(toActivityView)
  },
)

/** Every asset of this user's activities, listed or custom. */
export const readActivityAssets = userQuery(
  (sql, userId: string): Promise<Asset[]> =>
    sql<Asset[]>`
    WITH named AS MATERIALIZED (SELECT DISTINCT asset_id FROM activities WHERE user_id = ${userId})
    SELECT asset_id, symbol, name, type, category, code, provider, provider_id, currency, isin
    FROM assets JOIN named USING (asset_id)
    UNION ALL
    SELECT asset_id, symbol, name, 'own', 'own', symbol, 'manual', symbol, currency, NULL
    FROM own_assets JOIN named USING (asset_id) WHERE user_id = ${userId}`,
)

/** A user's custom asset, which no provider prices. */
export type CustomAsset = { asset_id: number; symbol: string; currency: string }

/** The user's custom asset with this symbol, in any case; of several the one in `currency`, or the newest. */
export const findCustomAsset = userQuery(
  (sql, userId: string, symbol: string, currency: string | null): Promise<CustomAsset | null> =>
    firstRow(sql<CustomAsset[]>`
      SELECT asset_id, symbol, currency FROM own_assets
      WHERE user_id = ${userId} AND upper(symbol) = upper(${symbol})
      ORDER BY currency IS NOT DISTINCT FROM ${currency}::text DESC, asset_id
      LIMIT 1`),
)

/** True if a crypto has this code, so that amounts may be in it. */
export const isCryptoCode = userQuery(
  (sql, code: string): Promise<boolean> =>
    singleValue(sql`SELECT EXISTS (SELECT FROM assets WHERE code = ${code} AND type = 'crypto')`),
)

/** The part of a lot that a sale took: its cost in the lot's currency, its proceeds in the sale's. */
export type SoldPart = {
  lot_id: string
  traded_at: string
  quantity: string
  lot_cost: string
  lot_currency: string
  proceeds: string | null
}

/** The parts that a sale took, the oldest lot first. */
export const readSoldParts = userQuery(
  (sql, userId: string, activityId: string): Promise<SoldPart[]> =>
    sql<SoldPart[]>`
    SELECT c.lot_id, l.traded_at, c.quantity, c.cost AS lot_cost, l.currency AS lot_currency, c.proceeds
    FROM lot_closures c JOIN lots l ON l.id = c.lot_id AND l.user_id = c.user_id
    WHERE c.user_id = ${userId} AND c.activity_id = ${activityId}
    ORDER BY l.traded_at, l.id`,
)

/** The value of one unit of a currency in US dollars on a day. */
export type DayRate = { currency: string; day: string; usd: string }

/** The known rates of these currencies on these days. */
export const readDayRates = userQuery(
  (sql, currencies: readonly string[], days: readonly string[]): Promise<DayRate[]> =>
    sql<DayRate[]>`
      SELECT currency, day, usd FROM fx_rates
      WHERE usd IS NOT NULL
        AND currency IN (SELECT json_array_elements_text(${JSON.stringify(currencies)}::text::json))
        AND day IN (SELECT value::date FROM json_array_elements_text(${JSON.stringify(days)}::text::json))`,
)

/** The currency of an asset, listed or custom; null for no such asset. */
export const readAssetCurrency = userQuery(async (sql, userId: string, assetId: number): Promise<string | null> => {
  const [row] = await sql<{ currency: string }[]>`
    SELECT currency FROM assets WHERE asset_id = ${assetId}
    UNION ALL SELECT currency FROM own_assets WHERE asset_id = ${assetId} AND user_id = ${userId}`
  return row?.currency ?? null
})
