import { withLiveDatabase } from '../src/db/client.ts'
import { insertMetrics } from '../src/db/metrics.ts'
import { log } from '../src/log.ts'
import { userPortfolio } from '../src/objects.ts'

/** One portfolio that is to be valued anew; `unless_active`: not if its user looks at it, who has it up to date. */
export type RefreshJob = { user_id: string; unless_active?: true }

/** The queue of jobs that have failed too often, by its name in wrangler.toml. */
const DEAD_LETTER_QUEUE = 'kerb-portfolios-dead'

/** Portfolios that are valued at once: each takes a connection to the database in its object. */
const CONCURRENCY = 5
/** Seconds before a job that has failed comes again. */
const RETRY_DELAY_S = 10

type Message = MessageBatch<RefreshJob>['messages'][number]

/** Does the jobs of a batch, or counts those that nobody could do. */
export const refreshPortfolios = (batch: MessageBatch<RefreshJob>, env: Env): Promise<void> =>
  batch.queue === DEAD_LETTER_QUEUE ? recordDeadLetters(batch, env) : refreshAll(batch, env)

/** Values the portfolios of a batch, each once; one that fails comes again later, and in the end to the queue of the dead. */
async function refreshAll({ messages }: MessageBatch<RefreshJob>, env: Env): Promise<void> {
  const waiting = [...Map.groupBy(messages, ({ body }) => body.user_id)]
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await refreshPortfolio(env, ...next)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
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

/** Logs jobs that nobody could do, and counts them in `system_metrics`. The next read, or the next hour, asks again. */
async function recordDeadLetters(batch: MessageBatch<RefreshJob>, env: Env): Promise<void> {
  const now = Date.now()
  for (const { body, attempts } of batch.messages)
    if (attempts === 1) log('portfolio_refresh_given_up', { user_id: body.user_id })
  const metric = { metric_name: 'portfolio_jobs_dead', value: batch.messages.length, labels: {} }
  await withLiveDatabase(env, (sql) => insertMetrics(sql, [metric], now))
}
