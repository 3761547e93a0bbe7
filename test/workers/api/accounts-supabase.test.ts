import { env } from 'cloudflare:workers'
import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import { withLiveDatabase } from '../../../src/db/client.ts'
import type { Problem } from '../../../src/protocol/errors.ts'
import { getProfile, PASSWORD, person, signUpMember } from '../support/person.ts'

const supabase = {
  ...env,
  AUTH_SECRET: '',
  SUPABASE_URL: env.TEST_SUPABASE_URL,
  SUPABASE_ANON_KEY: env.TEST_SUPABASE_ANON_KEY,
} as Env

const REFRESH = '__Host-kerb_refresh'
const codeOf = async (response: Response) => [response.status, ((await response.json()) as Problem).code]
const control = async <T>(path: string, method = 'GET'): Promise<T> =>
  (await fetch(`${env.TEST_SUPABASE_URL}${path}`, { method })).json()

/** An email that no other run of these tests has: its accounts are in one place for all of them. */
const newPerson = (of = supabase) => {
  const who = person(of)
  const email = `${crypto.randomUUID()}@example.com`
  return {
    who,
    email,
    signUp: () => who.signUp({ email }),
    signIn: (password = PASSWORD) => who.signIn({ email, password }),
  }
}

test('sign-up, sign-in, profile, refresh and sign-out go through Supabase Auth', async () => {
  const { who, email, signUp, signIn } = newPerson()
  expect((await signUp()).status).toBe(202)
  expect((await signUp()).status).toBe(202)
  expect(await codeOf(await signIn('a wrong password'))).toEqual([401, 'invalid_credentials'])
  const signedIn = await signIn()
  const { access_token: token, ...rest } = (await signedIn.json()) as { access_token: string }
  expect(rest).toEqual({ token_type: 'bearer', expires_in: 3_600 })
  expect(decodeJwt(token).iss).toBe(`${env.TEST_SUPABASE_URL}/auth/v1`)
  expect(await (await getProfile(token, supabase)).json()).toMatchObject({ email, name: who.name })
  expect(await withLiveDatabase(env, (sql) => sql`SELECT * FROM auth_users WHERE email = ${email}`)).toEqual([])

  const first = who.cookies.get(REFRESH) as string
  expect((await who.post('/api/v1/auth/refresh', {})).status).toBe(200)
  const second = who.cookies.get(REFRESH)
  expect(second).not.toBe(first)
  who.cookies.delete('__Host-kerb_access')
  expect((await who.ask('/user')).status).toBe(200)

  const stolen = who.cookies.get(REFRESH) as string
  expect((await who.post('/api/v1/auth/sign-out', {})).status).toBe(204)
  who.cookies.set(REFRESH, stolen)
  expect(await codeOf(await who.post('/api/v1/auth/refresh', {}))).toEqual([401, 'unauthorized'])
  expect(who.cookies.size).toBe(0)
})

test('signing out works with only a refresh token', async () => {
  const { who, signUp, signIn } = newPerson()
  await signUp()
  await signIn()
  who.cookies.delete('__Host-kerb_access')
  const kept = who.cookies.get(REFRESH) as string
  expect((await who.post('/api/v1/auth/sign-out', {})).status).toBe(204)
  who.cookies.set(REFRESH, kept)
  expect((await who.post('/api/v1/auth/refresh', {})).status).toBe(401)
})

test('passwords are changed and reset through Supabase Auth', async () => {
  const { who, email, signUp, signIn } = newPerson()
  await signUp()
  await signIn()
  const elsewhere = person(supabase)
  await elsewhere.signIn({ email })
  const change = { current_password: PASSWORD, password: 'another long password' }
  expect((await who.post('/api/v1/auth/password/change', change)).status).toBe(200)
  expect((await elsewhere.post('/api/v1/auth/refresh', {})).status).toBe(401)
  expect(await codeOf(await signIn())).toEqual([401, 'invalid_credentials'])

  for (const asked of [email, 'nobody@example.com'])
    expect((await who.post('/api/v1/auth/password/reset-request', { email: asked })).status).toBe(202)
  const { token } = await control<{ token: string }>(`/_recovery?email=${email}`)
  const reset = (password: string) => person(supabase).post('/api/v1/auth/password/reset', { token, password })
  expect((await reset('yet another password')).status).toBe(204)
  expect(await codeOf(await reset('one more password'))).toEqual([400, 'token_expired'])
  expect((await who.post('/api/v1/auth/refresh', {})).status).toBe(401)
  expect((await signIn('yet another password')).status).toBe(200)
})

test('a token of one issuer is refused with the other, and /jwks has the keys of the configured one', async () => {
  const { signUp, signIn } = newPerson()
  await signUp()
  const { access_token: theirs } = (await (await signIn()).json()) as { access_token: string }
  const { token: ours } = await signUpMember()
  expect(await codeOf(await getProfile(theirs))).toEqual([401, 'unauthorized'])
  expect(await codeOf(await getProfile(ours, supabase))).toEqual([401, 'unauthorized'])
  const told = await (await person(supabase).ask('/api/v1/auth/jwks')).json()
  expect(told).toEqual(await control('/auth/v1/.well-known/jwks.json'))
})

test('a token of a new signing key is accepted at once', async () => {
  const { who, signUp, signIn } = newPerson()
  await signUp()
  await signIn()
  expect((await who.ask('/api/v1/users/profile')).status).toBe(200)
  await control('/_rotate', 'POST')
  await signIn()
  expect((await who.ask('/api/v1/users/profile')).status).toBe(200)
})

test('a Supabase that is unreachable or refuses the API key is reported as unavailable', async () => {
  for (const other of [{ SUPABASE_URL: 'http://127.0.0.1:1' }, { SUPABASE_ANON_KEY: 'wrong' }]) {
    const { who, signIn, signUp } = newPerson({ ...supabase, ...other } as Env)
    expect(await codeOf(await signUp())).toEqual([503, 'unavailable'])
    expect(await codeOf(await signIn())).toEqual([503, 'unavailable'])
    expect(who.cookies.size).toBe(0)
  }
  const unreachable = { ...supabase, SUPABASE_URL: 'http://127.0.0.1:1' } as Env
  const { token } = await signUpMember()
  expect(await codeOf(await getProfile(token, unreachable))).toEqual([503, 'unavailable'])
})
