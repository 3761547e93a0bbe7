import { betterAuth } from 'better-auth/minimal'
import { bearer } from 'better-auth/plugins/bearer'
import { jwt } from 'better-auth/plugins/jwt'
import type { JSONWebKeySet } from 'jose'
import { DAY_S, HOUR_S } from '../time.ts'
import { accountAdapter } from './built-in-rows.ts'
import { failed, type Issuer, type IssuerFailure, type IssuerResult, type Session, succeeded } from './issuer.ts'
import { hashPassword, verifyPassword } from './password-hash.ts'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from './password-rule.ts'
import type { AccountRows } from './rows.ts'

/** The `iss` and `aud` of the built-in issuer's tokens. */
export const BUILT_IN_CLAIMS = { issuer: 'kerb', audience: 'authenticated' }

/** Short, because an access token cannot be revoked. */
const ACCESS_TOKEN_S = 600
/** A session expires when it is not used for this long; using it extends it, at most once a day. */
const SESSION_S = 30 * DAY_S
const SESSION_RENEWAL_S = DAY_S
const CONFIRM_TOKEN_S = DAY_S
const RESET_TOKEN_S = HOUR_S
/** A signing key is rotated after this long, and stays public for the grace period after it. */
const SIGNING_KEY_S = 90 * DAY_S
const SIGNING_KEY_GRACE_S = HOUR_S

export type BuiltInOptions = {
  rows: AccountRows
  /** At least 32 characters: encrypts the signing keys in the database. */
  secret: string
  /** True if an email must be confirmed before its first sign-in. Otherwise signing up and in reveals which emails are free. */
  confirm: boolean
  /** Mails the token that confirms this email. */
  sendConfirm(mail: { email: string; token: string }): Promise<void>
  /** Mails the token that sets a new password for this account. */
  sendReset(mail: { email: string; token: string }): Promise<void>
  /** Mails the owner of an account when somebody signs up with its email. */
  sendTaken(mail: { email: string }): Promise<void>
  /** Lets work go on after the response, so that its duration does not reveal whether a mail was sent. */
  afterwards(work: Promise<unknown>): void
}

const createAuth = (
  { rows, secret, confirm, sendConfirm, sendReset, sendTaken, afterwards }: BuiltInOptions,
  wasReset: (userId: string) => void = () => {},
) =>
  betterAuth({
    // Required by the library, but never fetched or linked.
    baseURL: 'http://kerb.invalid',
    secret,
    database: accountAdapter(rows),
    // Its lines contain emails.
    logger: { disabled: true },
    telemetry: { enabled: false },
    // Kerb limits every call itself.
    rateLimit: { enabled: false },
    advanced: { database: { generateId: 'uuid' }, backgroundTasks: { handler: afterwards } },
    session: { expiresIn: SESSION_S, updateAge: SESSION_RENEWAL_S },
    verification: { storeIdentifier: 'hashed' },
    emailVerification: {
      expiresIn: CONFIRM_TOKEN_S,
      // The first mail may be lost: a user with the right password gets another.
      sendOnSignIn: confirm,
      sendVerificationEmail: ({ user, token }) => sendConfirm({ email: user.email, token }),
    },
    emailAndPassword: {
      enabled: true,
      requireEmailVerification: confirm,
      // Responds in the same way, and hashes, whether or not the email has an account.
      autoSignIn: false,
      minPasswordLength: MIN_PASSWORD_LENGTH,
      maxPasswordLength: MAX_PASSWORD_LENGTH,
      password: { hash: hashPassword, verify: verifyPassword },
      resetPasswordTokenExpiresIn: RESET_TOKEN_S,
      revokeSessionsOnPasswordReset: true,
      onPasswordReset: async ({ user }) => wasReset(user.id),
      sendResetPassword: ({ user, token }) => sendReset({ email: user.email, token }),
      onExistingUserSignUp: ({ user }) => sendTaken({ email: user.email }),
    },
    plugins: [
      bearer(),
      jwt({
        disableSettingJwtHeader: true,
        jwks: {
          keyPairConfig: { alg: 'ES256' },
          rotationInterval: SIGNING_KEY_S,
          gracePeriod: SIGNING_KEY_GRACE_S,
        },
        jwt: {
          ...BUILT_IN_CLAIMS,
          expirationTime: `${ACCESS_TOKEN_S}s`,
          definePayload: ({ user }) => ({ email: user.email, name: user.name, role: BUILT_IN_CLAIMS.audience }),
        },
      }),
    ],
  })

/** Errors that a client can cause, by better-auth's codes. Every other error is unexpected. */
const FAILURES: Readonly<Record<string, IssuerFailure>> = {
  INVALID_EMAIL_OR_PASSWORD: 'invalid_credentials',
  INVALID_PASSWORD: 'invalid_credentials',
  EMAIL_NOT_VERIFIED: 'invalid_credentials',
  INVALID_TOKEN: 'token_expired',
  TOKEN_EXPIRED: 'token_expired',
  USER_NOT_FOUND: 'token_expired',
  PASSWORD_TOO_SHORT: 'weak_password',
  PASSWORD_TOO_LONG: 'weak_password',
}

const errorCode = (error: unknown): string => (error as { body?: { code?: string } }).body?.code ?? ''

async function toIssuerResult<T>(run: () => Promise<T>): Promise<IssuerResult<T>> {
  try {
    return { ok: true, value: await run() }
  } catch (error) {
    const failure = FAILURES[errorCode(error)]
    if (failure === undefined) throw error
    return failed(failure)
  }
}

const bearerHeaders = (token: string): Headers => new Headers({ authorization: `Bearer ${token}` })

/** The public keys; creates the first one if there is none. */
export const builtInKeys = (options: BuiltInOptions): Promise<JSONWebKeySet> =>
  createAuth(options).api.getJwks() as Promise<JSONWebKeySet>

/**
 * The issuer with accounts in Kerb's own database, by better-auth. Usable as long as its rows are. Unexpected errors, such
 * as those of the database, are thrown.
 */
export function builtInIssuer(options: BuiltInOptions): Issuer {
  let resetUser: string | null = null
  const { api } = createAuth(options, (userId) => {
    resetUser = userId
  })

  /** The tokens of a session; null if it has expired. */
  async function tokens(refreshToken: string): Promise<Session | null> {
    try {
      const { token } = await api.getToken({ headers: bearerHeaders(refreshToken) })
      return { accessToken: token, expiresIn: ACCESS_TOKEN_S, refreshToken, refreshSeconds: SESSION_S }
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode === 401) return null
      throw error
    }
  }
  const session = async (refreshToken: string): Promise<IssuerResult<Session>> => {
    const value = await tokens(refreshToken)
    return value === null ? failed('session_expired') : { ok: true, value }
  }
  const signIn = async (body: { email: string; password: string }): Promise<IssuerResult<Session>> => {
    const signedIn = await toIssuerResult(() => api.signInEmail({ body }))
    return signedIn.ok ? session(signedIn.value.token) : signedIn
  }

  return {
    signIn,
    refresh: session,
    async signUp(person) {
      try {
        await api.signUpEmail({ body: person })
      } catch (error) {
        // Two concurrent sign-ups with one email get the same result.
        const email = { column: 'email', is: 'eq', value: person.email } as const
        if (errorCode(error) !== 'FAILED_TO_CREATE_USER' || (await options.rows.count('auth_users', [email])) === 0)
          throw error
      }
      return succeeded
    },
    async confirm(token) {
      const confirmed = await toIssuerResult(() => api.verifyEmail({ query: { token } }))
      return confirmed.ok ? succeeded : confirmed
    },
    async signOut({ refreshToken }) {
      await api.signOut({ headers: bearerHeaders(refreshToken) })
      return succeeded
    },
    async changePassword({ email, current, next }) {
      const signedIn = await toIssuerResult(() => api.signInEmail({ body: { email, password: current } }))
      if (!signedIn.ok) return signedIn
      const changed = await toIssuerResult(() =>
        api.changePassword({
          body: { currentPassword: current, newPassword: next, revokeOtherSessions: true },
          headers: bearerHeaders(signedIn.value.token),
        }),
      )
      if (!changed.ok) return changed
      return changed.value.token === null ? failed('session_expired') : session(changed.value.token)
    },
    async requestReset(email) {
      await api.requestPasswordReset({ body: { email } })
      return succeeded
    },
    async reset({ token, password }) {
      const set = await toIssuerResult(() => api.resetPassword({ body: { token, newPassword: password } }))
      if (!set.ok) return set
      if (resetUser === null) throw new Error('better-auth has set a password without reporting the user')
      return { ok: true, value: { userId: resetUser } }
    },
  }
}
