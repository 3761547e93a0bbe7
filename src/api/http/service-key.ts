import type { Context, MiddlewareHandler } from 'hono'
import { readSettings } from '../../config.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

const digest = (text: string): Promise<ArrayBuffer> => crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))

/**
 * True if the request has the current or the previous service key as its bearer token; always false where no key is set.
 * The comparison takes the same time for every token: it compares digests, and both keys.
 */
export async function isServiceKey(c: Context<AppEnv>): Promise<boolean> {
  const { SUPABASE_SERVICE_ROLE_KEY, SUPABASE_SERVICE_ROLE_KEY_PREVIOUS } = readSettings(c.env)
  const [, token] = /^Bearer +([^\s]+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  const given = await digest(token ?? '')
  let matches = false
  for (const key of [SUPABASE_SERVICE_ROLE_KEY, SUPABASE_SERVICE_ROLE_KEY_PREVIOUS])
    if (key !== undefined && crypto.subtle.timingSafeEqual(given, await digest(key))) matches = true
  return token !== undefined && matches
}

/** Refuses a request without the service key with `unauthorized`. */
export const requireServiceKey = (): MiddlewareHandler<AppEnv> =>
  async function requireServiceKey(c, next) {
    if (!(await isServiceKey(c)))
      throw new CodedError('unauthorized', 'This endpoint requires the service key as a bearer token.')
    await next()
  }
