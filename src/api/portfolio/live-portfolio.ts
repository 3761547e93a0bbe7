import { type Context, Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { userPortfolio } from '../../objects.ts'
import { enrichedPortfolioSchema } from '../../protocol/portfolio.ts'
import { requireUser } from '../accounts/session.ts'
import type { AppEnv } from '../http/context.ts'
import { jsonResponse } from '../http/operation.ts'
import { PRIVATE_NO_STORE } from '../http/user-transaction.ts'
import { callPortfolio } from './call-portfolio.ts'
import { portfolioOperation } from './operations.ts'
import { queueRefresh } from './refresh-portfolio.ts'

const CACHE_PATH = '/api/v1/stocks/portfolio-cache'
/** `Retry-After` of a 202, seconds. */
const RETRY_AFTER_S = 1

/** The portfolio as it was last valued; 202 and the place to ask again while it is valued for the first time. */
async function respondEnriched(c: Context<AppEnv>): Promise<Response> {
  const { id } = c.var.user
  const text = await callPortfolio(() => userPortfolio(c.env, id).enriched())
  if (text !== null) return c.body(text, 200, { 'content-type': 'application/json', ...PRIVATE_NO_STORE })
  await queueRefresh(c.env, id)
  const body = { status: 'refreshing', location: CACHE_PATH, retry_after: RETRY_AFTER_S }
  return c.json(body, 202, { location: CACHE_PATH, 'retry-after': `${RETRY_AFTER_S}`, ...PRIVATE_NO_STORE })
}

/** `GET /api/v1/stocks/portfolio-enriched`, and `portfolio-cache` for clients that were answered 202 there. */
export const enrichedPortfolioRoutes = new Hono<AppEnv>()
  .get('/api/v1/stocks/portfolio-enriched', requireUser(), respondEnriched)
  .get(CACHE_PATH, requireUser(), respondEnriched)

const enrichedResponseSchema = enrichedPortfolioSchema.meta({
  id: 'Enriched',
  description: 'A portfolio as of now: totals, and what is held. Amounts are decimals as text; null is not known',
})

const refreshingSchema = z.object({
  status: z.literal('refreshing'),
  location: z.string().meta({ description: 'Where it will be' }),
  retry_after: z.number().meta({ description: 'Seconds' }),
})

const enrichedResponses = {
  ...jsonResponse('The portfolio; `age_seconds` tells how old the oldest of it is', enrichedResponseSchema),
  202: {
    description: 'It is being made: look again at `Location`, after `Retry-After`',
    headers: z.object({ location: z.string(), 'retry-after': z.string() }),
    content: { 'application/json': { schema: refreshingSchema } },
  },
}

export const ENRICHED_PORTFOLIO_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/stocks/portfolio-enriched': {
    get: portfolioOperation(
      {
        operationId: 'getEnrichedPortfolio',
        summary: 'What you hold, with prices, values and gains, each and in total',
      },
      enrichedResponses,
      ['unauthorized', 'unavailable'],
    ),
  },
  '/api/v1/stocks/portfolio-cache': {
    get: portfolioOperation(
      {
        operationId: 'getCachedPortfolio',
        summary: 'The same, for who was told to look again, or asks at an interval',
      },
      enrichedResponses,
      ['unauthorized', 'unavailable'],
    ),
  },
}
