import { userPortfolio } from '../durable-objects/stubs.ts'

/** One portfolio that is to be valued anew. */
export type RefreshJob = { user_id: string }

/** Values the portfolios of a batch; one that fails comes again later, and in the end to the queue of the dead. */
export async function refreshPortfolios(batch: MessageBatch<RefreshJob>, env: Env): Promise<void> {
  for (const message of batch.messages) {
    try {
      await userPortfolio(env, message.body.user_id).refresh()
      message.ack()
    } catch (error) {
      console.log(
        JSON.stringify({ event: 'portfolio_refresh_failed', attempts: message.attempts, error: String(error) }),
      )
      message.retry()
    }
  }
}
