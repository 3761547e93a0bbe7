import type { UserRequest } from '../../api/http/context.ts'
import { withUser } from '../../api/http/user-transaction.ts'
import { parseLotsQuery, readLotPage } from '../../api/portfolio/lots.ts'
import { readValueHistory } from '../../api/portfolio/value-history.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import { readPortfolioData, readValuedPortfolio } from '../../db/portfolio-views.ts'
import { log } from '../../log.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { EnrichedPortfolio, LotView, PortfolioPrice, Position, Totals } from '../../protocol/portfolio.ts'
import type { HistoryRange } from '../../protocol/price-history.ts'
import type { ValueHistory } from '../../protocol/value-history.ts'

/** Lots of one page. */
const PAGE_SIZE = 50
/** A page waits so long for prices of now, milliseconds; the database has those that were stored last. */
const LIVE_TIMEOUT_MS = 1_000

/** A portfolio as of now, positions by their symbols. @throws CodedError `unavailable` */
export async function readOverview(request: UserRequest): Promise<{ portfolio: Totals; positions: Position[] }> {
  const { env, user } = request
  const live = await readLivePortfolio(env, user.id)
  const stored = await withUser(request, (sql) => readValuedPortfolio(sql, user.id))
  // The object knows how old prices are; the database, what is held.
  const same =
    live?.portfolio.version === stored.portfolio.version && live.portfolio.currency === stored.portfolio.currency
  const { portfolio, positions } = live && same ? live : stored
  const bySymbol = positions.toSorted((a, b) => (a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0))
  return { portfolio, positions: bySymbol }
}

/** What the user's object has; null: nothing yet, or not soon enough. */
async function readLivePortfolio(env: Env, userId: string): Promise<EnrichedPortfolio | null> {
  const late = new Promise<null>((done) => setTimeout(() => done(null), LIVE_TIMEOUT_MS))
  try {
    const text = await Promise.race([userPortfolio(env, userId).enriched(), late])
    return text === null ? null : (JSON.parse(text) as EnrichedPortfolio)
  } catch (error) {
    log('portfolio_read_failed', { error: String(error) })
    return null
  }
}

/** What the portfolio was worth; null while that cannot be read: the rest of its page is shown all the same. */
export async function readPortfolioHistory(request: UserRequest, range: HistoryRange): Promise<ValueHistory | null> {
  try {
    return await readValueHistory(request, range, Date.now())
  } catch (error) {
    // Logged where it happened.
    if (error instanceof CodedError) return null
    throw error
  }
}

/** Open lots of one page, and what their figures are made of, from which the page's script makes them anew. */
export type LotsPageData = {
  lots: LotView[]
  next: string | null
  written: { currency: string; version: number; lots: LotView[]; prices: PortfolioPrice[] }
}

/**
 * A page of open lots, the newest first.
 * @param symbol of their asset; empty: all
 * @param after what the page before gave as `next`, null for the first
 * @throws CodedError `invalid_request`, `unavailable`
 */
export async function readLotsPage(request: UserRequest, symbol: string, after: string | null): Promise<LotsPageData> {
  const { id: userId } = request.user
  const query = parseLotsQuery({
    open: 'true',
    limit: String(PAGE_SIZE),
    ...(symbol !== '' && { symbol }),
    ...(after !== null && { cursor: after }),
  })
  return withUser(request, async (sql) => {
    // Before the lots: what changes in between is seen to be newer than the page.
    const version = await readPortfolioVersion(sql, userId)
    const { stocks: lots, next_cursor: next } = await readLotPage(sql, userId, query)
    const assetIds = [...new Set(lots.map(({ asset_id }) => asset_id))]
    const { currency, prices } = await readPortfolioData(sql, userId, assetIds)
    return { lots, next, written: { currency, version, lots, prices } }
  })
}
