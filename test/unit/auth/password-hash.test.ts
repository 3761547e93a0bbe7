import { scryptSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { hashPassword, verifyPassword } from '../../../src/auth/password-hash.ts'

test('a password matches only its own hash, and no two hashes are equal', async () => {
  const [hash, again] = [await hashPassword('correct horse battery'), await hashPassword('correct horse battery')]
  expect(hash).not.toBe(again)
  expect(hash).not.toContain('horse')
  for (const one of [hash, again])
    expect(await verifyPassword({ hash: one, password: 'correct horse battery' })).toBe(true)
  for (const password of ['correct horse batter', 'Correct horse battery', ''])
    expect(await verifyPassword({ hash, password })).toBe(false)
})

test('the hash is standard scrypt with the parameters that it names', async () => {
  const [name, N, r, p, salt, key] = (await hashPassword('correct horse battery')).split('$')
  expect([name, N, r, p]).toEqual(['scrypt', '16384', '8', '5'])
  const cost = { N: Number(N), r: Number(r), p: Number(p), maxmem: 2 ** 26 }
  const computed = scryptSync('correct horse battery', Buffer.from(salt as string, 'base64'), 32, cost)
  expect(computed.toString('base64')).toBe(key)
})

test('a password matches in every Unicode form of the same characters', async () => {
  const hash = await hashPassword('caf\u00e9 caf\u00e9 caf\u00e9')
  expect(await verifyPassword({ hash, password: 'cafe\u0301 cafe\u0301 cafe\u0301' })).toBe(true)
})

test('hashes with older parameters still match; a broken or too expensive hash is refused', async () => {
  const salt = Buffer.from('0123456789abcdef')
  const key = scryptSync('old', salt, 32, { N: 1024, r: 8, p: 1 }).toString('base64')
  expect(await verifyPassword({ hash: `scrypt$1024$8$1$${salt.toString('base64')}$${key}`, password: 'old' })).toBe(
    true,
  )
  for (const hash of ['', 'plain', `scrypt$262144$8$1$AAAA$${key}`, `scrypt$1024$8$99$AAAA$${key}`])
    await expect(verifyPassword({ hash, password: 'old' })).rejects.toThrow('a stored password')
  expect(await verifyPassword({ hash: 'scrypt$1024$8$1$AAAA$AAAA', password: 'old' })).toBe(false)
})
