/// <reference path="./node-crypto.d.ts" />
import { createPrivateKey } from 'node:crypto'
import { base64url, importJWK, type JWTHeaderParameters, SignJWT } from 'jose'

/** A key that signs a token for one subscribe message; `now` in Unix milliseconds. */
export type CoinbaseKey = { ok: true; sign(now: number): Promise<string> } | { ok: false; message: string }

/** Coinbase rejects tokens that live longer. */
const LIFETIME_S = 120

/** JWS algorithms by the curve of the key. */
const ALGORITHMS: Readonly<Record<string, 'ES256' | 'EdDSA'>> = { 'P-256': 'ES256', Ed25519: 'EdDSA' }

/** What precedes the 32 bytes of an Ed25519 seed in a PKCS #8 key (RFC 8410, section 7). */
const ED25519_PKCS8_PREFIX = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]
const ED25519_KEY_BYTES = 32

const invalidKey = (message: string): { ok: false; message: string } => ({
  ok: false,
  message: `COINBASE_PRIVATE_KEY ${message}`,
})
const UNREADABLE_KEY = invalidKey('cannot be read: it must be an EC key on P-256 or an Ed25519 key')

/**
 * Reads a Coinbase API key: an ES256 key as SEC1 or PKCS #8 PEM, or an Ed25519 key as PKCS #8 PEM or as base64 of 64 bytes
 * (seed and public key) or 32 bytes (seed). `\n` may stand for a line end. The message about an invalid key names the
 * setting and never contains any of the key.
 *
 * The tokens follow Coinbase's rules for WebSockets: issuer `cdp`, the key's name as subject and `kid`, two minutes of
 * life and a random nonce. Every subscribe message needs its own.
 * @param apiKey the key's name
 * @see https://docs.cdp.coinbase.com/advanced-trade/docs/ws-auth
 */
export async function readCoinbaseKey(apiKey: string, privateKey: string): Promise<CoinbaseKey> {
  if (apiKey.trim() === '') return { ok: false, message: 'COINBASE_API_KEY is empty' }
  const parsed = parsePrivateKey(privateKey.replaceAll('\\n', '\n').trim())
  if (!parsed.ok) return parsed
  try {
    const jwk = createPrivateKey(parsed.key).export({ format: 'jwk' })
    const alg = ALGORITHMS[jwk.crv ?? '']
    if (alg === undefined) return UNREADABLE_KEY
    if (parsed.publicKey !== null && jwk.x !== base64url.encode(parsed.publicKey))
      return invalidKey('is damaged: its public half does not belong to its private half')
    const key = await importJWK(jwk, alg)
    return { ok: true, sign: (now) => signToken(key, { alg, kid: apiKey, typ: 'JWT', nonce: newNonce() }, now) }
  } catch {
    // The library's error is dropped on purpose: it may contain parts of the key.
    return UNREADABLE_KEY
  }
}

const newNonce = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')

function signToken(
  key: Awaited<ReturnType<typeof importJWK>>,
  header: JWTHeaderParameters & { kid: string },
  now: number,
): Promise<string> {
  const seconds = Math.floor(now / 1_000)
  return new SignJWT()
    .setProtectedHeader(header)
    .setIssuer('cdp')
    .setSubject(header.kid)
    .setNotBefore(seconds)
    .setExpirationTime(seconds + LIFETIME_S)
    .sign(key)
}

/** `publicKey` is the public half where the text contains it, to be checked against the private one. */
type ParsedKey = { ok: true; key: Parameters<typeof createPrivateKey>[0]; publicKey: Uint8Array | null }

function parsePrivateKey(text: string): ParsedKey | { ok: false; message: string } {
  const [pem] = /-----BEGIN (EC |)PRIVATE KEY-----[^-]*-----END \1PRIVATE KEY-----/.exec(text) ?? []
  if (pem !== undefined) return { ok: true, key: pem, publicKey: null }
  if (text.includes('-----')) {
    const label = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text)?.[1]
    return invalidKey(
      label === undefined || label.endsWith('PRIVATE KEY')
        ? 'is not a whole, unencrypted PEM of a private key'
        : `is a ${label}, not a private key`,
    )
  }
  const bytes = decodeBase64(text)
  if (bytes === null || bytes.length === 0) return invalidKey('is neither PEM nor base64')
  if (bytes.length !== ED25519_KEY_BYTES && bytes.length !== 2 * ED25519_KEY_BYTES)
    return invalidKey(`is base64 of ${bytes.length} bytes; an Ed25519 key has 64 or 32`)
  const seed = bytes.subarray(0, ED25519_KEY_BYTES)
  const der = new Uint8Array([...ED25519_PKCS8_PREFIX, ...seed])
  const publicKey = bytes.length > ED25519_KEY_BYTES ? bytes.subarray(ED25519_KEY_BYTES) : null
  return { ok: true, key: { key: der, format: 'der', type: 'pkcs8' }, publicKey }
}

/** The bytes of base64 text, which may contain white space; null for other text. */
function decodeBase64(text: string): Uint8Array | null {
  try {
    return Uint8Array.from(atob(text.replace(/\s+/g, '')), (char) => char.charCodeAt(0))
  } catch {
    return null
  }
}
