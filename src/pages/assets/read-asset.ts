import type { Context } from 'hono'
import { type AppEnv, type LookupScope, lookupScope } from '../../api/http/context.ts'
import { findAsset, searchAssetsByText } from '../../api/quotes/assets.ts'
import { lookupQuotes } from '../../api/quotes/cache.ts'
import { parseAssetName } from '../../api/quotes/input.ts'
import { readPriceHistory, streamedProduct } from '../../api/quotes/read-price-history.ts'
import { staleReason } from '../../pricing/freshness.ts'
import { qualifiedName } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { HistoryRange } from '../../protocol/price-history.ts'
import type { AssetHistory, AssetState } from './asset.ts'
import type { AssetSearchResult } from './list.ts'

/** Assets of one page of a search. */
const PAGE_SIZE = 50
/** A page of a search waits so long for prices, milliseconds: where there is none yet, a provider is waited for. */
const PRICES_TIMEOUT_MS = 1_000

/**
 * Reads what is known of an asset and its price.
 * @param text its name as it stands in the address
 * @throws CodedError `unknown_symbol`, `ambiguous_symbol` with what it may mean, `too_many_requests`, `unavailable`
 */
export async function readAsset(c: Context<AppEnv>, text: string): Promise<AssetState> {
  const name = parseAssetName(text)
  const asset = await findAsset(lookupScope(c), name)
  const [look] = await lookupQuotes(c.env, [name])
  const now = Date.now()
  const price: AssetState['price'] =
    look?.kind === 'quote'
      ? { kind: 'quote', quote: look.quote, freshUntil: look.freshUntil, stale: staleReason(look, now) }
      : { kind: 'unpriced', reason: look?.kind === 'unpriced' ? look.reason : 'unavailable' }
  return { asset, name, price, product: streamedProduct(c.env, asset), now }
}

/** The bars of a range, in today's shares; null where they cannot be read at the moment. */
export async function readAssetHistory(
  env: Env,
  { asset, name, now }: AssetState,
  range: HistoryRange,
): Promise<AssetHistory | null> {
  try {
    return await readPriceHistory(env, asset, name, { range, basis: 'split', until: null }, now)
  } catch (error) {
    // Logged where it happened; the price is shown all the same.
    if (error instanceof CodedError) return null
    throw error
  }
}

/**
 * One page of the assets that `q` finds, with the prices that are there.
 * @param after what the page before gave as `next`, null for the first
 * @throws CodedError `invalid_request`, `unavailable`
 */
export async function readAssets({ env, db }: LookupScope, q: string, after: string | null) {
  const { assets, next } = await searchAssetsByText(db, { q, limit: PAGE_SIZE, after })
  const looks = await Promise.race([
    lookupQuotes(env, assets.map(lookupName)),
    new Promise<null>((done) => setTimeout(() => done(null), PRICES_TIMEOUT_MS)),
  ])
  const now = Date.now()
  const found = assets.map((asset, i): AssetSearchResult => {
    const look = looks?.[i]
    return look?.kind === 'quote'
      ? { asset, quote: look.quote, stale: staleReason(look, now) }
      : { asset, quote: null, stale: null }
  })
  return { found, next, now }
}

/** The name that means an asset alone, in the form in which boards are asked. */
const lookupName = (asset: Asset): string => qualifiedName(asset).toUpperCase()
