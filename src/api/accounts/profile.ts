import { Hono } from 'hono'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { profileSchema } from '../../protocol/profile.ts'
import { readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { findResponse, idempotencyKey, sendStored } from '../http/idempotency.ts'
import { jsonRequestBody, jsonResponse, operation, USER_SECURITY } from '../http/operation.ts'
import { userRequest } from '../http/request.ts'
import { PRIVATE_NO_STORE } from '../http/user-transaction.ts'
import { profileChangeSchema } from './input.ts'
import { changeProfile, findProfileWithPortfolio } from './profile-commands.ts'
import { requireUser } from './session.ts'

/** `GET` and `PATCH /api/v1/users/profile`. */
export const profileRoutes = new Hono<AppEnv>()
  .get('/api/v1/users/profile', requireUser(), async (c) =>
    c.json(await findProfileWithPortfolio(userRequest(c)), 200, PRIVATE_NO_STORE),
  )
  .patch('/api/v1/users/profile', requireUser(), async (c) => {
    const request = userRequest(c)
    const fields = await readFields(c)
    const key = await idempotencyKey(c, fields)
    return sendStored(c, (await findResponse(request, key)) ?? (await changeProfile(request, fields, key)))
  })

const profileResponseSchema = profileSchema.meta({ id: 'Profile', description: 'A user’s profile' })

export const PROFILE_PATHS: ZodOpenApiPathsObject = {
  '/api/v1/users/profile': {
    get: operation(
      { operationId: 'getProfile', summary: 'Your profile', tags: ['Accounts'], security: USER_SECURITY },
      jsonResponse('The profile', profileResponseSchema),
      ['unauthorized', 'unavailable'],
    ),
    patch: operation(
      {
        operationId: 'changeProfile',
        summary: 'Change your profile; fields that are left out stay the same',
        tags: ['Accounts'],
        security: USER_SECURITY,
        ...jsonRequestBody(profileChangeSchema),
      },
      jsonResponse('The changed profile', profileResponseSchema),
      ['invalid_request', 'unauthorized', 'forbidden', 'message_too_large', 'unavailable'],
    ),
  },
}
