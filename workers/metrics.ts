import { feedSlots, productCandles } from '../durable-objects/stubs.ts'
import { settings } from '../src/config.ts'
import { withLiveDatabase } from '../src/db/client.ts'
import { insertMetrics, type Metric } from '../src/db/metrics.ts'
import type { ProductStatus } from '../src/protocol/product.ts'

/** Stores what the objects with an open feed count. Others are not asked: that would wake them. */
export async function recordMetrics(env: Env, now: number): Promise<Record<string, unknown>> {
  const { EXCHANGE } = settings(env)
  const open = await feedSlots(env).open(now)
  const answers = await Promise.allSettled(open.map(({ product }) => productCandles(env, product).status()))
  const statuses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  const metrics = [
    { metric_name: 'feeds_open', value: open.length, labels: { exchange: EXCHANGE } },
    ...statuses.flatMap(metricsOf),
  ]
  await withLiveDatabase(env, (sql) => insertMetrics(sql, metrics, now))
  return { products: statuses.length, unanswered: answers.length - statuses.length, metrics: metrics.length }
}

/** What one object says of itself as figures: values of the moment, and counts since it started. */
export function metricsOf(status: ProductStatus): Metric[] {
  const { exchange, product_id, counters, feed, trades } = status
  const place = { exchange, product_id }
  const since = new Date(counters.since).toISOString()
  const gauge = (metric_name: string, value: number): Metric => ({ metric_name, value, labels: place })
  const total = (metric_name: string, value: number, more: Record<string, string> = {}): Metric => ({
    metric_name,
    value,
    labels: { ...place, since, ...more },
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
    total('feed_holes_total', counters.holes),
    ...byLabel('feed_dropped_total', 'reason', status.dropped),
    ...byLabel('feed_reconnects_total', 'reason', counters.reconnects),
    ...byLabel('feed_refused_total', 'by', counters.refused),
    ...byLabel('trades_total', 'source', trades),
    total('backfill_pages_total', counters.backfill.pages),
    total('backfill_refused_total', counters.backfill.refused),
    total('reconciliations_total', counters.reconciliations),
    total('conflations_total', counters.conflations),
    ...byLabel('readers_closed_total', 'reason', counters.closedReaders),
  ]
}
