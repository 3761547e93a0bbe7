import type { Context } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import { sha256 } from '../../auth/digest.ts'
import type { UserSql } from '../../db/client.ts'
import { claimKey, type KeyState, readKey, type StoredResponse, storeResponse } from '../../db/idempotency.ts'
import { ensureProfile, type StoredProfile } from '../../db/profiles.ts'
import { log } from '../../log.ts'
import { type PortfolioChange, userPortfolio } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { type AppEnv, type UserRequest, userRequest } from './context.ts'
import { invalidField } from './input.ts'
import { PRIVATE_NO_STORE, ROLLBACK, withUser } from './user-transaction.ts'

/** The response of a write, and what it changed in the portfolio (null: nothing). */
export type WriteResult<T> = {
  status: 200 | 201 | 204
  headers: Record<string, string>
  body: T
  change: PortfolioChange | null
}

/** The transaction of a write; an error rolls all of it back. */
export type Write<T> = (sql: UserSql, profile: StoredProfile) => Promise<WriteResult<T>>

/** Checks a request and looks assets up, which may take long; so it comes before the transaction that it returns. */
type Prepare<T> = (request: UserRequest) => Write<T> | Promise<Write<T>>

/** An idempotency key, and the digest of the request that it belongs to. */
type IdempotencyKey = { key: string; digest: string }

/** Printable ASCII, at most as long as the column allows. */
const KEY_PATTERN = /^[\x21-\x7e]{1,200}$/

/** Binds a key to the request's method, URL and `fields`. @throws CodedError `invalid_request` for a malformed key */
async function bindKey(c: Context<AppEnv>, fields: unknown, key: string): Promise<IdempotencyKey> {
  if (!KEY_PATTERN.test(key))
    throw invalidField('idempotency-key', 'must have 1 to 200 printable ASCII characters, without spaces')
  const { pathname, search } = new URL(c.req.url)
  return { key, digest: await sha256(`${c.req.method}\n${pathname}${search}\n${JSON.stringify(fields)}`) }
}

/** The response that is stored for this request, or null. @throws CodedError `idempotency_conflict` */
function previousResponse(state: KeyState): StoredResponse | null {
  if (state.kind === 'other_request')
    throw new CodedError('idempotency_conflict', 'this Idempotency-Key was used for another request')
  return state.kind === 'answered' ? state.answer : null
}

/**
 * Runs a write, at most once for one idempotency key: a repeated request gets the stored response, whatever has changed
 * since, and of two concurrent ones the second waits for the response of the first. The transaction of the write stores
 * its response, so a refused write can be tried again.
 * @param fields the content of the request
 * @param idempotencyKey null for a write that may be repeated
 * @throws CodedError what `prepare` and its write throw; `invalid_request`, `idempotency_conflict`, `unavailable`
 */
export async function runOnce<T>(
  c: Context<AppEnv>,
  fields: unknown,
  prepare: Prepare<T>,
  idempotencyKey: string | null = c.req.header('idempotency-key') ?? null,
): Promise<StoredResponse> {
  const request = userRequest(c)
  const { id } = request.user
  const key = idempotencyKey === null ? null : await bindKey(c, fields, idempotencyKey)
  const previous = key && previousResponse(await withUser(request, (sql) => readKey(sql, id, key.key, key.digest)))
  if (previous) return previous
  const write = await prepare(request)
  const { response, change } = await withUser(request, async (sql) => {
    const profile = await ensureProfile(sql, request.user)
    const concurrent = key && previousResponse(await claimKey(sql, id, key.key, key.digest))
    if (concurrent) return { response: concurrent, change: null }
    const result = await write(sql, profile)
    const type: Record<string, string> = result.status === 204 ? {} : { 'content-type': 'application/json' }
    const headers = { ...PRIVATE_NO_STORE, ...type, ...result.headers }
    const response = { status: result.status, headers, body: JSON.stringify(result.body) ?? '' }
    if (key) await storeResponse(sql, id, key.key, response)
    return { response, change: result.change }
  })
  if (change) await notifyPortfolio(request, change)
  return response
}

/** Runs a write as `runOnce`, and sends its response. */
export async function respondOnce<T>(c: Context<AppEnv>, fields: unknown, prepare: Prepare<T>): Promise<Response> {
  const { status, headers, body } = await runOnce(c, fields, prepare)
  return c.newResponse(status === 204 ? null : body, { status: status as StatusCode, headers })
}

/** Reports a committed change to the user's object, whose sockets then have it. The outbox covers an unreachable object. */
async function notifyPortfolio({ env, user }: UserRequest, change: PortfolioChange): Promise<void> {
  try {
    await userPortfolio(env, user.id).applyChange(change)
  } catch (error) {
    log('portfolio_notify_failed', { version: change.version, error: String(error) })
  }
}

/** Runs a write, rolls it back, and returns the body that it would respond with. @throws CodedError as the write itself */
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
