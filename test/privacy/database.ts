import { withUserDatabase } from '../../src/db/client.ts'
import { readKey } from '../../src/db/idempotency.ts'
import { readCustomAssets } from '../../src/db/import-activities.ts'
import { readLots, readPortfolioData, readValuedPortfolio } from '../../src/db/portfolio-views.ts'
import {
  findActivity,
  findCustomAsset,
  readActivities,
  readActivityAssets,
  readSoldParts,
} from '../../src/db/read-activities.ts'
import { readPortfolioHistoryData } from '../../src/db/value-history.ts'
import type { Person } from './person.ts'
import type { RunContext } from './send.ts'

/** The role that the Worker uses for the data of users. */
const USER_ROLE = 'kerb_user'
/** The timeout of a statement, milliseconds. */
const STATEMENT_TIMEOUT_MS = 20_000

/** Postgres' error code for a missing privilege. */
const INSUFFICIENT_PRIVILEGE = '42501'

/** The rows of a statement as text; null if the role lacks the privilege. */
async function queryAsUser(
  { environment }: RunContext,
  claims: string | null,
  statement: string,
): Promise<string | null> {
  const undo = new Error('undone')
  let text = ''
  try {
    await environment.admin.begin(async (sql) => {
      await sql.unsafe(`SET LOCAL statement_timeout = ${STATEMENT_TIMEOUT_MS}`)
      await sql`SELECT set_config('role', ${USER_ROLE}, TRUE), set_config('request.jwt.claims', ${claims ?? ''}, TRUE)`
      const rows = await sql.unsafe(statement)
      text = rows.map((row) => Object.values(row as Record<string, unknown>).join('\t')).join('\n')
      throw undo
    })
  } catch (error) {
    if (error === undo) return text
    const { code, message, detail } = error as { code?: string; message: string; detail?: string }
    if (code === undefined) throw error
    // The message of a constraint that prevents a deletion may name the row.
    return code === INSUFFICIENT_PRIVILEGE ? null : `${message} ${detail ?? ''}`
  }
  return text
}

/** A user's idempotency keys may include keys that they copied from others. */
const storedEchoes = (name: string, tried: readonly string[]) =>
  name === 'idempotency_keys' ? { sent: tried.join(' '), echoes: true } : { sent: '', echoes: false }

/** Runs the Worker's own read queries as `me` for the data of `other`. */
async function runQueriesForOther(me: { id: string }, other: Person, url: string): Promise<unknown[]> {
  const id = `${other.id}`
  const all = { assetIds: null, kind: null, limit: 1_000, after: null }
  return withUserDatabase({ HYPERDRIVE: { connectionString: url } }, me, async (sql) => [
    await readPortfolioData(sql, id, null),
    await readValuedPortfolio(sql, id),
    await readLots(sql, id, { limit: 1_000 }),
    await readLots(sql, id, { ids: other.things.lots, limit: 1_000 }),
    await readActivities(sql, id, all),
    await readActivityAssets(sql, id),
    await readCustomAssets(sql, id),
    await readPortfolioHistoryData(sql, id, 1_000),
    ...(await Promise.all([
      ...other.things.activities.slice(-5).map((activity) => findActivity(sql, id, activity)),
      ...other.things.activities.slice(-5).map((activity) => readSoldParts(sql, id, activity)),
      ...other.customAssets.map(({ symbol }) => findCustomAsset(sql, id, symbol, null)),
      ...other.things.keys.slice(-5).map((key) => readKey(sql, id, key, '')),
    ])),
  ])
}

/**
 * Row level security alone: every table and view, as every user, without any WHERE; and the Worker's own queries for
 * another user. Returns the number of statements.
 */
export async function checkDatabase(world: RunContext): Promise<number> {
  const { environment, detector, users } = world
  const relations = await environment.admin<{ name: string; kind: string }[]>`
    SELECT relname AS name, relkind AS kind FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND NOT relispartition ORDER BY 1`
  let statements = 0
  const readers = [
    ...users.map(({ tag, id, triedKeys: tried }) => ({
      to: tag,
      claims: JSON.stringify({ sub: id, role: USER_ROLE }),
      tried,
    })),
    { to: null, claims: null, tried: [] },
    { to: null, claims: '{}', tried: [] },
  ]
  for (const { to, claims, tried } of readers)
    for (const { name, kind } of relations)
      for (const statement of [
        `SELECT t::text FROM ${name} t`,
        ...(kind === 'v' ? [] : [`DELETE FROM ${name} AS t RETURNING t::text`]),
      ]) {
        statements++
        const text = await queryAsUser(world, claims, statement)
        if (text !== null) detector.check({ to, where: statement, text, ...storedEchoes(name, tried) })
      }
  // Rows with a user's id hold only that user's data: no other user has written them.
  for (const { name } of await environment.admin<{ name: string }[]>`
    SELECT relname AS name FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'user_id'
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`)
    for (const user of users) {
      statements++
      const rows = await environment.admin.unsafe(`SELECT t::text AS row FROM ${name} t WHERE user_id = $1`, [
        `${user.id}`,
      ])
      const text = rows.map(({ row }) => row as string).join('\n')
      detector.check({
        to: user.tag,
        where: `rows of ${user.tag} in ${name}`,
        text,
        ...storedEchoes(name, user.triedKeys),
      })
    }
  for (const me of users)
    for (const other of users) {
      if (me === other) continue
      const where = `queries of ${me.tag} for ${other.tag}`
      const result = await runQueriesForOther({ id: `${me.id}` }, other, environment.databaseUrl).catch(
        (error: Error) => detector.fault(`${where}: ${error.stack}`),
      )
      statements++
      const ids = JSON.stringify([other.id, other.things.lots, other.things.activities])
      detector.check({ to: me.tag, where, text: JSON.stringify(result), sent: ids, echoes: false })
    }
  return statements
}
