/** The tables of the built-in issuer by better-auth's model names. */
export const ACCOUNT_TABLES = {
  user: 'auth_users',
  session: 'auth_sessions',
  account: 'auth_accounts',
  verification: 'auth_verifications',
  jwks: 'auth_jwks',
} as const

export type AccountTable = (typeof ACCOUNT_TABLES)[keyof typeof ACCOUNT_TABLES]

export type ColumnValue = string | number | boolean | null
/** A row by column; times are RFC 3339 text. */
export type AccountRow = Record<string, ColumnValue>

/** One condition on a column; several are joined by AND. */
export type Condition =
  | { column: string; is: 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte'; value: ColumnValue }
  | { column: string; is: 'in' | 'not_in'; value: readonly ColumnValue[] }

/** The database of the built-in issuer. */
export type AccountRows = {
  insert(table: AccountTable, row: AccountRow): Promise<AccountRow>
  find(
    table: AccountTable,
    where: readonly Condition[],
    how: { limit: number; offset: number; sort: { column: string; descending: boolean } | null },
  ): Promise<AccountRow[]>
  /** Updates every matching row, and returns the updated rows. */
  update(table: AccountTable, where: readonly Condition[], values: AccountRow): Promise<AccountRow[]>
  /** Deletes every matching row, and returns the deleted rows. */
  remove(table: AccountTable, where: readonly Condition[]): Promise<AccountRow[]>
  count(table: AccountTable, where: readonly Condition[]): Promise<number>
  /** Runs `run` in a transaction, with rows that belong to it. */
  transaction<T>(run: (rows: AccountRows) => Promise<T>): Promise<T>
}
