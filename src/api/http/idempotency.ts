import type { Context } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import { sha256 } from '../../auth/digest.ts'
import type { UserSql } from '../../db/client.ts'
import { claimKey, type KeyState, readKey, type StoredResponse, storeResponse } from '../../db/idempotency.ts'
import { ensureProfile, type StoredProfile } from '../../db/profiles.ts'
import { log } from '../../log.ts'
import { type PortfolioChange, userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv, UserRequest } from './context.ts'
import { invalidField } from './input.ts'
import { PRIVATE_NO_STORE, ROLLBACK, withUser } from './user-transaction.ts'

/** The response of a write, and what it has changed of the portfolio (null: nothing). */
export type WriteResult<T> = {
  status: 200 | 201 | 204
  headers: Record<string, string>
  body: T
  change: PortfolioChange | null
}

/** The transaction of a write; what it throws rolls back all of it. */
export type Write<T> = (sql: UserSql, profile: StoredProfile) => Promise<WriteResult<T>>

/** An `Idempotency-Key`, and the digest of the request that it belongs to. */
export type IdempotencyKey = { key: string; request: string }

/** Printable ASCII, at most as long as the column takes. */
const KEY_PATTERN = /^[\x21-\x7e]{1,200}$/

/**
 * The idempotency key of a write, bound to its method, its address and what it asks for (`fields`). Null without a key.
 * @param key by default the header `Idempotency-Key`
 * @throws CodedError `invalid_request` when the key is malformed
 */
export async function idempotencyKey(
  c: Context<AppEnv>,
  fields: unknown,
  key: string | null = c.req.header('idempotency-key') ?? null,
): Promise<IdempotencyKey | null> {
  if (key === null) return null
  if (!KEY_PATTERN.test(key))
    throw invalidField('idempotency-key', 'must have 1 to 200 printable ASCII characters, without spaces')
  const { pathname, search } = new URL(c.req.url)
  return { key, request: await sha256(`${c.req.method}\n${pathname}${search}\n${JSON.stringify(fields)}`) }
}

/** The response that is stored for this very request; null when there is none. @throws CodedError `idempotency_conflict` */
function previousResponse(state: KeyState): StoredResponse | null {
  if (state.kind === 'other_request')
    throw new CodedError('idempotency_conflict', 'this Idempotency-Key was used for another request')
  return state.kind === 'answered' ? state.answer : null
}

/**
 * The response to the same request with the same key, if it was answered before; null otherwise. Asked first, so that a
 * repeated write is answered as it was, whatever has changed since.
 * @throws CodedError `idempotency_conflict` when the key belongs to another request, `unavailable`
 */
export async function findResponse(request: UserRequest, key: IdempotencyKey | null): Promise<StoredResponse | null> {
  if (key === null) return null
  return previousResponse(await withUser(request, (sql) => readKey(sql, request.user.id, key.key, key.request)))
}

/**
 * Runs a write in one transaction and, after it is committed, reports the change to the user's object: its sockets have it
 * when this resolves. An object that cannot be reached learns of it from the outbox.
 * @throws CodedError what `write` throws; `unavailable`
 */
export async function runWrite<T>(request: UserRequest, write: Write<T>): Promise<WriteResult<T>> {
  const { env, user } = request
  const result = await withUser(request, async (sql) => write(sql, await ensureProfile(sql, user)))
  if (result.change) await notifyPortfolio(env, user.id, result.change)
  return result
}

async function notifyPortfolio(env: Env, userId: string, change: PortfolioChange): Promise<void> {
  try {
    await userPortfolio(env, userId).applyChange(change)
  } catch (error) {
    log('portfolio_notify_failed', { version: change.version, error: String(error) })
  }
}

/** The body that a write would answer with: it is run, and rolled back. @throws CodedError as the write itself */
export async function dryRun<T>(request: UserRequest, write: Write<T>): Promise<T> {
  const results: WriteResult<T>[] = []
  const rolledBack = withUser(request, async (sql) => {
    results.push(await write(sql, await ensureProfile(sql, request.user)))
    throw ROLLBACK
  })
  await rolledBack.catch((error) => {
    if (error !== ROLLBACK) throw error
  })
  return results[0]!.body
}

/**
 * Runs a write, at most once for one key: of two such requests at the same time one writes, and the other waits for its
 * response. The response is stored in the transaction of the write, so a write that was refused can be tried again.
 * @throws CodedError what `write` throws; `idempotency_conflict`, `unavailable`
 */
export async function runIdempotent<T>(
  request: UserRequest,
  key: IdempotencyKey | null,
  write: Write<T>,
): Promise<StoredResponse> {
  const { id } = request.user
  const { body } = await runWrite(request, async (sql, profile): Promise<WriteResult<StoredResponse>> => {
    const previous = key && previousResponse(await claimKey(sql, id, key.key, key.request))
    if (previous) return { status: 200, headers: {}, body: previous, change: null }
    const result = await write(sql, profile)
    const type: Record<string, string> = result.status === 204 ? {} : { 'content-type': 'application/json' }
    const headers = { ...PRIVATE_NO_STORE, ...type, ...result.headers }
    const response = { status: result.status, headers, body: JSON.stringify(result.body) ?? '' }
    if (key) await storeResponse(sql, id, key.key, response)
    return { ...result, body: response }
  })
  return body
}

/** Sends the response of a write. */
export const sendStored = (c: Context<AppEnv>, { status, headers, body }: StoredResponse): Response =>
  c.newResponse(status === 204 ? null : body, { status: status as StatusCode, headers })
