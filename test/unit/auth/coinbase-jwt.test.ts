import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { decodeProtectedHeader, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { readCoinbaseKey } from '../../../src/auth/coinbase-jwt.ts'

const NAME = 'organizations/1f2e/apiKeys/3d4c'
const NOW = Date.UTC(2026, 7, 9, 21, 5, 48) + 900

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const ed = generateKeyPairSync('ed25519').privateKey

const text = (key: KeyObject, type: 'sec1' | 'pkcs8') => key.export({ format: 'pem', type }).toString()
const bytes = (part: string | undefined) => Buffer.from(part ?? '', 'base64url')
const { d, x } = ed.export({ format: 'jwk' })
const whole = Buffer.concat([bytes(d), bytes(x)]).toString('base64')

const sign = async (privateKey: string, now = NOW): Promise<string> => {
  const key = await readCoinbaseKey(NAME, privateKey)
  if (!key.ok) throw new Error(key.message)
  return key.sign(now)
}

const message = async (privateKey: string, name = NAME): Promise<string> => {
  const key = await readCoinbaseKey(name, privateKey)
  return key.ok ? 'ok' : key.message
}

describe('a Coinbase key', () => {
  test.each([
    ['SEC1 PEM', 'ES256', text(ec, 'sec1'), ec],
    ['PKCS #8 PEM of an EC key', 'ES256', text(ec, 'pkcs8'), ec],
    ['SEC1 PEM in one line', 'ES256', text(ec, 'sec1').replaceAll('\n', '\\n'), ec],
    ['SEC1 PEM with Windows line ends', 'ES256', text(ec, 'sec1').replaceAll('\n', '\r\n'), ec],
    ['PKCS #8 PEM of an Ed25519 key', 'EdDSA', text(ed, 'pkcs8'), ed],
    ['base64 of seed and public key', 'EdDSA', whole, ed],
    ['base64 of the seed', 'EdDSA', bytes(d).toString('base64'), ed],
    ['base64 with line ends', 'EdDSA', `${whole.slice(0, 40)}\n${whole.slice(40)}\n`, ed],
  ])('%s signs with %s', async (_, alg, privateKey, key) => {
    const token = await sign(privateKey)
    const seconds = Math.floor(NOW / 1000)
    const { payload, protectedHeader } = await jwtVerify(token, createPublicKey(key), { currentDate: new Date(NOW) })
    expect(payload).toEqual({ iss: 'cdp', sub: NAME, nbf: seconds, exp: seconds + 120 })
    expect(protectedHeader).toEqual({ alg, kid: NAME, typ: 'JWT', nonce: expect.stringMatching(/^[0-9a-f]{32}$/) })
  })

  test('is read after its EC PARAMETERS, as openssl writes it', async () => {
    const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    await jwtVerify(await sign(parameters + text(ec, 'sec1')), createPublicKey(ec), { currentDate: new Date(NOW) })
  })

  test('signs a different token each time, which expires after two minutes', async () => {
    const key = await readCoinbaseKey(NAME, text(ec, 'sec1'))
    if (!key.ok) throw new Error(key.message)
    const [one, two] = [await key.sign(NOW), await key.sign(NOW)]
    expect(decodeProtectedHeader(one).nonce).not.toBe(decodeProtectedHeader(two).nonce)
    const late = { currentDate: new Date(NOW + 121_000) }
    await expect(jwtVerify(one, createPublicKey(ec), late)).rejects.toThrow('exp')
    await jwtVerify(await key.sign(NOW + 121_000), createPublicKey(ec), late)
  })
})

describe('an invalid Coinbase key', () => {
  const other = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const cases: [string, string, string][] = [
    ['an empty text', '', 'neither PEM nor base64'],
    ['no key at all', 'hunter2!', 'neither PEM nor base64'],
    ['base64 of another length', Buffer.alloc(48, 7).toString('base64'), '48 bytes'],
    ['a PEM that was cut', text(ec, 'sec1').slice(0, 100), 'not a whole'],
    ['a PEM with damage inside', text(ec, 'sec1').replace(/\n..../, '\nAAAA'), 'cannot be read'],
    [
      'an encrypted PEM',
      ec.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
      'unencrypted',
    ],
    ['a public key', createPublicKey(ec).export({ format: 'pem', type: 'spki' }).toString(), 'PUBLIC KEY'],
    ['another curve', text(p384, 'sec1'), 'P-256'],
    ['an RSA key', text(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'pkcs8'), 'P-256'],
    ['halves of two keys', Buffer.concat([bytes(d), bytes(other.x)]).toString('base64'), 'public half'],
  ]
  test.each(cases)(
    '%s is refused with a message that names the setting and contains no part of the key',
    async (_, privateKey, reason) => {
      const text = await message(privateKey)
      expect(text).toMatch(/^COINBASE_PRIVATE_KEY /)
      expect(text).toContain(reason)
      const secret = privateKey.replace(/-----[A-Z0-9 ]+-----/g, '').split(/\s+/)
      for (const line of secret.filter((part) => part.length > 6)) expect(text).not.toContain(line)
    },
  )

  test('an empty key name is refused with a message that names its setting', async () => {
    expect(await message(text(ec, 'sec1'), ' ')).toBe('COINBASE_API_KEY is empty')
  })

  test('a valid key is accepted', async () => {
    expect(await message(text(ec, 'sec1'))).toBe('ok')
  })
})
