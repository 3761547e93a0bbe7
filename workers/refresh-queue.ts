import pMap from 'p-map'
import { withLiveDatabase } from '../src/db/client.ts'
import { insertMetrics } from '../src/db/metrics.ts'
import { log } from '../src/log.ts'
import { userPortfolio } from '../src/objects.ts'

/** A portfolio to be valued again; with `unless_active` only if no socket watches it: a watched one is up to date. */
export type RefreshJob = { user_id: string; unless_active?: true }

/** The queue of jobs that have failed too often, by its name in wrangler.toml. */
const DEAD_LETTER_QUEUE = 'kerb-portfolios-dead'

/** Portfolios valued at once: each takes a connection to the database in its object. */
const CONCURRENCY = 5
const RETRY_DELAY_S = 10

type Message = MessageBatch<RefreshJob>['messages'][number]

/** Runs the jobs of a batch, or counts those that failed for good. */
export const refreshPortfolios = (batch: MessageBatch<RefreshJob>, env: Env): Promise<void> =>
  batch.queue === DEAD_LETTER_QUEUE ? recordDeadLetters(batch, env) : refreshAll(batch, env)

/** Values each portfolio of a batch once; a job that fails is retried, and in the end goes to the dead letter queue. */
async function refreshAll({ messages }: MessageBatch<RefreshJob>, env: Env): Promise<void> {
  const byUser = Map.groupBy(messages, ({ body }) => body.user_id)
  await pMap(byUser, ([userId, jobs]) => refreshPortfolio(env, userId, jobs), { concurrency: CONCURRENCY })
}

async function refreshPortfolio(env: Env, userId: string, messages: readonly Message[]): Promise<void> {
  try {
    const portfolio = userPortfolio(env, userId)
    const unlessActive = messages.every(({ body }) => body.unless_active === true)
    if (!unlessActive || (await portfolio.status()).sockets === 0) await portfolio.refresh()
    for (const message of messages) message.ack()
  } catch (error) {
    const attempts = Math.max(...messages.map((message) => message.attempts))
    log('portfolio_refresh_failed', { user_id: userId, attempts, error: String(error) })
    for (const message of messages) message.retry({ delaySeconds: RETRY_DELAY_S })
  }
}

/** Logs jobs that failed for good, and counts them in `system_metrics`. The next read, or the next hour, queues another. */
async function recordDeadLetters(batch: MessageBatch<RefreshJob>, env: Env): Promise<void> {
  const now = Date.now()
  for (const { body, attempts } of batch.messages)
    if (attempts === 1) log('portfolio_refresh_given_up', { user_id: body.user_id })
  const metric = { metric_name: 'portfolio_jobs_dead', value: batch.messages.length, labels: {} }
  await withLiveDatabase(env, (sql) => insertMetrics(sql, [metric], now))
}
