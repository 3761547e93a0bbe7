import type { Context, MiddlewareHandler } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'
import type { Session } from '../../auth/issuer.ts'
import type { RejectionReason, User, VerificationResult } from '../../auth/verifier.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { temporarilyUnavailable } from '../http/problems.ts'
import { accountScope, getVerifier, publicOrigin, unwrap, withIssuer } from './accounts.ts'

/**
 * The cookies of a session: no script can read them (`HttpOnly`), pages of other sites do not send them when they write
 * (`SameSite=Lax`), and no other host of the domain can set them (`__Host-`).
 */
const ACCESS_COOKIE = 'kerb_access'
const REFRESH_COOKIE = 'kerb_refresh'
const COOKIE_OPTIONS = { path: '/', secure: true, httpOnly: true, sameSite: 'Lax', prefix: 'host' } as const

/** The name that the cookie of the refresh token has in requests. */
export const SESSION_COOKIE_NAME = `__Host-${REFRESH_COOKIE}`

export function setSessionCookies(c: Context<AppEnv>, session: Session): void {
  setCookie(c, ACCESS_COOKIE, session.accessToken, { ...COOKIE_OPTIONS, maxAge: session.expiresIn })
  setCookie(c, REFRESH_COOKIE, session.refreshToken, { ...COOKIE_OPTIONS, maxAge: session.refreshSeconds })
}

export function clearSessionCookies(c: Context<AppEnv>): void {
  deleteCookie(c, ACCESS_COOKIE, COOKIE_OPTIONS)
  deleteCookie(c, REFRESH_COOKIE, COOKIE_OPTIONS)
}

/** The tokens in the request's cookies. */
export const readSessionCookies = (c: Context<AppEnv>): { access: string | null; refresh: string | null } => ({
  access: getCookie(c, ACCESS_COOKIE, 'host') ?? null,
  refresh: getCookie(c, REFRESH_COOKIE, 'host') ?? null,
})

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses writes by pages of other sites with `forbidden`: they could use the cookies of their visitor, or sign the visitor
 * in to another account. Browsers send `Origin` or `Sec-Fetch-Site`; a program that sends cookies must send `Origin`.
 * Hono's `csrf` checks form content types only; here cookies authorize JSON, too.
 */
export const requireSameOrigin = (): MiddlewareHandler<AppEnv> =>
  async function requireSameOrigin(c, next) {
    checkOrigin(c)
    await next()
  }

/** @throws CodedError `forbidden` */
function checkOrigin(c: Context<AppEnv>): void {
  if (SAFE_METHODS.has(c.req.method)) return
  const origin = c.req.header('origin')
  const site = c.req.header('sec-fetch-site')
  const { access, refresh } = readSessionCookies(c)
  const isOwn =
    origin !== undefined
      ? origin === publicOrigin(c)
      : site !== undefined
        ? site === 'same-origin'
        : access === null && refresh === null
  if (!isOwn)
    throw new CodedError(
      'forbidden',
      'Pages of other sites cannot write here. A program with cookies must send Origin.',
    )
}

const REJECTION_MESSAGES: Partial<Record<RejectionReason, string>> = {
  expired: 'The token has expired. Sign in again.',
  not_yet_valid: 'The token is not valid yet. Check the clock of its issuer.',
}

/** Verifies an access token. @throws CodedError `unavailable` while the keys cannot be read */
async function verifyToken(c: Context<AppEnv>, token: string): Promise<VerificationResult> {
  const result = await getVerifier(c.env).verify(token, Date.now(), c.var.db)
  if (!result.ok && result.reason === 'keys_unavailable') throw temporarilyUnavailable('Tokens cannot be verified')
  return result
}

/** A signed-in user with the tokens of the request. `expiresAt` in Unix milliseconds. */
export type UserSession = {
  user: User
  expiresAt: number
  access: string
  refresh: string | null
  by: 'bearer' | 'cookies'
}

const toUserSession = (
  { user, expiresAt }: VerificationResult & { ok: true },
  tokens: Pick<UserSession, 'access' | 'refresh' | 'by'>,
): UserSession => ({ user, expiresAt, ...tokens })

/**
 * The session of the request's cookies, with an expired access token renewed; null without a session.
 * @throws CodedError as `currentSession`
 */
export async function cookieSession(c: Context<AppEnv>): Promise<UserSession | null> {
  const { access, refresh } = readSessionCookies(c)
  if (access === null && refresh === null) return null
  checkOrigin(c)
  const verified = access === null ? null : await verifyToken(c, access)
  if (access !== null && verified?.ok) return toUserSession(verified, { access, refresh, by: 'cookies' })
  const renewed = refresh === null ? null : await withIssuer(accountScope(c), (issuer) => issuer.refresh(refresh))
  if (renewed === null || (!renewed.ok && renewed.reason === 'session_expired')) {
    clearSessionCookies(c)
    return null
  }
  const session = unwrap(renewed)
  const reverified = await verifyToken(c, session.accessToken)
  if (!reverified.ok) return null
  setSessionCookies(c, session)
  return toUserSession(reverified, { access: session.accessToken, refresh: session.refreshToken, by: 'cookies' })
}

/**
 * The session of a request, by its bearer token or else its cookies; null for a client that is not signed in.
 * @throws CodedError `unauthorized` for an invalid bearer token, `forbidden` for another site's write with cookies,
 *   `unavailable` while tokens cannot be verified or renewed
 */
export async function currentSession(c: Context<AppEnv>): Promise<UserSession | null> {
  const authorization = c.req.header('authorization')
  if (authorization === undefined) return cookieSession(c)
  const [, token] = /^Bearer +([^\s]+)$/i.exec(authorization) ?? []
  const result = token === undefined ? null : await verifyToken(c, token)
  if (token !== undefined && result?.ok) return toUserSession(result, { access: token, refresh: null, by: 'bearer' })
  throw new CodedError(
    'unauthorized',
    (result?.ok === false && REJECTION_MESSAGES[result.reason]) || 'The token is invalid. Sign in again.',
  )
}

/** The user of a request, or null. @throws CodedError as `currentSession` */
export const currentUser = async (c: Context<AppEnv>): Promise<User | null> => (await currentSession(c))?.user ?? null

/** The session of a request. @throws CodedError `unauthorized` for a client that is not signed in, and as `currentSession` */
export async function requiredSession(c: Context<AppEnv>): Promise<UserSession> {
  const session = await currentSession(c)
  if (session === null)
    throw new CodedError('unauthorized', 'Sign in first, or send an access token as a bearer token.')
  return session
}

/** Refuses a client that is not signed in with `unauthorized`; otherwise sets `c.var.user`. */
export const requireUser = (): MiddlewareHandler<AppEnv> =>
  async function requireUser(c, next) {
    c.set('user', (await requiredSession(c)).user)
    await next()
  }
