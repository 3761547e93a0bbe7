import type { User } from '../../auth/verifier.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readValuedPortfolio } from '../../db/portfolio-views.ts'
import { ensureProfile, type ProfileChange, type StoredProfile, updateProfile } from '../../db/profiles.ts'
import type { Profile, ProfileWithPortfolio } from '../../protocol/profile.ts'
import { type Command, runWrite } from '../http/idempotency.ts'
import { withUser } from '../http/user-transaction.ts'

/** A user's profile. @throws CodedError `unavailable` */
export async function findProfile(env: Env, user: User): Promise<Profile> {
  return { email: user.email, ...(await withUser(env, user, (sql) => ensureProfile(sql, user))) }
}

/** A user's profile with a summary of the holdings. @throws CodedError `unavailable` */
export const findProfileWithPortfolio = (env: Env, user: User): Promise<ProfileWithPortfolio> =>
  withUser(env, user, async (sql) => withPortfolio(sql, user, await ensureProfile(sql, user)))

/** Changes a user's profile. @throws CodedError `unavailable` */
export async function saveProfile(env: Env, user: User, change: ProfileChange): Promise<Profile> {
  const command = changeProfileCommand(user, change, async (_, changed) => changed)
  const { body } = await runWrite({ env, var: { user } }, command)
  return { email: user.email, ...body }
}

/**
 * Changes a profile, and responds with what `toBody` makes of it. Another currency changes every figure of the portfolio.
 */
export const changeProfileCommand =
  <T>(user: User, change: ProfileChange, toBody: (sql: UserSql, changed: StoredProfile) => Promise<T>): Command<T> =>
  async (sql, before) => {
    const changed = await updateProfile(sql, user, change)
    const body = await toBody(sql, changed)
    if (before.currency === changed.currency) return { status: 200, headers: {}, body, change: null }
    const version = await readPortfolioVersion(sql, user.id)
    return { status: 200, headers: {}, body, change: { version, asset_ids: null, lots: [], removed_lots: [] } }
  }

export async function withPortfolio(sql: UserSql, user: User, stored: StoredProfile): Promise<ProfileWithPortfolio> {
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
