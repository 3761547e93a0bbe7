import { env } from 'cloudflare:workers'
import { afterEach, expect, test } from 'vitest'
import { productCandles } from '../../../src/objects.ts'
import { closeAll, openSocket, sendTrade, waitFor } from '../support/wire.ts'

// Before the first object reads it: an Ed25519 key, as base64 of its seed.
Object.assign(env, {
  COINBASE_API_KEY: 'organizations/o/apiKeys/k',
  COINBASE_PRIVATE_KEY: btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32)))),
})

afterEach(closeAll)

type Subscription = { channel: string; product_ids: string[]; jwt: string | null }

test('each subscribe message has a token of its own, and messages that arrive during signing are processed', async () => {
  await sendTrade('TWO-USD', '80')
  const client = await openSocket('/ws/products/TWO-USD')
  client.send({ op: 'subscribe', channels: ['candles.TWO-USD.ONE_MINUTE'] })
  const made = await waitFor('both subscriptions', async () => {
    const response = await fetch(`${env.COINBASE_REST_URL}/_subscriptions`)
    const { subscriptions } = (await response.json()) as { subscriptions: Subscription[] }
    const ours = subscriptions.filter((one) => one.product_ids.includes('TWO-USD'))
    return ours.length >= 2 ? ours : null
  })
  expect(made.map(({ channel }) => channel)).toEqual(['market_trades', 'heartbeats'])
  for (const { jwt } of made) expect(jwt).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
  expect(new Set(made.map(({ jwt }) => jwt)).size).toBe(2)
  // The snapshot comes in answer to the first of them, before the second is signed.
  await client.next('update', (frame) => JSON.stringify(frame).includes('"close":80,'))
  expect((await productCandles(env, 'TWO-USD').status()).trades.socket).toBe(1)
})
