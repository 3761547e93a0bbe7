import { type Context, Hono } from 'hono'
import { userPortfolio } from '../../objects.ts'
import { requireUser } from '../accounts/session.ts'
import { asked } from '../accounts/tickets.ts'
import type { AppEnv } from '../http/context.ts'
import { OWN } from '../http/user-transaction.ts'
import { queueRefresh } from './refresh-portfolio.ts'

const CACHE = '/api/v1/stocks/portfolio-cache'
/** Seconds after which who was told to look again is to do so. */
const RETRY_SECONDS = 1

/** The portfolio as it was valued last; while there is nothing, has it valued, once, and tells where it will be. */
async function enriched(c: Context<AppEnv>): Promise<Response> {
  const { id } = c.var.user
  const text = await asked(c, () => userPortfolio(c.env, id).enriched())
  if (text !== null) return c.body(text, 200, { 'content-type': 'application/json', ...OWN })
  await queueRefresh(c, id)
  const told = { status: 'refreshing', location: CACHE, retry_after: RETRY_SECONDS }
  return c.json(told, 202, { location: CACHE, 'retry-after': `${RETRY_SECONDS}`, ...OWN })
}

/** `GET /api/v1/stocks/portfolio-enriched` and, for who was told 202 there, `portfolio-cache` (brief 002). */
export const enrichedPortfolio = new Hono<AppEnv>()
  .get('/api/v1/stocks/portfolio-enriched', requireUser, enriched)
  .get(CACHE, requireUser, enriched)
