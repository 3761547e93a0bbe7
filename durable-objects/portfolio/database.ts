import { findAssets } from '../../src/db/assets.ts'
import { withLiveDatabase, withUserDatabase } from '../../src/db/client.ts'
import { readLots, readPortfolioData } from '../../src/db/portfolio-views.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import { type LotView, MAX_SNAPSHOT_LOTS } from '../../src/protocol/portfolio.ts'

export type LoadedPortfolio = Awaited<ReturnType<typeof readPortfolioData>>

/** The reads of a user's object, one connection each. They reject when Postgres cannot be reached. */
export type PortfolioDatabase = {
  /** The positions of these assets (null: all), and these lots. */
  read(assetIds: number[] | null, lots: string[]): Promise<{ portfolio: LoadedPortfolio; lots: LotView[] }>
  /** The newest open lots of each asset, at most MAX_SNAPSHOT_LOTS each. */
  openLots(assetIds: number[]): Promise<LotView[]>
  /** See `findAssets`. */
  findAssets(names: string[]): Promise<Asset[]>
}

/** Postgres as a user, through the binding without a cache. */
export const portfolioDatabase = (env: Env, userId: string): PortfolioDatabase => ({
  read: (assetIds, ids) =>
    withUserDatabase(env, { id: userId }, async (sql) => {
      const portfolio = await readPortfolioData(sql, userId, assetIds)
      return { portfolio, lots: ids.length === 0 ? [] : await readLots(sql, userId, { ids, limit: ids.length }) }
    }),
  openLots: (assetIds) =>
    withUserDatabase(env, { id: userId }, async (sql) => {
      const of = (id: number) => readLots(sql, userId, { assetIds: [id], open: true, limit: MAX_SNAPSHOT_LOTS })
      // Pipelined on one connection.
      return (await Promise.all(assetIds.map(of))).flat()
    }),
  findAssets: (names) => withLiveDatabase(env, (sql) => findAssets(sql, names)),
})
