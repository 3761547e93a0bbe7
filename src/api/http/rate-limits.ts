import type { Context, MiddlewareHandler } from 'hono'
import { sha256 } from '../../auth/digest.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from './context.ts'

/** Period of the rate limits in wrangler.toml, in seconds: after it a client can try again. */
const PERIOD_S = 60

/** The client's address as Cloudflare tells it; a request that came by no network has none. */
export const clientAddress = (c: Context<AppEnv>): string => c.req.header('cf-connecting-ip') ?? 'local'

/** Brakes a client that asks too often. @throws CodedError `too_many_requests` */
export const requestLimit: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { success } = await c.env.REQUEST_LIMIT.limit({ key: clientAddress(c) })
  if (!success)
    throw new CodedError('too_many_requests', 'too many requests from this address', { retryAfter: PERIOD_S })
  await next()
}

/** Brakes a client that opens sockets or streams too often. @throws CodedError `too_many_sockets` */
export const socketLimit: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { success } = await c.env.SOCKET_LIMIT.limit({ key: clientAddress(c) })
  if (!success)
    throw new CodedError('too_many_sockets', 'too many sockets and streams from this address', { retryAfter: PERIOD_S })
  await next()
}

/** Whether a client may have the providers asked about one more symbol that nobody knows yet. */
export const isLookupAllowed = async (c: Context<AppEnv>): Promise<boolean> =>
  (await c.env.LOOKUP_LIMIT.limit({ key: clientAddress(c) })).success

/** What a client is told that has asked for too many of them. */
export const lookupLimitError = (): CodedError =>
  new CodedError('too_many_requests', 'too many symbols from this address that are not known yet', {
    retryAfter: PERIOD_S,
  })

/** Brakes a client that tries to sign up, to sign in or to set passwords too often. @throws CodedError `too_many_requests` */
export const authLimit: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { success } = await c.env.AUTH_LIMIT.limit({ key: clientAddress(c) })
  if (!success)
    throw new CodedError('too_many_requests', 'too many attempts from this address', { retryAfter: PERIOD_S })
  await next()
}

/** Brakes attempts on one email, from wherever they come, known or not. @throws CodedError `too_many_requests` */
export async function checkEmailLimit(c: Context<AppEnv>, email: string): Promise<void> {
  const { success } = await c.env.EMAIL_LIMIT.limit({ key: await sha256(email) })
  if (!success) throw new CodedError('too_many_requests', 'too many attempts with this email', { retryAfter: PERIOD_S })
}
