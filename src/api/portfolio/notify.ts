import { log } from '../../log.ts'
import { type PortfolioChange, userPortfolio } from '../../objects.ts'

/**
 * Tells a user's object what was written, after it is committed; who looks has it when this is done. Never rejects: what
 * the object was not told, the outbox and cron tell it.
 */
export async function notifyPortfolio(env: Env, userId: string, change: PortfolioChange): Promise<void> {
  try {
    await userPortfolio(env, userId).changed(change)
  } catch (error) {
    log('portfolio_notify_failed', { version: change.version, error: String(error) })
  }
}
