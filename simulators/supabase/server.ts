import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, jwtVerify, SignJWT } from 'jose'

/** How long an access token of Supabase is valid, seconds. */
const ACCESS_TOKEN_S = 3_600
/** A refresh token that was used opens the same session again for so long: two tabs may use it at once. Milliseconds. */
const REFRESH_REUSE_MS = 10_000
/** Least length of a password, as a project has it by itself. */
const MIN_PASSWORD_LENGTH = 6

type Account = { id: string; email: string; password: string; name: string }
type RefreshToken = { account: Account; session: string; usedAt: number | null }
type Key = { kid: string; privateKey: CryptoKey; publicKey: CryptoKey; jwk: JWK }

/** A refusal as Supabase Auth writes it. */
class AuthError extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export type Supabase = {
  /** The value for SUPABASE_URL; the issuer is below it. */
  url: string
  anonKey: string
  close(): Promise<void>
}

const requireText = (body: Record<string, unknown>, field: string): string => {
  const value = body[field]
  if (typeof value === 'string' && value !== '') return value
  throw new AuthError(400, 'validation_failed', `${field} is required`)
}

async function newKey(): Promise<Key> {
  const kid = randomUUID()
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  return { kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } }
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  let written = ''
  for await (const chunk of request) written += chunk
  if (request.method === 'GET' || written === '') return {}
  if (!request.headers['content-type']?.startsWith('application/json'))
    throw new AuthError(400, 'bad_json', 'Could not parse request body as JSON')
  try {
    return JSON.parse(written) as Record<string, unknown>
  } catch {
    throw new AuthError(400, 'bad_json', 'Could not parse request body as JSON')
  }
}

/**
 * Starts a Supabase Auth of this machine, on loopback: the paths, codes and rules that Kerb meets there, in memory. It is
 * as strict as the real one: nothing without the project's key, refresh tokens that are used once, sessions that end.
 * `POST /_rotate` withdraws the signing key for another; `GET /_recovery?email=` returns the token that a mail would contain.
 */
export async function startSupabase(): Promise<Supabase> {
  const anonKey = `anon-${randomBytes(16).toString('hex')}`
  const accounts = new Map<string, Account>()
  const sessions = new Set<string>()
  const refreshes = new Map<string, RefreshToken>()
  const recoveries = new Map<string, Account>()
  let key = await newKey()
  let url = ''

  const accountOf = async (request: IncomingMessage): Promise<{ account: Account; session: string }> => {
    const [, token] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? []
    if (token === undefined) throw new AuthError(401, 'no_authorization', 'This endpoint requires a Bearer token')
    let claims: Record<string, unknown>
    try {
      claims = (await jwtVerify(token, key.publicKey, { issuer: `${url}/auth/v1`, audience: 'authenticated' })).payload
    } catch {
      throw new AuthError(403, 'bad_jwt', 'invalid JWT: unable to parse or verify signature')
    }
    const session = String(claims.session_id)
    if (!sessions.has(session))
      throw new AuthError(403, 'session_not_found', 'Session from session_id claim in JWT does not exist')
    const account = [...accounts.values()].find(({ id }) => id === claims.sub)
    if (!account) throw new AuthError(403, 'user_not_found', 'User from sub claim in JWT does not exist')
    return { account, session }
  }

  const open = async (account: Account, session: string = randomUUID()) => {
    sessions.add(session)
    const refresh = randomBytes(9).toString('base64url')
    refreshes.set(refresh, { account, session, usedAt: null })
    const claims = {
      email: account.email,
      role: 'authenticated',
      aal: 'aal1',
      session_id: session,
      is_anonymous: false,
      app_metadata: { provider: 'email' },
      user_metadata: { name: account.name },
    }
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: key.kid, typ: 'JWT' })
      .setIssuer(`${url}/auth/v1`)
      .setAudience('authenticated')
      .setSubject(account.id)
      .setIssuedAt()
      .setExpirationTime(`${ACCESS_TOKEN_S}s`)
      .sign(key.privateKey)
    const user = { id: account.id, email: account.email, user_metadata: { name: account.name } }
    return { access_token: token, token_type: 'bearer', expires_in: ACCESS_TOKEN_S, refresh_token: refresh, user }
  }

  const end = (ended: (session: string, account: Account) => boolean) => {
    for (const [token, { session, account }] of refreshes)
      if (ended(session, account)) {
        sessions.delete(session)
        refreshes.delete(token)
      }
  }

  const checkPassword = (password: string) => {
    if (password.length < MIN_PASSWORD_LENGTH)
      throw new AuthError(422, 'weak_password', `Password should be at least ${MIN_PASSWORD_LENGTH} characters.`)
  }
  const hash = (password: string) => createHash('sha256').update(password).digest('hex')

  const routes: Record<string, (request: IncomingMessage, query: URLSearchParams) => Promise<[number, unknown]>> = {
    'GET /auth/v1/.well-known/jwks.json': async () => [200, { keys: [key.jwk] }],
    'POST /auth/v1/signup': async (request) => {
      const body = await readBody(request)
      const [email, password] = [requireText(body, 'email'), requireText(body, 'password')]
      checkPassword(password)
      if (accounts.has(email)) throw new AuthError(422, 'user_already_exists', 'User already registered')
      const name = String((body.data as { name?: unknown } | undefined)?.name ?? '')
      const account = { id: randomUUID(), email, password: hash(password), name }
      accounts.set(email, account)
      return [200, await open(account)]
    },
    'POST /auth/v1/token': async (request, query) => {
      const body = await readBody(request)
      if (query.get('grant_type') === 'password') {
        const account = accounts.get(requireText(body, 'email'))
        if (!account || account.password !== hash(requireText(body, 'password')))
          throw new AuthError(400, 'invalid_credentials', 'Invalid login credentials')
        return [200, await open(account)]
      }
      if (query.get('grant_type') !== 'refresh_token')
        throw new AuthError(400, 'validation_failed', 'unsupported_grant_type')
      const known = refreshes.get(requireText(body, 'refresh_token'))
      if (!known || !sessions.has(known.session))
        throw new AuthError(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
      if (known.usedAt !== null && Date.now() - known.usedAt > REFRESH_REUSE_MS) {
        // Whoever uses it now may have stolen it: the whole session ends.
        end((session) => session === known.session)
        throw new AuthError(400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used')
      }
      known.usedAt ??= Date.now()
      return [200, await open(known.account, known.session)]
    },
    'POST /auth/v1/logout': async (request, query) => {
      const held = await accountOf(request)
      const scope = query.get('scope') ?? 'global'
      end((session, account) =>
        scope === 'local'
          ? session === held.session
          : account.id === held.account.id && (scope === 'global' || session !== held.session),
      )
      return [204, null]
    },
    'POST /auth/v1/recover': async (request) => {
      const account = accounts.get(requireText(await readBody(request), 'email'))
      if (account) recoveries.set(randomBytes(28).toString('hex'), account)
      return [200, {}]
    },
    'POST /auth/v1/verify': async (request) => {
      const body = await readBody(request)
      const token = requireText(body, 'token_hash')
      const account = body.type === 'recovery' ? recoveries.get(token) : undefined
      if (!account) throw new AuthError(403, 'otp_expired', 'Email link is invalid or has expired')
      recoveries.delete(token)
      return [200, await open(account)]
    },
    'PUT /auth/v1/user': async (request) => {
      const { account } = await accountOf(request)
      const password = requireText(await readBody(request), 'password')
      checkPassword(password)
      if (account.password === hash(password))
        throw new AuthError(422, 'same_password', 'New password should be different from the old password.')
      account.password = hash(password)
      return [200, { id: account.id, email: account.email }]
    },
    'POST /_rotate': async () => {
      key = await newKey()
      return [200, {}]
    },
    'GET /_recovery': async (_, query) => {
      const email = query.get('email')
      return [200, { token: [...recoveries].findLast(([, account]) => account.email === email)?.[0] ?? null }]
    },
  }

  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://supabase')
    const write = (status: number, body: unknown) =>
      response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(body === null ? undefined : JSON.stringify(body))
    try {
      const route = routes[`${request.method} ${pathname}`]
      if (!route) throw new AuthError(404, 'not_found', 'no such path')
      const open = pathname.startsWith('/_') || pathname.endsWith('jwks.json')
      if (!open && request.headers.apikey !== anonKey) {
        write(401, { message: 'Invalid API key', hint: 'Double check your Supabase `anon` or `service_role` API key.' })
        return
      }
      write(...(await route(request, searchParams)))
    } catch (error) {
      if (!(error instanceof AuthError)) return void write(500, { code: 500, error_code: 'unexpected_failure' })
      write(error.status, { code: error.status, error_code: error.code, msg: error.message })
    }
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    anonKey,
    close: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
