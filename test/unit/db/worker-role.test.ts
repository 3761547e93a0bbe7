import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate, workerDatabaseUrl } from '../../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../../dev/postgres.ts'
import { type LiveSql, openDatabase, withUserDatabase } from '../../../src/db/client.ts'
import { ensureProfile } from '../../../src/db/profiles.ts'

const PASSWORD = "the worker's"
const dir = mkdtempSync(join(tmpdir(), 'kerb-worker-role-'))
let server: Postgres
let owner: LiveSql
let worker: LiveSql

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url, PASSWORD)
  owner = openDatabase('live', server.url)
  worker = openDatabase('live', workerDatabaseUrl(server.url, PASSWORD))
}, 60_000)

afterAll(async () => {
  await owner?.end()
  await worker?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

describe('the role of the Worker', () => {
  test('owns no table, view, function or schema', async () => {
    expect(
      await owner`
      SELECT c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname IN ('kerb_worker', 'kerb_user')
      UNION ALL
      SELECT p.proname FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE r.rolname IN ('kerb_worker', 'kerb_user')
      UNION ALL
      SELECT n.nspname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
      WHERE r.rolname IN ('kerb_worker', 'kerb_user')`,
    ).toEqual([])
  })

  test.each([
    ['ALTER TABLE portfolios DISABLE ROW LEVEL SECURITY', 'must be owner'],
    ['DROP TABLE candle_gaps', 'must be owner'],
    ['TRUNCATE activities', 'permission denied'],
    ['CREATE TABLE mine (n integer)', 'permission denied'],
    ['CREATE TEMPORARY TABLE portfolios (user_id uuid)', 'permission denied to create temporary tables'],
    ['CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$', 'permission denied'],
    [`CREATE POLICY mine ON activities USING (TRUE)`, 'must be owner'],
    ['DELETE FROM pgmigrations', 'permission denied'],
    ['SET ROLE postgres', 'permission denied'],
  ])('may not run "%s"', async (statement, reason) => {
    await expect(worker.unsafe(statement)).rejects.toThrow(reason)
  })

  test('reads every table and view, and every new partition through its table', async () => {
    const relations = await owner<{ name: string }[]>`
      SELECT relname AS name FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname <> 'pgmigrations'`
    expect(relations.length).toBeGreaterThan(30)
    for (const { name } of relations) await worker.unsafe(`SELECT * FROM ${name} LIMIT 1`)
    await worker`INSERT INTO system_metrics (metric_name, value, recorded_at)
      VALUES ('test', 1, now())`
    expect(await worker`SELECT value FROM system_metrics`).toEqual([{ value: 1 }])
  })

  test('is what remains when a user’s transaction resets its role, and still may change no table', async () => {
    const user = { id: randomUUID(), name: 'Ada' }
    const env = { HYPERDRIVE: { connectionString: workerDatabaseUrl(server.url, PASSWORD) } }
    await withUserDatabase(env, user, async (sql) => {
      await ensureProfile(sql, user)
      expect(await sql`SELECT current_user AS role`).toEqual([{ role: 'kerb_user' }])
      await sql`RESET ROLE`
      expect(await sql`SELECT current_user AS role`).toEqual([{ role: 'kerb_worker' }])
    })
    const alter = withUserDatabase(env, user, async (sql) => {
      await sql`RESET ROLE`
      await sql`ALTER TABLE activities DISABLE ROW LEVEL SECURITY`
    })
    await expect(alter).rejects.toThrow('must be owner')
  })
})

test('every function that runs with its owner’s rights looks into pg_temp last', async () => {
  const definers = await owner<{ name: string; config: string }[]>`
    SELECT proname AS name, proconfig::text AS config FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace`
  expect(definers.length).toBeGreaterThan(10)
  for (const { name, config } of definers) expect(config, name).toBe('{"search_path=public, pg_temp"}')
})

test('P8 SQL of a user cannot attach a lot or a closure to another user’s activity', async () => {
  const [ada, grace] = [randomUUID(), randomUUID()]
  for (const id of [ada, grace]) {
    await owner`INSERT INTO profiles (user_id, name) VALUES (${id}, 'x')`
    await owner`INSERT INTO portfolios (user_id) VALUES (${id})`
  }
  const [asset] = await owner`SELECT asset_id FROM assets LIMIT 1`
  const activity = async (user: string, kind: string): Promise<string> => {
    const id = randomUUID()
    await owner`INSERT INTO activities (id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at)
      VALUES (${id}, ${user}, ${kind}, ${asset?.asset_id}, 1, 1, 0, 'USD', now())`
    return id
  }
  const lot = async (id: string, user: string) => {
    await worker`INSERT INTO lots
      VALUES (${id}, ${user}, ${asset?.asset_id}, 'USD', now(), 1, 1, 1, 0, 1)`
  }
  const closure = (sale: string, lotId: string, user: string) => worker`INSERT INTO lot_closures
    VALUES (${sale}, ${lotId}, ${user}, ${asset?.asset_id}, 1, 1, 1, 'USD', now())`

  const purchase = await activity(ada, 'buy')
  await expect(lot(purchase, grace)).rejects.toThrow('foreign key')
  await lot(purchase, ada)
  const sale = await activity(grace, 'sell')
  await expect(closure(sale, purchase, grace)).rejects.toThrow('foreign key')
  await expect(closure(sale, purchase, ada)).rejects.toThrow('foreign key')
  await closure(await activity(ada, 'sell'), purchase, ada)
  await owner`DELETE FROM activities WHERE id = ${purchase}`
  expect(await owner`SELECT * FROM lot_closures`).toEqual([])
})
