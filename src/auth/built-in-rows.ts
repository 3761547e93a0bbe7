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

/**
 * Whoever reads the table of sessions gets no token that opens one: only its digest is stored. Tokens are random: it needs
 * no salt.
 */
const isSecret = (model: string, field: string): boolean => model === 'session' && field === 'token'

async function toRow(model: string, data: Record<string, unknown>): Promise<AccountRow> {
  const row: AccountRow = {}
  for (const [field, value] of Object.entries(data))
    if (value !== undefined)
      row[columnOf(field)] = isSecret(model, field) ? await sha256(String(value)) : (value as ColumnValue)
  return row
}

/** A row by the library's names. `token` stands for its digest, where who asked has shown that it knows it. */
function toData<T>(row: AccountRow, token: unknown): T {
  const data = Object.fromEntries(Object.entries(row).map(([column, value]) => [fieldOf(column), value]))
  return (token === undefined ? data : { ...data, token }) as T
}

const OPERATORS = new Set(['eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in', 'not_in'])

async function conditionsOf(model: string, where: readonly CleanedWhere[] = []): Promise<Condition[]> {
  return Promise.all(
    where.map(async ({ field, operator, value, connector }, index) => {
      if (!OPERATORS.has(operator) || (index > 0 && connector === 'OR'))
        throw new Error(`the built-in issuer asks by ${connector} ${operator}, which is not known here`)
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

/** The library's adapter over rows. Its own names become columns, and its session tokens digests. */
export const accountAdapter = (rows: AccountRows): ReturnType<typeof createAdapterFactory> => {
  const over = (some: AccountRows, transaction: DBAdapterFactoryConfig['transaction']) =>
    createAdapterFactory({
      config: { adapterId: 'kerb', supportsDates: false, supportsNumericIds: false, transaction },
      adapter: () => ({
        async create({ model, data }) {
          const row = await some.insert(tableOf(model), await toRow(model, data))
          return toData(row, model === 'session' ? data.token : undefined)
        },
        async findOne({ model, where }) {
          const how = { limit: 1, offset: 0, sort: null }
          const [row] = await some.find(tableOf(model), await conditionsOf(model, where), how)
          return row ? toData(row, knownToken(model, where)) : null
        },
        async findMany({ model, where, limit, offset = 0, sortBy }) {
          const sort = sortBy ? { column: columnOf(sortBy.field), descending: sortBy.direction === 'desc' } : null
          const found = await some.find(tableOf(model), await conditionsOf(model, where), { limit, offset, sort })
          return found.map((row) => toData(row, undefined))
        },
        async update({ model, where, update }) {
          const values = await toRow(model, update as Record<string, unknown>)
          const [row] = await some.update(tableOf(model), await conditionsOf(model, where), values)
          return row ? toData(row, knownToken(model, where)) : null
        },
        async updateMany({ model, where, update }) {
          const changed = await some.update(
            tableOf(model),
            await conditionsOf(model, where),
            await toRow(model, update),
          )
          return changed.length
        },
        async delete({ model, where }) {
          await some.remove(tableOf(model), await conditionsOf(model, where))
        },
        async deleteMany({ model, where }) {
          return (await some.remove(tableOf(model), await conditionsOf(model, where))).length
        },
        async consumeOne({ model, where }) {
          const [row] = await some.remove(tableOf(model), await conditionsOf(model, where))
          return row ? toData(row, knownToken(model, where)) : null
        },
        async incrementOne({ model }) {
          throw new Error(`the built-in issuer counts nothing in ${model}`)
        },
        async count({ model, where }) {
          return some.count(tableOf(model), await conditionsOf(model, where))
        },
      }),
    })
  return (options) => over(rows, (run) => rows.transaction((inside) => run(over(inside, false)(options))))(options)
}
