/** The tables of the built-in issuer, by the library's names. */
export const ACCOUNT_TABLES = {
  user: 'auth_users',
  session: 'auth_sessions',
  account: 'auth_accounts',
  verification: 'auth_verifications',
  jwks: 'auth_jwks',
} as const

export type AccountTable = (typeof ACCOUNT_TABLES)[keyof typeof ACCOUNT_TABLES]

export type Value = string | number | boolean | null
/** A row by its columns; times are RFC 3339 text. */
export type Row = Record<string, Value>

/** One condition on a column; several are joined by AND. */
export type Condition =
  | { column: string; is: 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte'; value: Value }
  | { column: string; is: 'in' | 'not_in'; value: readonly Value[] }

/** What the built-in issuer asks of a database. */
export type AccountRows = {
  insert(table: AccountTable, row: Row): Promise<Row>
  find(
    table: AccountTable,
    where: readonly Condition[],
    how: { limit: number; offset: number; sort: { column: string; descending: boolean } | null },
  ): Promise<Row[]>
  /** Changes every row that fits, and gives them as they are now. */
  update(table: AccountTable, where: readonly Condition[], values: Row): Promise<Row[]>
  /** Deletes every row that fits, and gives them as they were. */
  remove(table: AccountTable, where: readonly Condition[]): Promise<Row[]>
  count(table: AccountTable, where: readonly Condition[]): Promise<number>
  /** All or nothing of what `run` does with the rows it is given. */
  transaction<T>(run: (rows: AccountRows) => Promise<T>): Promise<T>
}
