import type { Context } from 'hono'
import type { JSONWebKeySet } from 'jose'
import { BUILT_IN_CLAIMS, type BuiltInOptions, builtInIssuer, builtInKeys } from '../../auth/built-in.ts'
import type { Issuer, IssuerFailure, IssuerResult } from '../../auth/issuer.ts'
import {
  accountExistsMail,
  confirmMail,
  consoleMailer,
  httpMailer,
  type Mail,
  type Mailer,
  resetMail,
} from '../../auth/mail.ts'
import { type SupabaseProject, supabaseClaims, supabaseIssuer, supabaseKeys } from '../../auth/supabase.ts'
import { tokenVerifier, type Verifier } from '../../auth/verifier.ts'
import { readSettings } from '../../config.ts'
import { accountRows } from '../../db/accounts.ts'
import type { RequestDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { perEnv } from '../../per-env.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { temporarilyUnavailable } from '../http/problems.ts'

/** workerd's `fetch` throws when it is called as a method of another object. */
const boundFetch: typeof fetch = (input, init) => fetch(input, init)

function supabaseProject(env: Env): SupabaseProject | null {
  const { SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_JWKS_URL } = readSettings(env)
  if (SUPABASE_URL === undefined || SUPABASE_ANON_KEY === undefined) return null
  return { url: SUPABASE_URL, anonKey: SUPABASE_ANON_KEY, jwksUrl: SUPABASE_JWKS_URL }
}

function createMailer(env: Env): Mailer | null {
  const { MAIL_URL, MAIL_API_KEY, MAIL_FROM } = readSettings(env)
  if (MAIL_URL === undefined) return null
  if (MAIL_URL === 'console') return consoleMailer((line) => console.log(line))
  return httpMailer({ url: MAIL_URL, key: MAIL_API_KEY, from: MAIL_FROM }, boundFetch)
}

/** Sends a mail if that is configured. A failure is only logged: the response must not depend on it. */
async function sendMail(env: Env, mail: Mail): Promise<void> {
  try {
    const send = createMailer(env)
    if (send) await send(mail)
    else log('mail_not_configured', { subject: mail.subject })
  } catch (error) {
    log('mail_failed', { subject: mail.subject, error: String(error) })
  }
}

/** The origin of this Kerb, for links in mails. Only its pages may write with cookies. */
export const publicOrigin = (c: Context<AppEnv>): string => new URL(readSettings(c.env).PUBLIC_URL ?? c.req.url).origin

/** What the account commands need of a request. `waitUntil` lets work go on after the response. */
export type AccountScope = {
  env: Env
  db: RequestDatabase
  requestId: string
  origin: string
  waitUntil(work: Promise<unknown>): void
}

export const accountScope = (c: Context<AppEnv>): AccountScope => ({
  env: c.env,
  db: c.var.db,
  requestId: c.var.requestId,
  origin: publicOrigin(c),
  waitUntil: (work) => c.executionCtx.waitUntil(work),
})

function authSecret(env: Env): string {
  const { AUTH_SECRET } = readSettings(env)
  if (AUTH_SECRET !== undefined) return AUTH_SECRET
  log('accounts_not_configured', { missing: 'AUTH_SECRET' })
  throw new CodedError('unavailable', 'Accounts are not configured on this server; see its log.')
}

const noop = async () => {}
const NO_MAILS = { confirm: false, sendConfirm: noop, sendReset: noop, sendTaken: noop, afterwards: () => {} }

/** The public keys of the configured issuer. @throws Error if they cannot be read */
export async function publicKeys(env: Env, db: RequestDatabase): Promise<JSONWebKeySet> {
  const project = supabaseProject(env)
  if (project) return supabaseKeys(project, boundFetch)
  const secret = authSecret(env)
  return builtInKeys({ ...NO_MAILS, rows: await accountRows(db.live), secret })
}

/** Verifies the tokens of the configured issuer, and caches its keys. */
export const getVerifier = perEnv((env: Env): Verifier<RequestDatabase> => {
  const project = supabaseProject(env)
  return tokenVerifier(project ? supabaseClaims(project) : BUILT_IN_CLAIMS, (db: RequestDatabase) =>
    publicKeys(env, db).catch((error: unknown) => {
      log('keys_read_failed', { error: String(error) })
      throw error
    }),
  )
})

const ISSUER_ERRORS = {
  invalid_credentials: () =>
    new CodedError('invalid_credentials', "Wrong email or password, or your email isn't confirmed yet."),
  session_expired: () => new CodedError('unauthorized', 'The session has expired. Sign in again.'),
  token_expired: () => new CodedError('token_expired', 'This link has expired or was already used. Request a new one.'),
  weak_password: () =>
    new CodedError('invalid_request', 'password: is too weak', {
      errors: [{ field: 'password', message: 'is too weak: use a longer one' }],
    }),
  too_many_requests: () =>
    new CodedError('too_many_requests', 'Too many attempts. Try again in a minute.', { retryAfter: 60 }),
  unavailable: () => temporarilyUnavailable('Accounts are not available'),
} as const satisfies Record<IssuerFailure, () => CodedError>

/** The value of a successful result. @throws CodedError for a failure */
export function unwrap<T>(result: IssuerResult<T>): T {
  if (result.ok) return result.value
  throw ISSUER_ERRORS[result.reason]()
}

/** True if an email must be confirmed before its first sign-in: wherever mails are really sent. */
export function requiresEmailConfirmation(env: Env): boolean {
  const { MAIL_URL } = readSettings(env)
  return MAIL_URL !== undefined && MAIL_URL !== 'console'
}

const builtInOptions = ({ env, origin, waitUntil }: AccountScope): Omit<BuiltInOptions, 'rows'> => ({
  secret: authSecret(env),
  confirm: requiresEmailConfirmation(env),
  sendConfirm: ({ email, token }) => sendMail(env, confirmMail(email, `${origin}/confirm-email?token=${token}`)),
  sendReset: ({ email, token }) => sendMail(env, resetMail(email, `${origin}/reset-password?token=${token}`)),
  sendTaken: ({ email }) => sendMail(env, accountExistsMail(email, `${origin}/sign-in`)),
  afterwards: waitUntil,
})

/**
 * Runs `use` with the configured issuer and returns its result. An unexpected failure is logged and becomes `unavailable`.
 * @throws CodedError `unavailable` where accounts are not configured
 */
export async function withIssuer<T>(
  scope: AccountScope,
  use: (issuer: Issuer) => Promise<IssuerResult<T>>,
): Promise<IssuerResult<T>> {
  const { env, db, requestId } = scope
  const project = supabaseProject(env)
  if (project) {
    const result = await use(supabaseIssuer(project, boundFetch))
    if (!result.ok && result.reason === 'unavailable')
      log('accounts_failed', { request_id: requestId, error: 'no usable response from Supabase Auth' })
    return result
  }
  const options = builtInOptions(scope)
  try {
    return await use(builtInIssuer({ ...options, rows: await accountRows(db.live) }))
  } catch (error) {
    log('accounts_failed', { request_id: requestId, error: String(error) })
    return { ok: false, reason: 'unavailable' }
  }
}

/** Runs `use` as `withIssuer`, and returns the value of its result. @throws CodedError for a failure */
export const callIssuer = async <T>(
  scope: AccountScope,
  use: (issuer: Issuer) => Promise<IssuerResult<T>>,
): Promise<T> => unwrap(await withIssuer(scope, use))
