import { addAsset, countAssetsAddedSince, findAssets } from '../../src/db/assets.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { readPrices, writePrices } from '../../src/db/prices.ts'
import {
  type FeedSlotsObject,
  feedSlots,
  type ProductObject,
  type ProviderGateObject,
  productCandles,
  providerGate,
} from '../../src/objects.ts'
import type { CachedQuote } from '../../src/pricing/quote.ts'
import type { RefreshSettings } from '../../src/pricing/refresh-settings.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { ObjectContext } from '../object-context.ts'

/** A board's queries to Postgres. Each rejects when Postgres is unreachable. */
export type QuoteDatabase = {
  findAssets(names: string[]): Promise<Asset[]>
  addAsset(draft: Omit<Asset, 'asset_id'>): Promise<Asset>
  /** @param at unix milliseconds */
  assetsAddedSince(at: number): Promise<number>
  readPrices(ids: number[]): Promise<CachedQuote[]>
  writePrices(quotes: CachedQuote[], settings: RefreshSettings): Promise<unknown>
}

/** What a board calls over the network, each object looked up anew for every call. */
export type QuoteRemotes = {
  gate(): Pick<ProviderGateObject, 'quotes' | 'find'>
  database(): QuoteDatabase
  slots(): Pick<FeedSlotsObject, 'open'>
  product(id: string): Pick<ProductObject, 'status'>
}

/** What every part of a board shares. */
export type QuoteContext = ObjectContext & QuoteRemotes

/** The other objects, and Postgres through the binding without a cache. */
export const quoteRemotes = (env: Env): QuoteRemotes => ({
  gate: () => providerGate(env),
  slots: () => feedSlots(env),
  product: (id) => productCandles(env, id),
  database: () => ({
    findAssets: (names) => withLiveDatabase(env, (sql) => findAssets(sql, names)),
    addAsset: (draft) => withLiveDatabase(env, (sql) => addAsset(sql, draft)),
    assetsAddedSince: (at) => withLiveDatabase(env, (sql) => countAssetsAddedSince(sql, at)),
    readPrices: (ids) => withLiveDatabase(env, (sql) => readPrices(sql, ids)),
    writePrices: (quotes, settings) => withLiveDatabase(env, (sql) => writePrices(sql, quotes, settings)),
  }),
})
