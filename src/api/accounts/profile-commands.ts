import type { User } from '../../auth/verifier.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import type { StoredResponse } from '../../db/idempotency.ts'
import { readValuedPortfolio } from '../../db/portfolio-views.ts'
import { ensureProfile, type ProfileChange, type StoredProfile, updateProfile } from '../../db/profiles.ts'
import type { Profile, ProfileWithPortfolio } from '../../protocol/profile.ts'
import type { JsonFields } from '../http/body.ts'
import type { UserRequest } from '../http/context.ts'
import { type IdempotencyKey, runIdempotent, runWrite } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { withUser } from '../http/user-transaction.ts'
import { profileChangeSchema } from './input.ts'

/** The user's profile. @throws CodedError `unavailable` */
export async function findProfile(request: UserRequest): Promise<Profile> {
  const { user } = request
  return { email: user.email, ...(await withUser(request, (sql) => ensureProfile(sql, user))) }
}

/** The user's profile with a summary of the holdings. @throws CodedError `unavailable` */
export const findProfileWithPortfolio = (request: UserRequest): Promise<ProfileWithPortfolio> =>
  withUser(request, async (sql) => withPortfolio(sql, request.user, await ensureProfile(sql, request.user)))

/** Changes a profile. Another currency changes every figure of the portfolio, so the user's object reads it again. */
async function writeProfile(sql: UserSql, user: User, before: StoredProfile, change: ProfileChange) {
  const profile = await updateProfile(sql, user, change)
  if (before.currency === profile.currency) return { profile, change: null }
  const version = await readPortfolioVersion(sql, user.id)
  return { profile, change: { version, asset_ids: null, lots: [], removed_lots: [] } }
}

/** Changes the user's profile. @throws CodedError `unavailable` */
export async function saveProfile(request: UserRequest, given: ProfileChange): Promise<Profile> {
  const { user } = request
  const { body } = await runWrite(request, async (sql, before) => {
    const { profile, change } = await writeProfile(sql, user, before, given)
    return { status: 200, headers: {}, body: profile, change }
  })
  return { email: user.email, ...body }
}

/** Changes the user's profile, once for one key. @throws CodedError `invalid_request`, `unavailable` */
export async function changeProfile(
  request: UserRequest,
  fields: JsonFields,
  key: IdempotencyKey | null,
): Promise<StoredResponse> {
  const { user } = request
  const given = parse(profileChangeSchema, fields)
  return runIdempotent(request, key, async (sql, before) => {
    const { profile, change } = await writeProfile(sql, user, before, given)
    return { status: 200, headers: {}, body: await withPortfolio(sql, user, profile), change }
  })
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
