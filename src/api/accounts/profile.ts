import { Hono } from 'hono'
import type { User } from '../../auth/verifier.ts'
import { readPortfolioVersion } from '../../db/activities.ts'
import type { UserSql } from '../../db/client.ts'
import { readValuedPortfolio } from '../../db/portfolio-views.ts'
import { ensureProfile, type ProfileChange, type StoredProfile, updateProfile } from '../../db/profiles.ts'
import type { Profile, ProfileWithPortfolio } from '../../protocol/profile.ts'
import { readFields } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { type Command, respondIdempotent, runWrite } from '../http/idempotency.ts'
import { parse } from '../http/input.ts'
import { PRIVATE_NO_STORE, withUser } from '../http/user-transaction.ts'
import { profileChangeSchema } from './input.ts'
import { requireUser } from './session.ts'

/** The profile of who asks. @throws CodedError `unavailable` */
export async function findProfile(env: Env, user: User): Promise<Profile> {
  return { email: user.email, ...(await withUser(env, user, (sql) => ensureProfile(sql, user))) }
}

/** Changes a profile; in another currency all figures of the portfolio are others. `answer` makes the body of it. */
const changeProfileCommand =
  <T>(user: User, given: ProfileChange, answer: (sql: UserSql, changed: StoredProfile) => Promise<T>): Command<T> =>
  async (sql, before) => {
    const changed = await updateProfile(sql, user, given)
    const isOther = before.currency !== changed.currency
    const version = isOther ? await readPortfolioVersion(sql, user.id) : 0
    const change = isOther ? { version, asset_ids: null, lots: [], removed_lots: [] } : null
    return { status: 200, headers: {}, body: await answer(sql, changed), change }
  }

/** Changes the profile of who asks. @throws CodedError `unavailable` */
export async function saveProfile(env: Env, user: User, given: ProfileChange): Promise<Profile> {
  const { body } = await runWrite(
    { env, var: { user } },
    changeProfileCommand(user, given, async (_, changed) => changed),
  )
  return { email: user.email, ...body }
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

/** `GET` and `PATCH /api/v1/users/profile` (brief 002). */
export const profileRoutes = new Hono<AppEnv>()
  .get('/api/v1/users/profile', requireUser, async (c) => {
    const { user } = c.var
    const found = await withUser(c.env, user, async (sql) => withPortfolio(sql, user, await ensureProfile(sql, user)))
    return c.json(found, 200, PRIVATE_NO_STORE)
  })
  .patch('/api/v1/users/profile', requireUser, async (c) => {
    const { user } = c.var
    const fields = await readFields(c)
    return respondIdempotent(c, fields, async () =>
      changeProfileCommand(user, parse(profileChangeSchema, fields), (sql, changed) =>
        withPortfolio(sql, user, changed),
      ),
    )
  })
