import type { Profile } from '../protocol/profile.ts'
import { firstRow, type UserSql, userQuery } from './client.ts'

/** A stored profile. The email belongs to the issuer of accounts. */
export type StoredProfile = Omit<Profile, 'email'>

/** The fields that a user may change; those left out stay. */
export type ProfileChange = { name?: string; currency?: string; refresh_interval_seconds?: number | null }

const COLUMNS = ['user_id', 'name', 'currency', 'refresh_interval_seconds', 'created_at', 'updated_at'] as const

const findProfile = (sql: UserSql, userId: string): Promise<StoredProfile | null> =>
  firstRow(sql<StoredProfile[]>`SELECT ${sql(COLUMNS)} FROM profiles WHERE user_id = ${userId}`)

/** The user's profile; created the first time, with the name given at sign-up. */
export const ensureProfile = userQuery(async (sql, user: { id: string; name: string }): Promise<StoredProfile> => {
  const known = await findProfile(sql, user.id)
  if (known) return known
  await sql`INSERT INTO profiles (user_id, name) VALUES (${user.id}, ${user.name}) ON CONFLICT DO NOTHING`
  return (await findProfile(sql, user.id)) as StoredProfile
})

/** False for a user who never signed in, or was deleted. */
export const hasProfile = userQuery(async (sql, userId: string): Promise<boolean> => {
  return (await findProfile(sql, userId)) !== null
})

/** Changes the user's profile, and returns it. */
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
