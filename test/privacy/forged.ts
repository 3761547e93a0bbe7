import { createHmac } from 'node:crypto'
import { exportSPKI, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import type { World } from './ask.ts'
import type { Person } from './person.ts'

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Keys of nobody's, and the public one of the Worker: the same for a whole run. */
type Keys = { own: CryptoKey; jwk: JWK; pem: string }
const known = new WeakMap<World, Promise<Keys>>()

async function readKeys({ wire }: World): Promise<Keys> {
  const { privateKey } = await generateKeyPair('ES256')
  const told = await wire.ask({ method: 'GET', path: '/api/v1/auth/jwks', headers: {}, body: null })
  const [jwk] = (JSON.parse(told.body) as { keys: JWK[] }).keys
  if (!jwk) throw new Error('the Worker tells no key')
  return { own: privateKey, jwk, pem: await exportSPKI((await importJWK(jwk, 'ES256')) as CryptoKey) }
}

/** Tokens in the name of `other`, none of which is one, by how they were made; `me` has a right one. */
export async function forgedTokens(world: World, me: Person, other: Person): Promise<[string, string][]> {
  const keys = known.get(world) ?? readKeys(world)
  known.set(world, keys)
  const { own, jwk, pem } = await keys
  const { kid } = jwk
  const [header, payload, signature] = me.token.split('.') as [string, string, string]
  const [, theirPayload, theirSignature] = other.token.split('.') as [string, string, string]
  const now = Math.floor(Date.now() / 1_000)
  const names = { sub: `${other.id}`, email: other.email, name: other.name, iss: 'kerb', aud: 'authenticated' }
  const claims = { ...names, iat: now, exp: now + 600 }
  const signed = (change: object, protectedHeader: { kid?: string; jwk?: JWK } = { kid }) =>
    new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: 'ES256', ...protectedHeader }).sign(own)
  const hmac = (secret: string) => {
    const text = `${encoded({ alg: 'HS256', typ: 'JWT', kid })}.${encoded(claims)}`
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  }
  return [
    ['alg none', `${encoded({ alg: 'none' })}.${theirPayload}.`],
    ['alg NONE', `${encoded({ alg: 'NONE', kid })}.${encoded(claims)}.`],
    ['alg none, signed', `${encoded({ alg: 'none', kid })}.${theirPayload}.${theirSignature}`],
    ['their claims, my signature', `${header}.${theirPayload}.${signature}`],
    ['my claims, their signature', `${header}.${payload}.${theirSignature}`],
    ['no signature', `${header}.${theirPayload}.`],
    ['HS256 with the public key', hmac(pem)],
    ['HS256 with the JWK', hmac(JSON.stringify(jwk))],
    ['another key by the known name', await signed({})],
    ['another key by no name', await signed({}, {})],
    ['another key that it brings', await signed({}, { kid: 'mine', jwk })],
    ['another issuer', await signed({ iss: 'https://other.example' })],
    ['over', await signed({ exp: now - 3_600, iat: now - 7_200 })],
    ['truncated', other.token.slice(0, -4)],
  ]
}
