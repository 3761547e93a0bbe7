import { type Context, Hono } from 'hono'
import type { Session } from '../../auth/issuer.ts'
import { log } from '../../log.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { parse } from '../http/input.ts'
import { authLimit, checkEmailLimit } from '../http/rate-limits.ts'
import { publicKeys, unwrap, withIssuer } from './accounts.ts'
import {
  confirmSchema,
  passwordChangeSchema,
  resetRequestSchema,
  resetSchema,
  signInSchema,
  signUpSchema,
} from './input.ts'
import {
  clearSessionCookies,
  cookieSession,
  readSessionCookies,
  requireSameOrigin,
  requireUser,
  setSessionCookies,
} from './session.ts'

/** Signs up with these fields. Whether the email had an account before, nothing tells. @throws CodedError */
export async function signUp(c: Context<AppEnv>, fields: JsonFields): Promise<void> {
  const person = parse(signUpSchema, fields)
  await checkEmailLimit(c, person.email)
  unwrap(await withIssuer(c, (issuer) => issuer.signUp(person)))
}

/** Confirms an email by the token of a mail. @throws CodedError `token_expired`, … */
export async function confirmEmail(c: Context<AppEnv>, fields: JsonFields): Promise<void> {
  const { token } = parse(confirmSchema, fields)
  unwrap(await withIssuer(c, (issuer) => issuer.confirm(token)))
}

/** Signs in with these fields, and has the browser keep the session. @throws CodedError `invalid_credentials`, … */
export async function signIn(c: Context<AppEnv>, fields: JsonFields): Promise<Session> {
  const credentials = parse(signInSchema, fields)
  await checkEmailLimit(c, credentials.email)
  const session = unwrap(await withIssuer(c, (issuer) => issuer.signIn(credentials)))
  setSessionCookies(c, session)
  return session
}

/** Lets the sockets of a user go, whose sessions have ended. A failure is logged: each is over with its token anyway. */
async function closeUserSockets(c: Context<AppEnv>, userId: string): Promise<void> {
  try {
    await userPortfolio(c.env, userId).signedOut()
  } catch (error) {
    log('sockets_close_failed', { request_id: c.var.requestId, error: String(error) })
  }
}

/** Ends the session of the browser's cookies, and has it forget them. @throws CodedError `unavailable` */
export async function signOut(c: Context<AppEnv>): Promise<void> {
  const held = await cookieSession(c)
  clearSessionCookies(c)
  if (held === null || held.refresh === null) return
  const tokens = { accessToken: held.access, refreshToken: held.refresh }
  unwrap(await withIssuer(c, (issuer) => issuer.signOut(tokens)))
  await closeUserSockets(c, held.user.id)
}

/**
 * Sets another password for who asks (`c.var.user`). Every session ends, and this browser gets a new one.
 * @throws CodedError `invalid_credentials` when the present password is not right, …
 */
export async function changePassword(c: Context<AppEnv>, email: string, fields: JsonFields): Promise<Session> {
  const { current_password, password } = parse(passwordChangeSchema, fields)
  await checkEmailLimit(c, email)
  const change = { email, current: current_password, next: password }
  const session = unwrap(await withIssuer(c, (issuer) => issuer.changePassword(change)))
  setSessionCookies(c, session)
  await closeUserSockets(c, c.var.user.id)
  return session
}

/** Has the way to a new password mailed. Whether there is an account, nothing tells. @throws CodedError */
export async function requestReset(c: Context<AppEnv>, fields: JsonFields): Promise<void> {
  const { email } = parse(resetRequestSchema, fields)
  await checkEmailLimit(c, email)
  unwrap(await withIssuer(c, (issuer) => issuer.requestReset(email)))
}

/** Sets a password by the token of a mail. @throws CodedError `token_expired`, … */
export async function resetPassword(c: Context<AppEnv>, fields: JsonFields): Promise<void> {
  const change = parse(resetSchema, fields)
  const { userId } = unwrap(await withIssuer(c, (issuer) => issuer.reset(change)))
  clearSessionCookies(c)
  await closeUserSockets(c, userId)
}

const NO_STORE = { 'cache-control': 'no-store' }

const sessionResponse = (c: Context<AppEnv>, { accessToken, expiresIn }: Session): Response =>
  c.json({ access_token: accessToken, token_type: 'bearer', expires_in: expiresIn }, 200, NO_STORE)

const noContent = (c: Context<AppEnv>): Response => c.body(null, 204, NO_STORE)

/** `/api/v1/auth/*`: the way in, for programs and for scripts of our own pages. */
export const authRoutes = new Hono<AppEnv>()
  .use('/api/v1/auth/*', requireSameOrigin)
  .post('/api/v1/auth/sign-up', authLimit, async (c) => {
    await signUp(c, await readFields(c))
    return c.json({ next: '/api/v1/auth/sign-in' }, 202, NO_STORE)
  })
  .post('/api/v1/auth/confirm', authLimit, async (c) => {
    await confirmEmail(c, await readFields(c))
    return noContent(c)
  })
  .post('/api/v1/auth/sign-in', authLimit, async (c) => sessionResponse(c, await signIn(c, await readFields(c))))
  .post('/api/v1/auth/refresh', async (c) => {
    const { refresh } = readSessionCookies(c)
    if (refresh === null) throw new CodedError('unauthorized', 'there is no session to refresh')
    const renewed = await withIssuer(c, (issuer) => issuer.refresh(refresh))
    if (!renewed.ok && renewed.reason === 'session_expired') clearSessionCookies(c)
    const session = unwrap(renewed)
    setSessionCookies(c, session)
    return sessionResponse(c, session)
  })
  .post('/api/v1/auth/sign-out', async (c) => {
    await signOut(c)
    return noContent(c)
  })
  .post('/api/v1/auth/password/change', authLimit, requireUser, async (c) =>
    sessionResponse(c, await changePassword(c, c.var.user.email, await readFields(c))),
  )
  .post('/api/v1/auth/password/reset-request', authLimit, async (c) => {
    await requestReset(c, await readFields(c))
    return c.json({}, 202, NO_STORE)
  })
  .post('/api/v1/auth/password/reset', authLimit, async (c) => {
    await resetPassword(c, await readFields(c))
    return noContent(c)
  })
  .get('/api/v1/auth/jwks', async (c) => {
    try {
      return c.json(await publicKeys(c.env), 200, { 'cache-control': 'public, max-age=300' })
    } catch (error) {
      if (error instanceof CodedError) throw error
      log('keys_read_failed', { request_id: c.var.requestId, error: String(error) })
      throw new CodedError('unavailable', 'the keys cannot be read at the moment', { retryAfter: 5 })
    }
  })
