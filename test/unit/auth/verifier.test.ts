import { createHmac } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, type JSONWebKeySet, type JWK, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { type RejectionReason, tokenVerifier } from '../../../src/auth/verifier.ts'

const NOW = Date.UTC(2026, 10, 21, 9)
const SECONDS = NOW / 1_000
const NAMES = { issuer: 'https://project.example/auth/v1', audience: 'authenticated' }
const ID = '6f9619ff-8b86-4d11-b42d-00c04fc964ff'
const CLAIMS = { email: 'ada@example.com', name: 'Ada' }

type Pair = { alg: string; kid: string; privateKey: CryptoKey; publicKey: CryptoKey; jwk: JWK }

async function pair(alg: string, kid: string): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { alg, kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } }
}

type Change = { claims?: Record<string, unknown>; header?: Record<string, unknown>; key?: CryptoKey }

const token = ({ alg, kid, privateKey }: Pair, { claims = {}, header = {}, key = privateKey }: Change = {}) =>
  new SignJWT({
    ...CLAIMS,
    sub: ID,
    iss: NAMES.issuer,
    aud: NAMES.audience,
    iat: SECONDS,
    exp: SECONDS + 600,
    ...claims,
  })
    .setProtectedHeader({ alg, kid, ...header })
    .sign(key)

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

let keys: Record<'ES256' | 'RS256' | 'EdDSA' | 'PS256' | 'other', Pair>

beforeAll(async () => {
  const [es, rs, ed, ps, other] = await Promise.all([
    pair('ES256', 'es'),
    pair('RS256', 'rs'),
    pair('EdDSA', 'ed'),
    pair('PS256', 'ps'),
    pair('ES256', 'other'),
  ])
  keys = { ES256: es, RS256: rs, EdDSA: ed, PS256: ps, other }
})

/** A verifier of these keys, that counts how often they are read. */
function over(...pairs: Pair[]) {
  const source = { set: { keys: pairs.map(({ jwk }) => jwk) } as JSONWebKeySet | null, reads: 0 }
  const verifier = tokenVerifier(NAMES, async () => {
    source.reads++
    if (source.set === null) throw new Error('cannot be reached')
    return source.set
  })
  return { source, verify: (text: string, now = NOW) => verifier.verify(text, now) }
}

const refused = (reason: RejectionReason) => ({ ok: false, reason })

test.each(['ES256', 'RS256', 'EdDSA'] as const)('a token signed by %s tells who its bearer is', async (alg) => {
  const { verify } = over(keys.ES256, keys.RS256, keys.EdDSA)
  const user = { id: ID, email: 'ada@example.com', name: 'Ada' }
  expect(await verify(await token(keys[alg]))).toEqual({ ok: true, user, expiresAt: NOW + 600_000 })
})

test('the name is read from the claim that Supabase uses', async () => {
  const claims = { name: undefined, user_metadata: { name: 'Grace' } }
  const { verify } = over(keys.ES256)
  expect(await verify(await token(keys.ES256, { claims }))).toMatchObject({ ok: true, user: { name: 'Grace' } })
})

describe('the verifier', () => {
  const against = async (text: string | Promise<string>, now = NOW) =>
    over(keys.ES256, keys.RS256, keys.EdDSA, keys.PS256).verify(await text, now)

  test('refuses text that is not a token', async () => {
    for (const text of ['', 'a', 'a.b', 'a.b.c', '..', `${'a'.repeat(9_000)}.b.c`])
      expect(await against(text)).toEqual(refused('malformed'))
  })

  test('refuses a forged token: another key under a known id, other claims under a known signature', async () => {
    expect(await against(token(keys.ES256, { key: keys.other.privateKey }))).toEqual(refused('signature'))
    const [header, , signature] = (await token(keys.ES256)).split('.')
    const claims = { ...CLAIMS, sub: ID.replace('6', '7'), iss: NAMES.issuer, aud: NAMES.audience }
    const payload = encoded({ ...claims, iat: SECONDS, exp: SECONDS + 600 })
    expect(await against(`${header}.${payload}.${signature}`)).toEqual(refused('signature'))
  })

  test('refuses a token with its own key', async () => {
    const header = { kid: 'mine', jwk: keys.other.jwk, jku: 'https://attacker.example/jwks.json' }
    expect(await against(token(keys.other, { header }))).toEqual(refused('unknown_key'))
  })

  test('refuses a token that is expired or not yet valid beyond the clock tolerance', async () => {
    const text = await token(keys.ES256)
    expect(await against(text, NOW + 629_000)).toMatchObject({ ok: true })
    expect(await against(text, NOW + 630_000)).toEqual(refused('expired'))
    expect(await against(text, NOW - 30_000)).toMatchObject({ ok: true })
    expect(await against(text, NOW - 31_000)).toEqual(refused('not_yet_valid'))
    expect(await against(token(keys.ES256, { claims: { nbf: SECONDS + 60 } }))).toEqual(refused('not_yet_valid'))
  })

  test('refuses a token without exp, iat or sub', async () => {
    for (const name of ['exp', 'iat', 'sub'])
      expect(await against(token(keys.ES256, { claims: { [name]: undefined } }))).toEqual(refused('claims'))
  })

  test('refuses a token of another issuer or for another audience', async () => {
    for (const iss of ['https://other.example/auth/v1', `${NAMES.issuer}/`, undefined])
      expect(await against(token(keys.ES256, { claims: { iss } }))).toEqual(refused('issuer'))
    for (const aud of ['anon', ['a', 'b'], undefined])
      expect(await against(token(keys.ES256, { claims: { aud } }))).toEqual(refused('audience'))
  })

  test('refuses a token without a user id and an email', async () => {
    for (const claims of [{ sub: 'admin' }, { sub: `${ID}'--` }, { email: undefined }, { email: 7 }])
      expect(await against(token(keys.ES256, { claims }))).toEqual(refused('claims'))
  })

  test('refuses alg none, in every spelling, signed or not', async () => {
    for (const alg of ['none', 'None', 'NONE'])
      for (const signature of ['', 'AAAA']) {
        const payload = { ...CLAIMS, sub: ID, iss: NAMES.issuer, aud: NAMES.audience, iat: SECONDS, exp: SECONDS + 600 }
        const { ok } = await against(`${encoded({ alg, kid: 'es' })}.${encoded(payload)}.${signature}`)
        expect(ok).toBe(false)
      }
  })

  test('refuses HS256 with the public key as its secret', async () => {
    const payload = { ...CLAIMS, sub: ID, iss: NAMES.issuer, aud: NAMES.audience, iat: SECONDS, exp: SECONDS + 600 }
    const secrets = [
      await exportSPKI(keys.RS256.publicKey),
      JSON.stringify(keys.RS256.jwk),
      Buffer.from(keys.RS256.jwk.n as string, 'base64url'),
    ]
    for (const secret of secrets) {
      const signed = `${encoded({ alg: 'HS256', kid: 'rs' })}.${encoded(payload)}`
      const signature = createHmac('sha256', secret).update(signed).digest('base64url')
      expect(await against(`${signed}.${signature}`)).toEqual(refused('algorithm'))
    }
  })

  test('refuses an algorithm that is not allowed, even with a known key', async () => {
    expect(await against(token(keys.PS256))).toEqual(refused('algorithm'))
  })

  test('refuses a token whose algorithm is not that of its key', async () => {
    const text = await token(keys.ES256, { header: { kid: 'ed' } })
    expect(await against(text)).toEqual(refused('unknown_key'))
  })
})

describe('the cache of keys', () => {
  test('fetches the keys once, and again after five minutes', async () => {
    const { source, verify } = over(keys.ES256)
    const text = await token(keys.ES256)
    for (let i = 0; i < 10; i++) await verify(text)
    expect(source.reads).toBe(1)
    await verify(text, NOW + 299_000)
    expect(source.reads).toBe(1)
    await verify(text, NOW + 300_000)
    expect(source.reads).toBe(2)
  })

  test('fetches the keys at once for a token of a new key', async () => {
    const { source, verify } = over(keys.ES256)
    await verify(await token(keys.ES256))
    source.set = { keys: [keys.ES256.jwk, keys.other.jwk] }
    expect(await verify(await token(keys.other))).toMatchObject({ ok: true })
    expect(source.reads).toBe(2)
  })

  test('refuses a retired key after five minutes at the latest', async () => {
    const { source, verify } = over(keys.ES256)
    const text = await token(keys.ES256)
    expect(await verify(text)).toMatchObject({ ok: true })
    source.set = { keys: [keys.other.jwk] }
    expect(await verify(text, NOW + 300_000)).toEqual(refused('unknown_key'))
  })

  test('refetches the keys for unknown key ids at most five times in 30 seconds', async () => {
    const { source, verify } = over(keys.ES256)
    await verify(await token(keys.ES256))
    for (let i = 0; i < 100; i++)
      expect(await verify(await token(keys.other, { header: { kid: `invented-${i}` } }))).toEqual(
        refused('unknown_key'),
      )
    expect(source.reads).toBe(1 + 5)
    await verify(await token(keys.other), NOW + 30_000)
    expect(source.reads).toBe(1 + 6)
    expect(await verify(await token(keys.ES256))).toMatchObject({ ok: true })
  })

  test('reports unavailable keys apart from an invalid token, and fetches them again', async () => {
    const { source, verify } = over(keys.ES256)
    const text = await token(keys.ES256)
    source.set = null
    expect(await verify(text)).toEqual(refused('keys_unavailable'))
    source.set = { keys: [keys.ES256.jwk] }
    expect(await verify(text)).toMatchObject({ ok: true })
  })
})
