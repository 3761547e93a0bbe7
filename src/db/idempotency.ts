import { DAY_MS } from '../time.ts'
import { liveQuery, type UserSql, userQuery } from './client.ts'

/** A response as it was sent, to be sent again to the same request with the same key. */
export type StoredResponse = { status: number; headers: Record<string, string>; body: string }

/** Whether a key is new, has a stored response, or belongs to another request. */
export type KeyState = { kind: 'new' } | { kind: 'answered'; answer: StoredResponse } | { kind: 'other_request' }

async function readKeyState(sql: UserSql, userId: string, key: string, request: string): Promise<KeyState> {
  const [row] = await sql<(StoredResponse & { request: string })[]>`
    SELECT request, status, headers, body FROM idempotency_keys WHERE user_id = ${userId} AND key = ${key}`
  if (row === undefined) return { kind: 'new' }
  const { request: before, ...answer } = row
  return before === request ? { kind: 'answered', answer } : { kind: 'other_request' }
}

/** The state of a key. @param request a digest: the same text for the same request */
export const readKey = userQuery(readKeyState)

/**
 * Claims a key for the response of this transaction, which `storeResponse` must store. Another transaction that claims it
 * waits for the end of this one: then it gets the response, or, if this one failed, the key.
 */
export const claimKey = userQuery(async (sql, userId: string, key: string, request: string): Promise<KeyState> => {
  for (;;) {
    const claimed = await sql`
      INSERT INTO idempotency_keys (user_id, key, request, status, headers, body)
      VALUES (${userId}, ${key}, ${request}, 0, '{}', '') ON CONFLICT DO NOTHING`
    if (claimed.count === 1) return { kind: 'new' }
    const use = await readKeyState(sql, userId, key, request)
    // A key deleted between the two statements can be claimed now.
    if (use.kind !== 'new') return use
  }
})

/** Stores the response of this transaction under the key that it has claimed. */
export const storeResponse = userQuery(
  async (sql, userId: string, key: string, answer: StoredResponse): Promise<void> => {
    await sql`
    UPDATE idempotency_keys SET status = ${answer.status}, headers = ${JSON.stringify(answer.headers)}::text::jsonb,
      body = ${answer.body}
    WHERE user_id = ${userId} AND key = ${key}`
  },
)

/** Deletes keys older than `days` at `now` (unix milliseconds), and returns how many. */
export const deleteExpiredIdempotencyKeys = liveQuery(async (sql, days: number, now: number): Promise<number> => {
  const before = new Date(now - days * DAY_MS)
  const { count } = await sql`DELETE FROM idempotency_keys WHERE created_at < ${before}`
  return count
})
