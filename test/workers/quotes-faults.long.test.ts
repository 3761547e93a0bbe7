import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  advance,
  ask,
  assets,
  beat,
  boardOf,
  control,
  database,
  exchangeFault,
  fault,
  injectCoinbase,
  judge,
  learn,
  listen,
  mend,
  minute,
  overspent,
  pin,
  recover,
  requestsSince,
  rest,
  ring,
  unfinished,
} from './quotes-judge.ts'
import { gate, until } from './wire.ts'

// Before the first object reads it.
Object.assign(env, { PROVIDER_TIMEOUT_MS: '700', HISTORY_PER_MINUTE: '1', PRODUCTS: 'ONE-USD', ALWAYS_ON: '' })

/** A few of each kind: what is due is asked for in one batch a provider. */
const ACTIVE = `AAPL MSFT NVDA AMZN KO JNJ XOM V SHEL.L HSBA.L SAP.DE ^GSPC EURUSD=X
  BTC ETH SOL XRP DOGE ADA LINK LTC BTCUSDT ETHUSDT SOLUSDT XRPUSDT BTCEUR ETHEUR`.split(/\s+/)
const WATCHED = ['AAPL', 'SHEL.L', 'BTC', 'BTCUSDT', 'BTCEUR']

beforeAll(async () => {
  await database(async (sql) => {
    await sql`
      INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
      SELECT code || 'EUR', code || ' in euros', 'crypto', 'crypto', code, 'binance', code || 'EUR', 'EUR'
      FROM (VALUES ('BTC'), ('ETH')) AS coins (code)`
    await sql`UPDATE assets SET active = symbol IN ${sql(ACTIVE)}`
    await sql`
      INSERT INTO asset_watches SELECT gen_random_uuid(), asset_id, 15 FROM assets WHERE symbol IN ${sql(WATCHED)}`
  })
  listen()
  expect((await learn()).length).toBe(ACTIVE.length)
  await pin()
  await minute()
  await rest()
  await recover()
})

beforeEach(listen)
afterEach(async () => {
  vi.restoreAllMocks()
  await mend()
  await gate(true)
})

type Place = 'yahoo' | 'binance' | 'coinbase'
const page = (status: number, body: string) => () =>
  new Response(body, { status, headers: { 'content-type': 'text/html' } })

/** How each kind of fault is had from each fake; what the exchange's simulation has not, is put in its way. */
const KINDS: Readonly<Record<string, (place: Place) => unknown>> = {
  down: (place) =>
    place === 'coinbase'
      ? injectCoinbase(() => {
          throw new TypeError('Network connection lost.')
        })
      : fault({ kind: 'down', provider: place }),
  hang: (place) => (place === 'coinbase' ? exchangeFault('hang') : fault({ kind: 'hang', provider: place })),
  slow: (place) =>
    place === 'coinbase' ? exchangeFault('late', { ms: 150 }) : fault({ kind: 'slow', ms: 150, provider: place }),
  'a storm of 429': (place) =>
    place === 'coinbase' ? injectCoinbase(page(429, 'slow down')) : fault({ kind: '429', provider: place }),
  '429 with Retry-After': (place) =>
    place === 'coinbase'
      ? exchangeFault('429', { retryAfter: 90 })
      : fault({ kind: '429', retryAfter: 90, provider: place }),
  '418': (place) =>
    place === 'coinbase' ? injectCoinbase(page(418, '')) : fault({ kind: '418', retryAfter: 120, provider: place }),
  '500': (place) => (place === 'coinbase' ? exchangeFault('500') : fault({ kind: '500', provider: place })),
  'a page of HTML': (place) =>
    place === 'coinbase'
      ? injectCoinbase(page(200, '<!DOCTYPE html><html></html>'))
      : fault({ kind: 'body', body: 'html', provider: place }),
  'a body that is cut': (place) =>
    place === 'coinbase'
      ? injectCoinbase(page(200, '{"products":[{"product_id":"BTC-USD","pri'))
      : fault({ kind: 'body', body: 'cut', provider: place }),
  'another schema': (place) =>
    place === 'coinbase' ? exchangeFault('wrong') : fault({ kind: 'body', body: 'schema', provider: place }),
  'an empty body': (place) =>
    place === 'coinbase' ? injectCoinbase(page(200, '')) : fault({ kind: 'body', body: 'empty', provider: place }),
  'an answer without entries': (place) =>
    place === 'coinbase'
      ? injectCoinbase(page(200, '{"products":[],"num_products":0}'))
      : fault({ kind: 'body', body: 'none', provider: place }),
}

const PLACES: Place[] = ['yahoo', 'binance', 'coinbase']

describe.each(PLACES)('%s', (place) => {
  test.each(Object.keys(KINDS))(
    'Q1 Q4 %s: no wrong price, no stale one called fresh, all is well in the end',
    async (kind) => {
      await KINDS[kind]?.(place)
      for (const seconds of [15, 45, 300, 90]) {
        await beat(seconds)
        expect(await judge()).toEqual([])
      }
      await mend()
      await recover()
      expect(await judge()).toEqual([])
    },
  )
})

test('Q1 a stale crumb, and a stale cookie, are got anew', async () => {
  for (const cookie of [false, true]) {
    await fault({ kind: 'crumb', cookie })
    await beat(300)
    expect(await judge()).toEqual([])
    expect(await unfinished()).toEqual([])
  }
})

test('Q4 Q6 a pair goes to the next source and back, never to another currency', async () => {
  const tether = assets().filter(({ currency }) => currency === 'USDT')
  const euros = assets().filter(({ provider, currency }) => provider === 'binance' && currency === 'EUR')
  const dollars = assets().filter(({ provider }) => provider === 'coinbase')
  await fault({ kind: '500', provider: 'binance' })
  await exchangeFault('500')
  await beat(400)
  expect(await judge()).toEqual([])
  const yahoo = (await ask([...euros, ...dollars])).told
  expect(yahoo.map(({ stale }) => stale)).toEqual(yahoo.map(() => null))
  // Nobody else has these: better an old price than one in dollars.
  expect((await ask(tether)).told.map(({ stale }) => stale)).toEqual(tether.map(() => 'unavailable'))
  await mend()
  await recover()
  const from = Date.now()
  await beat(400)
  expect(await judge()).toEqual([])
  const { requests } = await control('GET', '/_requests?provider=binance')
  expect((requests as unknown[]).length).toBeGreaterThan(0)
  expect(await requestsSince(from)).toBeLessThan(10)
})

describe('what dies in the middle', () => {
  test('Q2 a board that dies in a beat goes on where it was, and budgets are kept', async () => {
    await fault({ kind: 'slow', ms: 300, provider: 'yahoo' })
    advance(300_000)
    await pin()
    const before = await requestsSince(0)
    const ringing = ring().catch(() => 'dead')
    await until('a request to be under way', async () => ((await requestsSince(0)) > before ? true : null))
    await abortAllDurableObjects()
    await ringing
    expect(await judge()).toEqual([])
    await mend()
    await recover()
  })

  test('Q4 the gate that dies in the middle of a request costs nothing but that', async () => {
    await fault({ kind: 'slow', ms: 300, provider: 'yahoo' })
    advance(300_000)
    await pin()
    const before = await requestsSince(0)
    const ringing = ring()
    await until('a request to be under way', async () => ((await requestsSince(0)) > before ? true : null))
    await runInDurableObject(env.PROVIDER_GATE.getByName('simulated'), (_, state) => state.abort('a test')).catch(
      () => {},
    )
    await ringing
    expect(await judge()).toEqual([])
    await mend()
    await recover()
  })

  test('Q1 while Postgres is away prices are told and refreshed; it gets them later, each once', async () => {
    const stored = () => database((sql) => sql`SELECT asset_id, updated_at FROM prices_current ORDER BY asset_id`)
    const before = await stored()
    await gate(false)
    for (let n = 0; n < 3; n++) {
      await beat(310)
      const { told, wrong } = await ask()
      expect(wrong).toEqual([])
      expect(told.filter(({ stale, error }) => stale !== null || error)).toEqual([])
    }
    await gate(true)
    expect(await stored()).toEqual(before)
    await recover()
    const twice = await database(
      (sql) => sql`
        SELECT asset_id, recorded_at FROM price_snapshots GROUP BY asset_id, recorded_at, simulated HAVING count(*) > 1`,
    )
    expect([...twice]).toEqual([])
  })

  test('Q1 a board that starts anew while Postgres and the providers are away tells what it had, for what it is', async () => {
    await gate(false)
    await fault({ kind: 'down' })
    injectCoinbase(page(503, ''))
    await abortAllDurableObjects()
    const { told, wrong } = await ask()
    expect(wrong).toEqual([])
    expect(told.filter(({ error }) => error)).toEqual([])
    await beat(400)
    const later = await ask()
    expect(later.wrong).toEqual([])
    expect(later.told.map(({ stale }) => stale)).toEqual(later.told.map(() => 'unavailable'))
    await gate(true)
    await mend()
    await recover()
  })
})

describe('the judge', () => {
  test('sees a wrong price', async () => {
    const aapl = assets().filter(({ symbol }) => symbol === 'AAPL')
    const price = (await ask(aapl)).told[0]?.price
    await runInDurableObject(boardOf(), (_, state) =>
      state.storage.sql.exec(`UPDATE batches SET body = replace(body, '"price":"${price}"', '"price":"1.25"')`),
    )
    await abortAllDurableObjects()
    advance(5_000)
    expect(await judge()).toEqual([expect.stringContaining('yahoo:AAPL: told 1.25')])
    await beat(400)
    await recover()
  })

  test('sees a price that is told by nobody, a wrong currency and a wrong age', async () => {
    await control('POST', '/_prices', { provider: 'yahoo', id: 'MSFT', price: 77 })
    await control('POST', '/_prices', { provider: 'yahoo', id: 'SHEL.L', currency: 'GBP' })
    advance(400_000)
    await ring()
    const found = (await judge()).join('\n')
    expect(found).toContain('yahoo:MSFT: told 77')
    expect(found).toContain('yahoo:SHEL.L: told')
    await control('POST', '/_prices', { provider: 'yahoo', id: 'SHEL.L', currency: null })
    await beat(400)
    await recover()
    await runInDurableObject(boardOf(), (_, state) =>
      state.storage.sql.exec(`UPDATE batches SET body = replace(body, '"currency":"USDT"', '"currency":"USD"')`),
    )
    await abortAllDurableObjects()
    advance(5_000)
    expect((await judge()).join('\n')).toContain('binance:BTCUSDT: in USD, is in USDT')
    await beat(400)
    await recover()
  })

  test('sees a budget that is exceeded', async () => {
    expect(await overspent()).toEqual([])
    for (let n = 0; n < 61; n++) await fetch(`${env.YAHOO_URL}/v7/finance/quote?symbols=AAPL`)
    expect(await overspent()).toEqual([expect.stringMatching(/^yahoo: 6\d in a minute, of 60$/)])
  })
})
