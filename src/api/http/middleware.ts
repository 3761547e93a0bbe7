import type { MiddlewareHandler } from 'hono'
import { cors as honoCors } from 'hono/cors'
import { readSettings } from '../../config.ts'
import { RequestDatabase } from '../../db/client.ts'
import { errorText, log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

/**
 * Allows pages of every origin, without credentials. Preflight requests are handled by Hono's middleware. For the others
 * the headers are set after the handler: a response that finds headers set before it is copied, which costs more than most
 * handlers do.
 */
export function cors(allowMethods: string[], allowHeaders: string[]): MiddlewareHandler<AppEnv> {
  const preflight = honoCors({ origin: '*', allowMethods, allowHeaders, maxAge: 86_400 })
  return async function cors(c, next) {
    if (c.req.method === 'OPTIONS') return preflight(c, next)
    await next()
    c.res.headers.set('access-control-allow-origin', '*')
    c.res.headers.set('access-control-expose-headers', 'etag,location,retry-after')
  }
}

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

/** Sets the request's database and closes it with the response. What a stream sends afterwards comes from objects. */
export const requestDatabase = (): MiddlewareHandler<AppEnv> =>
  async function requestDatabase(c, next) {
    const db = new RequestDatabase(c.env)
    c.set('db', db)
    try {
      await next()
    } finally {
      await db.close()
    }
  }

/** Refuses every request while settings are invalid. Which ones is only in the log: their values are not for clients. */
export const requireSettings = (): MiddlewareHandler<AppEnv> =>
  async function requireSettings(c, next) {
    try {
      readSettings(c.env)
    } catch (error) {
      log('settings_invalid', { error: errorText(error) })
      throw new CodedError('internal', 'The server is misconfigured; see its log.')
    }
    await next()
  }
