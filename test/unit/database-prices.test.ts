import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import { addAsset } from '../../src/db/assets.ts'
import { dropExpired, ensurePartitions, upsertCandles } from '../../src/db/candles.ts'
import { type LiveSql, openDatabase } from '../../src/db/client.ts'
import { type JobRun, readJobs, recordJob } from '../../src/db/jobs.ts'
import { insertMetrics } from '../../src/db/metrics.ts'
import {
  dropOldSnapshots,
  ensureSnapshotPartitions,
  readPrices,
  readSnapshots,
  writePrices,
  writeProviderLimits,
} from '../../src/db/prices.ts'
import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { HeldQuote } from '../../src/pricing/quote.ts'

const dir = mkdtempSync(join(tmpdir(), 'kerb-database-'))
let server: Postgres
let live: LiveSql
/** Of the seed, by number. */
let ids: number[]

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url)
  live = openDatabase('live', server.url)
  ids = (await live<{ asset_id: number }[]>`SELECT asset_id FROM assets ORDER BY asset_id`).map((row) => row.asset_id)
})

afterAll(async () => {
  await live?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

beforeEach(async () => {
  await live`TRUNCATE prices_current, price_snapshots, provider_rate_limits, job_runs`
})

const NOW = Date.UTC(2026, 10, 20, 15)
const at = (seconds: number) => new Date(NOW + seconds * 1000).toISOString().replace('.000Z', 'Z')

const quote = (change: Partial<HeldQuote> = {}): HeldQuote => ({
  asset_id: ids[0]!,
  symbol: 'MMM',
  price: '101.5',
  currency: 'USD',
  previous_close: '100.25',
  change24h: '1.24688279301746',
  market_state: 'open',
  market: 'us_market',
  open: '100.5',
  high: '102',
  low: '99.75',
  volume: '1234567',
  eps: '-0.5',
  pe_ratio: null,
  pe_as_of: '2026-11-19T00:00:00Z',
  provider: 'yahoo',
  as_of: at(0),
  updated_at: at(0),
  ...change,
})

/** A price, and the second at which the market made it and the provider told it. */
const told = (price: string, second: number, change: Partial<HeldQuote> = {}): HeldQuote =>
  quote({ price, as_of: at(second), updated_at: at(second), ...change })

const write = (...quotes: HeldQuote[]) => writePrices(live, quotes, { snapshot_seconds: 300 })
const prices = async (...assetIds: number[]) => (await readPrices(live, assetIds)).map(({ price }) => price)
const snapshots = async (asset = ids[0]!) =>
  (await readSnapshots(live, asset, 0, 4e9)).map((s) => [s.price, (Date.parse(s.recorded_at) - NOW) / 1000])
const partitions = async () =>
  (
    await live<{ name: string }[]>`
    SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'price_snapshots'::regclass ORDER BY 1`
  ).map(({ name }) => name.replace('price_snapshots_', ''))

describe('prices', () => {
  test('every digit comes back as it was given, zeros at the end aside, with the symbol of the asset', async () => {
    const exact = quote({ price: '0.000000000000000000123', volume: '98765432109876543210.12345678901234567890' })
    const bare = quote({
      asset_id: ids[1]!,
      ...{ previous_close: null, change24h: null, market_state: null, market: null, open: null, high: null },
      ...{ low: null, volume: null, eps: null, pe_as_of: null },
      price: '-37.63',
    })
    expect(await write(exact, bare)).toEqual({ current: 2, snapshots: 2 })
    const [first, second] = (await readPrices(live, [ids[1]!, ids[0]!, 0])).sort((a, b) => a.asset_id - b.asset_id)
    expect(first).toEqual({ ...exact, volume: '98765432109876543210.1234567890123456789' })
    expect(second).toEqual({ ...bare, symbol: 'ABT' })
    expect(await readPrices(live, [])).toEqual([])
  })

  test("brief 001's latest_prices tells them with their symbol", async () => {
    await write(quote())
    expect(await live`SELECT symbol, price, change_24h, updated_at FROM latest_prices`).toEqual([
      { symbol: 'MMM', price: '101.5', change_24h: '1.24688279301746', updated_at: at(0) },
    ])
  })

  test('an older price never replaces a newer one, in whatever order they come; the same twice does no harm', async () => {
    expect((await write(told('2', 60))).current).toBe(1)
    expect((await write(told('1', 59))).current).toBe(0)
    expect((await write(told('3', 60))).current).toBe(1)
    expect((await write(told('5', 90), told('4', 70))).current).toBe(1)
    expect((await write(told('5', 90))).current).toBe(1)
    expect(await prices(ids[0]!)).toEqual(['5'])
  })

  test('a simulated price and a real one give way to each other, and their snapshots are never mixed', async () => {
    await write(told('9', 1000, { provider: 'simulated' }))
    expect((await write(told('1', 0))).current).toBe(1)
    expect(await prices(ids[0]!)).toEqual(['1'])
    expect(await snapshots()).toEqual([['1', 0]])
    expect((await write(told('8', 2000, { provider: 'simulated' }))).current).toBe(1)
    expect(await snapshots()).toEqual([
      ['9', 1000],
      ['8', 2000],
    ])
  })

  test('an asset that is gone is passed over, and what it had goes with it', async () => {
    const { asset_id: _, ...row } = { asset_id: 0, symbol: 'GONE', name: 'Gone', type: 'stock', category: 'stock' }
    const asset = await addAsset(live, {
      ...row,
      ...{ code: 'GONE', provider: 'yahoo', provider_id: 'GONE', currency: 'USD', isin: null },
    })
    await write(quote({ asset_id: asset.asset_id }))
    await live`DELETE FROM assets WHERE asset_id = ${asset.asset_id}`
    expect(await prices(asset.asset_id)).toEqual([])
    expect(await write(quote({ asset_id: asset.asset_id }), quote())).toEqual({ current: 1, snapshots: 1 })
    expect(await write()).toEqual({ current: 0, snapshots: 0 })
  })

  test('a price that is no number is refused, and nothing is written', async () => {
    for (const price of ['NaN', 'Infinity', 'twelve'])
      await expect(write(quote({ price }), quote({ asset_id: ids[1]! }))).rejects.toThrow()
    expect(await prices(...ids)).toEqual([])
  })

  test('a thousand quotes are two statements', async () => {
    const statements: string[] = []
    const counted = openDatabase('live', server.url)
    counted.options.debug = (_connection, text) => statements.push(text)
    try {
      await ensureSnapshotPartitions(live, NOW / 1000, NOW / 1000)
      const all = ids.map((asset_id) => quote({ asset_id }))
      expect(await writePrices(counted, all, { snapshot_seconds: 300 })).toEqual({ current: 1000, snapshots: 1000 })
      expect(statements).toHaveLength(2)
    } finally {
      await counted.end()
    }
  })

  test('two boards that write the same at once wait for each other and never both; the newest price stays', async () => {
    const boards = [openDatabase('live', server.url), openDatabase('live', server.url)]
    try {
      // The plan that takes the rows in the order in which they are given.
      for (const board of boards) await board.unsafe('SET enable_hashjoin = off; SET enable_mergejoin = off')
      const batch = (second: number) => ids.map((asset_id) => told(String(second), second, { asset_id }))
      const writes: Promise<unknown>[] = []
      for (let round = 0; round < 10; round++) {
        writes.push(writePrices(boards[0]!, batch(round * 600), { snapshot_seconds: 300 }))
        writes.push(writePrices(boards[1]!, batch(round * 600 + 1).reverse(), { snapshot_seconds: 300 }))
      }
      await Promise.all(writes)
      expect(new Set(await prices(...ids))).toEqual(new Set(['5401']))
    } finally {
      await Promise.all(boards.map((board) => board.end()))
    }
  })
})

describe('snapshots', () => {
  test('one is taken where the price has changed, and not closer together than is set', async () => {
    for (const [price, second] of [
      ['1', 0],
      ['1', 400],
      ['2', 500],
      ['3', 799],
      ['3', 800],
      ['4', 801],
      ['3', 1100],
      ['5', 1101],
    ] as const)
      await write(told(price, second))
    expect(await snapshots()).toEqual([
      ['1', 0],
      ['2', 500],
      ['3', 800],
      ['5', 1101],
    ])
  })

  test("its time is the market's, never later than when it was told, and it does not go back", async () => {
    await write(told('1', 0, { updated_at: at(900) }))
    await write(told('2', 5000, { updated_at: at(1000) }))
    await write(told('3', 600, { updated_at: at(2000) }))
    expect(await snapshots()).toEqual([
      ['1', 0],
      ['2', 1000],
    ])
  })

  test('a price older than snapshots are kept leaves none, and no partition', async () => {
    const before = await partitions()
    expect(await write(quote({ as_of: '2022-03-01T00:00:00Z' }))).toEqual({ current: 1, snapshots: 0 })
    expect(await partitions()).toEqual(before)
  })

  test('those of a stretch are read ascending, its end left out', async () => {
    await write(told('1', 0), told('9', 0, { asset_id: ids[1]! }))
    await write(told('2', 300))
    await write(told('3', 600))
    const read = await readSnapshots(live, ids[0]!, NOW / 1000 + 300, NOW / 1000 + 600)
    expect(read).toEqual([{ recorded_at: at(300), price: '2' }])
  })

  test('partitions are made by day when a row needs them, and two that need the same at once are fine', async () => {
    await dropOldSnapshots(live, 0, NOW + 40 * 86_400_000)
    expect(await partitions()).toEqual([])
    const other = openDatabase('live', server.url)
    try {
      const midnight = (Date.UTC(2026, 10, 21) - NOW) / 1000
      await Promise.all([
        write(told('1', midnight - 1), told('2', midnight, { asset_id: ids[1]! })),
        writePrices(other, [told('3', midnight, { asset_id: ids[2]! })], { snapshot_seconds: 300 }),
      ])
      expect(await partitions()).toEqual(['2026_11_20', '2026_11_21'])
      expect([await snapshots(ids[0]), await snapshots(ids[1]), await snapshots(ids[2])]).toEqual([
        [['1', midnight - 1]],
        [['2', midnight]],
        [['3', midnight]],
      ])
    } finally {
      await other.end()
    }
  })

  test('whole days go when they are over for so long; those to come are made beforehand, once', async () => {
    await dropOldSnapshots(live, 0, NOW + 40 * 86_400_000)
    const day = (n: number) => Date.UTC(2026, 10, n) / 1000
    expect(await ensureSnapshotPartitions(live, day(10) + 5, day(22))).toBe(13)
    expect(await ensureSnapshotPartitions(live, day(10), day(22))).toBe(0)
    expect(await dropOldSnapshots(live, 8, day(20) * 1000 - 1)).toBe(1)
    expect((await partitions())[0]).toBe('2026_11_11')
    expect(await dropOldSnapshots(live, 8, day(20) * 1000)).toBe(1)
    expect(await dropOldSnapshots(live, 8, day(20) * 1000)).toBe(0)
    expect(await partitions()).toHaveLength(11)
  })
})

describe('what operators look at', () => {
  const standing = (change: Partial<ProviderLimit> = {}): ProviderLimit => ({
    provider: 'yahoo',
    window_ms: 60_000,
    used: 12,
    budget: 60,
    told_used: null,
    in_flight: 1,
    concurrency: 2,
    breaker: 'closed',
    failures: 0,
    blocked_until: null,
    last_status: 200,
    last_error: null,
    last_request_at: NOW,
    requests_total: 5_000_000_000,
    refused_total: 0,
    rate_limited_total: 0,
    since: NOW - 1000,
    ...change,
  })

  test('Q4 provider_rate_limits shows how each provider stands, and an older state does not come back', async () => {
    await writeProviderLimits(live, [standing(), standing({ provider: 'binance', told_used: 300 })], NOW)
    await writeProviderLimits(live, [standing({ breaker: 'open', blocked_until: NOW + 500 })], NOW + 60_000)
    await writeProviderLimits(live, [standing({ used: 1 })], NOW)
    await writeProviderLimits(live, [], NOW)
    expect(await live`SELECT * FROM provider_rate_limits ORDER BY provider`).toMatchObject([
      { provider: 'binance', told_used: 300, since: at(-1), updated_at: at(0) },
      {
        provider: 'yahoo',
        used: 12,
        breaker: 'open',
        blocked_until: '2026-11-20T15:00:00.5Z',
        requests_total: '5000000000',
        updated_at: at(60),
      },
    ])
  })

  test('the last run of each job is there, and when it last went well', async () => {
    const run = (change: Partial<JobRun> = {}): JobRun => {
      const base = { job: 'plan', period_seconds: 60, started_at: NOW, ended_at: NOW + 1500, error: null }
      return { ...base, outcome: 'ok', ...change }
    }
    await recordJob(live, run())
    const failed = {
      started_at: NOW + 60_000,
      ended_at: NOW + 60_010,
      outcome: 'failed',
      error: 'no database',
    } as const
    await recordJob(live, run(failed))
    await recordJob(live, run({ started_at: NOW + 30_000, ended_at: NOW + 90_000 }))
    await recordJob(live, run({ job: 'audit', period_seconds: 86_400, outcome: 'failed', error: 'x' }))
    expect(await readJobs(live)).toEqual([
      {
        ...{ job: 'audit', period_seconds: 86_400, started_at: at(0), ended_at: '2026-11-20T15:00:01.5Z' },
        ...{ outcome: 'failed', error: 'x', ms: 1500, ok_at: null },
      },
      {
        ...{ job: 'plan', period_seconds: 60, started_at: at(60), ended_at: '2026-11-20T15:01:00.01Z' },
        ...{ outcome: 'failed', error: 'no database', ms: 10, ok_at: '2026-11-20T15:00:01.5Z' },
      },
    ])
  })
})

describe('row level security', () => {
  const READ = ['trading_pairs', 'live_candles', 'candle_gaps', 'candle_revisions', 'candle_audits', 'assets']
  const PRICES = ['prices_current', 'latest_prices', 'price_snapshots']
  const CLOSED = ['asset_watches', 'app_settings', 'system_metrics', 'provider_rate_limits', 'job_runs', 'pgmigrations']

  /** One row in every table, and a client that is nobody in particular. */
  async function fill(sql: LiveSql): Promise<void> {
    const now = NOW / 1000
    await upsertCandles(sql, [
      {
        ...{ exchange: 'coinbase', product_id: 'BTC-USD', granularity: 'ONE_MINUTE', timestamp: now },
        ...{ open: '1', high: '1', low: '1', close: '1', volume: '1', is_complete: true, coverage: 'full', rev: 0 },
        ...{ last_update: at(0), source: 'trades' },
      },
    ])
    const [asset] = await sql<{ asset_id: number }[]>`SELECT min(asset_id) AS asset_id FROM assets`
    await writePrices(sql, [quote({ asset_id: asset!.asset_id })], { snapshot_seconds: 300 })
    await insertMetrics(sql, [{ metric_name: 'price_refresh', value: 1, labels: {} }], NOW)
    await writeProviderLimits(sql, [standingOf('yahoo')], NOW)
    const job = { job: 'plan', period_seconds: 60, started_at: NOW, ended_at: NOW, outcome: 'ok', error: null } as const
    await recordJob(sql, job)
    await sql`INSERT INTO asset_watches (user_id, asset_id) VALUES (gen_random_uuid(), ${asset!.asset_id})`
  }

  const standingOf = (provider: ProviderLimit['provider']): ProviderLimit => ({
    ...{ provider, window_ms: 60_000, used: 0, budget: 60, told_used: null, in_flight: 0, concurrency: 2 },
    ...{ breaker: 'closed', failures: 0, blocked_until: null, last_status: null, last_error: null },
    ...{ last_request_at: null, requests_total: 0, refused_total: 0, rate_limited_total: 0, since: NOW },
  })

  const rowsIn = async (sql: LiveSql, table: string): Promise<number> =>
    (await sql<{ n: number }[]>`SELECT count(*)::integer AS n FROM ${sql(table)}`)[0]!.n

  /** Runs as a role, on a connection of its own. */
  async function as(url: string, role: string, run: (sql: LiveSql) => Promise<void>): Promise<void> {
    const sql = openDatabase('live', url)
    try {
      await sql.unsafe(`SET ROLE ${role}`)
      await run(sql)
    } finally {
      await sql.end()
    }
  }

  test('whoever was granted everything by mistake still reads market data alone, and writes nothing', async () => {
    await fill(live)
    await live`CREATE ROLE reader NOLOGIN`
    await live`GRANT ALL ON ALL TABLES IN SCHEMA public TO reader`
    await live`GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO reader`
    await as(server.url, 'reader', async (sql) => {
      for (const table of ['live_candles', 'assets', ...PRICES])
        expect(await rowsIn(sql, table), table).toBeGreaterThan(0)
      for (const table of CLOSED) expect(await rowsIn(sql, table), table).toBe(0)
      for (const table of ['live_candles_2026_11', 'price_snapshots_2026_11_20'])
        expect(await rowsIn(sql, table), table).toBe(0)
      const refused = 'row-level security'
      await expect(writePrices(sql, [quote()], { snapshot_seconds: 300 })).rejects.toThrow(refused)
      await expect(sql`INSERT INTO price_snapshots VALUES (${at(600)}, ${ids[0]!}, FALSE, 1)`).rejects.toThrow(refused)
      await expect(
        sql`INSERT INTO price_snapshots_2026_11_20 VALUES (${at(600)}, ${ids[0]!}, FALSE, 1)`,
      ).rejects.toThrow(refused)
      await expect(sql`INSERT INTO asset_watches VALUES (gen_random_uuid(), ${ids[0]!}, 1)`).rejects.toThrow(refused)
      expect((await sql`UPDATE prices_current SET price = 1`).count).toBe(0)
      expect((await sql`DELETE FROM assets`).count).toBe(0)
      await expect(ensureSnapshotPartitions(sql, 0, 0)).rejects.toThrow('permission denied for function')
      await expect(dropOldSnapshots(sql, 0, NOW * 2)).rejects.toThrow('permission denied for function')
    })
    expect(await prices(ids[0]!)).toEqual(['101.5'])
  })

  test('no table of ours is without it', async () => {
    expect(
      await live`
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
          AND NOT relrowsecurity ORDER BY 1`,
    ).toEqual([])
  })

  describe("on Supabase's roles", () => {
    let url: string
    let owner: LiveSql

    beforeAll(async () => {
      url = server.url.replace(/[^/]*$/, 'platform')
      await live`CREATE DATABASE platform`
      for (const role of ['anon', 'authenticated', 'service_role']) await live.unsafe(`CREATE ROLE ${role} NOLOGIN`)
      owner = openDatabase('live', url)
      await owner`CREATE SCHEMA auth`
      for (const things of ['TABLES', 'SEQUENCES', 'FUNCTIONS'])
        await owner.unsafe(
          `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON ${things} TO anon, authenticated, service_role`,
        )
      await migrate(url)
    })

    afterAll(() => owner?.end())

    test('clients read market data by themselves; nothing else is theirs, not even to empty a table', async () => {
      await fill(owner)
      for (const role of ['anon', 'authenticated'])
        await as(url, role, async (sql) => {
          for (const table of [...READ, ...PRICES]) await rowsIn(sql, table)
          for (const table of ['live_candles', 'assets', ...PRICES]) expect(await rowsIn(sql, table)).toBeGreaterThan(0)
          const denied = 'permission denied'
          for (const table of [...CLOSED, 'live_candles_2026_11', 'price_snapshots_2026_11_20'])
            await expect(rowsIn(sql, table), table).rejects.toThrow(denied)
          for (const table of [...READ, 'prices_current', 'price_snapshots']) {
            await expect(sql`DELETE FROM ${sql(table)}`, table).rejects.toThrow(denied)
            await expect(sql`TRUNCATE ${sql(table)} CASCADE`, table).rejects.toThrow(denied)
          }
          await expect(writePrices(sql, [quote()], { snapshot_seconds: 300 })).rejects.toThrow(denied)
          await expect(ensurePartitions(sql, 0, 0)).rejects.toThrow(denied)
          await expect(ensureSnapshotPartitions(sql, 0, 0)).rejects.toThrow(denied)
          await expect(dropOldSnapshots(sql, 0, NOW * 2)).rejects.toThrow(denied)
        })
    })

    test('a Worker that is service_role, and not the owner, can do all of its work', async () => {
      await owner`TRUNCATE prices_current, price_snapshots, live_candles, provider_rate_limits, job_runs`
      await dropOldSnapshots(owner, 0, NOW + 40 * 86_400_000)
      await as(url, 'service_role', async (sql) => {
        await fill(sql)
        expect(await rowsIn(sql, 'latest_prices')).toBe(1)
        expect(await ensureSnapshotPartitions(sql, NOW / 1000 + 86_400, NOW / 1000 + 86_400)).toBe(1)
        expect(await dropOldSnapshots(sql, 0, NOW + 86_400_000)).toBe(1)
        expect(await ensurePartitions(sql, NOW / 1000 + 40 * 86_400, NOW / 1000 + 40 * 86_400)).toBe(1)
        expect(await dropExpired(sql, { ONE_MINUTE: 1 }, NOW + 3 * 86_400_000)).toMatchObject({ deleted: 1 })
        await sql`UPDATE app_settings SET value = 30 WHERE name = 'refresh_min_seconds'`
      })
    })

    test('no table of ours is without it', async () => {
      expect(
        await owner`
          SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND NOT relrowsecurity ORDER BY 1`,
      ).toEqual([])
    })
  })
})
