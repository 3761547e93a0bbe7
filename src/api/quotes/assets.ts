import { type Context, Hono } from 'hono'
import { type AssetSearch, findAssets, searchAssets } from '../../db/assets.ts'
import { type LiveSql, withLiveDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { resolve, toCandidates } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { parseAssetName, parseAssetsInput } from '../http/input.ts'
import { lookupError, lookupOrDiscover } from './prices.ts'

/** What a name means changes seldom: milliseconds that it is remembered for. */
const CACHE_TTL_MS = 60_000
const MAX_CACHED = 5_000

/** Assets by the names that were asked for. */
const assetCaches = new WeakMap<object, Map<string, { at: number; asset: Asset }>>()

/** Reads what is needed of assets. @throws CodedError `unavailable` while the database cannot be read */
async function queryAssets<T>(env: Env, use: (sql: LiveSql) => Promise<T>): Promise<T> {
  try {
    return await withLiveDatabase(env, use)
  } catch (error) {
    if (error instanceof CodedError) throw error
    log('assets_read_failed', { error: String(error) })
    throw new CodedError('unavailable', 'assets cannot be read at the moment', { retryAfter: 5 })
  }
}

/** The one asset with this name, or null. @throws CodedError `ambiguous_symbol`, `unavailable` */
async function findStoredAsset(env: Env, name: string): Promise<Asset | null> {
  const found = resolve(name, await queryAssets(env, (sql) => findAssets(sql, [name])))
  if (found.kind === 'none') return null
  if (found.kind === 'one') return found.asset
  throw lookupError({ name, kind: 'ambiguous', candidates: toCandidates(found.assets) })
}

/**
 * The asset with this name. The providers are asked where there is none, within the client's limit.
 * @param name as `normalName` gives it
 * @throws CodedError `unknown_symbol`, `ambiguous_symbol`, `too_many_requests`, `unavailable`
 */
export async function findAsset(c: Context<AppEnv>, name: string): Promise<Asset> {
  const now = Date.now()
  const known = assetCaches.get(c.env) ?? new Map<string, { at: number; asset: Asset }>()
  assetCaches.set(c.env, known)
  const before = known.get(name)
  if (before && now - before.at < CACHE_TTL_MS) return before.asset
  const asset = (await findStoredAsset(c.env, name)) ?? (await discoverAsset(c, name))
  if (known.size >= MAX_CACHED) known.clear()
  known.set(name, { at: now, asset })
  return asset
}

/** An asset that comes of asking the providers for its name. */
async function discoverAsset(c: Context<AppEnv>, name: string): Promise<Asset> {
  const look = await lookupOrDiscover(c, name)
  const asset = look.kind === 'unknown' || look.kind === 'ambiguous' ? null : await findStoredAsset(c.env, name)
  if (asset) return asset
  throw lookupError(look.kind === 'quote' ? { name, kind: 'unknown', asked: true } : look)
}

/** Those whose symbol or name fits best, and where the next page begins. @throws CodedError `unavailable` */
export const searchAssetsByText = (env: Env, input: AssetSearch) => queryAssets(env, (sql) => searchAssets(sql, input))

/** `GET /api/v1/assets` finds by symbol and name, the best first; `/api/v1/assets/:symbol` tells one. */
export const assetRoutes = new Hono<AppEnv>()
  .get('/api/v1/assets', async (c) => {
    const found = await searchAssetsByText(c.env, parseAssetsInput(new URL(c.req.url).searchParams))
    return c.json(found, 200, { 'cache-control': 'public, max-age=15' })
  })
  .get('/api/v1/assets/:symbol', async (c) => {
    const asset = await findAsset(c, parseAssetName(c.req.param('symbol')))
    return c.json(asset, 200, { 'cache-control': 'public, max-age=15' })
  })
