import { type Context, Hono } from 'hono'
import { userPortfolio } from '../../objects.ts'
import { requireUser } from '../accounts/session.ts'
import { callPortfolio } from '../accounts/tickets.ts'
import type { AppEnv } from '../http/context.ts'
import { PRIVATE_NO_STORE } from '../http/user-transaction.ts'
import { queueRefresh } from './refresh-portfolio.ts'

const CACHE_PATH = '/api/v1/stocks/portfolio-cache'
/** Seconds after which who was told to look again is to do so. */
const RETRY_AFTER_S = 1

/** The portfolio as it was valued last; while there is nothing, has it valued, once, and tells where it will be. */
async function respondEnriched(c: Context<AppEnv>): Promise<Response> {
  const { id } = c.var.user
  const text = await callPortfolio(c, () => userPortfolio(c.env, id).enriched())
  if (text !== null) return c.body(text, 200, { 'content-type': 'application/json', ...PRIVATE_NO_STORE })
  await queueRefresh(c, id)
  const told = { status: 'refreshing', location: CACHE_PATH, retry_after: RETRY_AFTER_S }
  return c.json(told, 202, { location: CACHE_PATH, 'retry-after': `${RETRY_AFTER_S}`, ...PRIVATE_NO_STORE })
}

/** `GET /api/v1/stocks/portfolio-enriched` and, for who was told 202 there, `portfolio-cache` (brief 002). */
export const enrichedPortfolioRoutes = new Hono<AppEnv>()
  .get('/api/v1/stocks/portfolio-enriched', requireUser, respondEnriched)
  .get(CACHE_PATH, requireUser, respondEnriched)
