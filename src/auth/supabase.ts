import { decodeJwt, type JSONWebKeySet } from 'jose'
import { DAY_S } from '../time.ts'
import { failed, type Issuer, type IssuerFailure, type IssuerResult, type Session, succeeded } from './issuer.ts'

/** A Supabase project: its URL, the public key of its API, and the URL of its signing keys. */
export type SupabaseProject = { url: string; anonKey: string; jwksUrl: string | undefined }

const authUrl = ({ url }: SupabaseProject): string => `${url}/auth/v1`

/** The `iss` and `aud` of a project's tokens. */
export const supabaseClaims = (project: SupabaseProject) => ({ issuer: authUrl(project), audience: 'authenticated' })

const TIMEOUT_MS = 10_000
/** Lifetime of the refresh token's cookie; Supabase decides whether the token is still valid. */
const REFRESH_TOKEN_S = 30 * DAY_S

type Fetch = typeof fetch

/** Errors that a client can cause, by the `error_code` of Supabase Auth. */
const FAILURES: Readonly<Record<string, IssuerFailure>> = {
  invalid_credentials: 'invalid_credentials',
  email_not_confirmed: 'invalid_credentials',
  refresh_token_not_found: 'session_expired',
  refresh_token_already_used: 'session_expired',
  session_not_found: 'session_expired',
  session_expired: 'session_expired',
  bad_jwt: 'session_expired',
  otp_expired: 'token_expired',
  weak_password: 'weak_password',
  same_password: 'weak_password',
  over_request_rate_limit: 'too_many_requests',
  over_email_send_rate_limit: 'too_many_requests',
}

type SupabaseResponse = { ok: true; body: Record<string, unknown> } | { ok: false; code: string; reason: IssuerFailure }

/** The public keys of a project. @throws Error if they cannot be read */
export async function supabaseKeys(project: SupabaseProject, get: Fetch): Promise<JSONWebKeySet> {
  const url = project.jwksUrl ?? `${authUrl(project)}/.well-known/jwks.json`
  const response = await get(url, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'manual' })
  if (!response.ok) throw new Error(`Supabase Auth responded with status ${response.status} to a request for its keys`)
  return response.json()
}

function toSession({ access_token, expires_in, refresh_token }: Record<string, unknown>): IssuerResult<Session> {
  if (typeof access_token !== 'string' || typeof refresh_token !== 'string' || typeof expires_in !== 'number')
    return failed('unavailable')
  const value = { accessToken: access_token, expiresIn: expires_in, refreshToken: refresh_token }
  return { ok: true, value: { ...value, refreshSeconds: REFRESH_TOKEN_S } }
}

/** The issuer with accounts in Supabase Auth. Never throws: every response is a result. */
export function supabaseIssuer(project: SupabaseProject, send: Fetch): Issuer {
  async function call(method: string, path: string, body: object, token: string | null): Promise<SupabaseResponse> {
    try {
      const response = await send(`${authUrl(project)}${path}`, {
        method,
        body: JSON.stringify(body),
        headers: {
          apikey: project.anonKey,
          'content-type': 'application/json',
          ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        },
        signal: AbortSignal.timeout(TIMEOUT_MS),
        redirect: 'manual',
      })
      const text = await response.text()
      const content = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
      if (response.ok) return { ok: true, body: content }
      const code = String(content.error_code ?? '')
      const otherwise = response.status === 429 ? 'too_many_requests' : 'unavailable'
      return { ok: false, code, reason: FAILURES[code] ?? otherwise }
    } catch {
      return { ok: false, code: '', reason: 'unavailable' }
    }
  }
  const post = (path: string, body: object, token: string | null = null) => call('POST', path, body, token)
  const session = async (path: string, body: object): Promise<IssuerResult<Session>> => {
    const answer = await post(path, body)
    return answer.ok ? toSession(answer.body) : answer
  }
  const signIn = (body: { email: string; password: string }) => session('/token?grant_type=password', body)
  const refresh = (refreshToken: string) => session('/token?grant_type=refresh_token', { refresh_token: refreshToken })

  /** Sets the password of the session's user, then ends the sessions of this scope. */
  async function setPassword(
    current: Session,
    password: string,
    scope: 'others' | 'global',
  ): Promise<IssuerResult<null>> {
    const set = await call('PUT', '/user', { password }, current.accessToken)
    if (!set.ok) return set
    const ended = await post(`/logout?scope=${scope}`, {}, current.accessToken)
    return ended.ok ? succeeded : ended
  }

  return {
    signIn,
    refresh,
    async signUp({ email, password, name }) {
      const answer = await post('/signup', { email, password, data: { name } })
      // A project without email confirmation reveals that an email is taken; Kerb does not pass it on.
      if (answer.ok || answer.code === 'user_already_exists' || answer.code === 'email_exists') return succeeded
      return answer
    },
    async confirm(token) {
      const opened = await session('/verify', { type: 'email', token_hash: token })
      // Supabase also starts a session; Kerb ends it, and the user signs in.
      if (opened.ok) await post('/logout?scope=local', {}, opened.value.accessToken)
      return opened.ok ? succeeded : opened
    },
    async signOut({ accessToken, refreshToken }) {
      let token = accessToken
      if (token === null) {
        const renewed = await refresh(refreshToken)
        if (!renewed.ok) return renewed.reason === 'session_expired' ? succeeded : renewed
        token = renewed.value.accessToken
      }
      const answer = await post('/logout?scope=local', {}, token)
      return answer.ok || answer.reason === 'session_expired' ? succeeded : answer
    },
    async changePassword({ email, current, next }) {
      const signedIn = await signIn({ email, password: current })
      if (!signedIn.ok) return signedIn
      const set = await setPassword(signedIn.value, next, 'others')
      return set.ok ? signedIn : set
    },
    async requestReset(email) {
      const answer = await post('/recover', { email })
      // Supabase limits mails to known emails only: passing the error on would reveal which emails are known.
      return answer.ok || answer.code === 'over_email_send_rate_limit' ? succeeded : answer
    },
    async reset({ token, password }) {
      const opened = await session('/verify', { type: 'recovery', token_hash: token })
      if (!opened.ok) return opened
      const set = await setPassword(opened.value, password, 'global')
      return set.ok ? { ok: true, value: { userId: `${decodeJwt(opened.value.accessToken).sub}` } } : set
    },
  }
}
