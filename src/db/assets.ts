import type { PlannedAsset } from '../pricing/refresh-settings.ts'
import type { Asset } from '../protocol/asset.ts'
import { CodedError } from '../protocol/errors.ts'
import { type LiveSql, liveQuery, singleValue } from './client.ts'

const assetColumns = (sql: LiveSql) => sql`
  a.asset_id, a.symbol, a.name, a.type, a.category, a.code, a.provider, a.provider_id, a.currency, a.isin`

/**
 * Every active asset that one of the names may mean, each once, by number: as `provider:provider_id`, symbol, pair of a
 * crypto (`BTC-USD`), provider's name, ISIN or code. Which of them is meant, `resolve` says.
 * @param names in capitals, with the characters of a symbol alone
 */
export const findAssets = liveQuery(async (sql, names: readonly string[]): Promise<Asset[]> => {
  if (names.length === 0) return []
  // As one array, whatever it holds: each way of naming then goes through an index of its own.
  const those = sql`SELECT ${assetColumns(sql)} FROM assets a, asked WHERE a.active AND`
  return sql<Asset[]>`
    WITH asked AS MATERIALIZED (
      SELECT ARRAY(SELECT json_array_elements_text(${JSON.stringify(names)}::text::json)) AS names
    )
    ${those} upper(a.symbol) = ANY (asked.names)
    UNION ${those} a.code = ANY (asked.names)
    UNION ${those} a.provider_id = ANY (asked.names)
    UNION ${those} a.isin = ANY (asked.names)
    UNION ${those} a.code || '-' || a.currency = ANY (asked.names) AND a.type = 'crypto'
    UNION ${those} upper(a.provider) || ':' || a.provider_id = ANY (asked.names)
    ORDER BY asset_id`
})

/**
 * Every asset that is to be refreshed, by number: the least of its watchers' intervals (the default where one has chosen
 * none), not below the least and not above the greatest of the settings; the greatest when nobody watches it (Q2).
 */
export const readPlannedAssets = liveQuery(
  (sql): Promise<PlannedAsset[]> =>
    sql<PlannedAsset[]>`
    WITH settings AS (
      SELECT max(value) FILTER (WHERE name = 'refresh_min_seconds')::integer AS least_seconds,
        max(value) FILTER (WHERE name = 'refresh_max_seconds')::integer AS most_seconds,
        max(value) FILTER (WHERE name = 'refresh_default_seconds')::integer AS default_seconds
      FROM app_settings
    ), wished AS (
      SELECT asset_id, min(coalesce(interval_seconds, default_seconds)) AS seconds
      FROM asset_watches, settings GROUP BY asset_id
    )
    SELECT ${assetColumns(sql)},
      greatest(least_seconds, least(most_seconds, wished.seconds)) AS interval
    FROM assets a CROSS JOIN settings LEFT JOIN wished USING (asset_id)
    WHERE a.active AND a.provider <> 'manual'
    ORDER BY a.asset_id`,
)

/**
 * Adds an asset, and gives it with its number; when there is one of its provider and name there, gives that one, which
 * gets the ISIN if it had none.
 */
export const addAsset = liveQuery(async (sql, draft: Omit<Asset, 'asset_id'>): Promise<Asset> => {
  const [added] = await sql<Asset[]>`
    INSERT INTO assets AS a (symbol, name, type, category, code, provider, provider_id, currency, isin)
    VALUES (${draft.symbol}, ${draft.name}, ${draft.type}, ${draft.category}, ${draft.code}, ${draft.provider},
      ${draft.provider_id}, ${draft.currency}, ${draft.isin})
    ON CONFLICT (provider, provider_id) DO UPDATE SET isin = EXCLUDED.isin
      WHERE a.isin IS NULL AND EXCLUDED.isin IS NOT NULL
    RETURNING ${assetColumns(sql)}`
  if (added) return added
  const [known] = await sql<Asset[]>`
    SELECT ${assetColumns(sql)} FROM assets a WHERE provider = ${draft.provider} AND provider_id = ${draft.provider_id}`
  return known!
})

/** How many assets were added at a time (unix milliseconds) or later. */
export const countAssetsAddedSince = liveQuery(
  (sql, atMs: number): Promise<number> =>
    singleValue(sql`SELECT count(*)::integer FROM assets WHERE created_at >= ${new Date(atMs)}`),
)

/** What is looked for: `q` in a symbol or name; `after` is the `next` of the page before, null for the first. */
export type AssetSearch = { q: string; limit: number; after: string | null }

/** Assets, the best first; `next` asks for those that come after, null: there are none. */
export type FoundAssets = { assets: Asset[]; next: string | null }

/** Where a page has ended: how well the last asset fits, its symbol, its number. */
type SearchCursor = [rank: number, symbol: string, assetId: number]

const encodeCursor = (place: SearchCursor): string => btoa(encodeURIComponent(JSON.stringify(place)))

/** @throws CodedError `invalid_request` when it is not a cursor. */
function decodeCursor(cursor: string): SearchCursor {
  const refused = new CodedError('invalid_request', 'The cursor is not one that a page of assets has ended with', {
    errors: [{ field: 'after', message: 'must be the `next` of the page before' }],
  })
  let place: unknown
  try {
    place = JSON.parse(decodeURIComponent(atob(cursor)))
  } catch {
    throw refused
  }
  if (!Array.isArray(place) || place.length !== 3) throw refused
  const [rank, symbol, assetId] = place as unknown[]
  if (!isInt32(rank) || typeof symbol !== 'string' || symbol.includes('\0') || !isInt32(assetId)) throw refused
  return [rank, symbol, assetId]
}

const isInt32 = (value: unknown): value is number =>
  Number.isInteger(value) && Math.abs(value as number) <= 2_147_483_647

/**
 * The active assets that `q` finds: first those whose symbol, code, provider's name or ISIN it is, then those whose symbol
 * begins with it, then those of whose name a word does, then those that hold it anywhere; among equals by symbol. Capitals
 * and accents make no difference; no character of it means anything but itself. Empty finds all.
 * A page after another skips and repeats nothing that was there all the time.
 * @throws CodedError `invalid_request` when `after` is not a cursor
 */
export const searchAssets = liveQuery(async (sql, { q, limit, after }: AssetSearch): Promise<FoundAssets> => {
  // No text in Postgres holds this character, so that nothing can be found by it.
  if (q.includes('\0')) return { assets: [], next: null }
  const place = after === null ? null : decodeCursor(after)
  const rows = await sql<(Asset & { rank: number; place: string })[]>`
    WITH asked AS MATERIALIZED (SELECT search_text(${q.trim()}) AS q), ranked AS (
      SELECT ${assetColumns(sql)}, upper(a.symbol) COLLATE "C" AS place, CASE
        WHEN q IN (upper(a.symbol), a.code, a.provider_id, a.isin) THEN 0
        WHEN starts_with(upper(a.symbol), q) THEN 1
        WHEN strpos(' ' || a.search_name, ' ' || q) > 0 THEN 2
        WHEN strpos(upper(a.symbol), q) > 0 OR strpos(a.search_name, q) > 0 THEN 3
      END AS rank
      FROM assets a, asked WHERE a.active
    )
    SELECT asset_id, symbol, name, type, category, code, provider, provider_id, currency, isin, rank, place
    FROM ranked
    WHERE rank IS NOT NULL
      ${place ? sql`AND (rank, place, asset_id) > (${place[0]}::integer, ${place[1]}::text, ${place[2]}::integer)` : sql``}
    ORDER BY rank, place, asset_id
    LIMIT ${limit + 1}`
  const assets = rows.slice(0, limit)
  const last = assets.at(-1)
  return {
    assets: assets.map(({ rank: _rank, place: _place, ...asset }) => asset),
    next: rows.length > limit && last ? encodeCursor([last.rank, last.place, last.asset_id]) : null,
  }
})
