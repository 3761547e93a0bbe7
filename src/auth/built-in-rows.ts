import { type CleanedWhere, createAdapterFactory, type DBAdapterFactoryConfig } from 'better-auth/adapters'
import { sha256 } from './digest.ts'
import {
  ACCOUNT_TABLES,
  type AccountRow,
  type AccountRows,
  type AccountTable,
  type ColumnValue,
  type Condition,
} from './rows.ts'

const columnOf = (field: string): string => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
const fieldOf = (column: string): string => column.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
const tableOf = (model: string): AccountTable => ACCOUNT_TABLES[model as keyof typeof ACCOUNT_TABLES]

/** Only the digest of a session token is stored, so that the table contains no usable token. Tokens are random: no salt. */
const isSecret = (model: string, field: string): boolean => model === 'session' && field === 'token'

async function toRow(model: string, data: Record<string, unknown>): Promise<AccountRow> {
  const row: AccountRow = {}
  for (const [field, value] of Object.entries(data))
    if (value !== undefined)
      row[columnOf(field)] = isSecret(model, field) ? await sha256(String(value)) : (value as ColumnValue)
  return row
}

/** A row by better-auth's field names. `token` replaces the digest, if the caller passed the token itself. */
function toData<T>(row: AccountRow, token: unknown): T {
  const data = Object.fromEntries(Object.entries(row).map(([column, value]) => [fieldOf(column), value]))
  return (token === undefined ? data : { ...data, token }) as T
}

const OPERATORS = new Set(['eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in', 'not_in'])

async function conditionsOf(model: string, where: readonly CleanedWhere[] = []): Promise<Condition[]> {
  return Promise.all(
    where.map(async ({ field, operator, value, connector }, index) => {
      if (!OPERATORS.has(operator) || (index > 0 && connector === 'OR'))
        throw new Error(`better-auth queries with ${connector} ${operator}, which is not supported`)
      if (!isSecret(model, field)) return { column: columnOf(field), is: operator, value } as Condition
      const digests = Array.isArray(value)
        ? await Promise.all(value.map(String).map(sha256))
        : await sha256(String(value))
      return { column: 'token', is: operator, value: digests } as Condition
    }),
  )
}

const knownToken = (model: string, where: readonly CleanedWhere[]): unknown =>
  model === 'session' ? where.find(({ field, operator }) => field === 'token' && operator === 'eq')?.value : undefined

/** better-auth's database adapter: maps its field names to columns and its session tokens to digests. */
export const accountAdapter = (rows: AccountRows): ReturnType<typeof createAdapterFactory> => {
  const create = (tables: AccountRows, transaction: DBAdapterFactoryConfig['transaction']) =>
    createAdapterFactory({
      config: { adapterId: 'kerb', supportsDates: false, supportsNumericIds: false, transaction },
      adapter: () => ({
        async create({ model, data }) {
          const row = await tables.insert(tableOf(model), await toRow(model, data))
          return toData(row, model === 'session' ? data.token : undefined)
        },
        async findOne({ model, where }) {
          const how = { limit: 1, offset: 0, sort: null }
          const [row] = await tables.find(tableOf(model), await conditionsOf(model, where), how)
          return row ? toData(row, knownToken(model, where)) : null
        },
        async findMany({ model, where, limit, offset = 0, sortBy }) {
          const sort = sortBy ? { column: columnOf(sortBy.field), descending: sortBy.direction === 'desc' } : null
          const rows = await tables.find(tableOf(model), await conditionsOf(model, where), { limit, offset, sort })
          return rows.map((row) => toData(row, undefined))
        },
        async update({ model, where, update }) {
          const values = await toRow(model, update as Record<string, unknown>)
          const [row] = await tables.update(tableOf(model), await conditionsOf(model, where), values)
          return row ? toData(row, knownToken(model, where)) : null
        },
        async updateMany({ model, where, update }) {
          const changed = await tables.update(
            tableOf(model),
            await conditionsOf(model, where),
            await toRow(model, update),
          )
          return changed.length
        },
        async delete({ model, where }) {
          await tables.remove(tableOf(model), await conditionsOf(model, where))
        },
        async deleteMany({ model, where }) {
          return (await tables.remove(tableOf(model), await conditionsOf(model, where))).length
        },
        async consumeOne({ model, where }) {
          const [row] = await tables.remove(tableOf(model), await conditionsOf(model, where))
          return row ? toData(row, knownToken(model, where)) : null
        },
        async incrementOne({ model }) {
          throw new Error(`better-auth increments a field of ${model}, which is not supported`)
        },
        async count({ model, where }) {
          return tables.count(tableOf(model), await conditionsOf(model, where))
        },
      }),
    })
  return (options) => create(rows, (run) => rows.transaction((inside) => run(create(inside, false)(options))))(options)
}
