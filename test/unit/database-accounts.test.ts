import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import { dropOver } from '../../src/db/accounts.ts'
import { type LiveSql, openDatabase, type UserSql, withUserDatabase } from '../../src/db/client.ts'
import { changeProfile, readProfile } from '../../src/db/profiles.ts'

const dir = mkdtempSync(join(tmpdir(), 'kerb-accounts-'))
let server: Postgres
let live: LiveSql

const person = (name: string) => ({ id: randomUUID(), name })
const ada = person('Ada')
const grace = person('Grace')

/** Runs as a user, as the Worker does. */
const as = <T>(user: { id: string }, use: (sql: UserSql) => Promise<T>, url = server.url): Promise<T> =>
  withUserDatabase({ HYPERDRIVE: { connectionString: url } }, user, use)

const urlOf = (database: string, user?: string): string => {
  const url = new URL(server.url)
  url.pathname = `/${database}`
  if (user) Object.assign(url, { username: user, password: 'secret' })
  return url.href
}

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  // First of all, so that the role is its own: roles belong to the whole server.
  const admin = openDatabase('live', urlOf('postgres'))
  await admin.unsafe(`CREATE ROLE plain LOGIN CREATEROLE PASSWORD 'secret'`)
  await admin.unsafe('CREATE DATABASE plain OWNER plain')
  await admin.end()
  await migrate(urlOf('plain', 'plain'))
  await migrate(server.url)
  live = openDatabase('live', server.url)
  for (const user of [ada, grace]) await as(user, (sql) => readProfile(sql, user))
})

afterAll(async () => {
  await live?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

describe('P8 row level security holds for the role that the Worker takes', () => {
  test('a query without its WHERE shows the rows of who asks, and no other', async () => {
    expect(await live`SELECT count(*)::int AS n FROM profiles`).toEqual([{ n: 2 }])
    for (const user of [ada, grace])
      expect(await as(user, (sql) => sql`SELECT user_id, name FROM profiles`)).toEqual([
        { user_id: user.id, name: user.name },
      ])
    expect(await as(person('nobody'), (sql) => sql`SELECT * FROM profiles`)).toEqual([])
  })

  test('a change without its WHERE changes those alone', async () => {
    const changed = await as(ada, (sql) => sql`UPDATE profiles SET currency = 'CHF' RETURNING user_id`)
    expect(changed).toEqual([{ user_id: ada.id }])
    const rows = await live`SELECT user_id, currency FROM profiles ORDER BY name`
    expect(rows).toEqual([
      { user_id: ada.id, currency: 'CHF' },
      { user_id: grace.id, currency: 'USD' },
    ])
  })

  test('nobody writes in the name of another, takes over a row, or deletes one', async () => {
    const refusals: [string, RegExp][] = [
      [`INSERT INTO profiles (user_id, name) VALUES ('${randomUUID()}', 'x')`, /row-level security/],
      [`UPDATE profiles SET user_id = '${randomUUID()}'`, /permission denied/],
      ['DELETE FROM profiles', /permission denied/],
      ['TRUNCATE profiles', /permission denied/],
    ]
    for (const [text, reason] of refusals)
      await expect(as(ada, async (sql) => sql.unsafe(text))).rejects.toThrow(reason)
  })

  test('without claims there are no rows, with claims that are none neither', async () => {
    for (const claims of ['', '{}', '{"sub":null}']) {
      const rows = await live.begin(async (sql) => {
        await sql`SELECT set_config('role', 'kerb_user', TRUE), set_config('request.jwt.claims', ${claims}, TRUE)`
        return sql`SELECT * FROM profiles`
      })
      expect(rows).toEqual([])
    }
  })

  test('what is not of a user cannot be touched at all', async () => {
    for (const table of ['auth_users', 'auth_sessions', 'auth_accounts', 'auth_verifications', 'auth_jwks'])
      await expect(as(ada, async (sql) => sql.unsafe(`SELECT * FROM ${table}`))).rejects.toThrow('permission denied')
    for (const table of ['asset_watches', 'app_settings', 'live_candles'])
      await expect(as(ada, async (sql) => sql.unsafe(`UPDATE ${table} SET user_id = NULL`))).rejects.toThrow()
  })

  test('role and claims are over with the transaction: the connection is clean for who gets it next', async () => {
    const own = openDatabase('live', server.url)
    const who = () => own`SELECT current_user AS role, current_setting('request.jwt.claims', TRUE) AS claims`
    const before = await who()
    for (const end of ['COMMIT', 'ROLLBACK'])
      await own
        .begin(async (sql) => {
          const claims = JSON.stringify({ sub: ada.id })
          await sql`SELECT set_config('role', 'kerb_user', TRUE), set_config('request.jwt.claims', ${claims}, TRUE)`
          expect(await sql`SELECT current_user AS role`).toEqual([{ role: 'kerb_user' }])
          if (end === 'ROLLBACK') throw new Error('on purpose')
        })
        .catch(() => {})
    const [after] = await who()
    expect(after?.role).toBe(before[0]?.role)
    expect(after?.claims ?? '').toBe('')
    await own.end()
  })

  test('what fails changes nothing', async () => {
    await expect(
      as(grace, async (sql) => {
        await changeProfile(sql, grace, { name: 'changed' })
        throw new Error('on purpose')
      }),
    ).rejects.toThrow('on purpose')
    expect(await as(grace, (sql) => readProfile(sql, grace))).toMatchObject({ name: 'Grace' })
  })

  test('a query of users is refused by a client that is not one', async () => {
    const owner = live as unknown as UserSql
    await expect(readProfile(owner, ada)).rejects.toThrow('this query runs through the user binding alone')
  })
})

test('a profile is made once, however many ask for it at once, and keeps what was changed', async () => {
  const user = person('Mary')
  const made = await Promise.all(Array.from({ length: 8 }, () => as(user, (sql) => readProfile(sql, user))))
  expect(new Set(made.map(({ created_at }) => created_at)).size).toBe(1)
  const change = { currency: 'EUR', refresh_interval_seconds: 30 }
  expect(await as(user, (sql) => changeProfile(sql, user, change))).toMatchObject({ name: 'Mary', ...change })
  expect(await as(user, (sql) => changeProfile(sql, user, { refresh_interval_seconds: null }))).toMatchObject({
    currency: 'EUR',
    refresh_interval_seconds: null,
  })
  expect(await as(user, (sql) => changeProfile(sql, { ...user, name: 'other' }, {}))).toMatchObject({ name: 'Mary' })
})

test('what is over is deleted, what is not stays', async () => {
  const [user] = await live<{ id: string }[]>`
    INSERT INTO auth_users (id, name, email) VALUES (gen_random_uuid(), 'x', 'x@example.com') RETURNING id`
  const now = Date.now()
  for (const [i, seconds] of [-1, 1].entries()) {
    const at = new Date(now + seconds * 1_000)
    await live`INSERT INTO auth_sessions (id, token, user_id, expires_at)
      VALUES (gen_random_uuid(), ${String(i).repeat(64)}, ${user!.id}, ${at})`
    await live`INSERT INTO auth_verifications (id, identifier, value, expires_at)
      VALUES (gen_random_uuid(), 'x', 'x', ${at})`
  }
  expect(await dropOver(live, now)).toEqual({ sessions: 1, verifications: 1 })
  expect(await dropOver(live, now)).toEqual({ sessions: 0, verifications: 0 })
})

describe('migration 0012 runs', () => {
  /** A database of its own on the same server. */
  async function database(name: string): Promise<string> {
    const admin = openDatabase('live', urlOf('postgres'))
    await admin.unsafe(`CREATE DATABASE ${name}`)
    await admin.end()
    return urlOf(name)
  }

  test('where Supabase has its schema, its roles and its grants already, and closes accounts to its clients', async () => {
    const url = await database('supabase')
    const sql = openDatabase('live', url)
    for (const role of ['anon', 'authenticated', 'service_role'])
      await sql.unsafe(`CREATE ROLE ${role} NOLOGIN ${role === 'service_role' ? 'BYPASSRLS' : ''}`)
    await sql.unsafe(`
      CREATE SCHEMA auth;
      CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
      CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
        AS $$ SELECT (current_setting('request.jwt.claims', true)::json ->> 'sub')::uuid $$;
      GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
      ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
      ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;`)
    await migrate(url)
    await as(ada, (user) => readProfile(user, ada), url)
    const tables = ['profiles', 'auth_users', 'auth_sessions', 'auth_accounts', 'auth_verifications', 'auth_jwks']
    for (const role of ['anon', 'authenticated'])
      for (const table of tables) {
        const tried = sql.begin(async (transaction) => {
          const claims = JSON.stringify({ sub: ada.id, role })
          await transaction`SELECT set_config('role', ${role}, TRUE), set_config('request.jwt.claims', ${claims}, TRUE)`
          return transaction.unsafe(`SELECT * FROM ${table}`)
        })
        await expect(tried).rejects.toThrow('permission denied')
      }
    const seen = await as(ada, (user) => user`SELECT auth.uid() AS id`, url).catch((error: Error) => error.message)
    expect(seen).toContain('permission denied for schema auth')
    await sql.end()
  })

  test('as an owner that is no superuser, who makes the role and may become it', async () => {
    const url = urlOf('plain', 'plain')
    await as(ada, (sql) => readProfile(sql, ada), url)
    await as(grace, (sql) => readProfile(sql, grace), url)
    expect(await as(ada, (sql) => sql`SELECT name FROM profiles`, url)).toEqual([{ name: 'Ada' }])
  })
})
