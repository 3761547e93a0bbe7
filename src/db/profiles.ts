import type { Profile } from '../protocol/profile.ts'
import { type UserSql, userQuery } from './client.ts'

/** A profile as it is stored. The email is kept by who keeps the accounts. */
export type StoredProfile = Omit<Profile, 'email'>

/** What a person may change of it; what is not given stays. */
export type ProfileChange = { name?: string; currency?: string; refresh_interval_seconds?: number | null }

const COLUMNS = ['user_id', 'name', 'currency', 'refresh_interval_seconds', 'created_at', 'updated_at'] as const

async function findProfile(sql: UserSql, userId: string): Promise<StoredProfile | null> {
  const [row] = await sql<StoredProfile[]>`SELECT ${sql(COLUMNS)} FROM profiles WHERE user_id = ${userId}`
  return row ?? null
}

/** The profile of who asks; made at the first time, with the name that was given at sign-up. */
export const ensureProfile = userQuery(async (sql, user: { id: string; name: string }): Promise<StoredProfile> => {
  const known = await findProfile(sql, user.id)
  if (known) return known
  await sql`INSERT INTO profiles (user_id, name) VALUES (${user.id}, ${user.name}) ON CONFLICT DO NOTHING`
  return (await findProfile(sql, user.id)) as StoredProfile
})

/** Whether somebody has a profile: who has none is not known, or was deleted. */
export const hasProfile = userQuery(async (sql, userId: string): Promise<boolean> => {
  return (await findProfile(sql, userId)) !== null
})

/** Changes the profile of who asks, and gives it as it is then. */
export const updateProfile = userQuery(
  async (sql, user: { id: string; name: string }, change: ProfileChange): Promise<StoredProfile> => {
    const before = await ensureProfile(sql, user)
    const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
    if (Object.keys(given).length === 0) return before
    const [row] = await sql<StoredProfile[]>`
      UPDATE profiles SET ${sql(given)}, updated_at = NOW() WHERE user_id = ${user.id} RETURNING ${sql(COLUMNS)}`
    return row as StoredProfile
  },
)
