import { Hono } from 'hono'
import { readSettings } from '../config.ts'
import { withLiveDatabase } from '../db/client.ts'
import { readJobRuns, type StoredJobRun } from '../db/jobs.ts'
import { readOutboxLength } from '../db/portfolio-outbox.ts'
import { log } from '../log.ts'
import { feedSlots, productCandles, providerGate, type QuoteBoardStatus, quoteBoard } from '../objects.ts'
import type { ProviderLimit } from '../pricing/provider-limit.ts'
import type { FeedState, ProductStatus } from '../protocol/product.ts'
import type { AppEnv } from './http/context.ts'

/** A part that has not answered within this time is down, as far as whoever asks is concerned. */
const PROBE_TIMEOUT_MS = 3_000

/** Open feeds, and how many of them are in each state; null where the objects that count them could not be asked. */
type FeedCounts = { open: number; live: number; states: Partial<Record<FeedState | 'unknown', number>> } | null
/** What each object with a lease says of itself. */
type FeedProbe = { feeds: FeedCounts; products: ProductStatus[] }
/** `outbox`: what users' objects have yet to be told, where that was asked for. */
type DatabaseProbe = { ok: boolean; ms: number; jobs: StoredJobRun[]; outbox: Outbox | null }
type Outbox = { rows: number; since: string | null }

/** To the minute alone: what waits was written at that very moment by somebody, which is for nobody else. */
const truncateToMinute = ({ rows, since }: Outbox): Outbox => ({ rows, since: since && `${since.slice(0, 16)}:00Z` })

const withTimeout = <T>(answer: Promise<T>): Promise<T> => {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer within ${PROBE_TIMEOUT_MS} ms`)), PROBE_TIMEOUT_MS)
  return Promise.race([answer, promise]).finally(() => clearTimeout(timer))
}

async function probeDatabase(env: Env, verbose: boolean): Promise<DatabaseProbe> {
  const began = Date.now()
  try {
    const told = await withTimeout(
      withLiveDatabase(env, async (sql) => {
        const [jobs, outbox] = await Promise.all([readJobRuns(sql), verbose ? readOutboxLength(sql) : null])
        return { jobs, outbox }
      }),
    )
    return { ok: true, ms: Date.now() - began, ...told }
  } catch (error) {
    log('health_database_down', { error: String(error) })
    return { ok: false, ms: Date.now() - began, jobs: [], outbox: null }
  }
}

async function probeFeeds(env: Env): Promise<FeedProbe> {
  try {
    const leases = await withTimeout(feedSlots(env).open(Date.now()))
    const answers = await Promise.allSettled(
      leases.map(({ product }) => withTimeout(productCandles(env, product).status())),
    )
    const states: Partial<Record<FeedState | 'unknown', number>> = {}
    let open = 0
    for (const answer of answers) {
      const state = answer.status === 'fulfilled' ? answer.value.feed.state : 'unknown'
      // The lease of an object that died without a viewer outlives its feed by two minutes.
      if (state === 'closed') continue
      open++
      states[state] = (states[state] ?? 0) + 1
    }
    const products = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    return { feeds: { open, live: states.live ?? 0, states }, products }
  } catch (error) {
    log('health_feeds_down', { error: String(error) })
    return { feeds: null, products: [] }
  }
}

/** What the boards and the providers' gate say of themselves; a part that cannot be asked is left out. */
async function probeQuotes(env: Env): Promise<{ boards: QuoteBoardStatus[]; providers: ProviderLimit[] }> {
  const shards = Array.from({ length: readSettings(env).QUOTE_SHARDS }, (_, shard) => quoteBoard(env, shard))
  const [boards, limits] = await Promise.all([
    Promise.allSettled(shards.map((board) => withTimeout(board.status()))),
    withTimeout(providerGate(env).limits()).catch((error: unknown): ProviderLimit[] => {
      log('health_providers_down', { error: String(error) })
      return []
    }),
  ])
  return { boards: boards.flatMap((board) => (board.status === 'fulfilled' ? [board.value] : [])), providers: limits }
}

/** A job that has not gone well for more than twice its period, and a minute for cron's own lateness; or never yet. */
export const isOverdue = ({ ok_at, period_seconds }: StoredJobRun, now: number): boolean =>
  ok_at === null || now - Date.parse(ok_at) > (2 * period_seconds + 60) * 1_000

/**
 * `GET /health`: 200 while something can be served, 503 when neither the feeds nor the database can. No open feed is no
 * fault: without a viewer none is needed. `jobs_overdue` names the jobs of cron that should have run and did not,
 * `providers_down` the providers of quotes that have failed too often to be asked. With `verbose`, what each product
 * with an open feed, each board of quotes and each provider counts, the last run of each job, and what users' objects
 * have yet to be told, too.
 */
export const healthRoutes = new Hono<AppEnv>().get('/health', async (c) => {
  const { EXCHANGE, VERSION } = readSettings(c.env)
  const verbose = c.req.query('verbose') !== undefined
  const parts = [probeFeeds(c.env), probeDatabase(c.env, verbose), probeQuotes(c.env)] as const
  const [{ feeds: feed, products }, { jobs, outbox, ...db }, { boards, providers }] = await Promise.all(parts)
  const now = Date.now()
  const jobs_overdue = jobs.filter((job) => isOverdue(job, now)).map(({ job }) => job)
  const providers_down = providers.filter(({ breaker }) => breaker !== 'closed').map(({ provider }) => provider)
  const feedDown = feed === null || (feed.open > 0 && feed.live === 0)
  const ok =
    db.ok && feed !== null && feed.live === feed.open && jobs_overdue.length === 0 && providers_down.length === 0
  const status = ok ? 'ok' : 'degraded'
  const body = { status, version: VERSION, exchange: EXCHANGE, feed, database: db, jobs_overdue, providers_down }
  const told = verbose
    ? { ...body, products, jobs, boards, providers, portfolio_outbox: outbox && truncateToMinute(outbox) }
    : body
  return c.json(told, feedDown && !db.ok ? 503 : 200, { 'cache-control': 'no-store' })
})
