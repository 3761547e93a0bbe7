import { log } from '../src/api/http/context.ts'
import { settings } from '../src/config.ts'
import { dropOver } from '../src/db/accounts.ts'
import { readRefreshSettings } from '../src/db/app-settings.ts'
import { dropExpired, ensurePartitions } from '../src/db/candles.ts'
import { withLiveDatabase } from '../src/db/client.ts'
import { recordJob } from '../src/db/jobs.ts'
import { dropOldRecords } from '../src/db/metrics.ts'
import { ensureHistoryPartitions, pruneHistory } from '../src/db/price-history.ts'
import { dropOldSnapshots } from '../src/db/prices.ts'
import { listProducts, type StoredProduct, upsertProducts } from '../src/db/products.ts'
import { feedSlots, productCandles } from '../src/objects.ts'
import { fetchProducts, toProduct } from '../src/providers/coinbase.ts'
import { audit } from './jobs/candle-audit.ts'
import { recordMetrics } from './jobs/metrics.ts'
import {
  DUE_JOB,
  drainPortfolios,
  fillPortfolioRates,
  forgetKeys,
  portfoliosDue,
  queuePortfolios,
} from './jobs/portfolios.ts'
import { loadHistory } from './jobs/price-history.ts'
import { planQuotes, recordLimits } from './jobs/quotes.ts'

/** Partitions are there for this long before they are needed. */
const AHEAD_S = 366 * 86_400

type Job = (env: Env, now: number) => Promise<Record<string, unknown>>

/** The jobs of each cron expression in wrangler.toml, and how often that fires. */
const JOBS: Readonly<Record<string, { seconds: number; jobs: Readonly<Record<string, Job>> }>> = {
  '* * * * *': {
    seconds: 60,
    jobs: {
      products: updateProducts,
      guard: guardFeeds,
      metrics: recordMetrics,
      audit,
      quotes: planQuotes,
      limits: recordLimits,
      history: loadHistory,
      [DUE_JOB]: portfoliosDue,
      portfolio_rates: fillPortfolioRates,
      portfolio_outbox: drainPortfolios,
      portfolio_hourly: queuePortfolios,
    },
  },
  '7 0 * * *': {
    seconds: 86_400,
    jobs: {
      partitions: makePartitions,
      retention: forgetExpired,
      logs: forgetRecords,
      history_retention: foldHistory,
      snapshots: forgetSnapshots,
      accounts: forgetOver,
      idempotency_keys: forgetKeys,
    },
  },
}

/** Runs what is due by the cron expression that fired; a job that fails is logged and stops no other. */
export async function scheduled(event: ScheduledController, env: Env): Promise<void> {
  const { seconds, jobs } = JOBS[event.cron] ?? { seconds: 0, jobs: {} }
  const runs = Object.entries(jobs).map(([name, job]) => run(env, name, seconds, () => job(env, event.scheduledTime)))
  await Promise.all(runs)
}

/** Runs one job, logs one line of how it went, and notes it in `job_runs`: what did not run is seen by its absence. */
async function run(
  env: Env,
  job: string,
  period_seconds: number,
  work: () => Promise<Record<string, unknown>>,
): Promise<void> {
  const started_at = Date.now()
  const told = await work().then(
    (result) => ({ outcome: 'ok' as const, ...result }),
    (error: unknown) => ({ outcome: 'failed' as const, error: String(error) }),
  )
  const ended_at = Date.now()
  log('job', { job, ms: ended_at - started_at, ...told })
  const { outcome } = told
  const error = 'error' in told ? String(told.error) : null
  await withLiveDatabase(env, (sql) =>
    recordJob(sql, { job, period_seconds, started_at, ended_at, outcome, error }),
  ).catch((unrecorded: unknown) => log('job_unrecorded', { job, error: String(unrecorded) }))
}

/** Every product of the exchange at the first run and hourly, the active ones in between: prices age by the minute. */
async function updateProducts(env: Env, now: number): Promise<Record<string, unknown>> {
  const { COINBASE_REST_URL, EXCHANGE, PRODUCTS } = settings(env)
  const every = isHourly(now) || (await stored(env)).length === 0
  const answer = await fetchProducts((url, init) => fetch(url, init), COINBASE_REST_URL, every ? undefined : PRODUCTS)
  if (!answer.ok) throw new Error(`${answer.reason}, status ${answer.status}: ${answer.detail}`)
  const at = new Date().toISOString()
  const products = answer.value.map((product) => {
    const active = PRODUCTS.includes(product.productId)
    return toProduct(product, { exchange: EXCHANGE, active, at })
  })
  const changed = await withLiveDatabase(env, (sql) => upsertProducts(sql, products))
  return { asked: every ? 'all' : 'active', products: products.length, changed }
}

const isHourly = (now: number): boolean => new Date(now).getUTCMinutes() === 0

const stored = (env: Env): Promise<StoredProduct[]> =>
  withLiveDatabase(env, (sql) => listProducts(sql, settings(env).EXCHANGE))

/**
 * Tells objects whether the exchange trades their pair, and has them do what is due: those that are always on or whose
 * feed is open each minute, every active one hourly, so that a pair that comes back is known to.
 */
async function guardFeeds(env: Env, now: number): Promise<Record<string, unknown>> {
  const { ALWAYS_ON, PRODUCTS } = settings(env)
  const open = (await feedSlots(env).open(now)).map(({ product }) => product)
  const ids = [...new Set(isHourly(now) ? PRODUCTS : [...ALWAYS_ON, ...open])]
  const off = await notTraded(env)
  const outcomes = await Promise.allSettled(ids.map((id) => productCandles(env, id).guard(!off.has(id))))
  const failed = ids.flatMap((id, i) => {
    const outcome = outcomes[i]
    return outcome?.status === 'rejected' ? [`${id}: ${String(outcome.reason)}`] : []
  })
  if (failed.length > 0) throw new Error(failed.join('; '))
  return { guarded: ids.length }
}

/** The pairs that are offline or delisted; none while the database cannot tell, so that no feed waits for it. */
async function notTraded(env: Env): Promise<Set<string>> {
  const pairs = await stored(env).catch((error: unknown) => {
    log('products_unread', { error: String(error) })
    return []
  })
  return new Set(pairs.filter(({ status }) => status !== 'online').map(({ product_id }) => product_id))
}

async function makePartitions(env: Env, now: number): Promise<Record<string, unknown>> {
  const today = Math.floor(now / 1_000)
  return withLiveDatabase(env, async (sql) => ({
    made: await ensurePartitions(sql, today, today + AHEAD_S),
    history: await ensureHistoryPartitions(sql, dateOf(now)),
  }))
}

const dateOf = (now: number): string => new Date(now).toISOString().slice(0, 10)

/** Folds days into weeks and months, and forgets what is kept no longer (Q7). */
async function foldHistory(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, (sql) => pruneHistory(sql, dateOf(now)))
}

async function forgetSnapshots(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, async (sql) => {
    const { snapshot_days } = await readRefreshSettings(sql)
    return { partitions: await dropOldSnapshots(sql, snapshot_days, now) }
  })
}

/** Sessions and ways to a new password that are over. */
async function forgetOver(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, (sql) => dropOver(sql, now))
}

async function forgetRecords(env: Env, now: number): Promise<Record<string, unknown>> {
  const { REVISIONS_DAYS, METRICS_DAYS } = settings(env)
  const kept = { candle_revisions: REVISIONS_DAYS, system_metrics: METRICS_DAYS }
  return withLiveDatabase(env, (sql) => dropOldRecords(sql, kept, now))
}

async function forgetExpired(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, (sql) => dropExpired(sql, settings(env).RETENTION, now))
}
