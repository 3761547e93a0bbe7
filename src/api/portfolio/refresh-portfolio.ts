import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { requiredSession } from '../accounts/session.ts'
import { callPortfolio } from '../accounts/tickets.ts'
import { readJson } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { invalidField, parse } from '../http/input.ts'
import { isServiceKey } from '../http/service-key.ts'

export const refreshPortfolioSchema = z.object({
  userId: z.uuid().optional().meta({ description: 'Whose; somebody else’s takes the service key' }),
})

/** Queues a job for this user's portfolio, unless one is under way; whether it did. @throws CodedError `unavailable` */
export const queueRefresh = (c: Context<AppEnv>, id: string): Promise<boolean> =>
  callPortfolio(c, async () => {
    const portfolio = userPortfolio(c.env, id)
    if (!(await portfolio.requestRefresh())) return false
    try {
      await c.env.REFRESH_QUEUE.send({ user_id: id })
    } catch (error) {
      await portfolio.withdrawRefresh()
      throw error
    }
    return true
  })

/** Whose portfolio is to be refreshed. @throws CodedError `forbidden` for somebody else's, `unauthorized`, … */
async function targetUserId(c: Context<AppEnv>): Promise<string> {
  const byKey = await isServiceKey(c)
  const session = byKey ? null : await requiredSession(c)
  const { userId } = parse(refreshPortfolioSchema, ((await readJson(c)) ?? {}) as Record<string, unknown>)
  if (session === null) {
    if (userId !== undefined) return userId
    throw invalidField('userId', 'is required with the service key')
  }
  if (userId !== undefined && userId !== session.user.id)
    throw new CodedError('forbidden', 'only your own portfolio is yours to refresh')
  return session.user.id
}

/** `POST /refresh-portfolio` (brief 002): a user refreshes the own portfolio, the service key anybody's. */
export const refreshPortfolioRoutes = new Hono<AppEnv>().post('/refresh-portfolio', async (c) => {
  const queued = await queueRefresh(c, await targetUserId(c))
  return c.json({ queued }, 202, { 'cache-control': 'no-store' })
})
