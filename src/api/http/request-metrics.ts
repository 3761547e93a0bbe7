import type { MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import { log } from '../../log.ts'
import { meter, type RouteCount } from '../../objects.ts'
import { perEnv } from '../../per-env.ts'
import type { AppEnv } from './context.ts'

/** An isolate sends its counts to the Meter object at most this often. */
const SEND_INTERVAL_MS = 10_000
/** Most combinations of route, method and status class that an isolate counts; there are far fewer. */
const MAX_COUNTS = 500
/** Other methods are counted as `other`: a client may send any text. */
const COUNTED_METHODS = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'PATCH', 'DELETE'])
const STATUS_CLASSES = ['0xx', '1xx', '2xx', '3xx', '4xx', '5xx']

const pendingCounts = perEnv((_: Env) => ({ counts: new Map<string, RouteCount>(), sentAt: 0 }))

/** Counts responses by route pattern, with the time until the first byte was ready. */
export const requestMetrics = (): MiddlewareHandler<AppEnv> =>
  async function requestMetrics(c, next) {
    const startedAt = Date.now()
    await next()
    const now = Date.now()
    // The handler that responded; an unknown path ends in a middleware.
    const handler = matchedRoutes(c)[c.req.routeIndex]
    const route = handler === undefined || handler.path.endsWith('*') ? 'none' : handler.path
    const method = COUNTED_METHODS.has(c.req.method) ? c.req.method : 'other'
    const status = STATUS_CLASSES[Math.floor(c.res.status / 100)] ?? 'other'
    const pending = pendingCounts(c.env)
    const key = `${method} ${status} ${route}`
    const entry = pending.counts.get(key)
    const ms = now - startedAt
    if (entry) {
      entry.count++
      entry.ms += ms
      if (ms > entry.max_ms) entry.max_ms = ms
    } else if (pending.counts.size < MAX_COUNTS)
      pending.counts.set(key, { route, method, status, count: 1, ms, max_ms: ms })
    if (now - pending.sentAt < SEND_INTERVAL_MS) return
    const counts = [...pending.counts.values()]
    pending.counts.clear()
    pending.sentAt = now
    c.executionCtx.waitUntil(sendCounts(c.env, counts))
  }

/** Counts that cannot be sent are lost: metrics are not worth a client's time or unbounded memory. */
async function sendCounts(env: Env, counts: RouteCount[]): Promise<void> {
  try {
    await meter(env).add(counts)
  } catch (error) {
    log('meter_unreachable', { counts: counts.length, error: String(error) })
  }
}
