import { Hono } from 'hono'
import type { User } from '../../auth/verifier.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readValuedPortfolio } from '../../db/portfolio-views.ts'
import { ensureProfile, type StoredProfile, updateProfile } from '../../db/profiles.ts'
import { type Profile, type ProfileWithPortfolio, profileSchema } from '../../protocol/profile.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import { type AppEnv, type UserRequest, userRequest } from '../http/context.ts'
import { respondOnce, type Write } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { profileChangeSchema } from './input.ts'
import { requireUser } from './session-cookies.ts'

/** The user's profile. @throws CodedError `unavailable` */
export async function findProfile(request: UserRequest): Promise<Profile> {
  const { user } = request
  return { email: user.email, ...(await withUser(request, (sql) => ensureProfile(sql, user))) }
}

/** Changes the user's profile. @throws CodedError `invalid_request` */
export function changeProfile({ user }: UserRequest, fields: JsonFields): Write<ProfileWithPortfolio> {
  const given = parse(profileChangeSchema, fields)
  return async (sql, before) => {
    const profile = await updateProfile(sql, user, given)
    // Another currency changes every figure of the portfolio, so the user's object reads it again.
    const change =
      before.currency === profile.currency
        ? null
        : { version: await readPortfolioVersion(sql, user.id), asset_ids: null, lots: [], removed_lots: [] }
    return { status: 200, headers: {}, body: await withPortfolio(sql, user, profile), change }
  }
}

async function withPortfolio(sql: UserSql, user: User, stored: StoredProfile): Promise<ProfileWithPortfolio> {
  const { positions, portfolio } = await readValuedPortfolio(sql, user.id)
  const open = positions.filter(({ lots }) => lots > 0)
  return {
    email: user.email,
    ...stored,
    portfolio: open.map(({ asset_id, symbol, name, quantity, lots, invested }) => {
      return { asset_id, symbol, name, quantity, lots, invested }
    }),
    total_investment: portfolio.invested,
  }
}

/** `GET` and `PATCH /api/v1/users/profile`: the user's profile with a summary of the holdings. */
export const profileRoutes = new Hono<AppEnv>()
  .get('/api/v1/users/profile', requireUser(), async (c) => {
    const { user } = c.var
    const read = async (sql: UserSql) => withPortfolio(sql, user, await ensureProfile(sql, user))
    return c.json(await withUser(userRequest(c), read), 200, PRIVATE_NO_STORE)
  })
  .patch('/api/v1/users/profile', requireUser(), async (c) => {
    const fields = await readFields(c)
    return respondOnce(c, fields, (request) => changeProfile(request, fields))
  })

const profileResponseSchema = profileSchema.meta({ id: 'Profile', description: 'A user’s profile' })

export const PROFILE_OPERATIONS: Operations = {
  'get /api/v1/users/profile': operation('Accounts', 'getProfile', {
    summary: 'Your profile',
    responses: response(200, 'The profile', profileResponseSchema),
    errors: ['unauthorized', 'unavailable'],
  }),
  'patch /api/v1/users/profile': operation('Accounts', 'changeProfile', {
    summary: 'Change your profile; fields that are left out stay the same',
    body: profileChangeSchema,
    responses: response(200, 'The changed profile', profileResponseSchema),
    errors: ['invalid_request', 'unauthorized', 'forbidden', 'message_too_large', 'unavailable'],
  }),
}
