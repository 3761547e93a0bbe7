import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import * as candles from '../../src/db/candles.ts'
import {
  type CachedSql,
  type LiveSql,
  openDatabase,
  withCachedDatabase,
  withLiveDatabase,
} from '../../src/db/client.ts'
import * as products from '../../src/db/products.ts'
import type { Candle } from '../../src/protocol/candle.ts'

const { dropExpired, ensurePartitions, readCandles, readClosedCandles, readGaps, replaceGaps, upsertCandles } = candles
const { listProducts, upsertProducts } = products

const getProduct = async (sql: Parameters<typeof listProducts>[0], exchange: string, id: string) =>
  (await listProducts(sql, exchange)).find(({ product_id }) => product_id === id) ?? null

const dir = mkdtempSync(join(tmpdir(), 'kerb-database-'))
let server: Postgres
let live: LiveSql
let cached: CachedSql

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url)
  live = openDatabase('live', server.url)
  cached = openDatabase('cached', server.url)
})

afterAll(async () => {
  await live?.end()
  await cached?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

beforeEach(async () => {
  await live`TRUNCATE live_candles, candle_gaps, trading_pairs`
})

const JAN_2024 = Date.UTC(2024, 0, 6, 19) / 1000
const candle = (change: Partial<Candle> = {}): Candle => ({
  exchange: 'coinbase',
  product_id: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  timestamp: JAN_2024,
  open: '42000.5',
  high: '42500',
  low: '41800',
  close: '42200',
  volume: '123.45',
  is_complete: false,
  coverage: 'full',
  rev: 0,
  last_update: '2024-01-06T19:00:31.52Z',
  source: 'trades',
  ...change,
})
const all = {
  exchange: 'coinbase',
  product: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  start: 0,
  end: 4e9,
  limit: 1000,
} as const
const partitions = async () =>
  (
    await live<{ name: string }[]>`
    SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'live_candles'::regclass ORDER BY 1`
  ).map(({ name }) => name)

describe('migrations', () => {
  test('running them again, also twice at once, changes nothing', async () => {
    expect(await migrate(server.url)).toEqual([])
    expect(await Promise.all([migrate(server.url), migrate(server.url)])).toEqual([[], []])
  })

  test('two first runs at once apply each file once', async () => {
    await live`CREATE DATABASE second`
    const url = server.url.replace(/[^/]*$/, 'second')
    const runs = await Promise.all([migrate(url), migrate(url)])
    expect(runs.map((names) => names.length).sort()).toEqual([0, readdirSync('migrations').length])
  })

  test('the keys and index names are those of the briefs', async () => {
    const rows = await live<{ name: string; definition: string }[]>`
      SELECT indexname AS name, indexdef AS definition FROM pg_indexes
      WHERE tablename IN ('live_candles', 'trading_pairs') ORDER BY 1`
    expect(rows.map((row) => `${row.name} ${/\(.*\)/.exec(row.definition)![0]}`)).toEqual([
      'idx_live_candles_product_granularity (exchange, product_id, granularity, "timestamp" DESC)',
      'idx_trading_pairs_status (exchange, status)',
      'live_candles_pkey (exchange, product_id, granularity, "timestamp")',
      'trading_pairs_exchange_product_id_key (exchange, product_id)',
      'trading_pairs_pkey (id)',
    ])
  })
})

describe('candles', () => {
  test('C3 every digit comes back as it was given, zeros at the end aside', async () => {
    const given = candle({
      open: '0.000000000000000001',
      high: '98765432109876543210.123456789012345678',
      low: '0.000000000000000001',
      close: '42200.10',
      volume: '31415926535897932384.626433832795028841',
      last_update: '2024-01-06T19:00:59.999999Z',
    })
    expect(await upsertCandles(live, [given])).toBe(1)
    expect(await readCandles(live, all)).toEqual([{ ...given, close: '42200.1' }])
  })

  test('C12 a stored candle never goes back, and the same state twice does no harm', async () => {
    const forming = candle({ close: '1', last_update: '2024-01-06T19:00:10Z' })
    const later = candle({ close: '2', last_update: '2024-01-06T19:00:20Z' })
    const sameTime = candle({ close: '3', last_update: '2024-01-06T19:00:20Z' })
    const complete = candle({ close: '4', is_complete: true, last_update: '2024-01-06T19:00:20Z' })
    const revised = candle({ close: '5', is_complete: true, rev: 1, last_update: '2024-01-06T19:00:15Z' })
    const states = [forming, later, sameTime, complete, revised]
    for (const [i, state] of states.entries()) {
      expect(await upsertCandles(live, [state]), `state ${i}`).toBe(1)
      expect(await upsertCandles(live, [state]), `state ${i} again`).toBe(1)
      for (const older of states.slice(0, i))
        if (
          older.last_update !== state.last_update ||
          older.is_complete !== state.is_complete ||
          older.rev !== state.rev
        )
          expect(await upsertCandles(live, [older]), `older than state ${i}`).toBe(0)
      expect(await readCandles(live, all)).toEqual([state])
    }
  })

  test('C12 of several states of one key in a batch the newest is written, whatever their order', async () => {
    const complete = candle({ close: '4', is_complete: true, last_update: '2024-01-06T19:00:20Z' })
    const revised = candle({ close: '5', is_complete: true, rev: 1, last_update: '2024-01-06T19:00:20Z' })
    const other = candle({ granularity: 'ONE_DAY', timestamp: JAN_2024 - (JAN_2024 % 86_400) })
    expect(await upsertCandles(live, [candle(), revised, other, complete, candle()])).toBe(2)
    expect(await readCandles(live, all)).toEqual([revised])
  })

  test('C12 one bad row fails the whole batch and changes nothing', async () => {
    await expect(upsertCandles(live, [candle(), candle({ timestamp: JAN_2024 + 60, open: 'x' })])).rejects.toThrow()
    expect(await readCandles(live, all)).toEqual([])
  })

  test('an empty batch writes nothing', async () => {
    expect(await upsertCandles(live, [])).toBe(0)
  })

  test('partitions are made for any time that arrives, past and future', async () => {
    const times = [Date.UTC(2015, 6, 20) / 1000, Date.UTC(1999, 11, 31, 23, 59) / 1000, Date.UTC(2041, 1, 1) / 1000]
    expect(
      await upsertCandles(
        live,
        times.map((timestamp) => candle({ timestamp })),
      ),
    ).toBe(3)
    expect((await readCandles(live, all)).map((c) => c.timestamp)).toEqual([...times].sort((a, b) => a - b))
    expect(await partitions()).toEqual(
      expect.arrayContaining(['live_candles_1999_12', 'live_candles_2015_07', 'live_candles_2041_02']),
    )
    // A month belongs to its UTC days: nothing is made for those beside it.
    expect(await partitions()).not.toContain('live_candles_2000_01')
  })

  test('partitions have the keys and the index of the table', async () => {
    await ensurePartitions(live, JAN_2024, JAN_2024)
    const rows = await live<{ name: string }[]>`
      SELECT indexname AS name FROM pg_indexes WHERE tablename = 'live_candles_2024_01'`
    expect(rows).toHaveLength(2)
  })

  test('two flushes that need the same new partitions, in either order, both succeed', async () => {
    const other = openDatabase('live', server.url)
    try {
      for (let year = 2060; year < 2070; year++) {
        const months = [0, 1, 2, 3].map((month) => Date.UTC(year, month) / 1000)
        const flush = (sql: LiveSql, times: number[], product_id: string) =>
          upsertCandles(
            sql,
            times.map((timestamp) => candle({ timestamp, product_id })),
          )
        expect(
          await Promise.all([
            flush(live, months, 'BTC-USD'),
            flush(other, months.slice(1).reverse(), 'ETH-USD'),
            ensurePartitions(live, months[0]!, months[3]!),
          ]),
        ).toEqual([4, 3, expect.any(Number)])
      }
    } finally {
      await other.end()
    }
  })

  test('making partitions again makes none', async () => {
    const [from, to] = [Date.UTC(2071, 0) / 1000, Date.UTC(2071, 11, 31) / 1000]
    expect(await ensurePartitions(live, from, to)).toBe(12)
    expect(await ensurePartitions(live, from, to)).toBe(0)
  })

  test('a range gives its last candles, ascending, start inclusive and end exclusive', async () => {
    const minutes = [0, 1, 2, 3, 4].map((n) => candle({ timestamp: JAN_2024 + n * 60, is_complete: n < 4 }))
    await upsertCandles(live, [...minutes, candle({ product_id: 'ETH-USD' }), candle({ exchange: 'simulated' })])
    const range = { ...all, start: JAN_2024 + 60, end: JAN_2024 + 240 }
    expect(await readCandles(live, range)).toEqual(minutes.slice(1, 4))
    expect(await readCandles(live, { ...range, limit: 2 })).toEqual(minutes.slice(2, 4))
    expect(await readCandles(live, all)).toEqual(minutes)
    expect(await readClosedCandles(cached, all)).toEqual(minutes.slice(0, 4))
    expect(await readCandles(live, { ...all, granularity: 'ONE_DAY' })).toEqual([])
  })

  test('expired candles go, by granularity, and so do old partitions that are empty then', async () => {
    const now = Date.UTC(2024, 5, 15)
    const at = (days: number) => now / 1000 - days * 86_400
    const kept = [
      candle({ timestamp: at(29) }),
      candle({ timestamp: at(30) }),
      candle({ timestamp: at(100), granularity: 'ONE_HOUR' }),
    ]
    await upsertCandles(live, [
      ...kept,
      candle({ timestamp: at(30) - 60 }),
      candle({ timestamp: at(100) }),
      candle({ timestamp: at(400) }),
      candle({ timestamp: at(91), granularity: 'FIVE_MINUTES' }),
    ])
    await ensurePartitions(live, now / 1000, now / 1000 + 40 * 86_400)
    const result = await dropExpired(live, { ONE_MINUTE: 30, FIVE_MINUTES: 90 }, now)
    expect(result).toMatchObject({ deleted: 4, done: true })
    expect(result.partitions).toBeGreaterThan(0)
    const left = [...(await readCandles(live, { ...all, granularity: 'ONE_HOUR' })), ...(await readCandles(live, all))]
    expect(left.map((c) => c.timestamp).sort()).toEqual(kept.map((c) => c.timestamp).sort())
    const names = await partitions()
    expect(names).toContain('live_candles_2024_03')
    expect(names).toContain('live_candles_2024_07')
    expect(names).not.toContain('live_candles_2023_05')
    expect(await dropExpired(live, { ONE_MINUTE: 30, FIVE_MINUTES: 90 }, now)).toEqual({
      deleted: 0,
      partitions: 0,
      done: true,
    })
  })

  test('a row that arrives while its empty partition is looked at is not lost with it', async () => {
    const timestamp = Date.UTC(1990, 0) / 1000
    await ensurePartitions(live, timestamp, timestamp)
    const writer = openDatabase('live', server.url)
    try {
      const { promise: dropping, resolve: begin } = Promise.withResolvers<ReturnType<typeof dropExpired>>()
      await writer.begin(async (transaction) => {
        await transaction`
          INSERT INTO live_candles (product_id, granularity, timestamp, open, high, low, close, volume)
          VALUES ('BTC-USD', 'ONE_MINUTE', to_timestamp(${timestamp}), 1, 1, 1, 1, 1)`
        // Nothing is expired by granularity; the partition is empty for everyone but the writer.
        begin(dropExpired(live, { ONE_DAY: 1 }, Date.UTC(2024, 0)))
        await expect
          .poll(async () => (await cached`SELECT FROM pg_locks WHERE NOT granted`).length, { timeout: 10_000 })
          .toBe(1)
      })
      await dropping
      expect(await readCandles(live, all)).toHaveLength(1)
    } finally {
      await writer.end()
    }
  })
})

describe('gaps', () => {
  const read = () => readGaps(live, 'coinbase', 'BTC-USD', [0, 4e9])
  const replace = (range: [number, number], gaps: [number, number][]) =>
    replaceGaps(live, 'coinbase', 'BTC-USD', range, gaps)

  test('C8 a range is replaced, what lies outside stays, what touches is joined', async () => {
    await replace(
      [0, 1000],
      [
        [100, 200],
        [300, 400],
        [600, 700],
      ],
    )
    expect(await read()).toEqual([
      [100, 200],
      [300, 400],
      [600, 700],
    ])
    await replace([150, 350], [[180, 190]])
    expect(await read()).toEqual([
      [100, 150],
      [180, 190],
      [350, 400],
      [600, 700],
    ])
    await replace([150, 350], [[150, 350]])
    expect(await read()).toEqual([
      [100, 400],
      [600, 700],
    ])
    await replace([0, 1000], [])
    expect(await read()).toEqual([])
  })

  test('C8 the same range twice is the same, other products are left alone, reads are cut to their range', async () => {
    await replaceGaps(live, 'coinbase', 'ETH-USD', [0, 1000], [[0, 1000]])
    for (let i = 0; i < 2; i++) await replace([0, 1000], [[100, 200]])
    expect(await readGaps(live, 'coinbase', 'BTC-USD', [150, 160])).toEqual([[150, 160]])
    expect(await readGaps(live, 'coinbase', 'BTC-USD', [200, 300])).toEqual([])
    expect(await readGaps(live, 'coinbase', 'ETH-USD', [0, 4e9])).toEqual([[0, 1000]])
  })
})

describe('products', () => {
  const product = (change: Partial<products.StoredProduct> = {}): products.StoredProduct => ({
    exchange: 'coinbase',
    product_id: 'BTC-USD',
    base_currency: 'BTC',
    quote_currency: 'USD',
    status: 'online',
    min_size: '0.00000001',
    max_size: '340000000000000000000.5',
    price: '42000.5',
    price_at: '2024-01-06T19:00:00Z',
    change_24h: '-1.2345',
    ...change,
  })

  test('come back as they were given, by id', async () => {
    const eth = product({
      product_id: 'ETH-USD',
      min_size: null,
      max_size: null,
      price: null,
      price_at: null,
      change_24h: null,
    })
    expect(await upsertProducts(live, [eth, product(), product({ exchange: 'simulated' })])).toBe(3)
    expect(await listProducts(live, 'coinbase')).toEqual([product(), eth])
    expect(await getProduct(live, 'coinbase', 'ETH-USD')).toEqual(eth)
    expect(await getProduct(live, 'coinbase', 'XRP-USD')).toBeNull()
  })

  test('an older or missing price erases no newer one, but the rest is taken', async () => {
    await upsertProducts(live, [product()])
    const older = { price: '1', price_at: '2024-01-06T18:00:00Z', change_24h: '1' }
    const missing = { price: null, price_at: null, change_24h: null }
    for (const [status, prices] of [
      ['offline', older],
      ['delisted', missing],
    ] as const) {
      expect(await upsertProducts(live, [product({ status, ...prices })])).toBe(1)
      expect(await getProduct(live, 'coinbase', 'BTC-USD')).toEqual(product({ status }))
    }
    const newer = { price: '2', price_at: '2024-01-06T20:00:00Z', change_24h: null }
    await upsertProducts(live, [product(newer)])
    expect(await getProduct(live, 'coinbase', 'BTC-USD')).toEqual(product(newer))
  })

  test('what did not change is not written', async () => {
    expect(await upsertProducts(live, [product(), product()])).toBe(1)
    expect(await upsertProducts(live, [product()])).toBe(0)
    expect(await upsertProducts(live, [])).toBe(0)
  })
})

type AnyQuery = ((sql: LiveSql | CachedSql, ...args: unknown[]) => Promise<unknown>) & { binding?: string }

/** The functions that each file of src/db exports; the clients themselves are no queries. */
const files = await Promise.all(
  readdirSync('src/db')
    .map((file) => file.replace(/\.ts$/, ''))
    .filter((file) => file !== 'client')
    .map(async (file) => {
      const exported = Object.entries((await import(`../../src/db/${file}.ts`)) as Record<string, unknown>)
      return [file, exported.filter((entry): entry is [string, AnyQuery] => typeof entry[1] === 'function')] as const
    }),
)

describe('bindings', () => {
  const queries = files.flatMap(([, exported]) => exported)

  test('closed history alone goes through the binding with cache; every query says which it uses', () => {
    const bindings = files.map(([file, exported]) => {
      return [file, Object.fromEntries(exported.map(([name, query]) => [name, query.binding]))]
    })
    expect(Object.fromEntries(bindings)).toEqual({
      accounts: { accountRows: 'live', dropOver: 'live' },
      activities: {
        addOwnAssets: 'user',
        changeActivities: 'user',
        deriveAssets: 'user',
        lockPortfolio: 'user',
        readVersion: 'user',
      },
      'app-settings': { readRefreshSettings: 'live' },
      assets: {
        addAsset: 'live',
        assetsAddedSince: 'live',
        findAssets: 'live',
        plannedAssets: 'live',
        searchAssets: 'live',
      },
      audits: {
        claimAudits: 'live',
        failAudit: 'live',
        recordComparison: 'live',
        finishAudit: 'live',
        repairCandles: 'live',
        readAudits: 'live',
      },
      candles: {
        upsertCandles: 'live',
        ensurePartitions: 'live',
        readClosedCandles: 'cached',
        readCandles: 'live',
        readGaps: 'live',
        replaceGaps: 'live',
        dropExpired: 'live',
      },
      derivation: { planLots: 'user', writeLots: 'user' },
      idempotency: { claimKey: 'user', dropOldKeys: 'live', findKey: 'user', storeAnswer: 'user' },
      'import-activities': { readOwnAssets: 'user', readSame: 'user' },
      jobs: { recordJob: 'live', readJobs: 'live', jobWentWell: 'live' },
      metrics: { insertMetrics: 'live', dropOldRecords: 'live', databaseBytes: 'live' },
      'price-history': {
        claimHistory: 'live',
        storeHistory: 'live',
        failHistory: 'live',
        readBars: 'cached',
        readRunningBar: 'live',
        readActions: 'live',
        readHistoryState: 'live',
        pruneHistory: 'live',
        ensureHistoryPartitions: 'live',
        wantHistory: 'live',
      },
      'portfolio-outbox': {
        drainOutbox: 'live',
        outboxLength: 'live',
        fillRates: 'live',
        takeEffect: 'live',
        portfoliosOfMinute: 'live',
      },
      'portfolio-views': { readPortfolio: 'user', readLots: 'user', readValued: 'user' },
      prices: {
        readPrices: 'live',
        writePrices: 'live',
        readSnapshots: 'live',
        ensureSnapshotPartitions: 'live',
        dropOldSnapshots: 'live',
        writeProviderLimits: 'live',
      },
      products: { upsertProducts: 'live', listProducts: 'live' },
      profiles: { changeProfile: 'user', hasProfile: 'user', readProfile: 'user' },
      'read-activities': {
        findActivity: 'user',
        findOwnAsset: 'user',
        isCryptoCode: 'user',
        readActivities: 'user',
        readCurrency: 'user',
        readDayRates: 'user',
        readNamedAssets: 'user',
        readSoldParts: 'user',
      },
      'value-history': { readPast: 'user', readCloses: 'live' },
      revisions: { insertRevisions: 'live' },
    })
  })

  test.each(queries)('%s is refused on the other binding', async (_, query) => {
    const wrong = query.binding === 'live' ? cached : live
    await expect(query(wrong, all, all, [0, 1], [])).rejects.toThrow(`runs through the ${query.binding} binding alone`)
  })

  test('the types refuse it too', () => {
    // @ts-expect-error a current read through the cache
    const current = () => readCandles(cached, all)
    // @ts-expect-error closed history past the cache
    const closed = () => readClosedCandles(live, all)
    expect([current, closed]).toHaveLength(2)
  })

  test('each client is opened from the binding of its name, and ended whatever happens', async () => {
    const nowhere = { connectionString: 'postgres://postgres:x@127.0.0.1:1/none' }
    const here = { connectionString: server.url }
    let kept: LiveSql | null = null
    const failing = withLiveDatabase({ HYPERDRIVE: here }, async (sql) => {
      kept = sql
      await readCandles(sql, all)
      throw new Error('as it happens')
    })
    await expect(failing).rejects.toThrow('as it happens')
    await expect(kept!`SELECT 1`).rejects.toMatchObject({ code: 'CONNECTION_ENDED' })
    expect(await withCachedDatabase({ HYPERDRIVE_CACHED: here }, (sql) => readClosedCandles(sql, all))).toEqual([])
    await expect(
      withCachedDatabase({ HYPERDRIVE_CACHED: nowhere }, (sql) => readClosedCandles(sql, all)),
    ).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('a database that goes away', () => {
  test('C12 the same flush succeeds once it is back, and what was written before is there', async () => {
    const flush = (candles: Candle[]) =>
      withLiveDatabase({ HYPERDRIVE: { connectionString: server.url } }, (sql) => upsertCandles(sql, candles))
    const second = candle({ timestamp: JAN_2024 + 60 })
    await flush([candle()])
    await live.end()
    await cached.end()
    await server.stop()
    await expect(flush([second])).rejects.toThrow()
    await server.start()
    live = openDatabase('live', server.url)
    cached = openDatabase('cached', server.url)
    expect(await flush([second])).toBe(1)
    expect(await readCandles(live, all)).toEqual([candle(), second])
  })
})
