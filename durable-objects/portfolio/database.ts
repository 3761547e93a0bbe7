import { findAssets } from '../../src/db/assets.ts'
import { withLiveDatabase, withUserDatabase } from '../../src/db/client.ts'
import { readLots, readPortfolioData } from '../../src/db/portfolio-views.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import { type LotView, MAX_SNAPSHOT_LOTS } from '../../src/protocol/portfolio.ts'

export type LoadedPortfolio = Awaited<ReturnType<typeof readPortfolioData>>

/** What a user's object asks of Postgres, each in one visit. Each rejects when that cannot be had. */
export type PortfolioDatabase = {
  /** What these assets are, or all of them, and these lots. */
  read(assetIds: number[] | null, lots: string[]): Promise<{ portfolio: LoadedPortfolio; lots: LotView[] }>
  /** The newest open lots of each of these assets, MAX_SNAPSHOT_LOTS of one at most. */
  openLots(assetIds: number[]): Promise<LotView[]>
  /** See `findAssets`. */
  findAssets(names: string[]): Promise<Asset[]>
}

/** Postgres in the name of a user, through the binding without a cache. */
export const portfolioDatabase = (env: Env, userId: string): PortfolioDatabase => ({
  read: (assetIds, ids) =>
    withUserDatabase(env, { id: userId }, async (sql) => {
      const portfolio = await readPortfolioData(sql, userId, assetIds)
      return { portfolio, lots: ids.length === 0 ? [] : await readLots(sql, userId, { ids, limit: ids.length }) }
    }),
  openLots: (assetIds) =>
    withUserDatabase(env, { id: userId }, async (sql) => {
      const of = (id: number) => readLots(sql, userId, { assetIds: [id], open: true, limit: MAX_SNAPSHOT_LOTS })
      // One after the other without waiting between them.
      return (await Promise.all(assetIds.map(of))).flat()
    }),
  findAssets: (names) => withLiveDatabase(env, (sql) => findAssets(sql, names)),
})
