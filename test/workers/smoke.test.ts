import { runInDurableObject } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'

test('the Worker starts with its own configuration', async () => {
  const response = await exports.default.fetch('http://kerb.test/')
  expect(response.status).toBeLessThan(600)
})

test('an object keeps rows in SQLite', async () => {
  const stub = env.PRODUCT_CANDLES.getByName('SMOKE-USD')
  const value = await runInDurableObject(stub, (_, state) => state.storage.sql.exec('SELECT 41 + 1 AS n').one().n)
  expect(value).toBe(42)
})
