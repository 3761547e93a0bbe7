import { z } from 'zod'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { profileSchema } from '../../protocol/profile.ts'
import { jsonResponse, operation } from '../http/operation.ts'
import {
  confirmSchema,
  passwordChangeSchema,
  profileChangeSchema,
  resetRequestSchema,
  resetSchema,
  signInSchema,
  signUpSchema,
} from './input.ts'

const tags = ['Accounts']
const jsonRequestBody = (schema: z.ZodType) => ({
  requestBody: { required: true, content: { 'application/json': { schema } } },
})
const noContent = (description: string) => ({ 204: { description } })
const accepted = (description: string, schema: z.ZodType) => ({
  202: { description, content: { 'application/json': { schema } } },
})

const tokensSchema = z
  .object({
    access_token: z.string().meta({ description: 'A JWT, sent as `Authorization: Bearer …`' }),
    token_type: z.literal('bearer'),
    expires_in: z.int().meta({ description: 'Seconds' }),
  })
  .meta({ id: 'Tokens', description: 'What opens what is yours; the refresh token is a cookie that no script reads' })

const profileResponseSchema = profileSchema.meta({ id: 'Profile', description: 'What a person says of themselves' })

const userSecurity: Record<string, string[]>[] = [{ user: [] }, { session: [] }]

/** The endpoints of accounts, for the OpenAPI document. */
export const ACCOUNT_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/auth/sign-up': {
    post: operation(
      {
        operationId: 'signUp',
        summary: 'Make an account',
        description: 'The answer is the same for an email that has an account; whoever reads its mail is told.',
        tags,
        ...jsonRequestBody(signUpSchema),
      },
      accepted('Sign in next', z.object({ next: z.string() })),
      ['invalid_request', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/confirm': {
    post: operation(
      {
        operationId: 'confirmEmail',
        summary: 'Confirm an email by the token of the mail that was sent to it',
        tags,
        ...jsonRequestBody(confirmSchema),
      },
      noContent('Confirmed'),
      ['invalid_request', 'token_expired', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/sign-in': {
    post: operation(
      { operationId: 'signIn', summary: 'Sign in', tags, ...jsonRequestBody(signInSchema) },
      jsonResponse('Signed in; the cookies are set too', tokensSchema),
      ['invalid_request', 'invalid_credentials', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/refresh': {
    post: operation(
      { operationId: 'refresh', summary: 'The next access token', tags, security: [{ session: [] }] },
      jsonResponse('The next one; the cookies are set too', tokensSchema),
      ['unauthorized', 'forbidden', 'unavailable'],
    ),
  },
  '/api/v1/auth/sign-out': {
    post: operation(
      {
        operationId: 'signOut',
        summary: 'End the session of the cookies',
        description: 'An access token that is held elsewhere stays valid until it is over.',
        tags,
        security: [{ session: [] }, {}],
      },
      noContent('Signed out'),
      ['forbidden', 'unavailable'],
    ),
  },
  '/api/v1/auth/password/change': {
    post: operation(
      {
        operationId: 'changePassword',
        summary: 'Set another password, and end every other session',
        tags,
        security: userSecurity,
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
        summary: 'Have the way to a new password mailed, if there is an account',
        tags,
        ...jsonRequestBody(resetRequestSchema),
      },
      accepted('If there is an account, a mail is on its way', z.object({})),
      ['invalid_request', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/password/reset': {
    post: operation(
      {
        operationId: 'resetPassword',
        summary: 'Set a password by the token of a mail, and end every session',
        tags,
        ...jsonRequestBody(resetSchema),
      },
      noContent('Set'),
      ['invalid_request', 'token_expired', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
  '/api/v1/auth/jwks': {
    get: operation(
      { operationId: 'getKeys', summary: 'The public keys of the tokens (RFC 7517)', tags },
      jsonResponse('The keys', z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) })),
      ['unavailable'],
    ),
  },
  '/api/v1/users/profile': {
    get: operation(
      { operationId: 'getProfile', summary: 'Your profile', tags, security: userSecurity },
      jsonResponse('The profile', profileResponseSchema),
      ['unauthorized', 'unavailable'],
    ),
    patch: operation(
      {
        operationId: 'changeProfile',
        summary: 'Change your profile; what is not given stays',
        tags,
        security: userSecurity,
        ...jsonRequestBody(profileChangeSchema),
      },
      jsonResponse('The profile as it is then', profileResponseSchema),
      ['invalid_request', 'unauthorized', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
}
