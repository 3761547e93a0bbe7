import type { Session } from '../../auth/issuer.ts'
import type { User } from '../../auth/verifier.ts'
import { log } from '../../log.ts'
import { userPortfolio } from '../../objects.ts'
import type { JsonFields } from '../http/body.ts'
import { parse } from '../http/input.ts'
import { checkEmailLimit } from '../http/rate-limits.ts'
import { type AccountScope, unwrap, withIssuer } from './accounts.ts'
import {
  confirmSchema,
  passwordChangeSchema,
  resetRequestSchema,
  resetSchema,
  signInSchema,
  signUpSchema,
} from './input.ts'
import type { UserSession } from './session.ts'

/** Creates an account. The result is the same for an email that has one already. @throws CodedError */
export async function signUp(scope: AccountScope, fields: JsonFields): Promise<void> {
  const person = parse(signUpSchema, fields)
  await checkEmailLimit(scope.env, person.email)
  unwrap(await withIssuer(scope, (issuer) => issuer.signUp(person)))
}

/** Confirms an email with the token of a mail. @throws CodedError `token_expired`, … */
export async function confirmEmail(scope: AccountScope, fields: JsonFields): Promise<void> {
  const { token } = parse(confirmSchema, fields)
  unwrap(await withIssuer(scope, (issuer) => issuer.confirm(token)))
}

/** Starts a session. @throws CodedError `invalid_credentials`, … */
export async function signIn(scope: AccountScope, fields: JsonFields): Promise<Session> {
  const credentials = parse(signInSchema, fields)
  await checkEmailLimit(scope.env, credentials.email)
  return unwrap(await withIssuer(scope, (issuer) => issuer.signIn(credentials)))
}

/** Closes the sockets of a user whose sessions have ended. A failure is logged: each socket ends with its token anyway. */
async function closeUserSockets({ env, requestId }: AccountScope, userId: string): Promise<void> {
  try {
    await userPortfolio(env, userId).closeSockets()
  } catch (error) {
    log('sockets_close_failed', { request_id: requestId, error: String(error) })
  }
}

/** Ends a session that the browser's cookies hold. @throws CodedError `unavailable` */
export async function signOut(scope: AccountScope, session: UserSession | null): Promise<void> {
  if (session === null || session.refresh === null) return
  const tokens = { accessToken: session.access, refreshToken: session.refresh }
  unwrap(await withIssuer(scope, (issuer) => issuer.signOut(tokens)))
  await closeUserSockets(scope, session.user.id)
}

/**
 * Sets a new password. Ends every session of the user and starts a new one.
 * @throws CodedError `invalid_credentials` if the current password is wrong, …
 */
export async function changePassword(scope: AccountScope, user: User, fields: JsonFields): Promise<Session> {
  const { current_password, password } = parse(passwordChangeSchema, fields)
  await checkEmailLimit(scope.env, user.email)
  const change = { email: user.email, current: current_password, next: password }
  const session = unwrap(await withIssuer(scope, (issuer) => issuer.changePassword(change)))
  await closeUserSockets(scope, user.id)
  return session
}

/** Mails a link to set a new password, if there is an account. The result does not reveal whether. @throws CodedError */
export async function requestReset(scope: AccountScope, fields: JsonFields): Promise<void> {
  const { email } = parse(resetRequestSchema, fields)
  await checkEmailLimit(scope.env, email)
  unwrap(await withIssuer(scope, (issuer) => issuer.requestReset(email)))
}

/** Sets a new password with the token of a mail, and ends every session. @throws CodedError `token_expired`, … */
export async function resetPassword(scope: AccountScope, fields: JsonFields): Promise<void> {
  const change = parse(resetSchema, fields)
  const { userId } = unwrap(await withIssuer(scope, (issuer) => issuer.reset(change)))
  await closeUserSockets(scope, userId)
}
