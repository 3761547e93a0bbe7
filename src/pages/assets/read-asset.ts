import type { Context } from 'hono'
import pTimeout from 'p-timeout'
import { type AppEnv, type LookupScope, lookupScope } from '../../api/http/context.ts'
import { findAsset, searchAssetsByText } from '../../api/quotes/assets.ts'
import { lookupQuotes } from '../../api/quotes/cache.ts'
import { parseAssetName } from '../../api/quotes/input.ts'
import { readPriceHistory, streamedProduct } from '../../api/quotes/read-price-history.ts'
import { staleReason } from '../../pricing/freshness.ts'
import type { PriceHistory } from '../../pricing/price-history.ts'
import { qualifiedName } from '../../pricing/symbol.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { HistoryRange } from '../../protocol/price-history.ts'
import type { AssetState } from './asset.ts'
import type { AssetSearchResult } from './list.ts'

/** Assets on one page of search results. */
const PAGE_SIZE = 50
/** Prices that a board has to ask a provider for may come too late for a page of search results. */
const PRICES_TIMEOUT_MS = 1_000

/**
 * Reads an asset and its price.
 * @param text its name in the page's address
 * @throws CodedError `unknown_symbol`, `ambiguous_symbol` with the candidates, `too_many_requests`, `unavailable`
 */
export async function readAsset(c: Context<AppEnv>, text: string): Promise<AssetState> {
  const name = parseAssetName(text)
  const asset = await findAsset(lookupScope(c), name)
  const [result] = await lookupQuotes(c.env, [name])
  const now = Date.now()
  const state = { asset, name, product: streamedProduct(c.env, asset), now }
  if (result?.kind !== 'quote')
    return { ...state, quote: null, ttl: 0, stale: result?.kind === 'unpriced' ? result.reason : 'unavailable' }
  const { quote, freshUntil } = result
  return { ...state, quote, ttl: freshUntil - Date.parse(quote.updated_at), stale: staleReason(result, now) }
}

/** Reads the split-adjusted bars of a range; null if they are unavailable now. */
export async function readAssetHistory(
  env: Env,
  { asset, name, now }: AssetState,
  range: HistoryRange,
): Promise<PriceHistory | null> {
  try {
    return await readPriceHistory(env, asset, name, { range, basis: 'split', until: null }, now)
  } catch (error) {
    // Already logged. The page shows the price all the same.
    if (error instanceof CodedError) return null
    throw error
  }
}

/**
 * Reads a page of the assets that match `q`, with the prices that come in time.
 * @param after the `next` of the page before; null for the first page
 * @throws CodedError `invalid_request`, `unavailable`
 */
export async function readAssets({ env, db }: LookupScope, q: string, after: string | null) {
  const { assets, next } = await searchAssetsByText(db, { q, limit: PAGE_SIZE, after })
  const results = await pTimeout(
    lookupQuotes(
      env,
      assets.map((asset) => qualifiedName(asset).toUpperCase()),
    ),
    {
      milliseconds: PRICES_TIMEOUT_MS,
      fallback: () => [],
    },
  )
  const now = Date.now()
  const found = assets.map((asset, i): AssetSearchResult => {
    const result = results[i]
    return result?.kind === 'quote'
      ? { asset, quote: result.quote, stale: staleReason(result, now) }
      : { asset, quote: null, stale: null }
  })
  return { found, next, now }
}
