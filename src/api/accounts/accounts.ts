import type { Context } from 'hono'
import type { JSONWebKeySet } from 'jose'
import {
  BUILT_IN_AUDIENCE,
  BUILT_IN_ISSUER,
  type BuiltInOptions,
  builtInIssuer,
  builtInKeys,
} from '../../auth/built-in.ts'
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
import {
  SUPABASE_AUDIENCE,
  type SupabaseProject,
  supabaseIssuer,
  supabaseIssuerName,
  supabaseKeys,
} from '../../auth/supabase.ts'
import { tokenVerifier, type Verifier } from '../../auth/verifier.ts'
import { readSettings } from '../../config.ts'
import { accountRows } from '../../db/accounts.ts'
import { withLiveDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'

/** Called as a method of something else, `fetch` of workerd throws. */
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

/** Sends a mail as far as that is set up; that it failed is for the log alone. */
async function sendMail(env: Env, mail: Mail): Promise<void> {
  try {
    const post = createMailer(env)
    if (post) await post(mail)
    else log('mail_not_configured', { subject: mail.subject })
  } catch (error) {
    log('mail_failed', { subject: mail.subject, error: String(error) })
  }
}

/** Where people find this Kerb: pages in mails, and the one origin whose pages may write with cookies. */
export const publicOrigin = (c: Context<AppEnv>): string => new URL(readSettings(c.env).PUBLIC_URL ?? c.req.url).origin

function authSecret(env: Env): string {
  const { AUTH_SECRET } = readSettings(env)
  if (AUTH_SECRET !== undefined) return AUTH_SECRET
  log('accounts_not_configured', { missing: 'AUTH_SECRET' })
  throw new CodedError('unavailable', 'accounts are not set up here')
}

const noop = async () => {}
const NO_MAILS = { confirm: false, sendConfirm: noop, sendReset: noop, sendTaken: noop, afterwards: () => {} }

/** The public keys of whoever issues tokens here. @throws Error when they cannot be read */
export async function publicKeys(env: Env): Promise<JSONWebKeySet> {
  const project = supabaseProject(env)
  if (project) return supabaseKeys(project, boundFetch)
  const secret = authSecret(env)
  return withLiveDatabase(env, async (sql) => builtInKeys({ ...NO_MAILS, rows: await accountRows(sql), secret }))
}

const verifiers = new WeakMap<Env, Verifier>()

/** Judges the tokens that are taken here; it keeps the keys for as long as the environment is the same. */
export function getVerifier(env: Env): Verifier {
  const known = verifiers.get(env)
  if (known) return known
  const project = supabaseProject(env)
  const names = project
    ? { issuer: supabaseIssuerName(project), audience: SUPABASE_AUDIENCE }
    : { issuer: BUILT_IN_ISSUER, audience: BUILT_IN_AUDIENCE }
  const verifier = tokenVerifier(names, () =>
    publicKeys(env).catch((error: unknown) => {
      log('keys_read_failed', { error: String(error) })
      throw error
    }),
  )
  verifiers.set(env, verifier)
  return verifier
}

const ISSUER_ERRORS = {
  invalid_credentials: () =>
    new CodedError('invalid_credentials', 'email and password do not fit together, or the email is not confirmed yet'),
  session_expired: () => new CodedError('unauthorized', 'the session is over'),
  token_expired: () => new CodedError('token_expired', 'the token of this mail is over or was used'),
  weak_password: () =>
    new CodedError('invalid_request', 'password: is too weak', {
      errors: [{ field: 'password', message: 'is too weak: take a longer one' }],
    }),
  too_many_requests: () => new CodedError('too_many_requests', 'too many attempts', { retryAfter: 60 }),
  unavailable: () => new CodedError('unavailable', 'accounts cannot be reached at the moment', { retryAfter: 5 }),
} as const satisfies Record<IssuerFailure, () => CodedError>

/** What an outcome holds. @throws CodedError that says why it holds nothing */
export function unwrap<T>(outcome: IssuerResult<T>): T {
  if (outcome.ok) return outcome.value
  throw ISSUER_ERRORS[outcome.reason]()
}

/** Whether an email has to be confirmed before anybody signs in with it: wherever mails really go out. */
export function requiresEmailConfirmation(env: Env): boolean {
  const { MAIL_URL } = readSettings(env)
  return MAIL_URL !== undefined && MAIL_URL !== 'console'
}

function builtInOptions(c: Context<AppEnv>): Omit<BuiltInOptions, 'rows'> {
  const origin = publicOrigin(c)
  return {
    secret: authSecret(c.env),
    confirm: requiresEmailConfirmation(c.env),
    sendConfirm: ({ email, token }) => sendMail(c.env, confirmMail(email, `${origin}/confirm-email?token=${token}`)),
    sendReset: ({ email, token }) => sendMail(c.env, resetMail(email, `${origin}/reset-password?token=${token}`)),
    sendTaken: ({ email }) => sendMail(c.env, accountExistsMail(email, `${origin}/sign-in`)),
    afterwards: (work) => c.executionCtx.waitUntil(work),
  }
}

/**
 * Hands `use` the issuer of this Kerb and gives the outcome. A failure of ours is logged and told as `unavailable`.
 * @throws CodedError `unavailable` where accounts are not set up
 */
export async function withIssuer<T>(
  c: Context<AppEnv>,
  use: (issuer: Issuer) => Promise<IssuerResult<T>>,
): Promise<IssuerResult<T>> {
  const project = supabaseProject(c.env)
  if (project) {
    const outcome = await use(supabaseIssuer(project, boundFetch))
    if (!outcome.ok && outcome.reason === 'unavailable')
      log('accounts_failed', { request_id: c.var.requestId, error: 'Supabase Auth gives no answer that can be used' })
    return outcome
  }
  const options = builtInOptions(c)
  try {
    return await withLiveDatabase(c.env, async (sql) =>
      use(builtInIssuer({ ...options, rows: await accountRows(sql) })),
    )
  } catch (error) {
    log('accounts_failed', { request_id: c.var.requestId, error: String(error) })
    return { ok: false, reason: 'unavailable' }
  }
}
