import { env } from 'cloudflare:workers'
import { decodeJwt } from 'jose'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { getWithEnv, waitFor } from './wire.ts'

export const ORIGIN = 'http://kerb.test'
export const PASSWORD = 'a long enough password'

let people = 0

/** A browser or a program with cookies, its own address and its own email. */
export function person(of: Env = env) {
  const number = ++people
  const cookies = new Map<string, string>()
  const address = `10.0.${Math.floor(number / 250)}.${number % 250}`

  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers({ origin: ORIGIN, 'cf-connecting-ip': address })
    if (cookies.size > 0) headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '))
    for (const [name, value] of new Headers(init.headers))
      value === '' ? headers.delete(name) : headers.set(name, value)
    const response = await getWithEnv(of, path, { redirect: 'manual', ...init, headers })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value, rest] = /^([^=]+)=([^;]*);?(.*)$/.exec(line) as unknown as [string, string, string, string]
      if (/Max-Age=0\b/i.test(rest)) cookies.delete(name)
      else cookies.set(name, value)
    }
    return response
  }
  const write = (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
    ask(path, {
      method,
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
  const post = (path: string, body: unknown, headers?: Record<string, string>) => write('POST', path, body, headers)
  return {
    email: `person-${number}@example.com`,
    name: `Person ${number}`,
    cookies,
    ask,
    write,
    post,
    form: (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
      ask(path, { method: 'POST', body: new URLSearchParams(fields), headers }),
    signUp: (fields: Record<string, unknown> = {}) =>
      post('/api/v1/auth/sign-up', {
        email: `person-${number}@example.com`,
        password: PASSWORD,
        name: `Person ${number}`,
        ...fields,
      }),
    signIn: (fields: Record<string, unknown> = {}) =>
      post('/api/v1/auth/sign-in', { email: `person-${number}@example.com`, password: PASSWORD, ...fields }),
  }
}

type Person = ReturnType<typeof person>

type Mail = { from: string; to: string; subject: string; text: string }

/** The mail with this subject that came last to an email; waits for it. */
export const waitForMail = (email: string, subject: string): Promise<Mail> =>
  waitFor(`a mail to ${email}: ${subject}`, async () => {
    const mails = (await (await fetch(env.MAIL_URL)).json()) as Mail[]
    return mails.findLast((mail) => mail.to === email && mail.subject === subject)
  })

/** The token of the mail that asks to confirm an email. */
export const confirmToken = async (email: string): Promise<string> =>
  /\/confirm-email\?token=(\S+)/.exec((await waitForMail(email, 'Confirm your email for Kerb')).text)?.[1] as string

export type Member = { who: Person; token: string; id: string }

async function signInMember(who: Person): Promise<Member> {
  const answer = await who.signIn()
  if (!answer.ok) throw new Error(await answer.text())
  const { access_token: token } = (await answer.json()) as { access_token: string }
  return { who, token, id: `${decodeJwt(token).sub}` }
}

/** Somebody who has signed up and in, as everybody does: what it takes is the work of two passwords. */
export async function signUpMember(of: Env = env): Promise<Member> {
  const who = person(of)
  await who.signUp()
  if (of === env) await who.post('/api/v1/auth/confirm', { token: await confirmToken(who.email) })
  return signInMember(who)
}

/** PASSWORD, stored at the least cost that a hash may name: at the usual one it takes 150 ms to sign in. */
const CHEAP_HASH = 'scrypt$16$1$1$YSBzYWx0IG9mIHRlc3RzIQ==$3SDmY2IV4sSF6w39wmm7H73hNrtzLLoFkdrpnVKdhXs='

/** A signed-in user whose account was inserted into the database, for tests of other things than accounts. */
export async function createMember(): Promise<Member> {
  const who = person()
  const id = crypto.randomUUID()
  await withLiveDatabase(env, async (sql) => {
    await sql`INSERT INTO auth_users (id, name, email, email_verified) VALUES (${id}, ${who.name}, ${who.email}, TRUE)`
    await sql`
      INSERT INTO auth_accounts (id, user_id, issuer, account_id, provider_id, password)
      VALUES (${crypto.randomUUID()}, ${id}, 'local:credential', ${id}, 'credential', ${CHEAP_HASH})`
  })
  return signInMember(who)
}

/** The profile as returned for this token alone, without any cookie. */
export const getProfile = (token: string, of: Env = env): Promise<Response> =>
  getWithEnv(of, '/api/v1/users/profile', { headers: { authorization: `Bearer ${token}` } })
