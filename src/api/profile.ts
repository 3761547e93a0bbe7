import { Hono } from 'hono'
import type { User } from '../auth/verifier.ts'
import { type UserSql, withUserDatabase } from '../db/client.ts'
import { changeProfile, type ProfileChange, readProfile } from '../db/profiles.ts'
import { CodedError } from '../protocol/errors.ts'
import type { Profile } from '../protocol/profile.ts'
import { fieldsOf } from './auth.ts'
import { profileChangeSchema } from './auth-input.ts'
import { type AppEnv, log } from './context.ts'
import { parse } from './input.ts'
import { requireUser } from './session.ts'

/** Asks the database as this user. @throws CodedError `unavailable` while it cannot be asked */
async function as<T>(env: Env, user: User, use: (sql: UserSql) => Promise<T>): Promise<T> {
  try {
    return await withUserDatabase(env, user, use)
  } catch (error) {
    log('profile_unread', { error: String(error) })
    throw new CodedError('unavailable', 'your data cannot be reached at the moment', { retryAfter: 5 })
  }
}

/** The profile of who asks. @throws CodedError `unavailable` */
export async function findProfile(env: Env, user: User): Promise<Profile> {
  return { email: user.email, ...(await as(env, user, (sql) => readProfile(sql, user))) }
}

/** Changes the profile of who asks. @throws CodedError `unavailable` */
export async function saveProfile(env: Env, user: User, change: ProfileChange): Promise<Profile> {
  return { email: user.email, ...(await as(env, user, (sql) => changeProfile(sql, user, change))) }
}

/** What is told of somebody alone is stored by nobody, and by no cache between. */
const OWN = { 'cache-control': 'private, no-store' }

/** `GET` and `PATCH /api/v1/users/profile` (brief 002). */
export const profile = new Hono<AppEnv>()
  .get('/api/v1/users/profile', requireUser, async (c) => c.json(await findProfile(c.env, c.var.user), 200, OWN))
  .patch('/api/v1/users/profile', requireUser, async (c) => {
    const change = parse(profileChangeSchema, await fieldsOf(c))
    return c.json(await saveProfile(c.env, c.var.user, change), 200, OWN)
  })
