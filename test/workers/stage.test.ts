import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import postgres from 'postgres'
import { expect, test } from 'vitest'

const database = async <T>(use: (sql: postgres.Sql) => Promise<T>): Promise<T> => {
  const sql = postgres(env.HYPERDRIVE.connectionString, { max: 1, fetch_types: false, connect_timeout: 5 })
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const setDatabaseSwitch = (open: boolean) =>
  fetch(env.DATABASE_SWITCH_URL, { method: 'POST', body: JSON.stringify({ open }) })

test('an object stores rows in SQLite', async () => {
  const stub = env.FEED_SLOTS.getByName('stage')
  const value = await runInDurableObject(stub, (_, state) => state.storage.sql.exec('SELECT 41 + 1 AS n').one().n)
  expect(value).toBe(42)
})

test('Hyperdrive reaches a migrated Postgres, and is cut off while the database switch is off', async () => {
  const count = () => database((sql) => sql`SELECT count(*)::int AS n FROM live_candles`)
  expect(await count()).toEqual([{ n: 0 }])
  await setDatabaseSwitch(false)
  await expect(count()).rejects.toThrow()
  await setDatabaseSwitch(true)
  expect(await count()).toEqual([{ n: 0 }])
})

test('the simulated exchange responds and accepts trades', async () => {
  const trades = { product: 'ONE-USD', price: '101.5', size: '0.25' }
  await fetch(`${env.COINBASE_REST_URL}/_trades`, { method: 'POST', body: JSON.stringify(trades) })
  const response = await fetch(`${env.COINBASE_EXCHANGE_URL}/products/ONE-USD/trades?limit=10`)
  expect(await response.json()).toMatchObject([{ trade_id: 1, price: expect.stringMatching(/^101\.50*$/) }])
})
