import { findAssets } from '../../src/db/assets.ts'
import { withLiveDatabase, withUserDatabase } from '../../src/db/client.ts'
import { readLots, readPortfolioData } from '../../src/db/portfolio-views.ts'
import { MAX_SNAPSHOT_LOTS } from '../../src/protocol/portfolio.ts'

export type LoadedPortfolio = Awaited<ReturnType<typeof readPortfolioData>>

/** The reads of a user's object. */
export type PortfolioDatabase = ReturnType<typeof portfolioDatabase>

/**
 * Postgres as a user, through the binding without a cache; one connection for each read. Reads reject when Postgres is
 * unreachable.
 */
export const portfolioDatabase = (env: Env, userId: string) => ({
  /** The positions of these assets (null: all), and the lots of these ids. */
  read: (assetIds: number[] | null, ids: string[]) =>
    withUserDatabase(env, { id: userId }, async (sql) => {
      const portfolio = await readPortfolioData(sql, userId, assetIds)
      return { portfolio, lots: ids.length === 0 ? [] : await readLots(sql, userId, { ids, limit: ids.length }) }
    }),
  /** The newest open lots of each asset, at most MAX_SNAPSHOT_LOTS each. */
  openLots: (assetIds: number[]) =>
    withUserDatabase(env, { id: userId }, async (sql) => {
      const of = (id: number) => readLots(sql, userId, { assetIds: [id], open: true, limit: MAX_SNAPSHOT_LOTS })
      // Pipelined on one connection.
      return (await Promise.all(assetIds.map(of))).flat()
    }),
  /** See `findAssets`. */
  findAssets: (names: string[]) => withLiveDatabase(env, (sql) => findAssets(sql, names)),
})
