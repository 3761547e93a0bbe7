import { readSettings } from '../../src/config.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { readJobRuns, type StoredJobRun } from '../../src/db/jobs.ts'
import { insertMetrics, type Metric, readDatabaseBytes } from '../../src/db/metrics.ts'
import type { QuoteBoardStatus, RouteCount } from '../../src/objects.ts'
import { feedSlots, meter, productCandles, providerGate, quoteBoard } from '../../src/objects.ts'
import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { ProductStatus } from '../../src/protocol/product.ts'

/**
 * Stores the metrics of the objects with an open feed (others are not asked: that would wake them), the quote boards, the
 * providers, the HTTP routes, the database and the jobs.
 */
export async function recordMetrics(env: Env, now: number): Promise<Record<string, unknown>> {
  const { EXCHANGE, QUOTE_SHARDS } = readSettings(env)
  const open = await feedSlots(env).open(now)
  const answers = await Promise.allSettled(open.map(({ product }) => productCandles(env, product).status()))
  const statuses = fulfilled(answers)
  const shards = Array.from({ length: QUOTE_SHARDS }, (_, shard) => quoteBoard(env, shard).status())
  const boards = await Promise.allSettled(shards)
  const [limits] = fulfilled(await Promise.allSettled([providerGate(env).limits()]))
  const [routes] = fulfilled(await Promise.allSettled([meter(env).drain()]))
  const written = await withLiveDatabase(env, async (sql) => {
    const metrics = [
      ...metricsOf({ exchange: EXCHANGE }, { feeds_open: open.length }),
      ...metricsOf({}, { database_bytes: await readDatabaseBytes(sql) }),
      ...statuses.flatMap(productMetrics),
      ...boards.flatMap((board, shard) => (board.status === 'fulfilled' ? boardMetrics(board.value, shard) : [])),
      ...(limits ?? []).flatMap(providerMetrics),
      ...(routes ?? []).flatMap(routeMetrics),
      ...(await readJobRuns(sql)).flatMap((job) => jobMetrics(job, now)),
    ]
    await insertMetrics(sql, metrics, now)
    return metrics.length
  })
  return { products: statuses.length, unanswered: answers.length - statuses.length, metrics: written }
}

const fulfilled = <T>(answers: readonly PromiseSettledResult<T>[]): T[] =>
  answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))

type Labels = Readonly<Record<string, string>>

/** Metrics with the same labels, from their values by name. */
const metricsOf = (labels: Labels, values: Readonly<Record<string, number>>): Metric[] =>
  Object.entries(values).map(([metric_name, value]) => ({ metric_name, value, labels }))

/** One metric in parts: a value for each value of the label `by`. */
const metricsBy = (
  by: string,
  labels: Labels,
  metric_name: string,
  values: Readonly<Record<string, number>>,
): Metric[] => Object.entries(values).map(([key, value]) => ({ metric_name, value, labels: { ...labels, [by]: key } }))

/** The label of a count: the time of its start, unix milliseconds, as RFC 3339. */
const countedSince = (since: number): Labels => ({ since: new Date(since).toISOString() })

/** Metrics of a quote board: freshness, lookups by layer, writes and connections. */
function boardMetrics(board: QuoteBoardStatus, shard: number): Metric[] {
  const labels = { shard: String(shard) }
  const counted = { ...labels, ...countedSince(board.since) }
  const lookups = Object.values(board.looks).reduce((sum, count) => sum + count, 0)
  const rates = Object.entries(board.looks).map(([layer, count]) => [layer, lookups === 0 ? 0 : count / lookups])
  return [
    ...metricsOf(labels, {
      price_refresh_lag_ms: board.lagMs,
      price_refresh_assets: board.assets,
      quotes_cached: board.quotes,
      quote_viewers: board.watchers,
      quote_flush_queue_depth: board.unflushed,
    }),
    ...metricsOf(counted, {
      price_refresh_beats_total: board.beats,
      price_refresh_quotes_total: board.refreshed,
      price_refresh_failed_total: board.failed,
      quote_flush_failures_total: board.flushFailures,
      quote_conflations_total: board.conflations,
    }),
    ...metricsBy('reason', counted, 'quote_connections_closed_total', board.closedReaders),
    ...metricsBy('layer', counted, 'quote_lookups_total', board.looks),
    ...metricsBy('layer', labels, 'quote_hit_rate', Object.fromEntries(rates)),
  ]
}

/** Metrics of a provider: requests, refusals by it or its rate limit, and its circuit breaker. */
const providerMetrics = ({ provider, since, breaker, ...limit }: ProviderLimit): Metric[] => [
  ...metricsOf({ provider }, { provider_rate_limit_used: limit.used, provider_up: breaker === 'closed' ? 1 : 0 }),
  ...metricsOf(
    { provider, ...countedSince(since) },
    {
      provider_requests_total: limit.requests_total,
      provider_refused_total: limit.refused_total,
      provider_rate_limited_total: limit.rate_limited_total,
    },
  ),
]

/** Metrics of a route in the last minute: requests, and their average and longest duration. */
const routeMetrics = ({ route, method, status, count, ms, max_ms }: RouteCount): Metric[] =>
  metricsOf(
    { route, method, status },
    { http_requests: count, http_latency_ms: count === 0 ? 0 : ms / count, http_latency_max_ms: max_ms },
  )

/** Seconds since the last success of a job; -1 for never. */
function jobMetrics({ job, period_seconds, ok_at }: StoredJobRun, now: number): Metric[] {
  const job_age_seconds = ok_at === null ? -1 : (now - Date.parse(ok_at)) / 1_000
  return metricsOf({ job, period_seconds: String(period_seconds) }, { job_age_seconds })
}

/** Metrics of a product: current values, and counts since its object started. */
function productMetrics({ exchange, product_id, counters, feed, ...status }: ProductStatus): Metric[] {
  const labels = { exchange, product_id }
  const counted = { ...labels, ...countedSince(counters.since) }
  return [
    ...metricsOf(labels, {
      feed_live: feed.state === 'live' ? 1 : 0,
      viewers: status.viewers,
      sockets: counters.sockets,
      flush_queue_depth: status.unflushed,
    }),
    ...metricsOf(counted, {
      flush_failures_total: status.flushFailures,
      feed_messages_total: counters.messages,
      feed_sequence_gaps_total: counters.holes,
      backfill_pages_total: counters.backfill.pages,
      backfill_refused_total: counters.backfill.refused,
      reconciliations_total: counters.reconciliations,
      conflations_total: counters.conflations,
    }),
    ...metricsBy('reason', counted, 'feed_dropped_total', status.dropped),
    ...metricsBy('reason', counted, 'feed_reconnects_total', counters.reconnects),
    ...metricsBy('by', counted, 'feed_refused_total', counters.refused),
    ...metricsBy('source', counted, 'trades_total', status.trades),
    ...metricsBy('reason', counted, 'connections_closed_total', counters.closedReaders),
  ]
}
