import { decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { readCoinbaseKey } from '../../../src/auth/coinbase-jwt.ts'

const pem = (label: string, base64: string) => `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----`
// Keys made for this test.
const SEC1 =
  'MHcCAQEEIJSWF8WNInnsPoKmXpSjNjLBcnGSmaoyCZrdHwrvY2sioAoGCCqGSM49AwEHoUQDQgAEI8Cnfb42of1DXCG4pNEfp7O3uUuIjXQwdNeHlIdVLjefMSJnm2OrIKvxY15xcYDaoS4Pff/TMtC/KgHDwthVlQ=='
const PKCS8 =
  'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglJYXxY0ieew+gqZelKM2MsFycZKZqjIJmt0fCu9jayKhRANCAAQjwKd9vjah/UNcIbik0R+ns7e5S4iNdDB014eUh1UuN58xImebY6sgq/FjXnFxgNqhLg99/9My0L8qAcPC2FWV'
const ED25519 = 'MC4CAQAwBQYDK2VwBCIEINlC95wjyh4IFNpCP1SlwIeIaiEV2LNNwbAtNQ10zI5s'
const P384 =
  'MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAfLODd4y8qcyinAcbKXLmA6hTUa++xYxDBjUnoYzx04VS4kJVDVZshLW1CdkEXDpKhZANiAAQq2UntGk/dNsQNpQ9txXhCx5gw/K0jLOVF1zXpLV7wI+2L9a8U7OGDd1ZSngi9miygDwD1cj5MKKCqZirIbaRTUzChB43efVzUeLzasUR96IO37ezh2nDoHqXw2T2yzlQ='

test.each([
  ['a SEC1 PEM', pem('EC PRIVATE KEY', SEC1), 'ES256'],
  ['a PKCS #8 PEM on P-256', pem('PRIVATE KEY', PKCS8), 'ES256'],
  ['a PKCS #8 PEM of Ed25519', pem('PRIVATE KEY', ED25519), 'EdDSA'],
  ['a base64 seed', btoa('a seed for tests: 32 bytes long.'), 'EdDSA'],
])('workerd reads %s and signs with it', async (_, privateKey, alg) => {
  const key = await readCoinbaseKey('organizations/1f2e/apiKeys/3d4c', privateKey)
  if (!key.ok) throw new Error(key.message)
  expect(decodeProtectedHeader(await key.sign(Date.now()))).toMatchObject({ alg })
})

test.each([
  ['is damaged', pem('EC PRIVATE KEY', SEC1.replace('MHcC', 'AAAA'))],
  ['is on another curve', pem('PRIVATE KEY', P384)],
])('workerd refuses a key that %s', async (_, privateKey) => {
  const key = await readCoinbaseKey('organizations/1f2e/apiKeys/3d4c', privateKey)
  expect(key).toEqual({
    ok: false,
    message: expect.stringMatching(/^COINBASE_PRIVATE_KEY cannot be read/),
  })
})
