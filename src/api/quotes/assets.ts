import { Hono } from 'hono'
import { z } from 'zod'
import { type AssetSearch, findAssets, searchAssets } from '../../db/assets.ts'
import type { LiveSql, RequestDatabase } from '../../db/client.ts'
import { perEnv } from '../../per-env.ts'
import { resolve, toCandidates } from '../../pricing/symbol.ts'
import { type Asset, assetSchema } from '../../protocol/asset.ts'
import { type AppEnv, type LookupScope, lookupScope } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { orUnavailable } from '../http/problems.ts'
import { assetsSchema, parseAssetName, parseAssetsInput, priceSchema } from './input.ts'
import { lookupError, lookupOrDiscover } from './lookup.ts'
import { SYMBOL_ERRORS } from './prices.ts'

/** The meaning of a symbol rarely changes. */
const CACHE_TTL_MS = 60_000
const MAX_CACHED = 5_000

const assetCache = perEnv((_: Env) => new Map<string, { at: number; asset: Asset }>())

/** Reads assets from the database. @throws CodedError `unavailable` while it cannot be read */
export const queryAssets = <T>(db: RequestDatabase, query: (sql: LiveSql) => Promise<T>): Promise<T> =>
  orUnavailable(async () => query(db.live), 'assets_read_failed', 'Assets cannot be read')

/** The stored asset with this symbol, or null. @throws CodedError `ambiguous_symbol`, `unavailable` */
async function findStoredAsset(db: RequestDatabase, name: string): Promise<Asset | null> {
  const match = resolve(name, await queryAssets(db, (sql) => findAssets(sql, [name])))
  if (match.kind === 'none') return null
  if (match.kind === 'one') return match.asset
  throw lookupError({ name, kind: 'ambiguous', candidates: toCandidates(match.assets) })
}

/**
 * The asset with this symbol. Asks the providers about an unknown one, within the client's rate limit.
 * @param name as `normalizeName` returns it
 * @throws CodedError `unknown_symbol`, `ambiguous_symbol`, `too_many_requests`, `unavailable`
 */
export async function findAsset(scope: LookupScope, name: string): Promise<Asset> {
  const now = Date.now()
  const cache = assetCache(scope.env)
  const cached = cache.get(name)
  if (cached && now - cached.at < CACHE_TTL_MS) return cached.asset
  const asset = (await findStoredAsset(scope.db, name)) ?? (await discoverAsset(scope, name))
  if (cache.size >= MAX_CACHED) cache.clear()
  cache.set(name, { at: now, asset })
  return asset
}

/** Asks the providers about a symbol, and returns the asset that this adds. */
async function discoverAsset(scope: LookupScope, name: string): Promise<Asset> {
  const result = await lookupOrDiscover(scope, name)
  const isKnown = result.kind !== 'unknown' && result.kind !== 'ambiguous'
  const asset = isKnown ? await findStoredAsset(scope.db, name) : null
  if (asset) return asset
  throw lookupError(result.kind === 'quote' ? { name, kind: 'unknown', asked: true } : result)
}

/** Searches symbols and names, best matches first, and returns the cursor of the next page. @throws CodedError `unavailable` */
export const searchAssetsByText = (db: RequestDatabase, input: AssetSearch) =>
  queryAssets(db, (sql) => searchAssets(sql, input))

/** `GET /api/v1/assets` searches symbols and names, best matches first; `/api/v1/assets/:symbol` is one asset. */
export const assetRoutes = new Hono<AppEnv>()
  .get('/api/v1/assets', async (c) => {
    const page = await searchAssetsByText(c.var.db, parseAssetsInput(new URL(c.req.url).searchParams))
    return c.json(page, 200, { 'cache-control': 'public, max-age=15' })
  })
  .get('/api/v1/assets/:symbol', async (c) => {
    const asset = await findAsset(lookupScope(c), parseAssetName(c.req.param('symbol')))
    return c.json(asset, 200, { 'cache-control': 'public, max-age=15' })
  })

const assetResponseSchema = assetSchema.meta({ id: 'Asset', description: 'Anything with a price' })
const assetsResponseSchema = z.object({
  assets: z.array(assetResponseSchema),
  next: z.string().nullable().meta({ description: 'Pass it as `after` to get the next page; null on the last page' }),
})

export const ASSET_OPERATIONS: Operations = {
  'get /api/v1/assets': operation('Assets', 'findAssets', {
    summary: 'Assets by symbol or name, best matches first',
    query: assetsSchema,
    responses: response(200, 'A page of assets', assetsResponseSchema),
    errors: ['invalid_request', 'unavailable'],
  }),
  'get /api/v1/assets/{symbol}': operation('Assets', 'getAsset', {
    summary: 'One asset',
    path: priceSchema,
    responses: response(200, 'The asset', assetResponseSchema),
    errors: SYMBOL_ERRORS,
  }),
}
