import type { MiddlewareHandler } from 'hono'
import { log } from '../../log.ts'
import type { AppEnv } from './context.ts'

/** Logs each request without its query, which may contain secrets. A stream is logged when it starts. */
export const requestLog = (): MiddlewareHandler<AppEnv> =>
  async function requestLog(c, next) {
    const startedAt = Date.now()
    await next()
    log('request', {
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      ms: Date.now() - startedAt,
      request_id: c.var.requestId,
    })
  }
