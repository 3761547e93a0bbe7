import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { enrichedPortfolioSchema } from '../../protocol/portfolio.ts'
import { requiredSession, requireUser } from '../accounts/session-cookies.ts'
import { readJson } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { invalidField, parse } from '../http/input.ts'
import { type Operations, operation, response, USER_SECURITY } from '../http/operation.ts'
import { isServiceKey } from '../http/service-key.ts'
import { PRIVATE_NO_STORE } from '../http/user-transaction.ts'
import { callPortfolio } from './call-portfolio.ts'
import { READ_ERRORS } from './operations.ts'

const refreshPortfolioSchema = z.object({
  userId: z.uuid().optional().meta({ description: 'The user; another one than you needs the service key' }),
})

/** Queues a refresh of this user's portfolio; false while one is running. @throws CodedError `unavailable` */
const queueRefresh = (env: Env, userId: string): Promise<boolean> =>
  callPortfolio(async () => {
    const portfolio = userPortfolio(env, userId)
    if (!(await portfolio.requestRefresh())) return false
    try {
      await env.REFRESH_QUEUE.send({ user_id: userId })
    } catch (error) {
      await portfolio.cancelRefresh()
      throw error
    }
    return true
  })

/** The user whose portfolio the request refreshes. @throws CodedError `forbidden` for another user's, `unauthorized`, … */
async function targetUserId(c: Context<AppEnv>): Promise<string> {
  const session = (await isServiceKey(c)) ? null : await requiredSession(c)
  const { userId } = parse(refreshPortfolioSchema, ((await readJson(c)) ?? {}) as Record<string, unknown>)
  if (session === null) {
    if (userId !== undefined) return userId
    throw invalidField('userId', 'is required with the service key')
  }
  if (userId !== undefined && userId !== session.user.id)
    throw new CodedError('forbidden', 'you can only refresh your own portfolio')
  return session.user.id
}

const CACHE_PATH = '/api/v1/stocks/portfolio-cache'
/** `Retry-After` of a 202, seconds. */
const RETRY_AFTER_S = 1

/** The portfolio as it was last valued; 202 with its URL while it is valued for the first time. */
async function respondEnriched(c: Context<AppEnv>): Promise<Response> {
  const { id } = c.var.user
  const text = await callPortfolio(() => userPortfolio(c.env, id).enriched())
  if (text !== null) return c.body(text, 200, { 'content-type': 'application/json', ...PRIVATE_NO_STORE })
  await queueRefresh(c.env, id)
  const body = { status: 'refreshing', location: CACHE_PATH, retry_after: RETRY_AFTER_S }
  return c.json(body, 202, { location: CACHE_PATH, 'retry-after': `${RETRY_AFTER_S}`, ...PRIVATE_NO_STORE })
}

/**
 * `GET /api/v1/stocks/portfolio-enriched`, and `portfolio-cache` for clients that got a 202 there. `POST /refresh-portfolio`:
 * a user refreshes their own portfolio, the service key any.
 */
export const livePortfolioRoutes = new Hono<AppEnv>()
  .get('/api/v1/stocks/portfolio-enriched', requireUser(), respondEnriched)
  .get(CACHE_PATH, requireUser(), respondEnriched)
  .post('/refresh-portfolio', async (c) => {
    const queued = await queueRefresh(c.env, await targetUserId(c))
    return c.json({ queued }, 202, { 'cache-control': 'no-store' })
  })

const enrichedResponseSchema = enrichedPortfolioSchema.meta({
  id: 'Enriched',
  description: 'A portfolio as of now: totals and positions. Amounts are decimal text; null is unknown',
})

const refreshingSchema = z.object({
  status: z.literal('refreshing'),
  location: z.string().meta({ description: 'The URL of the portfolio' }),
  retry_after: z.number().meta({ description: 'Seconds' }),
})

const enrichedResponses = {
  ...response(200, 'The portfolio; `age_seconds` is the age of its oldest price', enrichedResponseSchema),
  ...response(202, 'Not valued yet: request `Location` after `Retry-After`', refreshingSchema, {
    location: z.string(),
    'retry-after': z.string(),
  }),
}

export const LIVE_PORTFOLIO_OPERATIONS: Operations = {
  'get /api/v1/stocks/portfolio-enriched': operation('Portfolio', 'getEnrichedPortfolio', {
    summary: 'Your positions with prices, values and gains, each and in total',
    responses: enrichedResponses,
    errors: READ_ERRORS,
  }),
  'get /api/v1/stocks/portfolio-cache': operation('Portfolio', 'getCachedPortfolio', {
    summary: 'The same, for clients that got a 202 or poll',
    responses: enrichedResponses,
    errors: READ_ERRORS,
  }),
  'post /refresh-portfolio': operation('Portfolio', 'refreshPortfolio', {
    summary: 'Value a portfolio again: your own, or with the service key any user’s',
    security: [...USER_SECURITY, { serviceKey: [] }],
    requestBody: { required: false, content: { 'application/json': { schema: refreshPortfolioSchema } } },
    responses: response(202, 'Whether a job was queued: false while one is running', z.object({ queued: z.boolean() })),
    errors: [...READ_ERRORS, 'invalid_request', 'forbidden', 'message_too_large'],
  }),
}
