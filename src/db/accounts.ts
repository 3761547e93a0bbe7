import type { AccountRow, AccountRows, AccountTable, Condition } from '../auth/rows.ts'
import { type LiveSql, liveQuery } from './client.ts'

type Sql = LiveSql

function conditionSql(sql: Sql, { column, is, value }: Condition) {
  const name = sql(column)
  if (is === 'in') return sql`${name} = ANY (${value as string[]})`
  if (is === 'not_in') return sql`${name} <> ALL (${value as string[]})`
  if (is === 'eq') return value === null ? sql`${name} IS NULL` : sql`${name} = ${value}`
  if (is === 'ne') return value === null ? sql`${name} IS NOT NULL` : sql`${name} <> ${value}`
  if (is === 'lt') return sql`${name} < ${value}`
  if (is === 'lte') return sql`${name} <= ${value}`
  return is === 'gt' ? sql`${name} > ${value}` : sql`${name} >= ${value}`
}

const whereSql = (sql: Sql, where: readonly Condition[]) =>
  where.reduce((all, each) => sql`${all} AND ${conditionSql(sql, each)}`, sql`TRUE`)

async function insert(sql: Sql, table: AccountTable, row: AccountRow): Promise<AccountRow> {
  const [made] = await sql<AccountRow[]>`INSERT INTO ${sql(table)} ${sql(row)} RETURNING *`
  return made as AccountRow
}

const rowsWith = (sql: Sql): AccountRows => ({
  insert: (table, row) => insert(sql, table, row),
  async find(table, where, { limit, offset, sort }) {
    const order = sort && sql`ORDER BY ${sql(sort.column)} ${sort.descending ? sql`DESC` : sql`ASC`}`
    return [
      ...(await sql<AccountRow[]>`
      SELECT * FROM ${sql(table)} WHERE ${whereSql(sql, where)} ${order ?? sql``} LIMIT ${limit} OFFSET ${offset}`),
    ]
  },
  async update(table, where, values) {
    return [
      ...(await sql<AccountRow[]>`UPDATE ${sql(table)} SET ${sql(values)} WHERE ${whereSql(sql, where)} RETURNING *`),
    ]
  },
  async remove(table, where) {
    return [...(await sql<AccountRow[]>`DELETE FROM ${sql(table)} WHERE ${whereSql(sql, where)} RETURNING *`)]
  },
  async count(table, where) {
    const [row] = await sql<
      { n: number }[]
    >`SELECT count(*)::integer AS n FROM ${sql(table)} WHERE ${whereSql(sql, where)}`
    return row!.n
  },
  transaction: (run) => sql.begin((inside) => run(rowsWith(inside as unknown as Sql))) as ReturnType<typeof run>,
})

/** The rows of the built-in issuer, for as long as this client is open. */
export const accountRows = liveQuery(async (sql): Promise<AccountRows> => rowsWith(sql))

/** Deletes sessions and verifications that have expired at `now` (unix milliseconds), and returns how many. */
export const deleteExpiredAuthRows = liveQuery(
  async (sql, now: number): Promise<{ sessions: number; verifications: number }> => {
    const before = new Date(now)
    const sessions = await sql`DELETE FROM auth_sessions WHERE expires_at < ${before}`
    const verifications = await sql`DELETE FROM auth_verifications WHERE expires_at < ${before}`
    return { sessions: sessions.count, verifications: verifications.count }
  },
)
