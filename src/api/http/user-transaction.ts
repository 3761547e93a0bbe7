import type { User } from '../../auth/verifier.ts'
import { type UserSql, withUserDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'

/** What is told of somebody alone is stored by nobody, and by no cache between. */
export const PRIVATE_NO_STORE = { 'cache-control': 'private, no-store' }

/** Thrown by `use` of `asUser` to have everything undone that it has written. */
export const ROLLBACK = new Error('undone on purpose')

/**
 * Asks the database as this user, in one transaction: what throws undoes all of it.
 * @throws CodedError what `use` throws; `unavailable` while the database cannot be asked
 */
export async function withUser<T>(env: Env, user: Pick<User, 'id'>, use: (sql: UserSql) => Promise<T>): Promise<T> {
  try {
    return await withUserDatabase(env, user, use)
  } catch (error) {
    if (error instanceof CodedError || error === ROLLBACK) throw error
    log('user_data_read_failed', { error: String(error) })
    throw new CodedError('unavailable', 'your data cannot be reached at the moment', { retryAfter: 5 })
  }
}
