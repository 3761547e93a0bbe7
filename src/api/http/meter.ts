import type { MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import { log } from '../../log.ts'
import { meter, type RouteCount } from '../../objects.ts'
import type { AppEnv } from './context.ts'

/** The isolate's counts go to the object that gathers them this often at most, milliseconds. */
const SEND_INTERVAL_MS = 10_000
/** Routes times methods times status classes: there are far fewer, unless something is wrong. */
const MAX_COUNTS = 500
/** Methods as they are counted; any other is `other`, since a client may write what it likes. */
const COUNTED_METHODS = new Set(['GET', 'HEAD', 'POST', 'OPTIONS', 'PUT', 'PATCH', 'DELETE'])
const STATUS_CLASSES = ['0xx', '1xx', '2xx', '3xx', '4xx', '5xx']

let routeCounts = new Map<string, RouteCount>()
let sentAt = 0

/** Counts every answer by its route's pattern, and how long it took until its first byte was ready. */
export const requestMetrics: MiddlewareHandler<AppEnv> = async (c, next) => {
  const began = Date.now()
  await next()
  const now = Date.now()
  // The handler that answered; an address that is none ends in the middleware.
  const answered = matchedRoutes(c)[c.req.routeIndex]
  const route = answered === undefined || answered.path.endsWith('*') ? 'none' : answered.path
  const method = COUNTED_METHODS.has(c.req.method) ? c.req.method : 'other'
  const status = STATUS_CLASSES[Math.floor(c.res.status / 100)] ?? 'other'
  const key = `${method} ${status} ${route}`
  const known = routeCounts.get(key)
  const ms = now - began
  if (known) {
    known.count++
    known.ms += ms
    if (ms > known.max_ms) known.max_ms = ms
  } else if (routeCounts.size < MAX_COUNTS) routeCounts.set(key, { route, method, status, count: 1, ms, max_ms: ms })
  if (now - sentAt < SEND_INTERVAL_MS) return
  sentAt = now
  c.executionCtx.waitUntil(sendCounts(c.env))
}

/** What cannot be sent is lost: metrics are not worth a client's time, nor memory without end. */
async function sendCounts(env: Env): Promise<void> {
  const sent = [...routeCounts.values()]
  routeCounts = new Map()
  try {
    await meter(env).add(sent)
  } catch (error) {
    log('meter_unreachable', { counts: sent.length, error: String(error) })
  }
}
