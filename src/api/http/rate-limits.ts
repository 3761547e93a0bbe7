import type { MiddlewareHandler } from 'hono'
import { sha256 } from '../../auth/digest.ts'
import { CodedError, type ErrorCode } from '../../protocol/errors.ts'
import { type AppEnv, clientAddress, type LookupScope } from './context.ts'

/** Period of the rate limits in wrangler.toml, in seconds: `Retry-After` of a client over a limit. */
const PERIOD_S = 60

/** Rate limits by client address, by their names in wrangler.toml. */
const CLIENT_LIMITS = {
  REQUEST_LIMIT: ['too_many_requests', 'Too many requests from this address. Try again in a minute.'],
  SOCKET_LIMIT: ['too_many_sockets', 'Too many sockets and streams from this address. Try again in a minute.'],
  AUTH_LIMIT: ['too_many_requests', 'Too many attempts from this address. Try again in a minute.'],
} as const satisfies Record<string, readonly [ErrorCode, string]>

const limitError = (code: ErrorCode, message: string): CodedError =>
  new CodedError(code, message, { retryAfter: PERIOD_S })

/** Refuses a client over this rate limit with `too_many_requests` or `too_many_sockets`. */
export const rateLimit = (name: keyof typeof CLIENT_LIMITS): MiddlewareHandler<AppEnv> =>
  async function rateLimit(c, next) {
    const { success } = await c.env[name].limit({ key: clientAddress(c) })
    const [code, message] = CLIENT_LIMITS[name]
    if (!success) throw limitError(code, message)
    await next()
  }

/** Counts one request to the providers about an unknown symbol; false if the client is over its rate limit. */
export const isLookupAllowed = async ({ env, client }: LookupScope): Promise<boolean> =>
  (await env.LOOKUP_LIMIT.limit({ key: client })).success

export const lookupLimitError = (): CodedError =>
  limitError('too_many_requests', 'Too many unknown symbols from this address. Try again in a minute.')

/** Limits attempts on one email address, known or not, whoever makes them. @throws CodedError `too_many_requests` */
export async function checkEmailLimit(env: Env, email: string): Promise<void> {
  const { success } = await env.EMAIL_LIMIT.limit({ key: await sha256(email) })
  if (!success) throw limitError('too_many_requests', 'Too many attempts with this email. Try again in a minute.')
}
