import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { get } from './wire.ts'

test('smoke', async () => {
  const headers = { 'content-type': 'application/json' }
  const up = await get('/api/v1/auth/sign-up', {
    method: 'POST',
    headers,
    body: JSON.stringify({ email: 'Ada@Example.com', password: 'a long password', name: 'Ada' }),
  })
  console.log(up.status, await up.text())
  const t = Date.now()
  const r = await get('/api/v1/auth/sign-in', {
    method: 'POST',
    headers,
    body: JSON.stringify({ email: 'ada@example.com', password: 'a long password' }),
  })
  const body = await r.text()
  console.log(r.status, body, r.headers.getSetCookie(), Date.now() - t)
  const token = JSON.parse(body).access_token
  const p = await get('/api/v1/users/profile', { headers: { authorization: `Bearer ${token}` } })
  console.log(p.status, await p.text())
  console.log(await (await get('/api/v1/auth/jwks')).text(), env.MAIL_URL)
  expect(p.status).toBe(201)
})
