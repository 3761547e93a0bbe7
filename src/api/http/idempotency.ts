import type { Context } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import { sha256 } from '../../auth/digest.ts'
import type { User } from '../../auth/verifier.ts'
import type { UserSql } from '../../db/client.ts'
import { claimKey, type KeyState, readKey, type StoredResponse, storeResponse } from '../../db/idempotency.ts'
import { ensureProfile, type StoredProfile } from '../../db/profiles.ts'
import type { PortfolioChange } from '../../objects.ts'
import { CodedError } from '../../protocol/errors.ts'
import { notifyPortfolio } from '../portfolio/notify.ts'
import type { AppEnv } from './context.ts'
import { invalidField } from './input.ts'
import { PRIVATE_NO_STORE, ROLLBACK, withUser } from './user-transaction.ts'

/** What a write answers, and what it has changed of the portfolio (null: nothing). */
export type CommandResult<T> = {
  status: 200 | 201 | 204
  headers: Record<string, string>
  body: T
  change: PortfolioChange | null
}

/**
 * The part of a write that runs in the transaction; what it throws undoes all of it. What takes other requests, such as
 * finding an asset, is done before.
 */
export type Command<T> = (sql: UserSql, profile: StoredProfile) => Promise<CommandResult<T>>

/** Printable characters of ASCII, as many as are stored. */
const KEY_PATTERN = /^[\x21-\x7e]{1,200}$/

function checkKey(key: string | null): void {
  if (key === null || KEY_PATTERN.test(key)) return
  const message = 'must have 1 to 200 printable characters of ASCII, without spaces'
  throw invalidField('idempotency-key', message)
}

/** Tells requests apart: the digest of method, address and body. */
async function requestDigest(c: Context<AppEnv>, fields: unknown): Promise<string> {
  const text = `${c.req.method}\n${new URL(c.req.url).pathname}${new URL(c.req.url).search}\n${JSON.stringify(fields)}`
  return sha256(text)
}

/** The answer that is stored for this very request; null: there is none. @throws CodedError `idempotency_conflict` */
function previousResponse(use: KeyState): StoredResponse | null {
  if (use.kind === 'other_request')
    throw new CodedError('idempotency_conflict', 'this Idempotency-Key was used for another request')
  return use.kind === 'answered' ? use.answer : null
}

/**
 * Does a write of who asks, in one transaction, and tells their object of it.
 * @throws CodedError what `work` throws; `unavailable`
 */
export async function runWrite<T>(c: { env: Env; var: { user: User } }, work: Command<T>): Promise<CommandResult<T>> {
  const { user } = c.var
  const written = await withUser(c.env, user, async (sql) => work(sql, await ensureProfile(sql, user)))
  if (written.change) await notifyPortfolio(c.env, user.id, written.change)
  return written
}

/** What a write would answer, by doing it and undoing it: nothing is written, and nobody told. @throws CodedError */
export async function dryRun<T>(c: Context<AppEnv>, work: Command<T>): Promise<CommandResult<T>> {
  const { user } = c.var
  const done: CommandResult<T>[] = []
  const undone = withUser(c.env, user, async (sql) => {
    done.push(await work(sql, await ensureProfile(sql, user)))
    throw ROLLBACK
  })
  await undone.catch((error) => {
    if (error !== ROLLBACK) throw error
  })
  return done[0]!
}

/** What makes a write one that is done once: its key (null: it is done each time), and what it asks for. */
export type IdempotentRequest = { key: string | null; fields: unknown }

/**
 * The answer of a write that is done once. The same request with the same key has the same answer again, whatever has
 * changed since; of two at once one writes, and the other waits for its answer. The answer is stored with what was written,
 * or not at all: what is refused can be tried again with the same key.
 * @param prepare reads the input; not called for a request that was answered before
 * @throws CodedError `idempotency_conflict` for another request with the key, `invalid_request` for what is no key
 */
export async function runIdempotent<T>(
  c: Context<AppEnv>,
  { key, fields }: IdempotentRequest,
  prepare: () => Promise<Command<T>>,
): Promise<StoredResponse> {
  checkKey(key)
  const { user } = c.var
  const request = key === null ? '' : await requestDigest(c, fields)
  if (key !== null) {
    const before = previousResponse(await withUser(c.env, user, (sql) => readKey(sql, user.id, key, request)))
    if (before) return before
  }
  const work = await prepare()
  const { body: answer } = await runWrite(c, async (sql, profile): Promise<CommandResult<StoredResponse>> => {
    const before = key === null ? null : previousResponse(await claimKey(sql, user.id, key, request))
    if (before) return { status: 200, headers: {}, body: before, change: null }
    const { status, headers, body, change } = await work(sql, profile)
    const type: Record<string, string> = status === 204 ? {} : { 'content-type': 'application/json' }
    const stored = { status, headers: { ...PRIVATE_NO_STORE, ...type, ...headers }, body: JSON.stringify(body) ?? '' }
    if (key !== null) await storeResponse(sql, user.id, key, stored)
    return { status, headers, body: stored, change }
  })
  return answer
}

/** Answers a write, once where it carries an `Idempotency-Key`. @param fields the body @throws CodedError as `performOnce` */
export async function respondIdempotent<T>(
  c: Context<AppEnv>,
  fields: unknown,
  prepare: () => Promise<Command<T>>,
): Promise<Response> {
  const key = c.req.header('idempotency-key') ?? null
  const { status, headers, body } = await runIdempotent(c, { key, fields }, prepare)
  return c.newResponse(status === 204 ? null : body, { status: status as StatusCode, headers })
}
