import { type Context, Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { requiredSession } from '../accounts/session.ts'
import { readJson } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { invalidField, parse } from '../http/input.ts'
import { operation, USER_SECURITY } from '../http/operation.ts'
import { isServiceKey } from '../http/service-key.ts'
import { callPortfolio } from './call-portfolio.ts'

const refreshPortfolioSchema = z.object({
  userId: z.uuid().optional().meta({ description: 'Whose; somebody else’s takes the service key' }),
})

/** Queues a refresh of this user's portfolio; false when one is under way already. @throws CodedError `unavailable` */
export const queueRefresh = (env: Env, userId: string): Promise<boolean> =>
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

/** The user whose portfolio is to be refreshed. @throws CodedError `forbidden` for another user's, `unauthorized`, … */
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

/** `POST /refresh-portfolio`: a user refreshes their own portfolio, the service key anyone's. */
export const refreshPortfolioRoutes = new Hono<AppEnv>().post('/refresh-portfolio', async (c) => {
  const queued = await queueRefresh(c.env, await targetUserId(c))
  return c.json({ queued }, 202, { 'cache-control': 'no-store' })
})

export const REFRESH_PORTFOLIO_PATHS: ZodOpenApiPathsObject = {
  '/refresh-portfolio': {
    post: operation(
      {
        operationId: 'refreshPortfolio',
        summary: 'Has a portfolio valued anew: your own; with the service key, anybody’s',
        tags: ['Portfolio'],
        security: [...USER_SECURITY, { serviceKey: [] }],
        requestBody: { required: false, content: { 'application/json': { schema: refreshPortfolioSchema } } },
      },
      {
        202: {
          description: 'Whether a job was queued: false while one is under way',
          content: { 'application/json': { schema: z.object({ queued: z.boolean() }) } },
        },
      },
      ['invalid_request', 'unauthorized', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
}
