import { readSettings, type Settings } from '../src/config.ts'
import { deleteExpiredAuthRows } from '../src/db/accounts.ts'
import { readRefreshSettings } from '../src/db/app-settings.ts'
import { deleteExpiredCandles, ensureCandlePartitions } from '../src/db/candles.ts'
import { type LiveSql, withLiveDatabase } from '../src/db/client.ts'
import { deleteExpiredIdempotencyKeys } from '../src/db/idempotency.ts'
import { recordJobRun } from '../src/db/jobs.ts'
import { deleteOldRecords } from '../src/db/metrics.ts'
import { fillFxRates } from '../src/db/portfolio-outbox.ts'
import { ensureHistoryPartitions, maintainHistory } from '../src/db/price-history.ts'
import { dropOldSnapshotPartitions } from '../src/db/prices.ts'
import { readProducts, type StoredProduct, upsertProducts } from '../src/db/products.ts'
import { log } from '../src/log.ts'
import { feedSlots, productCandles } from '../src/objects.ts'
import { fetchProducts, toProduct } from '../src/providers/coinbase.ts'
import { DAY_S, formatDate, MINUTE_S } from '../src/time.ts'
import { auditCandles } from './jobs/candle-audit.ts'
import { recordMetrics } from './jobs/metrics.ts'
import { DUE_JOB, drainPortfolios, queueDuePortfolios, queueHourlyRefresh } from './jobs/portfolios.ts'
import { loadHistory } from './jobs/price-history.ts'
import { recordProviderLimits, sendRefreshPlans } from './jobs/quotes.ts'

/** Partitions are created this long before they are needed. */
const PARTITION_LEAD_S = 366 * DAY_S

/** A job of cron at `now` (unix milliseconds). Returns fields for the log. */
type Job = (env: Env, now: number) => Promise<Record<string, unknown>>

/** A job that only writes to the database. */
const inDatabase =
  (work: (sql: LiveSql, now: number, settings: Settings) => ReturnType<Job>): Job =>
  (env, now) =>
    withLiveDatabase(env, (sql) => work(sql, now, readSettings(env)))

/** The jobs of each cron expression in wrangler.toml, and how often that fires. */
const JOBS: Readonly<Record<string, { seconds: number; jobs: Readonly<Record<string, Job>> }>> = {
  '* * * * *': {
    seconds: MINUTE_S,
    jobs: {
      products: updateProducts,
      guard: guardFeeds,
      metrics: recordMetrics,
      audit: auditCandles,
      quotes: sendRefreshPlans,
      limits: recordProviderLimits,
      history: loadHistory,
      [DUE_JOB]: queueDuePortfolios,
      // Exchange rates of days that are known by now.
      portfolio_rates: inDatabase(async (sql) => ({ filled: await fillFxRates(sql) })),
      portfolio_outbox: drainPortfolios,
      portfolio_hourly: queueHourlyRefresh,
    },
  },
  '7 0 * * *': {
    seconds: DAY_S,
    jobs: {
      partitions: inDatabase(async (sql, now) => ({
        made: await ensureCandlePartitions(sql, Math.floor(now / 1_000), Math.floor(now / 1_000) + PARTITION_LEAD_S),
        history: await ensureHistoryPartitions(sql, formatDate(now)),
      })),
      retention: inDatabase((sql, now, { CANDLE_RETENTION }) => deleteExpiredCandles(sql, CANDLE_RETENTION, now)),
      logs: inDatabase((sql, now, { REVISION_RETENTION_DAYS, METRIC_RETENTION_DAYS }) => {
        const days = { candle_revisions: REVISION_RETENTION_DAYS, system_metrics: METRIC_RETENTION_DAYS }
        return deleteOldRecords(sql, days, now)
      }),
      // Merges days into weeks and months, and deletes expired bars (Q7).
      history_retention: inDatabase((sql, now) => maintainHistory(sql, formatDate(now))),
      snapshots: inDatabase(async (sql, now) => {
        const { snapshot_days } = await readRefreshSettings(sql)
        return { partitions: await dropOldSnapshotPartitions(sql, snapshot_days, now) }
      }),
      // Sessions and reset tokens that have expired.
      accounts: inDatabase((sql, now) => deleteExpiredAuthRows(sql, now)),
      idempotency_keys: inDatabase(async (sql, now, { IDEMPOTENCY_RETENTION_DAYS }) => ({
        keys: await deleteExpiredIdempotencyKeys(sql, IDEMPOTENCY_RETENTION_DAYS, now),
      })),
    },
  },
}

/** Runs the jobs of the cron expression that fired. A failed job is logged and does not stop the others. */
export async function scheduled(event: ScheduledController, env: Env): Promise<void> {
  const { seconds, jobs } = JOBS[event.cron] ?? { seconds: 0, jobs: {} }
  const runs = Object.entries(jobs).map(([name, job]) =>
    runJob(env, name, seconds, () => job(env, event.scheduledTime)),
  )
  await Promise.all(runs)
}

/** Runs one job, logs its outcome and records it in `job_runs`, where a job that does not run is missing. */
async function runJob(
  env: Env,
  job: string,
  period_seconds: number,
  work: () => Promise<Record<string, unknown>>,
): Promise<void> {
  const started_at = Date.now()
  const result = await work().then(
    (fields) => ({ outcome: 'ok' as const, ...fields }),
    (error: unknown) => ({ outcome: 'failed' as const, error: String(error) }),
  )
  const ended_at = Date.now()
  log('job', { job, ms: ended_at - started_at, ...result })
  const { outcome } = result
  const error = 'error' in result ? String(result.error) : null
  await withLiveDatabase(env, (sql) =>
    recordJobRun(sql, { job, period_seconds, started_at, ended_at, outcome, error }),
  ).catch((unrecorded: unknown) => log('job_record_failed', { job, error: String(unrecorded) }))
}

/** Updates every product of the exchange on the first run and hourly, and the active ones every minute. */
async function updateProducts(env: Env, now: number): Promise<Record<string, unknown>> {
  const { COINBASE_REST_URL, EXCHANGE, PRODUCTS } = readSettings(env)
  const every = isHourly(now) || (await readStoredProducts(env)).length === 0
  const answer = await fetchProducts((url, init) => fetch(url, init), COINBASE_REST_URL, every ? undefined : PRODUCTS)
  if (!answer.ok) throw new Error(`${answer.reason}, status ${answer.status}: ${answer.detail}`)
  const at = new Date().toISOString()
  const products = answer.value.map((product) => {
    const active = PRODUCTS.includes(product.product_id)
    return toProduct(product, { exchange: EXCHANGE, active, at })
  })
  const changed = await withLiveDatabase(env, (sql) => upsertProducts(sql, products))
  return { asked: every ? 'all' : 'active', products: products.length, changed }
}

const isHourly = (now: number): boolean => new Date(now).getUTCMinutes() === 0

const readStoredProducts = (env: Env): Promise<StoredProduct[]> =>
  withLiveDatabase(env, (sql) => readProducts(sql, readSettings(env).EXCHANGE))

/**
 * Passes on to product objects whether the exchange trades their pair, and ensures that their feeds run: every minute for
 * those in ALWAYS_ON or with an open feed, hourly for every active product, so that a relisted pair starts again.
 */
async function guardFeeds(env: Env, now: number): Promise<Record<string, unknown>> {
  const { ALWAYS_ON, PRODUCTS } = readSettings(env)
  const open = (await feedSlots(env).open(now)).map(({ product }) => product)
  const ids = [...new Set(isHourly(now) ? PRODUCTS : [...ALWAYS_ON, ...open])]
  const off = await readUntradedIds(env)
  const outcomes = await Promise.allSettled(ids.map((id) => productCandles(env, id).ensureRunning(!off.has(id))))
  const failed = ids.flatMap((id, i) => {
    const outcome = outcomes[i]
    return outcome?.status === 'rejected' ? [`${id}: ${String(outcome.reason)}`] : []
  })
  if (failed.length > 0) throw new Error(failed.join('; '))
  return { guarded: ids.length }
}

/** The pairs that are offline or delisted; none while the database cannot be read, so that no feed waits for it. */
async function readUntradedIds(env: Env): Promise<Set<string>> {
  const pairs = await readStoredProducts(env).catch((error: unknown) => {
    log('products_read_failed', { error: String(error) })
    return []
  })
  return new Set(pairs.filter(({ status }) => status !== 'online').map(({ product_id }) => product_id))
}
