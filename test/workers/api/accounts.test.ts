import { env } from 'cloudflare:workers'
import { decodeJwt, decodeProtectedHeader, exportSPKI, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { hashPassword, verifyPassword } from '../../../src/auth/password-hash.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import type { Problem } from '../../../src/protocol/errors.ts'
import {
  confirmToken,
  createMember,
  getProfile,
  ORIGIN,
  PASSWORD,
  person,
  signUpMember,
  waitForMail,
} from '../support/person.ts'
import { getWithEnv, setDatabaseOpen } from '../support/wire.ts'

vi.mock(import('../../../src/auth/password-hash.ts'), { spy: true })

const problem = async (response: Response): Promise<Problem> => (await response.json()) as Problem
const codeOf = async (response: Response) => [response.status, (await problem(response)).code]
const sql = (text: string, ...values: string[]) => withLiveDatabase(env, (live) => live.unsafe(text, values))

const ACCESS = '__Host-kerb_access'
const REFRESH = '__Host-kerb_refresh'

afterEach(() => {
  vi.restoreAllMocks()
  return setDatabaseOpen(true)
})

describe('sign-up, sign-in, user', () => {
  test('a user signs up, signs in, refreshes the session and signs out', async () => {
    const who = person()
    const signedUp = await who.signUp({ email: `  ${who.email.toUpperCase()} ` })
    expect([signedUp.status, await signedUp.json()]).toEqual([202, { next: '/api/v1/auth/sign-in' }])
    expect(who.cookies.size).toBe(0)

    expect(await codeOf(await who.signIn())).toEqual([401, 'invalid_credentials'])
    const confirm = (token: string) => who.post('/api/v1/auth/confirm', { token })
    expect(await codeOf(await confirm('no token'))).toEqual([400, 'token_expired'])
    expect((await confirm(await confirmToken(who.email))).status).toBe(204)

    const signedIn = await who.signIn()
    expect(signedIn.status).toBe(200)
    expect(signedIn.headers.get('cache-control')).toBe('no-store')
    const { access_token: token, ...rest } = (await signedIn.json()) as { access_token: string }
    expect(rest).toEqual({ token_type: 'bearer', expires_in: 600 })
    expect([...who.cookies.keys()].sort()).toEqual([ACCESS, REFRESH])
    for (const line of signedIn.headers.getSetCookie())
      expect(line).toMatch(/^__Host-[^;]+; Max-Age=\d+; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'ES256' })
    expect(decodeJwt(token)).toMatchObject({ iss: 'kerb', aud: 'authenticated', email: who.email, name: who.name })

    const byBearer = await getProfile(token)
    expect(byBearer.headers.get('cache-control')).toBe('private, no-store')
    const profile = { email: who.email, name: who.name, currency: 'USD', refresh_interval_seconds: null }
    expect(await byBearer.json()).toMatchObject({ ...profile, user_id: decodeJwt(token).sub })
    expect(await (await who.ask('/api/v1/users/profile')).json()).toMatchObject(profile)

    const refreshed = await who.post('/api/v1/auth/refresh', {})
    expect(refreshed.status).toBe(200)
    expect(decodeJwt(((await refreshed.json()) as { access_token: string }).access_token).sub).toBe(
      decodeJwt(token).sub,
    )

    expect((await who.post('/api/v1/auth/sign-out', {})).status).toBe(204)
    expect(who.cookies.size).toBe(0)
    expect(await codeOf(await who.ask('/api/v1/users/profile'))).toEqual([401, 'unauthorized'])
  })

  test('a signed-out session and an expired session give no access', async () => {
    for (const end of ['signed out', 'over']) {
      const { who, token } = await createMember()
      const kept = new Map(who.cookies)
      if (end === 'over')
        await sql(
          `UPDATE auth_sessions SET expires_at = now() - interval '1 s' WHERE user_id = $1`,
          `${decodeJwt(token).sub}`,
        )
      else await who.post('/api/v1/auth/sign-out', {})
      who.cookies.clear()
      who.cookies.set(REFRESH, kept.get(REFRESH) as string)
      expect(await codeOf(await who.post('/api/v1/auth/refresh', {}))).toEqual([401, 'unauthorized'])
      expect(who.cookies.size).toBe(0)
    }
  })

  test('pages and the API renew an expired access cookie', async () => {
    for (const path of ['/user', '/api/v1/users/profile']) {
      const { who } = await createMember()
      who.cookies.delete(ACCESS)
      expect((await who.ask(path)).status).toBe(200)
      expect(who.cookies.has(ACCESS)).toBe(true)
    }
  })

  test('the database contains no usable password, session token or key', async () => {
    const { who, token } = await signUpMember()
    const refresh = who.cookies.get(REFRESH) as string
    const rows = await Promise.all(
      ['auth_users', 'auth_sessions', 'auth_accounts', 'auth_verifications', 'auth_jwks'].map((table) =>
        sql(`SELECT row_to_json(t)::text AS row FROM ${table} t`),
      ),
    )
    const all = JSON.stringify(rows)
    expect(all).toContain(`${decodeJwt(token).sub}`)
    for (const secret of [PASSWORD, refresh, token]) expect(all).not.toContain(secret)
    expect(all).toMatch(/scrypt\$16384\$8\$5\$/)
    const [key] = await sql('SELECT private_key FROM auth_jwks')
    expect(key?.private_key).not.toContain('"d"')
    const [session] = await sql('SELECT token FROM auth_sessions WHERE user_id = $1', `${decodeJwt(token).sub}`)
    who.cookies.clear()
    who.cookies.set(REFRESH, session?.token)
    expect((await who.post('/api/v1/auth/refresh', {})).status).toBe(401)
  })

  test('D6 invalid input is reported field by field, without the values', async () => {
    const who = person()
    const refused = await problem(await who.signUp({ email: 'nobody', password: 'hunter2', name: ' ' }))
    expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(refused.errors?.map(({ field }) => field).sort()).toEqual(['email', 'name', 'password'])
    expect(JSON.stringify(refused)).not.toContain('hunter2')
    for (const body of ['[]', '"text"', 'null', '{'])
      expect(await codeOf(await who.ask('/api/v1/auth/sign-in', { method: 'POST', body }))).toEqual([
        400,
        'invalid_request',
      ])
    expect(await codeOf(await who.signIn({ password: 7 }))).toEqual([400, 'invalid_request'])
  })
})

describe('invalid tokens', () => {
  /** What a token gets wherever one is taken: by REST, for a ticket, at both sockets. */
  const doors = async (token: string): Promise<number[]> => {
    const headers = { authorization: `Bearer ${token}` }
    const upgrade = { headers: { ...headers, upgrade: 'websocket' } }
    const answers = await Promise.all([
      getProfile(token),
      getWithEnv(env, '/api/v1/auth/ticket', { method: 'POST', headers }),
      getWithEnv(env, '/ws/portfolio', upgrade),
      getWithEnv(env, '/ws', upgrade),
    ])
    for (const { webSocket } of answers) {
      webSocket?.accept()
      webSocket?.close(1000)
    }
    return answers.map(({ status }) => status)
  }
  const OPEN = [200, 200, 101, 101]
  const SHUT = [401, 401, 401, 401]
  const encoded = (text: string) => btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')

  test('forged tokens and tokens of retired keys are refused', async () => {
    const { who, token } = await createMember()
    const [header, payload, signature] = token.split('.') as [string, string, string]
    const none = encoded('{"alg":"none"}')
    const other = signature.startsWith('A') ? `B${signature.slice(1)}` : `A${signature.slice(1)}`
    for (const forged of ['x', `${none}.${payload}.`, `${header}.${payload}.${other}`, `${header}.${payload}.`]) {
      const answer = await getProfile(forged)
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      expect(await codeOf(answer)).toEqual([401, 'unauthorized'])
      expect(await doors(forged), forged).toEqual(SHUT)
    }
    expect(await doors(token)).toEqual(OPEN)

    const { keys: known } = (await (await who.ask('/api/v1/auth/jwks')).json()) as { keys: JWK[] }
    const { kid } = decodeProtectedHeader(token)
    const jwk = known.find((key) => key.kid === kid) as JWK
    const pem = await exportSPKI((await importJWK(jwk, 'ES256')) as CryptoKey)
    const claims = decodeJwt(token)
    const byPublicKey = (secret: string) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid }).sign(new TextEncoder().encode(secret))
    const { privateKey } = await generateKeyPair('ES256')
    const byAnotherKey = (more: object) =>
      new SignJWT({ ...claims, ...more }).setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey)
    const forged = [
      byPublicKey(pem),
      byPublicKey(JSON.stringify(jwk)),
      byAnotherKey({}),
      byAnotherKey({ iss: 'other' }),
    ]
    for (const one of await Promise.all(forged)) expect(await doors(one)).toEqual(SHUT)

    await sql(`UPDATE auth_jwks SET expires_at = now() - interval '2 hours'`)
    const { access_token: next } = (await (await who.signIn()).json()) as { access_token: string }
    expect(decodeProtectedHeader(next).kid).not.toBe(decodeProtectedHeader(token).kid)
    // The new key is looked for at once; the reading that finds it finds the old one gone.
    expect((await getProfile(next)).status).toBe(200)
    expect([await doors(next), await doors(token)]).toEqual([OPEN, SHUT])
    const { keys } = (await (await who.ask('/api/v1/auth/jwks')).json()) as { keys: Record<string, string>[] }
    expect(keys.map(({ kid }) => kid)).toEqual([decodeProtectedHeader(next).kid])
    for (const key of keys) expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'x', 'y'])

    const now = Date.now.bind(Date)
    vi.spyOn(Date, 'now').mockImplementation(() => now() + 631_000)
    expect(await doors(next), 'expired').toEqual(SHUT)
  })

  test('an invalid bearer token is refused in spite of valid cookies', async () => {
    const { who } = await createMember()
    for (const authorization of ['Bearer x', 'Bearer', 'Basic YTpi'])
      expect(await codeOf(await who.ask('/api/v1/users/profile', { headers: { authorization } }))).toEqual([
        401,
        'unauthorized',
      ])
  })
})

describe('account enumeration', () => {
  /** A response without its request id and time, which always differ. */
  async function comparable(response: Response) {
    const text = (await response.text()).replaceAll(/"request_id":"[^"]+"/g, '')
    return { status: response.status, text, headers: [...response.headers].filter(([name]) => name !== 'date') }
  }

  test('sign-in, sign-up and reset respond alike for known and unknown emails, after the same work', async () => {
    const attempts: [name: string, hashes: number, attempt: (email: string) => Promise<Response>][] = [
      ['sign-in', 1, (email) => person().signIn({ email, password: 'a wrong password' })],
      ['sign-up', 1, (email) => person().signUp({ email, name: 'Some Name' })],
      ['reset', 0, (email) => person().post('/api/v1/auth/password/reset-request', { email })],
    ]
    const countHashes = () => vi.mocked(hashPassword).mock.calls.length + vi.mocked(verifyPassword).mock.calls.length
    for (const [name, hashes, attempt] of attempts) {
      const { who } = await signUpMember()
      const { fetch } = globalThis
      // The mail is never accepted, so a response that waited for it would never come.
      const mails = vi
        .spyOn(globalThis, 'fetch')
        .mockImplementation((to, init) => (String(to) === env.MAIL_URL ? new Promise(() => {}) : fetch(to, init)))
      const responses = []
      for (const email of [`nobody-else-${name}@example.com`, who.email, `nobody-${name}@example.com`]) {
        const before = countHashes()
        responses.push(await comparable(await attempt(email)))
        // Hashing takes nearly all of the time of a response.
        expect(countHashes() - before, `${name} of ${email}`).toBe(hashes)
      }
      mails.mockRestore()
      expect(responses).toEqual([responses[0], responses[0], responses[0]])
    }
  })

  test('signing up with a known email changes nothing and sends its owner a mail', async () => {
    const { who } = await createMember()
    const answer = await person().signUp({ email: who.email, password: 'the password of another' })
    expect(answer.status).toBe(202)
    expect((await who.signIn()).status).toBe(200)
    expect(await codeOf(await who.signIn({ password: 'the password of another' }))).toEqual([
      401,
      'invalid_credentials',
    ])
    const mail = await waitForMail(who.email, 'You already have a Kerb account')
    expect(mail).toMatchObject({ subject: 'You already have a Kerb account', from: 'Kerb <kerb@localhost>' })
  })

  test('two concurrent sign-ups with one email get the same response and create one account', async () => {
    const who = person()
    const answers = await Promise.all(Array.from({ length: 4 }, () => person().signUp({ email: who.email })))
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202])
    expect(await sql('SELECT count(*)::int AS n FROM auth_users WHERE email = $1', who.email)).toEqual([{ n: 1 }])
    expect(
      await sql(
        'SELECT count(*)::int AS n FROM auth_accounts JOIN auth_users u ON u.id = user_id WHERE email = $1',
        who.email,
      ),
    ).toEqual([{ n: 1 }])
    await who.post('/api/v1/auth/confirm', { token: await confirmToken(who.email) })
    expect((await who.signIn()).status).toBe(200)
  })

  test('signing up and in does not reveal whether an email was free before the mail is read', async () => {
    const { who } = await createMember()
    const password = 'the password of another'
    const answers: unknown[] = []
    for (const email of [who.email, 'free-so-far@example.com']) {
      const visitor = person()
      await visitor.signUp({ email, password })
      answers.push(await comparable(await visitor.signIn({ email, password })))
    }
    expect(answers[0]).toMatchObject({ status: 401 })
    expect(answers[1]).toEqual(answers[0])
  })
})

describe('passwords', () => {
  test('changing the password needs the current one, ends every other session and starts a new one', async () => {
    const { who, token } = await createMember()
    const elsewhere = person()
    await elsewhere.signIn({ email: who.email })
    const change = { current_password: 'a wrong password', password: 'another long password' }
    expect(await codeOf(await who.post('/api/v1/auth/password/change', change))).toEqual([401, 'invalid_credentials'])
    expect(await codeOf(await who.post('/api/v1/auth/password/change', { ...change, password: 'short' }))).toEqual([
      400,
      'invalid_request',
    ])
    expect((await elsewhere.post('/api/v1/auth/refresh', {})).status).toBe(200)

    const changed = await who.post('/api/v1/auth/password/change', { ...change, current_password: PASSWORD })
    expect(changed.status).toBe(200)
    expect((await who.post('/api/v1/auth/refresh', {})).status).toBe(200)
    expect((await elsewhere.post('/api/v1/auth/refresh', {})).status).toBe(401)
    expect((await who.signIn()).status).toBe(401)
    expect((await who.signIn({ password: 'another long password' })).status).toBe(200)
    const byBearer = await getWithEnv(env, '/api/v1/auth/password/change', {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ current_password: 'another long password', password: PASSWORD }),
    })
    expect(byBearer.status).toBe(200)
    expect((await who.signIn()).status).toBe(200)
  })

  test('a mailed reset link works once and ends every session', async () => {
    const { who } = await createMember()
    const visitor = person()
    expect((await visitor.post('/api/v1/auth/password/reset-request', { email: who.email })).status).toBe(202)
    const mail = await waitForMail(who.email, 'Set a new password for Kerb')
    const token = /http:\/\/kerb\.test\/reset-password\?token=(\S+)/.exec(mail.text)?.[1] as string
    const reset = (password: string, by = token) => visitor.post('/api/v1/auth/password/reset', { token: by, password })

    expect(await codeOf(await reset('short'))).toEqual([400, 'invalid_request'])
    expect(await codeOf(await reset('another long password', 'x'.repeat(24)))).toEqual([400, 'token_expired'])
    expect((await reset('another long password')).status).toBe(204)
    expect(await codeOf(await reset('yet another password'))).toEqual([400, 'token_expired'])
    expect((await who.post('/api/v1/auth/refresh', {})).status).toBe(401)
    expect((await who.signIn({ password: 'another long password' })).status).toBe(200)
    expect((await who.signIn()).status).toBe(401)
  })

  test('a reset link expires after an hour', async () => {
    const { who } = await createMember()
    await who.post('/api/v1/auth/password/reset-request', { email: who.email })
    const mail = await waitForMail(who.email, 'Set a new password for Kerb')
    const token = /token=(\S+)/.exec(mail.text)?.[1]
    await sql(`UPDATE auth_verifications SET expires_at = expires_at - interval '1 hour'`)
    const answer = await who.post('/api/v1/auth/password/reset', { token, password: 'another long password' })
    expect(await codeOf(answer)).toEqual([400, 'token_expired'])
  })
})

describe('writes by pages of other sites', () => {
  const foreign: Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'https://kerb.test' },
    { origin: 'http://kerb.test.evil.example' },
    { origin: '', 'sec-fetch-site': 'cross-site' },
    { origin: '', 'sec-fetch-site': 'same-site' },
    { origin: '' },
  ]

  test('writes by pages of other sites with the cookies of a visitor are refused', async () => {
    const { who } = await createMember()
    for (const headers of foreign) {
      for (const path of ['refresh', 'sign-out', 'password/change'])
        expect(await codeOf(await who.post(`/api/v1/auth/${path}`, {}, headers))).toEqual([403, 'forbidden'])
      const change = { name: 'Mallory' }
      expect(await codeOf(await who.write('PATCH', '/api/v1/users/profile', change, headers))).toEqual([
        403,
        'forbidden',
      ])
      for (const path of ['/sign-out', '/user/profile', '/user/password'])
        expect((await who.form(path, { ...change, currency: 'EUR' }, headers)).status).toBe(403)
    }
    expect(await (await who.ask('/api/v1/users/profile')).json()).toMatchObject({ name: who.name, currency: 'USD' })
    expect(
      (
        await who.write(
          'PATCH',
          '/api/v1/users/profile',
          { name: 'Me' },
          { origin: '', 'sec-fetch-site': 'same-origin' },
        )
      ).status,
    ).toBe(200)
  })

  test('pages of other sites cannot sign a visitor in to another account', async () => {
    const { who } = await createMember()
    for (const headers of foreign.filter(({ origin, ...rest }) => origin !== '' || Object.keys(rest).length > 0)) {
      const visitor = person()
      expect(
        await codeOf(await visitor.post('/api/v1/auth/sign-in', { email: who.email, password: PASSWORD }, headers)),
      ).toEqual([403, 'forbidden'])
      expect((await visitor.form('/sign-in', { email: who.email, password: PASSWORD }, headers)).status).toBe(403)
      expect(visitor.cookies.size).toBe(0)
    }
  })

  test('a bearer token may write from any origin, because browsers never send one by themselves', async () => {
    const { token } = await createMember()
    const answer = await getWithEnv(env, '/api/v1/users/profile', {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, origin: 'https://app.example', 'content-type': 'application/json' },
      body: '{"currency":"eur"}',
    })
    expect(await answer.json()).toMatchObject({ currency: 'EUR' })
  })

  test('pages of other sites cannot read responses to requests with cookies', async () => {
    const { who } = await createMember()
    const answer = await who.ask('/api/v1/users/profile', { headers: { origin: 'https://evil.example' } })
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
    expect(answer.headers.get('access-control-allow-origin')).not.toBe('https://evil.example')
  })
})

describe('limits', () => {
  test('one client is limited across many emails', async () => {
    const who = person()
    const answers: Response[] = []
    for (let i = 0; i < 32; i++)
      answers.push(await who.post('/api/v1/auth/password/reset', { token: '', password: '' }))
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(30)
    const last = answers.at(-1) as Response
    expect(last.headers.get('retry-after')).toBe('60')
    expect(await codeOf(last)).toEqual([429, 'too_many_requests'])
  })

  test('one email, known or not, is limited across many clients', async () => {
    const { who } = await createMember()
    for (const email of [who.email, 'nobody-at-all@example.com']) {
      const statuses: number[] = []
      for (let i = 0; i < 12; i++) statuses.push((await person().signIn({ email, password: 'wrong wrong' })).status)
      expect(statuses.at(-1), email).toBe(429)
      expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(10)
    }
  })
})

describe('the profile', () => {
  test('changing a profile changes only the given fields', async () => {
    const { who } = await createMember()
    const patch = (change: unknown) => who.write('PATCH', '/api/v1/users/profile', change)
    expect(await (await patch({ name: '  Ada Lovelace ' })).json()).toMatchObject({
      name: 'Ada Lovelace',
      currency: 'USD',
    })
    expect(await (await patch({ currency: 'chf', refresh_interval_seconds: 30 })).json()).toMatchObject({
      name: 'Ada Lovelace',
      currency: 'CHF',
      refresh_interval_seconds: 30,
    })
    expect(await (await patch({ refresh_interval_seconds: null })).json()).toMatchObject({
      refresh_interval_seconds: null,
    })
    expect(await (await patch({})).json()).toMatchObject({ name: 'Ada Lovelace', currency: 'CHF' })
  })

  const wrong = [
    { name: '' },
    { name: 'x'.repeat(101) },
    { name: 'a\nb' },
    { currency: 'XXY' },
    { currency: 'US' },
    { refresh_interval_seconds: 0 },
    { refresh_interval_seconds: 1.5 },
    { refresh_interval_seconds: 86_401 },
    { refresh_interval_seconds: '30' },
    { email: 'other@example.com' },
    { user_id: '6f9619ff-8b86-4d11-b42d-00c04fc964ff' },
  ]
  test('changing a profile refuses invalid values', async () => {
    const { who } = await createMember()
    for (const change of wrong) {
      const answer = await who.write('PATCH', '/api/v1/users/profile', change)
      expect(await codeOf(answer), JSON.stringify(change)).toEqual([400, 'invalid_request'])
    }
  })

  test('P8 two users with random requests see only their own data', async () => {
    const members = await Promise.all([createMember(), createMember()])
    const ids = members.map(({ token }) => decodeJwt(token).sub)
    const round = async (i: number) => {
      const of = Math.floor(Math.random() * 2)
      const { who, token } = members[of]!
      const [me, other] = [members[of]!.who, members[1 - of]!.who]
      const ways = [
        () => who.ask('/api/v1/users/profile'),
        () => getProfile(token),
        () => who.ask('/user/profile'),
        () => who.write('PATCH', '/api/v1/users/profile', { name: `${me.name} ${i}` }),
        () => who.write('PATCH', '/api/v1/users/profile', { currency: 'nonsense' }),
      ]
      const text = await (await ways[Math.floor(Math.random() * ways.length)]!()).text()
      for (const foreign of [other.email, other.name, `${ids[1 - of]}`]) expect(text).not.toContain(foreign)
    }
    for (let i = 0; i < 200; i += 5) await Promise.all([0, 1, 2, 3, 4].map((k) => round(i + k)))
  })
})

describe('pages', () => {
  test('a page redirects to sign-in and back, and a link cannot redirect to another site', async () => {
    const who = person()
    for (const [path, next] of [
      ['/user', '%2Fuser'],
      ['/user/profile?saved=profile', '%2Fuser%2Fprofile%3Fsaved%3Dprofile'],
    ]) {
      const answer = await who.ask(path as string)
      expect([answer.status, answer.headers.get('location')]).toEqual([303, `/sign-in?next=${next}`])
    }
    await who.signUp()
    await who.form('/confirm-email', { token: await confirmToken(who.email) })
    expect((await who.form('/sign-in', { email: who.email, password: PASSWORD })).headers.get('location')).toBe('/user')
    const form = { email: (await createMember()).who.email, password: PASSWORD }
    for (const [next, place] of [
      ['/user/profile', '/user/profile'],
      ['//evil.example', '/user'],
      ['https://evil.example/user', '/user'],
    ] as const) {
      const answer = await who.form('/sign-in', { ...form, next })
      expect([answer.status, answer.headers.get('location')]).toEqual([303, place])
    }
    expect((await who.ask('/sign-in?next=//evil.example')).headers.get('location')).toBe('/user')
  })

  test('account pages have a strict policy, are not cached, and show errors beside their fields', async () => {
    const { who } = await createMember()
    for (const path of ['/user', '/user/profile']) {
      const answer = await who.ask(path)
      expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'")
      expect(answer.headers.get('content-security-policy')).toContain("form-action 'self'")
      expect(answer.headers.get('cache-control')).toBe('no-store')
    }
    const answer = await who.form('/user/profile', { name: 'Ada', currency: 'nonsense', refresh_interval_seconds: 'x' })
    expect(answer.status).toBe(400)
    const text = await answer.text()
    for (const field of ['currency', 'refresh_interval_seconds']) expect(text).toContain(`id="${field}-error"`)
    expect(text).toContain('value="nonsense"')
    const wrong = await person().form('/sign-in', { email: who.email, password: 'a wrong password' })
    expect([wrong.status, await wrong.text()]).toEqual([401, expect.stringContaining('Wrong email or password')])
  })
})

test('the logs contain no secret and no email', async () => {
  const lines: string[] = []
  vi.spyOn(console, 'log').mockImplementation((...text) => lines.push(text.join(' ')))
  vi.spyOn(console, 'error').mockImplementation((...text) => lines.push(text.join(' ')))
  vi.spyOn(console, 'warn').mockImplementation((...text) => lines.push(text.join(' ')))
  const { who, token } = await createMember()
  await person().signUp({ email: who.email })
  await who.signIn({ password: 'a wrong password' })
  await who.post('/api/v1/auth/password/reset-request', { email: who.email })
  await who.form('/sign-in', { email: who.email, password: 'a wrong password' })
  await who.ask(`/reset-password?token=${'t'.repeat(24)}`)
  await getProfile(`${token}x`)
  await setDatabaseOpen(false)
  expect(await codeOf(await person().signIn({ email: who.email }))).toEqual([503, 'unavailable'])
  await setDatabaseOpen(true)
  const all = lines.join('\n')
  expect(all).toContain('/api/v1/auth/sign-in')
  for (const secret of [who.email, who.name, PASSWORD, 'a wrong password', token, who.cookies.get(REFRESH), 'tttttt'])
    expect(all).not.toContain(secret)
})

test('without mails, a user can sign in right after signing up', async () => {
  for (const MAIL_URL of ['', 'console']) {
    const who = person({ ...env, MAIL_URL } as Env)
    expect((await who.signUp()).status).toBe(202)
    expect((await who.signIn()).status).toBe(200)
  }
})

test('without AUTH_SECRET there are no accounts, and everything else works', async () => {
  const without = { ...env, AUTH_SECRET: '' } as Env
  const who = person(without)
  expect(await codeOf(await who.signIn())).toEqual([503, 'unavailable'])
  expect((await who.form('/sign-in', { email: who.email, password: PASSWORD }, { origin: ORIGIN })).status).toBe(503)
  expect((await who.ask('/api/v1/products')).status).toBe(200)
})
