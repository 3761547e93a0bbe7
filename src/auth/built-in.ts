import { betterAuth } from 'better-auth/minimal'
import { bearer } from 'better-auth/plugins/bearer'
import { jwt } from 'better-auth/plugins/jwt'
import type { JSONWebKeySet } from 'jose'
import { accountAdapter } from './built-in-rows.ts'
import { failed, type Issuer, type IssuerFailure, type IssuerResult, type Session, succeeded } from './issuer.ts'
import { hashPassword, verifyPassword } from './password-hash.ts'
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from './password-rule.ts'
import type { AccountRows } from './rows.ts'

/** What stands in the tokens of the built-in issuer as `iss` and `aud`. */
export const BUILT_IN_ISSUER = 'kerb'
export const BUILT_IN_AUDIENCE = 'authenticated'

/** An access token cannot be taken back: it is over soon. Seconds. */
const ACCESS_TOKEN_S = 600
/** A session that is not used for so long is over; using it prolongs it, once a day at most. Seconds. */
const SESSION_S = 30 * 86_400
const SESSION_RENEWAL_S = 86_400
/** An email can be confirmed for so long after the mail. Seconds. */
const CONFIRM_TOKEN_S = 86_400
/** The way to a new password is open for so long. Seconds. */
const RESET_TOKEN_S = 3_600
/** A signing key is used for so long, and stays known for so long after its last token could be written. Seconds. */
const SIGNING_KEY_S = 90 * 86_400
const SIGNING_KEY_GRACE_S = 3_600

export type BuiltInOptions = {
  rows: AccountRows
  /** At least 32 characters: encrypts the signing keys that the database keeps. */
  secret: string
  /** Whether nobody signs in before the email is confirmed: only then is an email that was free not told by signing in. */
  confirm: boolean
  /** Takes the token that confirms this email. */
  sendConfirm(mail: { email: string; token: string }): Promise<void>
  /** Takes the token that lets the account with this email have another password. */
  sendReset(mail: { email: string; token: string }): Promise<void>
  /** Told when somebody signs up with an email that has an account. */
  sendTaken(mail: { email: string }): Promise<void>
  /** Keeps work going after the answer, so that how long an answer takes does not tell whether a mail was sent. */
  afterwards(work: Promise<unknown>): void
}

const createAuth = (
  { rows, secret, confirm, sendConfirm, sendReset, sendTaken, afterwards }: BuiltInOptions,
  wasReset: (userId: string) => void = () => {},
) =>
  betterAuth({
    // Nothing is fetched or linked by this address; the library wants one.
    baseURL: 'http://kerb.invalid',
    secret,
    database: accountAdapter(rows),
    // Its lines hold emails.
    logger: { disabled: true },
    telemetry: { enabled: false },
    // Kerb's own limits stand before every call.
    rateLimit: { enabled: false },
    advanced: { database: { generateId: 'uuid' }, backgroundTasks: { handler: afterwards } },
    session: { expiresIn: SESSION_S, updateAge: SESSION_RENEWAL_S },
    verification: { storeIdentifier: 'hashed' },
    emailVerification: {
      expiresIn: CONFIRM_TOKEN_S,
      // Another mail for who knows the password: the first one may be lost.
      sendOnSignIn: confirm,
      sendVerificationEmail: ({ user, token }) => sendConfirm({ email: user.email, token }),
    },
    emailAndPassword: {
      enabled: true,
      requireEmailVerification: confirm,
      // Answers for an email that has an account as for one that has none, and hashes in both cases.
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
          issuer: BUILT_IN_ISSUER,
          audience: BUILT_IN_AUDIENCE,
          expirationTime: `${ACCESS_TOKEN_S}s`,
          definePayload: ({ user }) => ({ email: user.email, name: user.name, role: BUILT_IN_AUDIENCE }),
        },
      }),
    ],
  })

/** The library's codes for what a client may do wrong; any other is a fault of ours. */
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

/** The public keys, as they are served; the first one is made when there is none. */
export const builtInKeys = (options: BuiltInOptions): Promise<JSONWebKeySet> =>
  createAuth(options).api.getJwks() as Promise<JSONWebKeySet>

/**
 * The issuer that keeps accounts in Kerb's own database, by better-auth. It lives as long as the rows that it is given.
 * What is nobody's fault but the database's is thrown.
 */
export function builtInIssuer(options: BuiltInOptions): Issuer {
  let resetUser: string | null = null
  const { api } = createAuth(options, (userId) => {
    resetUser = userId
  })

  /** The tokens of a session; null when it is over. */
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
        // Two at once with one email: the second is told what the first was.
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
      if (resetUser === null) throw new Error('the library has set a password and does not tell whose')
      return { ok: true, value: { userId: resetUser } }
    },
  }
}
