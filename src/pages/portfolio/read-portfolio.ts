import pTimeout from 'p-timeout'
import type { UserRequest } from '../../api/http/context.ts'
import { withUser } from '../../api/http/user-transaction.ts'
import { parseLotsQuery, readLotPage } from '../../api/portfolio/lots.ts'
import { readValueHistory } from '../../api/portfolio/value-history.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import { readPortfolioData, readValuedPortfolio } from '../../db/portfolio-views.ts'
import { log } from '../../log.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { EnrichedPortfolio, Position, Totals } from '../../protocol/portfolio.ts'
import type { HistoryRange } from '../../protocol/price-history.ts'
import type { ValueHistory } from '../../protocol/value-history.ts'
import type { LotData } from './lots.ts'

/** Lots on one page. */
const PAGE_SIZE = 50
/** After this, a page shows the stored prices. */
const LIVE_TIMEOUT_MS = 1_000

/** Reads the current portfolio, with positions by symbol. @throws CodedError `unavailable` */
export async function readOverview(request: UserRequest): Promise<{ portfolio: Totals; positions: Position[] }> {
  const { env, user } = request
  const live = await readLivePortfolio(env, user.id)
  const stored = await withUser(request, (sql) => readValuedPortfolio(sql, user.id))
  // The object has newer prices, but may lag behind the database's holdings.
  const same =
    live?.portfolio.version === stored.portfolio.version && live.portfolio.currency === stored.portfolio.currency
  const { portfolio, positions } = live && same ? live : stored
  const bySymbol = positions.toSorted((a, b) => (a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0))
  return { portfolio, positions: bySymbol }
}

/** Reads the portfolio of the user's object; null if it has none yet, or does not respond in time. */
async function readLivePortfolio(env: Env, userId: string): Promise<EnrichedPortfolio | null> {
  try {
    const options = { milliseconds: LIVE_TIMEOUT_MS, fallback: () => null }
    const text = await pTimeout(Promise.resolve(userPortfolio(env, userId).enriched()), options)
    return text === null ? null : (JSON.parse(text) as EnrichedPortfolio)
  } catch (error) {
    log('portfolio_read_failed', { error: String(error) })
    return null
  }
}

/** Reads the history of the portfolio's value; null if it is unavailable now: the page shows the rest. */
export async function readPortfolioHistory(request: UserRequest, range: HistoryRange): Promise<ValueHistory | null> {
  try {
    return await readValueHistory(request, range, Date.now())
  } catch (error) {
    // Already logged.
    if (error instanceof CodedError) return null
    throw error
  }
}

/**
 * Reads a page of open lots, newest first.
 * @param symbol filters them unless it is empty
 * @param after the `next` of the page before; null for the first page
 * @throws CodedError `invalid_request`, `unavailable`
 */
export function readLotsPage(
  request: UserRequest,
  symbol: string,
  after: string | null,
): Promise<{ next: string | null; data: LotData }> {
  const { id: userId } = request.user
  const query = parseLotsQuery({
    open: 'true',
    limit: String(PAGE_SIZE),
    ...(symbol !== '' && { symbol }),
    ...(after !== null && { cursor: after }),
  })
  return withUser(request, async (sql) => {
    // Read before the lots, so that a change in between makes the page outdated.
    const version = await readPortfolioVersion(sql, userId)
    const { stocks: lots, next_cursor: next } = await readLotPage(sql, userId, query)
    const assetIds = [...new Set(lots.map(({ asset_id }) => asset_id))]
    const { currency, prices } = await readPortfolioData(sql, userId, assetIds)
    return { next, data: { currency, version, lots, prices } }
  })
}
