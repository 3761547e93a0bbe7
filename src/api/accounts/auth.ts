import { type Context, Hono } from 'hono'
import { z } from 'zod'
import type { Session } from '../../auth/issuer.ts'
import type { User } from '../../auth/verifier.ts'
import { log } from '../../log.ts'
import { userPortfolio } from '../../objects.ts'
import { CodedError, type ErrorCode } from '../../protocol/errors.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { parse } from '../http/input.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { orUnavailable } from '../http/problems.ts'
import { checkEmailLimit, rateLimit } from '../http/rate-limits.ts'
import { type AccountScope, accountScope, callIssuer, publicKeys, unwrap, withIssuer } from './accounts.ts'
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
  type UserSession,
} from './session-cookies.ts'

/** Creates an account. The result is the same for an email that has one already. @throws CodedError */
export async function signUp(scope: AccountScope, fields: JsonFields): Promise<void> {
  const person = parse(signUpSchema, fields)
  await checkEmailLimit(scope.env, person.email)
  await callIssuer(scope, (issuer) => issuer.signUp(person))
}

/** Confirms an email with the token of a mail. @throws CodedError `token_expired`, … */
export async function confirmEmail(scope: AccountScope, fields: JsonFields): Promise<void> {
  const { token } = parse(confirmSchema, fields)
  await callIssuer(scope, (issuer) => issuer.confirm(token))
}

/** Starts a session. @throws CodedError `invalid_credentials`, … */
export async function signIn(scope: AccountScope, fields: JsonFields): Promise<Session> {
  const credentials = parse(signInSchema, fields)
  await checkEmailLimit(scope.env, credentials.email)
  return await callIssuer(scope, (issuer) => issuer.signIn(credentials))
}

/** Closes the sockets of a user whose sessions have ended. A failure is logged: each socket ends with its token anyway. */
async function closeUserSockets({ env, requestId }: AccountScope, userId: string): Promise<void> {
  try {
    await userPortfolio(env, userId).closeSockets()
  } catch (error) {
    log('sockets_close_failed', { request_id: requestId, error: String(error) })
  }
}

/** Ends a session that the browser's cookies hold. @throws CodedError `unavailable` */
export async function signOut(scope: AccountScope, session: UserSession | null): Promise<void> {
  if (session === null || session.refresh === null) return
  const tokens = { accessToken: session.access, refreshToken: session.refresh }
  await callIssuer(scope, (issuer) => issuer.signOut(tokens))
  await closeUserSockets(scope, session.user.id)
}

/**
 * Sets a new password. Ends every session of the user and starts a new one.
 * @throws CodedError `invalid_credentials` if the current password is wrong, …
 */
export async function changePassword(scope: AccountScope, user: User, fields: JsonFields): Promise<Session> {
  const { current_password, password } = parse(passwordChangeSchema, fields)
  await checkEmailLimit(scope.env, user.email)
  const change = { email: user.email, current: current_password, next: password }
  const session = await callIssuer(scope, (issuer) => issuer.changePassword(change))
  await closeUserSockets(scope, user.id)
  return session
}

/** Mails a link to set a new password, if there is an account. The result does not reveal whether. @throws CodedError */
export async function requestReset(scope: AccountScope, fields: JsonFields): Promise<void> {
  const { email } = parse(resetRequestSchema, fields)
  await checkEmailLimit(scope.env, email)
  await callIssuer(scope, (issuer) => issuer.requestReset(email))
}

/** Sets a new password with the token of a mail, and ends every session. @throws CodedError `token_expired`, … */
export async function resetPassword(scope: AccountScope, fields: JsonFields): Promise<void> {
  const change = parse(resetSchema, fields)
  const { userId } = await callIssuer(scope, (issuer) => issuer.reset(change))
  await closeUserSockets(scope, userId)
}

const NO_STORE = { 'cache-control': 'no-store' }

/** Responds with the access token of a session, and sets the session's cookies. */
function sessionResponse(c: Context<AppEnv>, session: Session): Response {
  setSessionCookies(c, session)
  const { accessToken, expiresIn } = session
  return c.json({ access_token: accessToken, token_type: 'bearer', expires_in: expiresIn }, 200, NO_STORE)
}

const noContent = (c: Context<AppEnv>): Response => c.body(null, 204, NO_STORE)

/** `/api/v1/auth/*`: sign-up, sign-in and passwords, for programs and for scripts of our own pages. */
export const authRoutes = new Hono<AppEnv>()
  .use('/api/v1/auth/*', requireSameOrigin())
  .post('/api/v1/auth/sign-up', rateLimit('AUTH_LIMIT'), async (c) => {
    await signUp(accountScope(c), await readFields(c))
    return c.json({ next: '/api/v1/auth/sign-in' }, 202, NO_STORE)
  })
  .post('/api/v1/auth/confirm', rateLimit('AUTH_LIMIT'), async (c) => {
    await confirmEmail(accountScope(c), await readFields(c))
    return noContent(c)
  })
  .post('/api/v1/auth/sign-in', rateLimit('AUTH_LIMIT'), async (c) =>
    sessionResponse(c, await signIn(accountScope(c), await readFields(c))),
  )
  .post('/api/v1/auth/refresh', async (c) => {
    const { refresh } = readSessionCookies(c)
    if (refresh === null) throw new CodedError('unauthorized', 'There is no session to refresh. Sign in first.')
    const renewed = await withIssuer(accountScope(c), (issuer) => issuer.refresh(refresh))
    if (!renewed.ok && renewed.reason === 'session_expired') clearSessionCookies(c)
    return sessionResponse(c, unwrap(renewed))
  })
  .post('/api/v1/auth/sign-out', async (c) => {
    const session = await cookieSession(c)
    clearSessionCookies(c)
    await signOut(accountScope(c), session)
    return noContent(c)
  })
  .post('/api/v1/auth/password/change', rateLimit('AUTH_LIMIT'), requireUser(), async (c) =>
    sessionResponse(c, await changePassword(accountScope(c), c.var.user, await readFields(c))),
  )
  .post('/api/v1/auth/password/reset-request', rateLimit('AUTH_LIMIT'), async (c) => {
    await requestReset(accountScope(c), await readFields(c))
    return c.json({}, 202, NO_STORE)
  })
  .post('/api/v1/auth/password/reset', rateLimit('AUTH_LIMIT'), async (c) => {
    await resetPassword(accountScope(c), await readFields(c))
    clearSessionCookies(c)
    return noContent(c)
  })
  .get('/api/v1/auth/jwks', async (c) => {
    const fields = { request_id: c.var.requestId }
    const read = () => publicKeys(c.env, c.var.db)
    const keys = await orUnavailable(read, 'keys_read_failed', 'The keys cannot be read', fields)
    return c.json(keys, 200, { 'cache-control': 'public, max-age=300' })
  })

const tokensSchema = z
  .object({
    access_token: z.string().meta({ description: 'A JWT. Send it as `Authorization: Bearer …`' }),
    token_type: z.literal('bearer'),
    expires_in: z.int().meta({ description: 'Seconds' }),
  })
  .meta({
    id: 'Tokens',
    description: 'The access token of a session; the refresh token is in a cookie that no script can read',
  })

/** Errors of requests with a JSON body. */
const BODY_ERRORS: readonly ErrorCode[] = ['invalid_request', 'forbidden', 'message_too_large', 'unavailable']

export const AUTH_OPERATIONS: Operations = {
  'post /api/v1/auth/sign-up': operation('Accounts', 'signUp', {
    summary: 'Create an account',
    description: 'The response is the same for an email that has an account already; its owner gets a mail.',
    body: signUpSchema,
    responses: response(202, 'Sign in next', z.object({ next: z.string() })),
    errors: BODY_ERRORS,
  }),
  'post /api/v1/auth/confirm': operation('Accounts', 'confirmEmail', {
    summary: 'Confirm an email with the token of the mail that was sent to it',
    body: confirmSchema,
    responses: response(204, 'Confirmed'),
    errors: [...BODY_ERRORS, 'token_expired'],
  }),
  'post /api/v1/auth/sign-in': operation('Accounts', 'signIn', {
    summary: 'Sign in',
    body: signInSchema,
    responses: response(200, 'Signed in; the session cookies are set', tokensSchema),
    errors: [...BODY_ERRORS, 'invalid_credentials'],
  }),
  'post /api/v1/auth/refresh': operation('Accounts', 'refresh', {
    summary: 'Get the next access token',
    security: [{ session: [] }],
    responses: response(200, 'Renewed; the session cookies are set', tokensSchema),
    errors: ['unauthorized', 'forbidden', 'unavailable'],
  }),
  'post /api/v1/auth/sign-out': operation('Accounts', 'signOut', {
    summary: 'End the session of the cookies',
    description: 'Access tokens that were handed out stay valid until they expire.',
    security: [{ session: [] }, {}],
    responses: response(204, 'Signed out'),
    errors: ['forbidden', 'unavailable'],
  }),
  'post /api/v1/auth/password/change': operation('Accounts', 'changePassword', {
    summary: 'Change the password and end every other session',
    body: passwordChangeSchema,
    responses: response(200, 'A session with the new password', tokensSchema),
    errors: [...BODY_ERRORS, 'unauthorized', 'invalid_credentials'],
  }),
  'post /api/v1/auth/password/reset-request': operation('Accounts', 'requestPasswordReset', {
    summary: 'Mail a link to set a new password, if there is an account',
    body: resetRequestSchema,
    responses: response(202, 'If there is an account, the mail is on its way', z.object({})),
    errors: BODY_ERRORS,
  }),
  'post /api/v1/auth/password/reset': operation('Accounts', 'resetPassword', {
    summary: 'Set a new password with the token of a mail, and end every session',
    body: resetSchema,
    responses: response(204, 'The password is set'),
    errors: [...BODY_ERRORS, 'token_expired'],
  }),
  'get /api/v1/auth/jwks': operation('Accounts', 'getKeys', {
    summary: 'The public keys of the access tokens (RFC 7517)',
    responses: response(
      200,
      'The keys',
      z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) }),
    ),
    errors: ['unavailable'],
  }),
}
