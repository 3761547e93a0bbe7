import { type Context, Hono } from 'hono'
import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import type { Session } from '../../auth/issuer.ts'
import { log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'
import { readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import {
  acceptedResponse,
  jsonRequestBody,
  jsonResponse,
  noContentResponse,
  operation,
  USER_SECURITY,
} from '../http/operation.ts'
import { temporarilyUnavailable } from '../http/problems.ts'
import { rateLimit } from '../http/rate-limits.ts'
import { accountScope, publicKeys, unwrap, withIssuer } from './accounts.ts'
import { changePassword, confirmEmail, requestReset, resetPassword, signIn, signOut, signUp } from './auth-commands.ts'
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
    try {
      return c.json(await publicKeys(c.env, c.var.db), 200, { 'cache-control': 'public, max-age=300' })
    } catch (error) {
      if (error instanceof CodedError) throw error
      log('keys_read_failed', { request_id: c.var.requestId, error: String(error) })
      throw temporarilyUnavailable('The keys cannot be read')
    }
  })

const tags = ['Accounts']

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

export const AUTH_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/auth/sign-up': {
    post: operation(
      {
        operationId: 'signUp',
        summary: 'Create an account',
        description: 'The response is the same for an email that has an account already; its owner gets a mail.',
        tags,
        ...jsonRequestBody(signUpSchema),
      },
      acceptedResponse('Sign in next', z.object({ next: z.string() })),
      ['invalid_request', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/confirm': {
    post: operation(
      {
        operationId: 'confirmEmail',
        summary: 'Confirm an email with the token of the mail that was sent to it',
        tags,
        ...jsonRequestBody(confirmSchema),
      },
      noContentResponse('Confirmed'),
      ['invalid_request', 'token_expired', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/sign-in': {
    post: operation(
      { operationId: 'signIn', summary: 'Sign in', tags, ...jsonRequestBody(signInSchema) },
      jsonResponse('Signed in; the session cookies are set', tokensSchema),
      ['invalid_request', 'invalid_credentials', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/refresh': {
    post: operation(
      { operationId: 'refresh', summary: 'Get the next access token', tags, security: [{ session: [] }] },
      jsonResponse('Renewed; the session cookies are set', tokensSchema),
      ['unauthorized', 'forbidden', 'unavailable'],
    ),
  },
  '/api/v1/auth/sign-out': {
    post: operation(
      {
        operationId: 'signOut',
        summary: 'End the session of the cookies',
        description: 'Access tokens that were handed out stay valid until they expire.',
        tags,
        security: [{ session: [] }, {}],
      },
      noContentResponse('Signed out'),
      ['forbidden', 'unavailable'],
    ),
  },
  '/api/v1/auth/password/change': {
    post: operation(
      {
        operationId: 'changePassword',
        summary: 'Change the password and end every other session',
        tags,
        security: USER_SECURITY,
        ...jsonRequestBody(passwordChangeSchema),
      },
      jsonResponse('A session with the new password', tokensSchema),
      ['invalid_request', 'unauthorized', 'invalid_credentials', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/password/reset-request': {
    post: operation(
      {
        operationId: 'requestPasswordReset',
        summary: 'Mail a link to set a new password, if there is an account',
        tags,
        ...jsonRequestBody(resetRequestSchema),
      },
      acceptedResponse('If there is an account, the mail is on its way', z.object({})),
      ['invalid_request', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/password/reset': {
    post: operation(
      {
        operationId: 'resetPassword',
        summary: 'Set a new password with the token of a mail, and end every session',
        tags,
        ...jsonRequestBody(resetSchema),
      },
      noContentResponse('The password is set'),
      ['invalid_request', 'token_expired', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/jwks': {
    get: operation(
      { operationId: 'getKeys', summary: 'The public keys of the access tokens (RFC 7517)', tags },
      jsonResponse('The keys', z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) })),
      ['unavailable'],
    ),
  },
}
