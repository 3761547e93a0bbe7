import { abortAllDurableObjects } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import {
  advance,
  ask,
  assets,
  beat,
  control,
  database,
  exchangeFault,
  fault,
  judge,
  type Known,
  learn,
  listen,
  mend,
  minute,
  pin,
  recover,
  requestsSince,
  rest,
  unfinished,
} from './quotes-judge.ts'
import { gate, get, until } from './wire.ts'

// Before the first object reads it. Two boards share the thousand.
Object.assign(env, {
  PROVIDER_TIMEOUT_MS: '2000',
  HISTORY_PER_MINUTE: '1',
  PRODUCTS: 'ONE-USD',
  ALWAYS_ON: '',
  QUOTE_SHARDS: '2',
})
const BOARDS = [0, 1]

const step = (seconds?: number) => beat(seconds, BOARDS)
const recovered = () => recover(undefined, BOARDS)
const quiet = () => Promise.all(BOARDS.map(rest))
const find = (symbol: string) => assets().find((asset) => asset.symbol === symbol) as Known

beforeAll(async () => {
  listen()
  expect((await learn()).length).toBe(1_000)
  await pin()
  await minute()
  await quiet()
  await recovered()
})

beforeEach(listen)
afterEach(async () => {
  vi.restoreAllMocks()
  await mend()
  await gate(true)
})

test('Q3 a thousand assets on two boards, looked at by two at once, are a few requests', async () => {
  const from = Date.now() + 1
  await step(300)
  expect(await judge()).toEqual([])
  expect(await unfinished()).toEqual([])
  const batches = await requestsSince(from)
  expect(batches).toBeLessThan(25)
  // Past their time, and nobody has asked: two looks at once ask for each once.
  advance(1_000_000)
  await pin()
  const later = Date.now()
  const [one, two] = await Promise.all([ask(), ask()])
  expect([...one.wrong, ...two.wrong]).toEqual([])
  await quiet()
  expect(await requestsSince(later)).toBeLessThanOrEqual(batches)
  const { requests } = await control('GET', '/_requests?provider=yahoo')
  const ids = (requests as { at: number; ids: string[] }[]).slice(-batches).flatMap((request) => request.ids)
  const seen = ids.slice(-assets().filter(({ provider }) => provider === 'yahoo').length)
  expect(new Set(seen).size).toBe(seen.length)
  await recovered()
})

test.each(['breaks', 'NaN', 'negative', 'zero', 'text', 'missing'])(
  'Q5 one symbol among a thousand that is poisoned (%s) fails nobody else',
  async (effect) => {
    await fault({ kind: 'poison', id: 'NVDA', effect, provider: 'yahoo' })
    const from = Date.now() + 1
    await step(340)
    expect(await judge()).toEqual([])
    const { told } = await ask()
    const bad = told.filter(({ stale }) => stale !== null).map(({ symbol }) => symbol)
    expect(bad).toEqual(['yahoo:NVDA'])
    expect(await requestsSince(from)).toBeLessThan(60)
    await mend()
    // What spoils a batch is left out of batches for an hour.
    if (effect === 'breaks') await step(3_600)
    await recovered()
    expect((await ask([find('NVDA')])).told[0]?.stale).toBe(null)
  },
)

test('Q4 a storm of refusals everywhere, people looking all the while: no budget is exceeded', async () => {
  await fault([{ kind: '429' }])
  await exchangeFault('429', { retryAfter: 0 })
  for (let n = 0; n < 20; n++) {
    await step(15)
    expect((await ask()).wrong).toEqual([])
  }
  advance(300_000)
  expect(await judge()).toEqual([])
  await mend()
  await recovered()
})

test('Q4 who asks for everything again and again with the service key gets no more than the budget', async () => {
  const here = { ...env, SUPABASE_SERVICE_ROLE_KEY: 'service-key-of-tests' }
  const { getWith } = await import('./wire.ts')
  const from = Date.now()
  for (let n = 0; n < 14; n++) {
    const response = await getWith(here, '/refresh-prices', {
      method: 'POST',
      headers: { authorization: 'Bearer service-key-of-tests' },
    })
    expect(response.status).toBe(200)
    await response.text()
  }
  expect(await requestsSince(from)).toBeGreaterThan(40)
  expect(await judge()).toEqual([])
  advance(60_000)
  await recovered()
})

test('Q2 cron that fires twice at once, or not at all for an hour, leaves the boards as they were', async () => {
  await Promise.all([minute(), minute()])
  await quiet()
  expect(await judge()).toEqual([])
  for (let n = 0; n < 4; n++) {
    await step(900)
    expect(await unfinished()).toEqual([])
  }
  expect(await judge()).toEqual([])
  await abortAllDurableObjects()
  await step(300)
  expect(await unfinished()).toEqual([])
})

test('Q4 while Yahoo hangs a look at a stale price is answered at once', async () => {
  await fault({ kind: 'hang', provider: 'yahoo' })
  advance(400_000)
  await pin()
  const [from, began] = [Date.now(), performance.now()]
  const response = await get('/get-price?symbol=AAPL')
  expect(await response.json()).toMatchObject({ symbol: 'AAPL', stale: 'expired' })
  expect(performance.now() - began).toBeLessThan(1_000)
  await until('Yahoo to be asked', async () => ((await requestsSince(from)) > 0 ? true : null))
  await mend()
  await quiet()
  await recovered()
})

test('Q2 what cron plans when Postgres is away is planned when it is back', async () => {
  await database((sql) => sql`UPDATE assets SET active = FALSE WHERE symbol = 'MSFT'`)
  await gate(false)
  await minute()
  expect((await ask()).wrong).toEqual([])
  await gate(true)
  await minute()
  await database((sql) => sql`UPDATE assets SET active = TRUE WHERE symbol = 'MSFT'`)
  await minute()
  await until('MSFT to be priced', async () => ((await ask([find('MSFT')])).told[0]?.error ? null : true))
  await quiet()
  await recovered()
})
