/// <reference path="./node-crypto.d.ts" />
import { scrypt } from 'node:crypto'

/**
 * OWASP's scrypt parameters with 16 MiB (N x r x 128 bytes): as strong as those with more memory, and eight at once fit
 * into an isolate's 128 MB. workerd runs it natively in about 150 ms of CPU: within the 30 s of a paid Worker, beyond the
 * 10 ms of a free one. better-auth's own parameters are below OWASP's.
 * @see https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#scrypt
 */
const COST = { N: 16_384, r: 8, p: 5 }
/** Bounds for the parameters of a stored hash: older and stronger ones still work, but no row can cost hours. */
const MAX_COST = { N: 131_072, r: 16, p: 16 }
const SALT_BYTES = 16
const KEY_BYTES = 32

type Cost = typeof COST

const deriveKey = (password: string, salt: Uint8Array, { N, r, p }: Cost): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    // Another device may send the same characters in another Unicode form.
    scrypt(password.normalize('NFKC'), salt, KEY_BYTES, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
      error ? reject(error) : resolve(key),
    )
  })

const encodeBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))
const decodeBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))

/** Hashes a password as `scrypt$N$r$p$salt$key`: old hashes stay valid when the parameters change. */
export async function hashPassword(password: string): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES))
  const key = await deriveKey(password, salt, COST)
  return ['scrypt', COST.N, COST.r, COST.p, encodeBase64(salt), encodeBase64(key)].join('$')
}

/** Compares a password with a hash in constant time. @throws Error for a hash of another form */
export async function verifyPassword({ hash, password }: { hash: string; password: string }): Promise<boolean> {
  const match = /^scrypt\$(\d{1,6})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/.exec(hash)
  if (!match) throw new Error('a stored password hash has an unknown form')
  const cost = { N: Number(match[1]), r: Number(match[2]), p: Number(match[3]) }
  if (cost.N > MAX_COST.N || cost.r > MAX_COST.r || cost.p > MAX_COST.p)
    throw new Error('a stored password hash has parameters above the limit')
  const key = await deriveKey(password, decodeBase64(match[4] as string), cost)
  const stored = decodeBase64(match[5] as string)
  let different = key.length ^ stored.length
  for (const [i, byte] of key.entries()) different |= byte ^ (stored[i] ?? 0)
  return different === 0
}
