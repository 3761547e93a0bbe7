import type { StoredActivity } from '../portfolio/fingerprint.ts'
import { userQuery } from './client.ts'

type Row = Omit<StoredActivity, 'split'> & { split_numerator: string | null; split_denominator: string | null }

/** Stored activities that an import may repeat: within its times, or with one of its fingerprints; the oldest first. */
export const readDuplicateCandidates = userQuery(
  async (
    sql,
    userId: string,
    asked: { from: string; to: string; fingerprints: readonly string[] },
  ): Promise<StoredActivity[]> => {
    const rows = await sql<Row[]>`
      SELECT id, kind, asset_id, quantity, price, fees, currency, traded_at, split_numerator, split_denominator, fingerprint
      FROM activities
      WHERE user_id = ${userId} AND (traded_at BETWEEN ${asked.from}::timestamptz AND ${asked.to}::timestamptz
        OR fingerprint IN (SELECT json_array_elements_text(${JSON.stringify(asked.fingerprints)}::text::json)))
      ORDER BY traded_at, id`
    return rows.map(({ split_numerator: numerator, split_denominator: denominator, ...row }) => ({
      ...row,
      split: numerator === null || denominator === null ? null : { numerator, denominator },
    }))
  },
)

/** The user's custom assets, which no provider prices; the newest first. */
export const readCustomAssets = userQuery(
  async (sql, userId: string): Promise<{ asset_id: number; symbol: string; name: string; currency: string }[]> => {
    const rows = await sql<{ asset_id: number; symbol: string; name: string; currency: string }[]>`
      SELECT asset_id, symbol, name, currency FROM own_assets WHERE user_id = ${userId} ORDER BY asset_id DESC`
    return [...rows]
  },
)
