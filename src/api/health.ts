import { Hono } from 'hono'
import pTimeout from 'p-timeout'
import { z } from 'zod'
import { readSettings } from '../config.ts'
import { withLiveDatabase } from '../db/client.ts'
import { readJobRuns, type StoredJobRun } from '../db/jobs.ts'
import { readOutboxLength } from '../db/portfolio-outbox.ts'
import { log } from '../log.ts'
import { feedSlots, productCandles, providerGate, type QuoteBoardStatus, quoteBoard } from '../objects.ts'
import type { ProviderLimit } from '../pricing/provider-limit.ts'
import type { FeedState, ProductStatus } from '../protocol/product.ts'
import type { AppEnv } from './http/context.ts'
import { type Operations, operation, response } from './http/operation.ts'

/** A part that takes longer to respond counts as down. */
const PROBE_TIMEOUT_MS = 3_000

/** Open feeds by state; null while the objects that count them cannot be reached. */
type FeedCounts = { open: number; live: number; states: Partial<Record<FeedState | 'unknown', number>> } | null
type FeedProbe = { feeds: FeedCounts; products: ProductStatus[] }
/** `outbox`: changes not yet delivered to users' objects, with the time of the oldest; null unless requested. */
type DatabaseProbe = { ok: boolean; ms: number; jobs: StoredJobRun[]; outbox: Outbox | null }
type Outbox = { rows: number; since: string | null }

/** Shows the oldest change to the minute only: its exact time is when a user wrote something, which is private. */
const truncateToMinute = ({ rows, since }: Outbox): Outbox => ({ rows, since: since && `${since.slice(0, 16)}:00Z` })

const probe = <T>(response: Promise<T>): Promise<T> => pTimeout(response, { milliseconds: PROBE_TIMEOUT_MS })

async function probeDatabase(env: Env, verbose: boolean): Promise<DatabaseProbe> {
  const startedAt = Date.now()
  try {
    const rows = await probe(
      withLiveDatabase(env, async (sql) => {
        const [jobs, outbox] = await Promise.all([readJobRuns(sql), verbose ? readOutboxLength(sql) : null])
        return { jobs, outbox }
      }),
    )
    return { ok: true, ms: Date.now() - startedAt, ...rows }
  } catch (error) {
    log('health_database_down', { error: String(error) })
    return { ok: false, ms: Date.now() - startedAt, jobs: [], outbox: null }
  }
}

async function probeFeeds(env: Env): Promise<FeedProbe> {
  try {
    const leases = await probe(feedSlots(env).open(Date.now()))
    const results = await Promise.allSettled(leases.map(({ product }) => probe(productCandles(env, product).status())))
    const states: Partial<Record<FeedState | 'unknown', number>> = {}
    let open = 0
    for (const result of results) {
      const state = result.status === 'fulfilled' ? result.value.feed.state : 'unknown'
      // The lease of an object that died without a viewer outlives its feed by two minutes.
      if (state === 'closed') continue
      open++
      states[state] = (states[state] ?? 0) + 1
    }
    const products = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    return { feeds: { open, live: states.live ?? 0, states }, products }
  } catch (error) {
    log('health_feeds_down', { error: String(error) })
    return { feeds: null, products: [] }
  }
}

/** The status of the quote boards and the providers, without those that do not respond. */
async function probeQuotes(env: Env): Promise<{ boards: QuoteBoardStatus[]; providers: ProviderLimit[] }> {
  const shards = Array.from({ length: readSettings(env).QUOTE_SHARDS }, (_, shard) => quoteBoard(env, shard))
  const [boards, providers] = await Promise.all([
    Promise.allSettled(shards.map((board) => probe(board.status()))),
    probe(providerGate(env).limits()).catch((error: unknown): ProviderLimit[] => {
      log('health_providers_down', { error: String(error) })
      return []
    }),
  ])
  return { boards: boards.flatMap((board) => (board.status === 'fulfilled' ? [board.value] : [])), providers }
}

/** True for a job without a success in twice its period and a minute (cron may be late), or without any. `now` in Unix milliseconds. */
export const isOverdue = ({ ok_at, period_seconds }: StoredJobRun, now: number): boolean =>
  ok_at === null || now - Date.parse(ok_at) > (2 * period_seconds + 60) * 1_000

/**
 * `GET /health`: 200 while Kerb can serve something, 503 when both the feeds and the database are down. No open feed is
 * fine: without a viewer none is needed. `verbose` adds the status of each product, quote board, provider and job, and the
 * length of the portfolio outbox.
 */
export const healthRoutes = new Hono<AppEnv>().get('/health', async (c) => {
  const { EXCHANGE, VERSION } = readSettings(c.env)
  const verbose = c.req.query('verbose') !== undefined
  const parts = [probeFeeds(c.env), probeDatabase(c.env, verbose), probeQuotes(c.env)] as const
  const [{ feeds: feed, products }, { jobs, outbox, ...database }, { boards, providers }] = await Promise.all(parts)
  const now = Date.now()
  const jobs_overdue = jobs.filter((job) => isOverdue(job, now)).map(({ job }) => job)
  const providers_down = providers.filter(({ breaker }) => breaker !== 'closed').map(({ provider }) => provider)
  const isFeedDown = feed === null || (feed.open > 0 && feed.live === 0)
  const isOk =
    database.ok && feed !== null && feed.live === feed.open && jobs_overdue.length === 0 && providers_down.length === 0
  const status = isOk ? 'ok' : 'degraded'
  const summary = { status, version: VERSION, exchange: EXCHANGE, feed, database, jobs_overdue, providers_down }
  const body = verbose
    ? { ...summary, products, jobs, boards, providers, portfolio_outbox: outbox && truncateToMinute(outbox) }
    : summary
  return c.json(body, isFeedDown && !database.ok ? 503 : 200, { 'cache-control': 'no-store' })
})

const verboseList = (shape: z.ZodRawShape, content: string) =>
  z
    .array(z.looseObject(shape))
    .optional()
    .meta({ description: `With verbose: ${content}` })

const healthResponseSchema = z.object({
  status: z.enum(['ok', 'degraded']),
  version: z.string(),
  exchange: z.string(),
  feed: z
    .object({ open: z.int(), live: z.int(), states: z.record(z.string(), z.int()) })
    .nullable()
    .meta({ description: 'Open feeds by state; null while they cannot be counted' }),
  database: z.object({ ok: z.boolean(), ms: z.number() }),
  jobs_overdue: z.array(z.string()).meta({ description: 'Scheduled jobs that are late' }),
  providers_down: z.array(z.string()).meta({ description: 'Quote providers with an open circuit breaker' }),
  products: verboseList({ product_id: z.string() }, 'the status of each product with an open feed'),
  jobs: verboseList({ job: z.string() }, 'the last run of each job'),
  boards: verboseList({ since: z.int() }, 'the status of each quote board'),
  providers: verboseList({ provider: z.string() }, 'the rate limit and circuit breaker of each quote provider'),
  portfolio_outbox: z.object({ rows: z.int(), since: z.string().nullable() }).nullable().optional().meta({
    description: 'With verbose: changes not yet delivered to users’ portfolios; null while they cannot be counted',
  }),
})

export const HEALTH_OPERATIONS: Operations = {
  'get /health': operation('Operation', 'getHealth', {
    summary: 'Status of the feeds, the database, the jobs and the providers',
    query: z.object({ verbose: z.string().optional() }),
    responses: {
      ...response(200, 'Kerb can serve something', healthResponseSchema),
      ...response(503, 'The feeds and the database are down', healthResponseSchema),
    },
    errors: [],
  }),
}
