import type { AccountRow, AccountRows, Condition } from '../auth/rows.ts'
import { type LiveSql, liveQuery, singleValue } from './client.ts'

const OPERATORS = { eq: '=', ne: '<>', lt: '<', lte: '<=', gt: '>', gte: '>=' }

function conditionSql(sql: LiveSql, { column, is, value }: Condition) {
  const name = sql(column)
  if (is === 'in') return sql`${name} = ANY (${value as string[]})`
  if (is === 'not_in') return sql`${name} <> ALL (${value as string[]})`
  if (value === null && (is === 'eq' || is === 'ne'))
    return is === 'eq' ? sql`${name} IS NULL` : sql`${name} IS NOT NULL`
  return sql`${name} ${sql.unsafe(OPERATORS[is])} ${value}`
}

const whereSql = (sql: LiveSql, where: readonly Condition[]) =>
  where.reduce((all, each) => sql`${all} AND ${conditionSql(sql, each)}`, sql`TRUE`)

const rowsWith = (sql: LiveSql): AccountRows => ({
  async insert(table, row) {
    const [inserted] = await sql<AccountRow[]>`INSERT INTO ${sql(table)} ${sql(row)} RETURNING *`
    return inserted!
  },
  async find(table, where, { limit, offset, sort }) {
    const order = sort && sql`ORDER BY ${sql(sort.column)} ${sort.descending ? sql`DESC` : sql`ASC`}`
    return sql<AccountRow[]>`
      SELECT * FROM ${sql(table)} WHERE ${whereSql(sql, where)} ${order ?? sql``} LIMIT ${limit} OFFSET ${offset}`
  },
  async update(table, where, values) {
    return sql<AccountRow[]>`UPDATE ${sql(table)} SET ${sql(values)} WHERE ${whereSql(sql, where)} RETURNING *`
  },
  async remove(table, where) {
    return sql<AccountRow[]>`DELETE FROM ${sql(table)} WHERE ${whereSql(sql, where)} RETURNING *`
  },
  count: (table, where) => singleValue(sql`SELECT count(*)::integer FROM ${sql(table)} WHERE ${whereSql(sql, where)}`),
  transaction: (run) => sql.begin((inside) => run(rowsWith(inside as unknown as LiveSql))) as ReturnType<typeof run>,
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
