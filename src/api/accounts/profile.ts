import { Hono } from 'hono'
import type { User } from '../../auth/verifier.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readValuedPortfolio } from '../../db/portfolio-views.ts'
import { ensureProfile, type ProfileChange, type StoredProfile, updateProfile } from '../../db/profiles.ts'
import type { Profile, ProfileWithPortfolio } from '../../protocol/profile.ts'
import { type JsonFields, readFields } from '../http/body.ts'
import type { AppEnv, UserRequest } from '../http/context.ts'
import {
  findResponse,
  type IdempotencyKey,
  idempotencyKey,
  runIdempotent,
  runWrite,
  sendStored,
} from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { userRequest } from '../http/request.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { profileChangeSchema } from './input.ts'
import { requireUser } from './session.ts'

/** The profile of who asks. @throws CodedError `unavailable` */
export async function findProfile(request: UserRequest): Promise<Profile> {
  const { user } = request
  return { email: user.email, ...(await withUser(request, (sql) => ensureProfile(sql, user))) }
}

/** Changes a profile. In another currency every figure of the portfolio changes, so the user's object reads it again. */
async function writeProfile(sql: UserSql, user: User, before: StoredProfile, given: ProfileChange) {
  const profile = await updateProfile(sql, user, given)
  if (before.currency === profile.currency) return { profile, change: null }
  const version = await readPortfolioVersion(sql, user.id)
  return { profile, change: { version, asset_ids: null, lots: [], removed_lots: [] } }
}

/** Changes the profile of who asks. @throws CodedError `unavailable` */
export async function saveProfile(request: UserRequest, given: ProfileChange): Promise<Profile> {
  const { user } = request
  const { body } = await runWrite(request, async (sql, before) => {
    const { profile, change } = await writeProfile(sql, user, before, given)
    return { status: 200, headers: {}, body: profile, change }
  })
  return { email: user.email, ...body }
}

/** Changes the profile of who asks, once for one key. @throws CodedError `invalid_request`, `unavailable` */
async function changeProfile(request: UserRequest, fields: JsonFields, key: IdempotencyKey | null) {
  const { user } = request
  const given = parse(profileChangeSchema, fields)
  return runIdempotent(request, key, async (sql, before) => {
    const { profile, change } = await writeProfile(sql, user, before, given)
    return { status: 200, headers: {}, body: await withPortfolio(sql, user, profile), change }
  })
}

/** A profile with what is held in short. */
async function withPortfolio(sql: UserSql, user: User, stored: StoredProfile): Promise<ProfileWithPortfolio> {
  const { positions, portfolio } = await readValuedPortfolio(sql, user.id)
  const held = positions
    .filter(({ lots }) => lots > 0)
    .map(({ asset_id, symbol, name, quantity, lots, invested }) => ({
      asset_id,
      symbol,
      name,
      quantity,
      lots,
      invested,
    }))
  return { email: user.email, ...stored, portfolio: held, total_investment: portfolio.invested }
}

/** `GET` and `PATCH /api/v1/users/profile`. */
export const profileRoutes = new Hono<AppEnv>()
  .get('/api/v1/users/profile', requireUser, async (c) => {
    const request = userRequest(c)
    const { user } = request
    const found = await withUser(request, async (sql) => withPortfolio(sql, user, await ensureProfile(sql, user)))
    return c.json(found, 200, PRIVATE_NO_STORE)
  })
  .patch('/api/v1/users/profile', requireUser, async (c) => {
    const request = userRequest(c)
    const fields = await readFields(c)
    const key = await idempotencyKey(c, fields)
    return sendStored(c, (await findResponse(request, key)) ?? (await changeProfile(request, fields, key)))
  })
