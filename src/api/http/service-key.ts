import type { Context, MiddlewareHandler } from 'hono'
import { readSettings } from '../../config.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

const digest = (text: string): Promise<ArrayBuffer> => crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))

/**
 * Whether who asks brings the service key as a bearer: the present one, or the one before it. How long the comparison
 * takes tells nothing of a key: digests of one length are compared, all of them. Never where no key is set.
 */
export async function isServiceKey(c: Context<AppEnv>): Promise<boolean> {
  const { SUPABASE_SERVICE_ROLE_KEY, SUPABASE_SERVICE_ROLE_KEY_PREVIOUS } = readSettings(c.env)
  const [, token] = /^Bearer +([^\s]+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  const given = await digest(token ?? '')
  let right = false
  for (const key of [SUPABASE_SERVICE_ROLE_KEY, SUPABASE_SERVICE_ROLE_KEY_PREVIOUS])
    if (key !== undefined && crypto.subtle.timingSafeEqual(given, await digest(key))) right = true
  return token !== undefined && right
}

/** Lets nobody pass but who brings the service key. @throws CodedError `unauthorized` */
export const requireServiceKey: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (!(await isServiceKey(c))) throw new CodedError('unauthorized', 'this takes the service key as a bearer')
  await next()
}
