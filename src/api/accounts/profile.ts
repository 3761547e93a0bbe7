import { Hono } from 'hono'
import type { ZodOpenApiPathsObject } from 'zod-openapi'
import { profileSchema } from '../../protocol/profile.ts'
import { readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { respondIdempotent } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { jsonRequestBody, jsonResponse, operation, USER_SECURITY } from '../http/operation.ts'
import { PRIVATE_NO_STORE } from '../http/user-transaction.ts'
import { profileChangeSchema } from './input.ts'
import { changeProfileCommand, findProfileWithPortfolio, withPortfolio } from './profile-commands.ts'
import { requireUser } from './session.ts'

/** `GET` and `PATCH /api/v1/users/profile`. */
export const profileRoutes = new Hono<AppEnv>()
  .get('/api/v1/users/profile', requireUser(), async (c) =>
    c.json(await findProfileWithPortfolio(c.env, c.var.user), 200, PRIVATE_NO_STORE),
  )
  .patch('/api/v1/users/profile', requireUser(), async (c) => {
    const { user } = c.var
    const fields = await readFields(c)
    return respondIdempotent(c, fields, async () =>
      changeProfileCommand(user, parse(profileChangeSchema, fields), (sql, changed) =>
        withPortfolio(sql, user, changed),
      ),
    )
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
