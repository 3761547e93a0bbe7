import type { MiddlewareHandler } from 'hono'
import { cors as honoCors } from 'hono/cors'
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
