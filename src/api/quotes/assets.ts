import { Hono } from 'hono'
import { type AssetSearch, findAssets, searchAssets } from '../../db/assets.ts'
import type { LiveSql, RequestDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { resolve, toCandidates } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv, AppRequest } from '../http/context.ts'
import { parseAssetName, parseAssetsInput } from '../http/input.ts'
import { appRequest } from '../http/request.ts'
import { lookupError, lookupOrDiscover } from './prices.ts'

/** What a name means changes seldom: milliseconds that it is remembered for. */
const CACHE_TTL_MS = 60_000
const MAX_CACHED = 5_000

/** Assets by the names that were asked for. */
const assetCaches = new WeakMap<object, Map<string, { at: number; asset: Asset }>>()

/** Reads what is needed of assets. @throws CodedError `unavailable` while the database cannot be read */
async function queryAssets<T>(db: RequestDatabase, query: (sql: LiveSql) => Promise<T>): Promise<T> {
  try {
    return await query(db.live)
  } catch (error) {
    if (error instanceof CodedError) throw error
    log('assets_read_failed', { error: String(error) })
    throw new CodedError('unavailable', 'assets cannot be read at the moment', { retryAfter: 5 })
  }
}

/** The one asset with this name, or null. @throws CodedError `ambiguous_symbol`, `unavailable` */
async function findStoredAsset(db: RequestDatabase, name: string): Promise<Asset | null> {
  const found = resolve(name, await queryAssets(db, (sql) => findAssets(sql, [name])))
  if (found.kind === 'none') return null
  if (found.kind === 'one') return found.asset
  throw lookupError({ name, kind: 'ambiguous', candidates: toCandidates(found.assets) })
}

/**
 * The asset with this name. The providers are asked where there is none, within the client's limit.
 * @param name as `normalName` gives it
 * @throws CodedError `unknown_symbol`, `ambiguous_symbol`, `too_many_requests`, `unavailable`
 */
export async function findAsset(request: AppRequest, name: string): Promise<Asset> {
  const now = Date.now()
  const known = assetCaches.get(request.env) ?? new Map<string, { at: number; asset: Asset }>()
  assetCaches.set(request.env, known)
  const before = known.get(name)
  if (before && now - before.at < CACHE_TTL_MS) return before.asset
  const asset = (await findStoredAsset(request.db, name)) ?? (await discoverAsset(request, name))
  if (known.size >= MAX_CACHED) known.clear()
  known.set(name, { at: now, asset })
  return asset
}

/** An asset that comes of asking the providers for its name. */
async function discoverAsset(request: AppRequest, name: string): Promise<Asset> {
  const look = await lookupOrDiscover(request, name)
  const asset = look.kind === 'unknown' || look.kind === 'ambiguous' ? null : await findStoredAsset(request.db, name)
  if (asset) return asset
  throw lookupError(look.kind === 'quote' ? { name, kind: 'unknown', asked: true } : look)
}

/** Those whose symbol or name fits best, and where the next page begins. @throws CodedError `unavailable` */
export const searchAssetsByText = (db: RequestDatabase, input: AssetSearch) =>
  queryAssets(db, (sql) => searchAssets(sql, input))

/** `GET /api/v1/assets` finds by symbol and name, the best first; `/api/v1/assets/:symbol` tells one. */
export const assetRoutes = new Hono<AppEnv>()
  .get('/api/v1/assets', async (c) => {
    const found = await searchAssetsByText(c.var.db, parseAssetsInput(new URL(c.req.url).searchParams))
    return c.json(found, 200, { 'cache-control': 'public, max-age=15' })
  })
  .get('/api/v1/assets/:symbol', async (c) => {
    const asset = await findAsset(appRequest(c), parseAssetName(c.req.param('symbol')))
    return c.json(asset, 200, { 'cache-control': 'public, max-age=15' })
  })
