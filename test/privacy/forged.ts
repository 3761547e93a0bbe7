import { createHmac } from 'node:crypto'
import { exportSPKI, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import type { Person } from './person.ts'
import type { RunContext } from './send.ts'

const encodeJson = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A key that is not the Worker's, and the Worker's public key: the same for a whole run. */
type Keys = { own: CryptoKey; jwk: JWK; pem: string }
const keysByRun = new WeakMap<RunContext, Promise<Keys>>()

async function readKeys({ http }: RunContext): Promise<Keys> {
  const { privateKey } = await generateKeyPair('ES256')
  const response = await http.ask({ method: 'GET', path: '/api/v1/auth/jwks', headers: {}, body: null })
  const [jwk] = (JSON.parse(response.body) as { keys: JWK[] }).keys
  if (!jwk) throw new Error('the Worker publishes no key')
  return { own: privateKey, jwk, pem: await exportSPKI((await importJWK(jwk, 'ES256')) as CryptoKey) }
}

/** Invalid tokens in the name of `other`, by how they were forged; `me` has a valid one. */
export async function forgedTokens(world: RunContext, me: Person, other: Person): Promise<[string, string][]> {
  const keys = keysByRun.get(world) ?? readKeys(world)
  keysByRun.set(world, keys)
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
    const text = `${encodeJson({ alg: 'HS256', typ: 'JWT', kid })}.${encodeJson(claims)}`
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  }
  return [
    ['alg none', `${encodeJson({ alg: 'none' })}.${theirPayload}.`],
    ['alg NONE', `${encodeJson({ alg: 'NONE', kid })}.${encodeJson(claims)}.`],
    ['alg none, signed', `${encodeJson({ alg: 'none', kid })}.${theirPayload}.${theirSignature}`],
    ['their claims, my signature', `${header}.${theirPayload}.${signature}`],
    ['my claims, their signature', `${header}.${payload}.${theirSignature}`],
    ['no signature', `${header}.${theirPayload}.`],
    ['HS256 with the public key', hmac(pem)],
    ['HS256 with the JWK', hmac(JSON.stringify(jwk))],
    ['another key by the known name', await signed({})],
    ['another key by no name', await signed({}, {})],
    ['another key that it brings', await signed({}, { kid: 'mine', jwk })],
    ['another issuer', await signed({ iss: 'https://other.example' })],
    ['expired', await signed({ exp: now - 3_600, iat: now - 7_200 })],
    ['truncated', other.token.slice(0, -4)],
  ]
}
