import { env, exports } from 'cloudflare:workers'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { readCandleHistory } from '../../../src/api/candles/candle-history.ts'
import { upsertCandles } from '../../../src/db/candles.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { productCandles } from '../../../src/objects.ts'
import { deriveChange } from '../../../src/pricing/quote.ts'
import type { Candle } from '../../../src/protocol/candle.ts'
import type { Problem } from '../../../src/protocol/errors.ts'
import type { Product } from '../../../src/protocol/product.ts'
import { get, getWithEnv, openSocket, sendTrade, setDatabaseOpen, waitFor } from '../support/wire.ts'

const now = Math.floor(Date.now() / 1_000)
const today = now - (now % 86_400)
/** Days ago, so that no late trade comes and the cache may answer. */
const OLD = today - 3 * 86_400

const stored = (timestamp: number, close: string): Candle => ({
  exchange: 'simulated',
  product_id: 'TWO-USD',
  granularity: 'ONE_MINUTE',
  timestamp,
  open: '0.12345678901234567890',
  high: '98765432109876543210.5',
  low: '0.1',
  close,
  volume: '3.000000000000000001',
  is_complete: true,
  coverage: 'full',
  rev: 0,
  last_update: new Date((timestamp + 30) * 1_000).toISOString(),
  source: 'trades',
})

beforeAll(async () => {
  const candles = [stored(OLD, '1'), stored(OLD + 60, '2'), stored(OLD + 180, '3.5')]
  await withLiveDatabase(env, (sql) => upsertCandles(sql, candles))
})

afterEach(() => setDatabaseOpen(true))

const starts = (body: { candles: { timestamp: number }[] }) => body.candles.map(({ timestamp }) => timestamp)
const path = (query: string) => `/api/v1/products/TWO-USD/candles?granularity=ONE_MINUTE&${query}`
const range = async (query: string) => (await (await get(path(query))).json()) as { candles: Candle[]; gaps: unknown[] }

describe('D6 invalid input gets a problem that names the field', () => {
  test.each([
    ['/api/v1/products/NO-USD', 404, 'unknown_product', ['id']],
    ['/api/v1/products/%3Cscript%3E', 404, 'unknown_product', ['id']],
    ['/api/v1/products/NO-USD/candles?granularity=ONE_DAY', 404, 'unknown_product', ['id']],
    ['/api/v1/products/ONE-USD/candles', 400, 'invalid_request', ['granularity']],
    ['/api/v1/products/ONE-USD/candles?granularity=ONE', 400, 'unknown_granularity', ['granularity']],
    ['/api/v1/products/ONE-USD/candles?granularity=ONE_DAY&start=20&end=10', 400, 'invalid_request', ['start']],
    ['/api/v1/products/ONE-USD/candles?granularity=ONE_DAY&limit=1000000', 400, 'invalid_request', ['limit']],
    ['/api/v1/products/ONE-USD/candles?granularity=ONE_DAY&limit=many', 400, 'invalid_request', ['limit']],
    ['/api/v1/stream', 400, 'invalid_request', ['product', 'granularity']],
    ['/api/v1/stream?product=NO-USD&granularity=ONE_DAY', 404, 'unknown_product', ['product']],
    ['/api/v1/stream?product=ONE-USD&granularity=ONE', 400, 'unknown_granularity', ['granularity']],
    ['/api/v1/datastar', 400, 'invalid_request', ['product', 'granularity']],
    ['/api/v1/datastar?product=NO-USD&granularity=ONE_DAY', 404, 'unknown_product', ['product']],
    ['/api/v1/datastar/chart?product=ONE-USD', 400, 'invalid_request', ['granularity']],
    ['/api/v1/datastar/chart?product=ONE-USD&granularity=ONE_DAY&bars=1e9', 400, 'invalid_request', ['bars']],
    ['/api/v1/datastar/chart?product=*&granularity=*&bars=1000', 400, 'invalid_request', ['bars']],
    ['/api/v1/nothing', 404, 'not_found', undefined],
    ['/ws', 426, 'upgrade_required', undefined],
    ['/ws/products/ONE-USD', 426, 'upgrade_required', undefined],
  ])('%s', async (address, status, code, fields) => {
    const response = await get(address)
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    const problem = (await response.json()) as Problem
    expect(problem).toMatchObject({ status, code, title: expect.any(String), detail: expect.any(String) })
    expect(problem.request_id).not.toBe('')
    expect(problem.errors?.map(({ field }) => field)).toEqual(fields)
    expect((await get('/api/v1/products')).status).toBe(200)
  })

  test('a request with an unsupported method gets the Allow header', async () => {
    for (const address of ['/api/v1/products', '/api/v1/stream', '/health', '/']) {
      const response = await get(address, { method: 'POST', body: '{}' })
      expect(response.status).toBe(405)
      expect(response.headers.get('allow')).toBe('GET, HEAD, OPTIONS')
      expect(await response.json()).toMatchObject({ code: 'method_not_allowed' })
    }
  })

  test('a client that opens too many streams gets 429 with Retry-After, and no other client does', async () => {
    const as = (client: string) => get('/api/v1/stream', { headers: { 'cf-connecting-ip': client } })
    // 120 in each window of a minute; the minute may turn once while the test asks.
    let answered = 0
    let response = await as('192.0.2.1')
    for (; response.status === 400 && answered <= 240; answered++) {
      await response.body?.cancel()
      response = await as('192.0.2.1')
    }
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('60')
    expect(await response.json()).toMatchObject({ code: 'too_many_sockets' })
    expect(answered).toBeGreaterThanOrEqual(120)
    expect((await as('192.0.2.2')).status).toBe(400)
  })
})

test('pages of any origin may read, without credentials', async () => {
  const response = await get('/api/v1/products', { headers: { origin: 'https://example.com' } })
  expect(response.headers.get('access-control-allow-origin')).toBe('*')
  expect(response.headers.get('access-control-allow-credentials')).toBeNull()
  const preflight = await get('/api/v1/stream', {
    method: 'OPTIONS',
    headers: { origin: 'https://example.com', 'access-control-request-method': 'GET' },
  })
  expect(preflight.status).toBe(204)
  expect(preflight.headers.get('access-control-allow-methods')).toBe('GET,HEAD,OPTIONS')
})

test('a HEAD request for a stream opens no stream', async () => {
  const response = await get('/api/v1/stream?product=ONE-USD&granularity=ONE_DAY', { method: 'HEAD' })
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  expect((await productCandles(env, 'ONE-USD').status()).viewers).toBe(0)
})

describe('candles over REST', () => {
  test('C3 candles carry every digit from Postgres to the wire', async () => {
    const text = await (await get(path(`start=${OLD}&end=${OLD + 60}`))).text()
    expect(text).toContain('"open":0.1234567890123456789,"high":98765432109876543210.5,"low":0.1,"close":1,')
    expect(text).toContain('"volume":3.000000000000000001,')
  })

  test('candles are ascending, from start inclusive to end exclusive; with more than the limit, the last ones are sent', async () => {
    expect(starts(await range(`start=${OLD}&end=${OLD + 180}`))).toEqual([OLD, OLD + 60])
    expect(starts(await range(`start=${OLD + 1}&end=${OLD + 181}`))).toEqual([OLD + 60, OLD + 180])
    expect(starts(await range(`start=${OLD}&end=${OLD + 3_600}&limit=2`))).toEqual([OLD + 60, OLD + 180])
    const rfc = (time: number) => encodeURIComponent(new Date(time * 1_000).toISOString())
    expect(starts(await range(`start=${rfc(OLD)}&end=${rfc(OLD + 180)}`))).toEqual([OLD, OLD + 60])
  })

  test('C10 fill=flat fills the empty interval between two candles, and continues from a price before the start', async () => {
    const { candles } = await range(`start=${OLD + 120}&end=${OLD + 300}&fill=flat`)
    expect(candles.map((c) => [c.timestamp - OLD, c.open, c.close, c.volume])).toEqual([
      [120, 2, 2, 0],
      [180, expect.any(Number), 3.5, 3],
      [240, 3.5, 3.5, 0],
    ])
  })

  test('C10 fill=flat for a market without trades for days returns the last intervals, not all of them', async () => {
    const { candles } = await range('fill=flat&limit=5')
    expect(candles).toHaveLength(5)
    expect(candles.at(-1)?.timestamp).toBeGreaterThanOrEqual(now - 60)
    // Nobody watched: that is not a quiet market (C8).
    expect(candles.every(({ coverage }) => coverage === 'gap')).toBe(true)
  })

  test('while Postgres is away, candles that only Postgres has are refused, and those of the object are sent', async () => {
    const viewer = await openSocket('/ws/products/ONE-USD')
    viewer.send({ op: 'subscribe', channels: ['candles.ONE-USD.ONE_MINUTE'] })
    await viewer.next('feed', ({ state }) => state === 'live')
    await sendTrade('ONE-USD', '100.25')
    await viewer.next('update')
    await setDatabaseOpen(false)
    const held = await get(`/api/v1/products/ONE-USD/candles?granularity=ONE_MINUTE&start=${now - 60}`)
    expect(held.status).toBe(200)
    expect(((await held.json()) as { candles: Candle[] }).candles.at(-1)).toMatchObject({ close: 100.25 })
    const older = await get(path(`start=${OLD}`))
    expect(older.status).toBe(503)
    expect(older.headers.get('retry-after')).toBe('5')
    expect(await older.json()).toMatchObject({ code: 'unavailable' })
    viewer.close()
  })

  test('only a range that ended more than a day ago is read through the cached binding', async () => {
    const nowhere = { connectionString: 'postgres://none:none@127.0.0.1:1/none' } as Hyperdrive
    const query = { granularity: 'ONE_MINUTE' as const, start: OLD, limit: 10 }
    const whole = async (broken: Partial<Env>, end: number) =>
      (await readCandleHistory({ ...env, ...broken }, 'TWO-USD', { ...query, end }, now)).isComplete
    expect(await whole({ HYPERDRIVE_CACHED: nowhere }, now - 86_399)).toBe(true)
    expect(await whole({ HYPERDRIVE_CACHED: nowhere }, now - 86_400)).toBe(false)
    expect(await whole({ HYPERDRIVE: nowhere }, now - 86_399)).toBe(false)
  })
})

describe('products', () => {
  /** The types of `exports` leave out what else than `fetch` a service takes. */
  const worker = exports.default as unknown as {
    scheduled(event: { cron: string; scheduledTime: number }): Promise<void>
  }
  /** Fires a cron expression; gives what each job logged, by its name. */
  const cron = async (expression: string, scheduledTime = Date.now()) => {
    const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
    await worker.scheduled({ cron: expression, scheduledTime })
    const lines = logged.mock.calls.map(([line]) => JSON.parse(line) as { event: string; job: string; outcome: string })
    logged.mockRestore()
    return Object.fromEntries(lines.filter(({ event }) => event === 'job').map((line) => [line.job, line]))
  }
  const list = async () => ((await (await get('/api/v1/products')).json()) as { products: Product[] }).products
  const one = async (id: string) => (await (await get(`/api/v1/products/${id}`)).json()) as Product

  test('before the first read from the exchange, the products are the active ones of the settings', async () => {
    const products = await list()
    expect(products.slice(0, 2).map(({ product_id }) => product_id)).toEqual(['BTC-USD', 'ETH-USD'])
    expect(products.every(({ active }) => active)).toBe(true)
  })

  test('cron reads the products from the exchange; active ones come first, each with its price and age', async () => {
    expect(await cron('* * * * *')).toMatchObject({
      products: { outcome: 'ok', asked: 'all', ms: expect.any(Number) },
      guard: { outcome: 'ok' },
    })
    expect(await cron('* * * * *', Date.UTC(2026, 0, 1, 0, 1))).toMatchObject({ products: { asked: 'active' } })
    expect(await cron('* * * * *', Date.UTC(2026, 0, 1, 1, 0))).toMatchObject({ products: { asked: 'all' } })
    const products = await waitFor('the exchange’s products', async () => {
      const found = await list()
      return found.some(({ active }) => !active) ? found : null
    })
    const btc = products[0] as Product
    expect(btc).toMatchObject({
      exchange: 'simulated',
      product_id: 'BTC-USD',
      base_currency: 'BTC',
      quote_currency: 'USD',
      status: 'online',
      price: expect.stringMatching(/^\d+(\.\d+)?$/),
      price_source: 'rest',
    })
    expect(Math.abs(Date.parse(btc.price_at as string) - Date.now())).toBeLessThan(60_000)
    expect(await one('NU-USD')).toMatchObject({ active: true, status: expect.stringMatching(/offline|delisted/) })
  })

  test('cron opens the feed of an always-on pair, whose price then comes from the feed', async () => {
    await cron('* * * * *')
    await waitFor('the feed', async () =>
      (await productCandles(env, 'FOUR-USD').status()).feed.state === 'live' ? true : null,
    )
    await sendTrade('FOUR-USD', '12.5')
    const product = await waitFor('a live price', async () => {
      const found = await one('FOUR-USD')
      return found.price_source === 'feed' ? found : null
    })
    expect(product).toMatchObject({ price: '12.5', product_id: 'FOUR-USD' })
  })

  test('a pair that the exchange does not trade gets no socket and no stream', async () => {
    await cron('* * * * *')
    const upgrade = { headers: { upgrade: 'websocket' } }
    for (const [address, init] of [
      ['/ws/products/NU-USD', upgrade],
      ['/api/v1/stream?product=NU-USD&granularity=ONE_DAY', {}],
    ] as const) {
      const response = await waitFor('the refusal', async () => {
        const answer = await get(address, init)
        return answer.status === 409 ? answer : null
      })
      expect(await response.json()).toMatchObject({ code: 'product_offline' })
    }
  })

  test('while Postgres is away, the page still gets a list of products', async () => {
    await setDatabaseOpen(false)
    expect((await list()).length).toBeGreaterThan(0)
  })

  test('the daily jobs create partitions and delete rows past their retention', async () => {
    expect(await cron('7 0 * * *')).toMatchObject({ partitions: { outcome: 'ok' }, retention: { outcome: 'ok' } })
  })

  test('a failed job is logged, and the other jobs still run', async () => {
    await setDatabaseOpen(false)
    expect(await cron('* * * * *')).toMatchObject({
      products: { outcome: 'failed', error: expect.any(String) },
      guard: { outcome: 'ok' },
    })
  })

  test.each([
    ['110', '100', '0', '10'],
    ['100', '100', '-0.5', '-0.5'],
    ['99', '110', '10', '-1'],
    ['1', '0', '0', null],
    ['1', null, '0', null],
    ['1', '1', null, null],
  ])('the change at %s, where %s was told as %s per cent, is %s', (price, told, change, now) => {
    expect(deriveChange(price, told, change)).toBe(now)
  })
})

describe('health', () => {
  const nowhere = { connectionString: 'postgres://secret:secret@127.0.0.1:1/none' } as Hyperdrive

  test('health reports feeds, database and version, and is degraded without Postgres', async () => {
    const up = await get('/health')
    expect(up.status).toBe(200)
    expect(await up.json()).toMatchObject({ exchange: 'simulated', version: '0.1.0', database: { ok: true } })
    const down = await getWithEnv({ ...env, HYPERDRIVE: nowhere }, '/health')
    expect(down.status).toBe(200)
    const text = await down.text()
    expect(JSON.parse(text)).toMatchObject({ status: 'degraded', database: { ok: false } })
    expect(text).not.toContain('secret')
  })

  test('health is 503 when neither the feeds nor the database can be reached', async () => {
    const gone = { getByName: () => ({ open: () => Promise.reject(new Error('gone')) }) }
    const broken = { ...env, FEED_SLOTS: gone as unknown as Env['FEED_SLOTS'] }
    expect((await getWithEnv(broken, '/health')).status).toBe(200)
    const response = await getWithEnv({ ...broken, HYPERDRIVE: nowhere }, '/health')
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ status: 'degraded', feed: null, database: { ok: false } })
  })
})

test('invalid settings are named in the log, not in the response', async () => {
  const logged = vi.spyOn(console, 'log').mockImplementation(() => {})
  const response = await getWithEnv({ ...env, COINBASE_WS_URL: 'http://secret' } as Env, '/api/v1/products')
  const lines = logged.mock.calls.map(([line]) => String(line))
  logged.mockRestore()
  expect(response.status).toBe(500)
  const text = await response.text()
  expect(JSON.parse(text)).toMatchObject({ code: 'internal' })
  expect(text).not.toContain('COINBASE_WS_URL')
  expect(lines.some((line) => line.includes('settings_invalid') && line.includes('COINBASE_WS_URL'))).toBe(true)
})
