import type { Context, MiddlewareHandler } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Session } from '../../auth/issuer.ts'
import type { RejectionReason, User, VerificationResult } from '../../auth/verifier.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { getVerifier, publicOrigin, unwrap, withIssuer } from './accounts.ts'

/**
 * The tokens as a browser keeps them: no script reads them, no other site's page sends them along with what it writes,
 * no other host of the domain can set them (`__Host-`).
 */
const ACCESS_COOKIE = 'kerb_access'
const REFRESH_COOKIE = 'kerb_refresh'
const COOKIE_OPTIONS = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax', prefix: 'host' } as const

/** Has the browser keep the tokens of a session. */
export function setSessionCookies(c: Context<AppEnv>, session: Session): void {
  setCookie(c, ACCESS_COOKIE, session.accessToken, { ...COOKIE_OPTIONS, maxAge: session.expiresIn })
  setCookie(c, REFRESH_COOKIE, session.refreshToken, { ...COOKIE_OPTIONS, maxAge: session.refreshSeconds })
}

/** Has the browser forget them. */
export function clearSessionCookies(c: Context<AppEnv>): void {
  deleteCookie(c, ACCESS_COOKIE, COOKIE_OPTIONS)
  deleteCookie(c, REFRESH_COOKIE, COOKIE_OPTIONS)
}

/** The tokens that a browser has sent by itself. */
export const readSessionCookies = (c: Context<AppEnv>): { access: string | null; refresh: string | null } => ({
  access: getCookie(c, ACCESS_COOKIE, 'host') ?? null,
  refresh: getCookie(c, REFRESH_COOKIE, 'host') ?? null,
})

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses what the page of another site writes: with the cookies of its visitor, or to sign the visitor in as somebody
 * else. A browser tells where a write comes from; a program that sends cookies has to, by `Origin`.
 * @throws CodedError `forbidden`
 */
export const requireSameOrigin: MiddlewareHandler<AppEnv> = async (c, next) => {
  checkOrigin(c)
  await next()
}

function checkOrigin(c: Context<AppEnv>): void {
  if (SAFE_METHODS.has(c.req.method)) return
  const origin = c.req.header('origin')
  const site = c.req.header('sec-fetch-site')
  const { access, refresh } = readSessionCookies(c)
  const own =
    origin !== undefined
      ? origin === publicOrigin(c)
      : site !== undefined
        ? site === 'same-origin'
        : access === null && refresh === null
  if (!own) throw new CodedError('forbidden', 'pages of other sites may not write here; a program sends Origin')
}

const REFUSAL_MESSAGES: Partial<Record<RejectionReason, string>> = {
  expired: 'the token is over',
  not_yet_valid: 'the token is not valid yet',
}

/** @throws CodedError `unavailable` when nothing can be said of the token */
function throwIfUnverifiable(verdict: VerificationResult): VerificationResult {
  if (!verdict.ok && verdict.reason === 'keys_unavailable')
    throw new CodedError('unavailable', 'tokens cannot be checked at the moment', { retryAfter: 5 })
  return verdict
}

const verifyToken = async (c: Context<AppEnv>, token: string): Promise<VerificationResult> =>
  throwIfUnverifiable(await getVerifier(c.env).verify(token, Date.now()))

/** Who asks, and how that is known. `until` is when it is over (unix milliseconds). */
export type UserSession = {
  user: User
  expiresAt: number
  access: string
  refresh: string | null
  by: 'bearer' | 'cookies'
}

const toUserSession = (
  verdict: VerificationResult & { ok: true },
  tokens: Pick<UserSession, 'access' | 'refresh' | 'by'>,
): UserSession => ({
  user: verdict.user,
  expiresAt: verdict.expiresAt,
  ...tokens,
})

/**
 * The session of the browser's cookies, whose access token is renewed where it is over; null where there is none.
 * @throws CodedError as `currentSession` does
 */
export async function cookieSession(c: Context<AppEnv>): Promise<UserSession | null> {
  const { access, refresh } = readSessionCookies(c)
  if (access === null && refresh === null) return null
  checkOrigin(c)
  const verdict = access === null ? null : await verifyToken(c, access)
  if (access !== null && verdict?.ok) return toUserSession(verdict, { access, refresh, by: 'cookies' })
  const renewed = refresh === null ? null : await withIssuer(c, (issuer) => issuer.refresh(refresh))
  if (renewed === null || (!renewed.ok && renewed.reason === 'session_expired')) {
    clearSessionCookies(c)
    return null
  }
  const session = unwrap(renewed)
  const again = await verifyToken(c, session.accessToken)
  if (!again.ok) return null
  setSessionCookies(c, session)
  return toUserSession(again, { access: session.accessToken, refresh: session.refreshToken, by: 'cookies' })
}

/**
 * The session of who asks: by the bearer token, or else by the browser's cookies, whose access token is renewed where it
 * is over. Null for somebody who is not signed in.
 * @throws CodedError `unauthorized` for a bearer token that is refused, `forbidden` for another site's write with cookies,
 *   `unavailable` while tokens cannot be checked or renewed
 */
export async function currentSession(c: Context<AppEnv>): Promise<UserSession | null> {
  const authorization = c.req.header('authorization')
  if (authorization === undefined) return cookieSession(c)
  const [, token] = /^Bearer +([^\s]+)$/i.exec(authorization) ?? []
  const verdict = token === undefined ? null : await verifyToken(c, token)
  if (token !== undefined && verdict?.ok) return toUserSession(verdict, { access: token, refresh: null, by: 'bearer' })
  throw new CodedError(
    'unauthorized',
    (verdict?.ok === false && REFUSAL_MESSAGES[verdict.reason]) || 'the token is not valid here',
  )
}

/** Who asks, or null. @throws CodedError as `currentSession` does */
export const currentUser = async (c: Context<AppEnv>): Promise<User | null> => (await currentSession(c))?.user ?? null

/** The session of who asks. @throws CodedError `unauthorized` for somebody who is not signed in, and as `currentSession` does */
export async function requiredSession(c: Context<AppEnv>): Promise<UserSession> {
  const session = await currentSession(c)
  if (session === null) throw new CodedError('unauthorized', 'sign in first')
  return session
}

/** Lets nobody pass who is not signed in; the route finds them as `c.var.user`. @throws CodedError `unauthorized`, … */
export const requireUser: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.set('user', (await requiredSession(c)).user)
  await next()
}
