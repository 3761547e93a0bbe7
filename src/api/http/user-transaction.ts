import type { UserSql } from '../../db/client.ts'
import { log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { UserRequest } from './context.ts'
import { temporarilyUnavailable } from './problems.ts'

/** For responses with a user's data, which no cache may store. */
export const PRIVATE_NO_STORE = { 'cache-control': 'private, no-store' }

/** Rejects a transaction to roll it back on purpose. */
export const ROLLBACK = new Error('rolled back on purpose')

/**
 * Runs `use` in one transaction as the user of the request: committed when it resolves, rolled back when it rejects. It
 * must use nothing but `sql`: a call to an object or a provider would hold the transaction open for as long as that takes.
 * @throws CodedError what `use` throws; `unavailable` when the database fails
 */
export async function withUser<T>(
  { db, user }: Pick<UserRequest, 'db' | 'user'>,
  use: (sql: UserSql) => Promise<T>,
): Promise<T> {
  try {
    return await db.asUser(user.id, use)
  } catch (error) {
    if (error instanceof CodedError || error === ROLLBACK) throw error
    log('user_data_read_failed', { error: String(error) })
    throw temporarilyUnavailable('Your data cannot be reached')
  }
}
