import { fromSplitColumns, type SplitColumns } from '../portfolio/activity.ts'
import type { StoredActivity } from '../portfolio/fingerprint.ts'
import { userQuery } from './client.ts'
import type { CustomAsset } from './read-activities.ts'

/** Stored activities that an import may repeat: within its times, or with one of its fingerprints; the oldest first. */
export const readDuplicateCandidates = userQuery(
  async (
    sql,
    userId: string,
    asked: { from: string; to: string; fingerprints: readonly string[] },
  ): Promise<StoredActivity[]> => {
    const rows = await sql<SplitColumns<StoredActivity>[]>`
      SELECT id, kind, asset_id, quantity, price, fees, currency, traded_at, split_numerator, split_denominator, fingerprint
      FROM activities
      WHERE user_id = ${userId} AND (traded_at BETWEEN ${asked.from}::timestamptz AND ${asked.to}::timestamptz
        OR fingerprint IN (SELECT json_array_elements_text(${JSON.stringify(asked.fingerprints)}::text::json)))
      ORDER BY traded_at, id`
    return rows.map((row) => fromSplitColumns(row))
  },
)

/** The user's custom assets, which no provider prices; the newest first. */
export const readCustomAssets = userQuery(
  (sql, userId: string): Promise<(CustomAsset & { name: string })[]> =>
    sql<(CustomAsset & { name: string })[]>`
    SELECT asset_id, symbol, name, currency FROM own_assets WHERE user_id = ${userId} ORDER BY asset_id DESC`,
)
