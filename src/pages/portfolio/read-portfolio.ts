import type { Context } from 'hono'
import { type AppEnv, log } from '../../api/http/context.ts'
import { asUser } from '../../api/http/user-transaction.ts'
import { listStocks } from '../../api/portfolio/lots.ts'
import { readValueHistory } from '../../api/portfolio/value-history.ts'
import { readVersion } from '../../db/activities.ts'
import { readPortfolio, readValued } from '../../db/portfolio-views.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { Enriched, LotView, PortfolioPrice, Position, Totals } from '../../protocol/portfolio.ts'
import type { Range } from '../../protocol/price-history.ts'
import type { ValueHistory } from '../../protocol/value-history.ts'

/** Lots of one page. */
const PAGE = 50
/** A page waits so long for prices of now, milliseconds; the database has those that were stored last. */
const PRICES_MS = 1_000

/** A portfolio as of now, positions by their symbols. @throws CodedError `unavailable` */
export async function readOverview(c: Context<AppEnv>): Promise<{ portfolio: Totals; positions: Position[] }> {
  const { user } = c.var
  const [stored, held] = await Promise.all([
    asUser(c.env, user, (sql) => readValued(sql, user.id)),
    readHeld(c.env, user.id),
  ])
  // The object knows how old prices are; the database, what is held.
  const same =
    held?.portfolio.version === stored.portfolio.version && held.portfolio.currency === stored.portfolio.currency
  const { portfolio, positions } = held && same ? held : stored
  const bySymbol = positions.toSorted((a, b) => (a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0))
  return { portfolio, positions: bySymbol }
}

/** What the user's object has; null: nothing yet, or not soon enough. */
async function readHeld(env: Env, userId: string): Promise<Enriched | null> {
  const late = new Promise<null>((done) => setTimeout(() => done(null), PRICES_MS))
  try {
    const text = await Promise.race([userPortfolio(env, userId).enriched(), late])
    return text === null ? null : (JSON.parse(text) as Enriched)
  } catch (error) {
    log('portfolio_unread', { error: String(error) })
    return null
  }
}

/** What the portfolio was worth; null while that cannot be read: the rest of its page is shown all the same. */
export async function readValues(c: Context<AppEnv>, range: Range): Promise<ValueHistory | null> {
  try {
    return await readValueHistory(c.env, c.var.user, range, Date.now())
  } catch (error) {
    // Logged where it happened.
    if (error instanceof CodedError) return null
    throw error
  }
}

/** Open lots of one page, and what their figures are made of, from which the page's script makes them anew. */
export type LotsRead = {
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
export async function readLotsPage(c: Context<AppEnv>, symbol: string, after: string | null): Promise<LotsRead> {
  const { user } = c.var
  // Before the lots: what changes in between is seen to be newer than the page.
  const version = await asUser(c.env, user, (sql) => readVersion(sql, user.id))
  const query = new URLSearchParams({ open: 'true', limit: String(PAGE) })
  if (symbol !== '') query.set('symbol', symbol)
  if (after !== null) query.set('cursor', after)
  const { stocks: lots, next_cursor: next } = await listStocks(c, query)
  const assetIds = [...new Set(lots.map(({ asset_id }) => asset_id))]
  const { currency, prices } = await asUser(c.env, user, (sql) => readPortfolio(sql, user.id, assetIds))
  return { lots, next, written: { currency, version, lots, prices } }
}
