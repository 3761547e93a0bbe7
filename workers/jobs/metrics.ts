import { readSettings } from '../../src/config.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { readJobRuns, type StoredJobRun } from '../../src/db/jobs.ts'
import { insertMetrics, type Metric, readDatabaseBytes } from '../../src/db/metrics.ts'
import {
  feedSlots,
  meter,
  productCandles,
  providerGate,
  type QuoteBoardStatus,
  quoteBoard,
  type RouteCount,
} from '../../src/objects.ts'
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
      { metric_name: 'feeds_open', value: open.length, labels: { exchange: EXCHANGE } },
      { metric_name: 'database_bytes', value: await readDatabaseBytes(sql), labels: {} },
      ...statuses.flatMap(productMetrics),
      ...boards.flatMap((board, shard) => (board.status === 'fulfilled' ? boardMetrics(board.value, shard) : [])),
      ...(limits ?? []).flatMap(providerMetrics),
      ...(routes ?? []).flatMap(routeMetrics),
      ...(await readJobRuns(sql)).map((job) => jobMetric(job, now)),
    ]
    await insertMetrics(sql, metrics, now)
    return metrics.length
  })
  return { products: statuses.length, unanswered: answers.length - statuses.length, metrics: written }
}

const fulfilled = <T>(answers: readonly PromiseSettledResult<T>[]): T[] =>
  answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))

/** Metrics of a quote board: freshness, lookups by layer, writes and connections. */
export function boardMetrics(board: QuoteBoardStatus, shard: number): Metric[] {
  const labels = { shard: String(shard) }
  const since = new Date(board.since).toISOString()
  const lookups = Object.entries(board.looks)
  const lookupCount = lookups.reduce((sum, [, count]) => sum + count, 0)
  const gauge = (metric_name: string, value: number, more = {}): Metric => {
    return { metric_name, value, labels: { ...labels, ...more } }
  }
  const total = (metric_name: string, value: number, more = {}): Metric => {
    return { metric_name, value, labels: { ...labels, since, ...more } }
  }
  return [
    gauge('price_refresh_lag_ms', board.lagMs),
    gauge('price_refresh_assets', board.assets),
    total('price_refresh_beats_total', board.beats),
    total('price_refresh_quotes_total', board.refreshed),
    total('price_refresh_failed_total', board.failed),
    gauge('quotes_cached', board.quotes),
    gauge('quote_viewers', board.watchers),
    gauge('quote_flush_queue_depth', board.unflushed),
    total('quote_flush_failures_total', board.flushFailures),
    total('quote_conflations_total', board.conflations),
    total('quote_connections_closed_total', board.closedReaders.slow, { reason: 'slow' }),
    total('quote_connections_closed_total', board.closedReaders.silent, { reason: 'silent' }),
    ...lookups.map(([layer, count]) => total('quote_lookups_total', count, { layer })),
    ...lookups.map(([layer, count]) => gauge('quote_hit_rate', lookupCount === 0 ? 0 : count / lookupCount, { layer })),
  ]
}

/** Metrics of a provider: requests, refusals by it or its rate limit, and its circuit breaker. */
export function providerMetrics(limit: ProviderLimit): Metric[] {
  const { provider } = limit
  const labels = { provider, since: new Date(limit.since).toISOString() }
  return [
    { metric_name: 'provider_requests_total', value: limit.requests_total, labels },
    { metric_name: 'provider_refused_total', value: limit.refused_total, labels },
    { metric_name: 'provider_rate_limited_total', value: limit.rate_limited_total, labels },
    { metric_name: 'provider_rate_limit_used', value: limit.used, labels: { provider } },
    { metric_name: 'provider_up', value: limit.breaker === 'closed' ? 1 : 0, labels: { provider } },
  ]
}

/** Metrics of a route in the last minute: requests, and their average and longest duration. */
export function routeMetrics({ route, method, status, count, ms, max_ms }: RouteCount): Metric[] {
  const labels = { route, method, status }
  return [
    { metric_name: 'http_requests', value: count, labels },
    { metric_name: 'http_latency_ms', value: count === 0 ? 0 : ms / count, labels },
    { metric_name: 'http_latency_max_ms', value: max_ms, labels },
  ]
}

/** Seconds since the last success of a job; -1 for never. */
export function jobMetric({ job, period_seconds, ok_at }: StoredJobRun, now: number): Metric {
  const value = ok_at === null ? -1 : (now - Date.parse(ok_at)) / 1_000
  return { metric_name: 'job_age_seconds', value, labels: { job, period_seconds: String(period_seconds) } }
}

/** Metrics of a product: current values, and counts since its object started. */
export function productMetrics(status: ProductStatus): Metric[] {
  const { exchange, product_id, counters, feed, trades } = status
  const labels = { exchange, product_id }
  const since = new Date(counters.since).toISOString()
  const gauge = (metric_name: string, value: number): Metric => ({ metric_name, value, labels })
  const total = (metric_name: string, value: number, more: Record<string, string> = {}): Metric => ({
    metric_name,
    value,
    labels: { ...labels, since, ...more },
  })
  const byLabel = (name: string, label: string, counts: Record<string, number>): Metric[] =>
    Object.entries(counts).map(([key, count]) => total(name, count, { [label]: key }))
  return [
    gauge('feed_live', feed.state === 'live' ? 1 : 0),
    gauge('viewers', status.viewers),
    gauge('sockets', counters.sockets),
    gauge('flush_queue_depth', status.unflushed),
    total('flush_failures_total', status.flushFailures),
    total('feed_messages_total', counters.messages),
    total('feed_sequence_gaps_total', counters.holes),
    ...byLabel('feed_dropped_total', 'reason', status.dropped),
    ...byLabel('feed_reconnects_total', 'reason', counters.reconnects),
    ...byLabel('feed_refused_total', 'by', counters.refused),
    ...byLabel('trades_total', 'source', trades),
    total('backfill_pages_total', counters.backfill.pages),
    total('backfill_refused_total', counters.backfill.refused),
    total('reconciliations_total', counters.reconciliations),
    total('conflations_total', counters.conflations),
    ...byLabel('connections_closed_total', 'reason', counters.closedReaders),
  ]
}
