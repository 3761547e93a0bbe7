import { abortAllDurableObjects } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import {
  advance,
  assets,
  checkPrices,
  clearFaults,
  control,
  database,
  findUnrecovered,
  findViolations,
  injectExchangeFault,
  injectFault,
  interceptProviders,
  loadAssets,
  type PricedAsset,
  pinPrices,
  requestsSince,
  runCron,
  settleBoard,
  tick,
  tickUntilRecovered,
} from '../support/quotes-oracle.ts'
import { get, setDatabaseOpen, waitFor } from '../support/wire.ts'

// Before the first object reads it. Two boards share the thousand.
Object.assign(env, {
  PROVIDER_TIMEOUT_MS: '2000',
  HISTORY_PER_MINUTE: '1',
  PRODUCTS: 'ONE-USD',
  ALWAYS_ON: '',
  QUOTE_SHARDS: '2',
})
const BOARDS = [0, 1]

const step = (seconds?: number) => tick(seconds, BOARDS)
const recovered = () => tickUntilRecovered(undefined, BOARDS)
const quiet = () => Promise.all(BOARDS.map(settleBoard))
const find = (symbol: string) => assets().find((asset) => asset.symbol === symbol) as PricedAsset

beforeAll(async () => {
  interceptProviders()
  expect((await loadAssets()).length).toBe(1_000)
  await pinPrices()
  await runCron()
  await quiet()
  await recovered()
})

beforeEach(interceptProviders)
afterEach(async () => {
  vi.restoreAllMocks()
  await clearFaults()
  await setDatabaseOpen(true)
})

test('Q3 a thousand assets on two boards, looked at by two at once, are a few requests', async () => {
  const from = Date.now() + 1
  await step(300)
  expect(await findViolations()).toEqual([])
  expect(await findUnrecovered()).toEqual([])
  const batches = await requestsSince(from)
  expect(batches).toBeLessThan(25)
  // Past their time, and nobody has asked: two looks at once ask for each once.
  advance(1_000_000)
  await pinPrices()
  const later = Date.now()
  const [one, two] = await Promise.all([checkPrices(), checkPrices()])
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
    await injectFault({ kind: 'poison', id: 'NVDA', effect, provider: 'yahoo' })
    const from = Date.now() + 1
    await step(340)
    expect(await findViolations()).toEqual([])
    const { told } = await checkPrices()
    const bad = told.filter(({ stale }) => stale !== null).map(({ symbol }) => symbol)
    expect(bad).toEqual(['yahoo:NVDA'])
    expect(await requestsSince(from)).toBeLessThan(60)
    await clearFaults()
    // What spoils a batch is left out of batches for an hour.
    if (effect === 'breaks') await step(3_600)
    await recovered()
    expect((await checkPrices([find('NVDA')])).told[0]?.stale).toBe(null)
  },
)

test('Q4 a storm of refusals everywhere, people looking all the while: no budget is exceeded', async () => {
  await injectFault([{ kind: '429' }])
  await injectExchangeFault('429', { retryAfter: 0 })
  for (let n = 0; n < 20; n++) {
    await step(15)
    expect((await checkPrices()).wrong).toEqual([])
  }
  advance(300_000)
  expect(await findViolations()).toEqual([])
  await clearFaults()
  await recovered()
})

test('Q4 who asks for everything again and again with the service key gets no more than the budget', async () => {
  const here = { ...env, SUPABASE_SERVICE_ROLE_KEY: 'service-key-of-tests' }
  const { getWithEnv } = await import('../support/wire.ts')
  const from = Date.now()
  for (let n = 0; n < 14; n++) {
    const response = await getWithEnv(here, '/refresh-prices', {
      method: 'POST',
      headers: { authorization: 'Bearer service-key-of-tests' },
    })
    expect(response.status).toBe(200)
    await response.text()
  }
  expect(await requestsSince(from)).toBeGreaterThan(40)
  expect(await findViolations()).toEqual([])
  advance(60_000)
  await recovered()
})

test('Q2 cron that fires twice at once, or not at all for an hour, leaves the boards as they were', async () => {
  await Promise.all([runCron(), runCron()])
  await quiet()
  expect(await findViolations()).toEqual([])
  for (let n = 0; n < 4; n++) {
    await step(900)
    expect(await findUnrecovered()).toEqual([])
  }
  expect(await findViolations()).toEqual([])
  await abortAllDurableObjects()
  await step(300)
  expect(await findUnrecovered()).toEqual([])
})

test('Q4 while Yahoo hangs a look at a stale price is answered at once', async () => {
  await injectFault({ kind: 'hang', provider: 'yahoo' })
  advance(400_000)
  await pinPrices()
  const [from, began] = [Date.now(), performance.now()]
  const response = await get('/get-price?symbol=AAPL')
  expect(await response.json()).toMatchObject({ symbol: 'AAPL', stale: 'expired' })
  expect(performance.now() - began).toBeLessThan(1_000)
  await waitFor('Yahoo to be asked', async () => ((await requestsSince(from)) > 0 ? true : null))
  await clearFaults()
  await quiet()
  await recovered()
})

test('Q2 what cron plans when Postgres is away is planned when it is back', async () => {
  await database((sql) => sql`UPDATE assets SET active = FALSE WHERE symbol = 'MSFT'`)
  await setDatabaseOpen(false)
  await runCron()
  expect((await checkPrices()).wrong).toEqual([])
  await setDatabaseOpen(true)
  await runCron()
  await database((sql) => sql`UPDATE assets SET active = TRUE WHERE symbol = 'MSFT'`)
  await runCron()
  await waitFor('MSFT to be priced', async () => ((await checkPrices([find('MSFT')])).told[0]?.error ? null : true))
  await quiet()
  await recovered()
})
