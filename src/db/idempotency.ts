import { liveQuery, type UserSql, userQuery } from './client.ts'

/** An answer as it is given, and given again to the same request with the same key. */
export type StoredResponse = { status: number; headers: Record<string, string>; body: string }

/** What a key stands for: nothing yet, an answer, or another request. */
export type KeyState = { kind: 'new' } | { kind: 'answered'; answer: StoredResponse } | { kind: 'other_request' }

async function readKeyState(sql: UserSql, userId: string, key: string, request: string): Promise<KeyState> {
  const [row] = await sql<(StoredResponse & { request: string })[]>`
    SELECT request, status, headers, body FROM idempotency_keys WHERE user_id = ${userId} AND key = ${key}`
  if (row === undefined) return { kind: 'new' }
  const { request: before, ...answer } = row
  return before === request ? { kind: 'answered', answer } : { kind: 'other_request' }
}

/** What a key stands for. @param request tells requests apart: the same text for the same request */
export const readKey = userQuery(readKeyState)

/**
 * Takes a key for the answer that this transaction gives: `storeAnswer` has to follow. Another transaction that takes it,
 * too, waits for the end of this one: then it has the answer, or, if this one failed, the key.
 */
export const claimKey = userQuery(async (sql, userId: string, key: string, request: string): Promise<KeyState> => {
  for (;;) {
    const claimed = await sql`
      INSERT INTO idempotency_keys (user_id, key, request, status, headers, body)
      VALUES (${userId}, ${key}, ${request}, 0, '{}', '') ON CONFLICT DO NOTHING`
    if (claimed.count === 1) return { kind: 'new' }
    const use = await readKeyState(sql, userId, key, request)
    // One that was dropped between the two statements can be taken now.
    if (use.kind !== 'new') return use
  }
})

/** Stores the answer of this transaction under the key that it has taken. */
export const storeResponse = userQuery(
  async (sql, userId: string, key: string, answer: StoredResponse): Promise<void> => {
    await sql`
    UPDATE idempotency_keys SET status = ${answer.status}, headers = ${JSON.stringify(answer.headers)}::text::jsonb,
      body = ${answer.body}
    WHERE user_id = ${userId} AND key = ${key}`
  },
)

/** Drops the keys that were used before a time, and gives their number. */
export const deleteOldKeys = liveQuery(async (sql, before: Date): Promise<number> => {
  const { count } = await sql`DELETE FROM idempotency_keys WHERE created_at < ${before}`
  return count
})
