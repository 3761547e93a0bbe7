import { exportJWK, importPKCS8, SignJWT } from 'jose'

/** A key that signs a token for one subscribe message; `now` in unix milliseconds. */
export type CoinbaseKey = { ok: true; sign(now: number): Promise<string> } | { ok: false; message: string }

/** Coinbase takes no token that is older. */
const LIFETIME_S = 120

/** DER in front of an Ed25519 seed: PKCS #8 of RFC 8410. */
const ED25519_PKCS8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]
/** DER of the algorithm "EC key on P-256" (RFC 5480). */
const EC_P256 = [0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]
/** The object identifier 1.3.101.112 (Ed25519) as it stands in DER. */
const ED25519_OID = '6,3,43,101,112'

const invalidKey = (message: string): { ok: false; message: string } => ({
  ok: false,
  message: `COINBASE_PRIVATE_KEY ${message}`,
})

/**
 * Reads the key that Coinbase gave: an ES256 key as SEC1 or PKCS #8 PEM, or an Ed25519 key as PKCS #8 PEM or as base64 of
 * 64 bytes (seed and public key) or 32 (seed). `\n` may stand for the ends of lines. The message of a key that cannot be
 * used names the variable and never holds any of its text.
 *
 * Tokens are those that Coinbase wants on its WebSocket: issuer `cdp`, the key's name as subject and `kid`, two minutes
 * long, with a random nonce; each subscribe message needs its own.
 */
export async function readCoinbaseKey(apiKey: string, privateKey: string): Promise<CoinbaseKey> {
  if (apiKey.trim() === '') return { ok: false, message: 'COINBASE_API_KEY is empty' }
  const read = parsePrivateKey(privateKey.replaceAll('\\n', '\n').trim())
  if (!read.ok) return read
  let key: CryptoKey
  try {
    key = await importPKCS8(encodePem(read.pkcs8), read.alg, { extractable: read.publicKey !== null })
    if (read.publicKey !== null && (await exportJWK(key)).x !== base64url(read.publicKey))
      return invalidKey('is not whole: its public half does not belong to its private half')
  } catch {
    // The library's error is left out on purpose: it may hold parts of the key.
    return invalidKey(`cannot be read as ${read.alg === 'ES256' ? 'an EC key on P-256' : 'an Ed25519 key'}`)
  }
  return {
    ok: true,
    sign(now) {
      const seconds = Math.floor(now / 1000)
      const nonce = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0'))
      return new SignJWT()
        .setProtectedHeader({ alg: read.alg, kid: apiKey, typ: 'JWT', nonce: nonce.join('') })
        .setIssuer('cdp')
        .setSubject(apiKey)
        .setNotBefore(seconds)
        .setExpirationTime(seconds + LIFETIME_S)
        .sign(key)
    },
  }
}

/** `publicKey` where the text holds it beside the private one, to be checked against it. */
type ParsedKey = { ok: true; alg: 'ES256' | 'EdDSA'; pkcs8: number[]; publicKey: number[] | null }

function parsePrivateKey(text: string): ParsedKey | { ok: false; message: string } {
  const block = /-----BEGIN (EC |)PRIVATE KEY-----([^-]*)-----END \1PRIVATE KEY-----/.exec(text)
  if (!block && text.includes('-----')) {
    const found = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(text)?.[1]
    return invalidKey(
      found === undefined || found.endsWith('PRIVATE KEY')
        ? 'is not a whole, unencrypted PEM of a private key'
        : `holds a ${found}, not a private key`,
    )
  }
  const bytes = decodeBase64(block ? (block[2] as string) : text)
  if (bytes === null || bytes.length === 0) return invalidKey('is neither PEM nor base64')
  if (block?.[1] === 'EC ') {
    const sec1 = [...encodeDer(4, bytes)]
    return { ok: true, alg: 'ES256', pkcs8: encodeDer(0x30, [2, 1, 0, ...EC_P256, ...sec1]), publicKey: null }
  }
  if (block) {
    const ed25519 = bytes.slice(0, ED25519_PKCS8.length).join().includes(ED25519_OID)
    return { ok: true, alg: ed25519 ? 'EdDSA' : 'ES256', pkcs8: bytes, publicKey: null }
  }
  if (bytes.length !== 32 && bytes.length !== 64)
    return invalidKey(`is base64 of ${bytes.length} bytes; an Ed25519 key has 64 or 32`)
  const pkcs8 = [...ED25519_PKCS8, ...bytes.slice(0, 32)]
  return { ok: true, alg: 'EdDSA', pkcs8, publicKey: bytes.length === 64 ? bytes.slice(32) : null }
}

/** A DER element: tag, length, content (up to 65,535 bytes). */
function encodeDer(tag: number, content: readonly number[]): number[] {
  const { length } = content
  if (length < 0x80) return [tag, length, ...content]
  if (length < 0x100) return [tag, 0x81, length, ...content]
  return [tag, 0x82, length >> 8, length & 0xff, ...content]
}

/** The bytes of base64, spaces and line ends ignored; null for other text. */
function decodeBase64(text: string): number[] | null {
  try {
    return Array.from(atob(text.replace(/\s+/g, '')), (c) => c.charCodeAt(0))
  } catch {
    return null
  }
}

const base64 = (bytes: readonly number[]): string => btoa(String.fromCharCode(...bytes))
const base64url = (bytes: readonly number[]): string =>
  base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
const encodePem = (bytes: readonly number[]): string =>
  `-----BEGIN PRIVATE KEY-----\n${base64(bytes)}\n-----END PRIVATE KEY-----`
