import type { PlannedAsset } from '../pricing/refresh-settings.ts'
import type { Asset } from '../protocol/asset.ts'
import { CodedError } from '../protocol/errors.ts'
import { type LiveSql, liveQuery, singleValue } from './client.ts'

const assetColumns = (sql: LiveSql) => sql`
  a.asset_id, a.symbol, a.name, a.type, a.category, a.code, a.provider, a.provider_id, a.currency, a.isin`

/**
 * Every active asset that one of the names may mean, each once, by id: as `provider:provider_id`, symbol, pair of a crypto
 * (`BTC-USD`), provider's name, ISIN or code. `resolve` chooses among them.
 * @param names in upper case, with the characters of symbols only
 */
export const findAssets = liveQuery(async (sql, names: readonly string[]): Promise<Asset[]> => {
  if (names.length === 0) return []
  // One array for all names: each kind of name then uses its own index.
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
 * Every asset to refresh, by id, with its interval: the shortest of its watchers' (the default for a watcher without one),
 * within the bounds of the settings; the longest for an asset without watchers (Q2).
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
 * Adds an asset and returns it with its id. If there is one of the same provider and provider id, returns that one, and
 * adds the ISIN if it had none.
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

/** The number of assets added at a time (unix milliseconds) or later. */
export const countAssetsAddedSince = liveQuery(
  (sql, atMs: number): Promise<number> =>
    singleValue(sql`SELECT count(*)::integer FROM assets WHERE created_at >= ${new Date(atMs)}`),
)

/** A search for `q` in symbols and names; `after` is the `next` of the page before, null for the first. */
export type AssetSearch = { q: string; limit: number; after: string | null }

/** Assets, the best match first; `next` is the cursor of the next page, null for the last. */
export type FoundAssets = { assets: Asset[]; next: string | null }

/** The end of a page: the last asset's rank, symbol and id. */
type SearchCursor = [rank: number, symbol: string, assetId: number]

const encodeCursor = (cursor: SearchCursor): string => btoa(encodeURIComponent(JSON.stringify(cursor)))

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
 * The active assets that match `q`: first those with it as symbol, code, provider's name or ISIN, then those whose symbol
 * starts with it, then those with a word of the name that does, then those that contain it; each group by symbol. Case and
 * accents are ignored, and no character is special. An empty `q` matches all assets.
 * Successive pages neither skip nor repeat an asset that existed all the time.
 * @throws CodedError `invalid_request` when `after` is not a cursor
 */
export const searchAssets = liveQuery(async (sql, { q, limit, after }: AssetSearch): Promise<FoundAssets> => {
  // No text in Postgres contains this character.
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
