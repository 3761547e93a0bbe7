/// <reference path="./node-crypto.d.ts" />
import { scrypt } from 'node:crypto'

/**
 * OWASP's scrypt parameters with 16 MiB (of N, r, p those whose memory is N x r x 128 bytes): as hard to guess as the
 * ones with more memory, and eight at once still fit into an isolate's 128 MB. workerd runs it natively, in about 150 ms
 * of CPU: well within the 30 s of a paid Worker, beyond the 10 ms of a free one. The library's own are 70 ms and below
 * what OWASP asks for.
 */
const COST = { N: 16_384, r: 8, p: 5 }
/** Costs that a stored hash may name: what was usual once must still open, and no row may ask for hours. */
const MAX_COST = { N: 131_072, r: 16, p: 16 }
const SALT_BYTES = 16
const KEY_BYTES = 32

type Cost = typeof COST

const deriveKey = (password: string, salt: Uint8Array, { N, r, p }: Cost): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    // The same letters typed on another machine may come in another Unicode form.
    scrypt(password.normalize('NFKC'), salt, KEY_BYTES, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
      error ? reject(error) : resolve(key),
    )
  })

const encodeBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes))
const decodeBase64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))

/** Hashes a password as `scrypt$N$r$p$salt$key`, so that harder parameters can come without losing anybody. */
export async function hashPassword(password: string): Promise<string> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES))
  const key = await deriveKey(password, salt, COST)
  return ['scrypt', COST.N, COST.r, COST.p, encodeBase64(salt), encodeBase64(key)].join('$')
}

/** Whether the password is the one of this hash. How long it takes does not tell how much of it is right. */
export async function verifyPassword({ hash, password }: { hash: string; password: string }): Promise<boolean> {
  const match = /^scrypt\$(\d{1,6})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)$/.exec(hash)
  if (!match) throw new Error('a stored password has an unknown form')
  const cost = { N: Number(match[1]), r: Number(match[2]), p: Number(match[3]) }
  if (cost.N > MAX_COST.N || cost.r > MAX_COST.r || cost.p > MAX_COST.p)
    throw new Error('a stored password asks for too much')
  const key = await deriveKey(password, decodeBase64(match[4] as string), cost)
  const stored = decodeBase64(match[5] as string)
  let different = key.length ^ stored.length
  for (const [i, byte] of key.entries()) different |= byte ^ (stored[i] ?? 0)
  return different === 0
}
