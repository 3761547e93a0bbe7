import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import {
  type AuditPlan,
  claimAudits,
  type DayComparison,
  failAudit,
  finishAudit,
  readAudits,
  recordComparison,
  repairCandles,
} from '../../src/db/audits.ts'
import { readCandles, upsertCandles } from '../../src/db/candles.ts'
import { type LiveSql, openDatabase } from '../../src/db/client.ts'
import { dropOldRecords, insertMetrics } from '../../src/db/metrics.ts'
import { insertRevisions } from '../../src/db/revisions.ts'
import type { Repair } from '../../src/market/audit.ts'
import type { Revision, Told } from '../../src/market/revision.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../src/protocol/granularity.ts'

const dir = mkdtempSync(join(tmpdir(), 'kerb-database-'))
let server: Postgres
let live: LiveSql

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url)
  live = openDatabase('live', server.url)
})

afterAll(async () => {
  await live?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

beforeEach(async () => {
  await live`TRUNCATE live_candles, candle_revisions, candle_audits, system_metrics`
})

const DAY = Date.UTC(2026, 9, 5) / 1000
const NOW = (DAY + 86_400) * 1000 + 420_000
const MINUTE = 60_000

const candle = (change: Partial<Candle> = {}): Candle => ({
  exchange: 'coinbase',
  product_id: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  timestamp: DAY,
  open: '10',
  high: '12.5',
  low: '9',
  close: '11',
  volume: '3.25',
  is_complete: true,
  coverage: 'full',
  rev: 0,
  last_update: '2026-10-05T00:00:30Z',
  source: 'trades',
  ...change,
})
const stored = (product = 'BTC-USD') =>
  readCandles(live, { exchange: 'coinbase', product, granularity: 'ONE_MINUTE', start: 0, end: 4e9, limit: 1000 })
const log = () => live`
  SELECT granularity, timestamp, rev, reason, old_open, old_close, old_volume, old_coverage, new_close, new_volume,
    new_coverage, recorded_at
  FROM candle_revisions ORDER BY granularity, timestamp, rev`

describe('revisions', () => {
  const told = (change: Partial<Told> = {}): Told => ({
    open: '0.00000000000000000000000000000000000001',
    high: '98765432109876543210987654321098765432.1',
    low: '1',
    close: '2',
    volume: '3',
    coverage: 'full',
    ...change,
  })
  const revision = (change: Partial<Revision> = {}): Revision => ({
    granularity: 'ONE_MINUTE',
    timestamp: DAY,
    rev: 1,
    reason: 'late_trade',
    before: told({ coverage: 'gap' }),
    after: told({ close: '2.5', volume: '4' }),
    recorded_at: '2026-10-05T00:01:07.123Z',
    ...change,
  })

  test('C6 C3 each is kept once, with what it told before and after to the last digit', async () => {
    const batch = [revision(), revision({ rev: 2, reason: 'audit', before: null })]
    expect(await insertRevisions(live, 'coinbase', 'BTC-USD', batch)).toBe(2)
    expect(await insertRevisions(live, 'coinbase', 'BTC-USD', [...batch, revision({ rev: 3 })])).toBe(1)
    expect(await insertRevisions(live, 'coinbase', 'BTC-USD', [])).toBe(0)
    const [first, second] = await log()
    expect(first).toEqual({
      granularity: 'ONE_MINUTE',
      timestamp: '2026-10-05T00:00:00Z',
      rev: 1,
      reason: 'late_trade',
      old_open: '0.00000000000000000000000000000000000001',
      old_close: '2',
      old_volume: '3',
      old_coverage: 'gap',
      new_close: '2.5',
      new_volume: '4',
      new_coverage: 'full',
      recorded_at: '2026-10-05T00:01:07.123Z',
    })
    expect(second).toMatchObject({ rev: 2, reason: 'audit', old_open: null, old_coverage: null })
    const [{ new_high } = { new_high: '' }] = await live`SELECT new_high FROM candle_revisions WHERE rev = 1`
    expect(new_high).toBe('98765432109876543210987654321098765432.1')
  })

  test('C6 a reason that is none of the closed set is refused', async () => {
    const other = { ...revision(), reason: 'whim' } as unknown as Revision
    await expect(insertRevisions(live, 'coinbase', 'BTC-USD', [other])).rejects.toMatchObject({ code: '23514' })
  })
})

describe('audits', () => {
  const plan: AuditPlan = {
    exchange: 'coinbase',
    products: ['ETH-USD', 'BTC-USD', 'SOL-USD'],
    alwaysOn: ['BTC-USD'],
    from: '2026-10-01',
    to: '2026-10-05',
    limit: 10,
  }
  const at = (days: number, change: Partial<Candle> = {}) => candle({ timestamp: DAY + days * 86_400, ...change })
  const all = { exchange: 'coinbase', product: null, from: '2026-01-01', to: '2026-12-31', limit: 1000 }
  const found = (equal: number, compared = 10): DayComparison =>
    Object.fromEntries(
      GRANULARITIES.map((granularity) => [granularity, { compared, equal, missingHere: 2, missingThere: 1 }]),
    ) as DayComparison
  const btc = { product: 'BTC-USD', day: '2026-10-05' }

  test('C13 days with candles from trades are due, the newest first; always-on products miss no day after their first', async () => {
    await upsertCandles(live, [
      at(-3),
      at(1),
      at(0, { product_id: 'ETH-USD' }),
      at(-2, { product_id: 'ETH-USD' }),
      at(-9, { product_id: 'ETH-USD' }),
      at(0, { product_id: 'SOL-USD', source: 'exchange' }),
    ])
    expect(await claimAudits(live, { ...plan, limit: 3 }, NOW)).toEqual([
      btc,
      { product: 'ETH-USD', day: '2026-10-05' },
      { product: 'BTC-USD', day: '2026-10-04' },
    ])
    expect(await claimAudits(live, plan, NOW)).toEqual([
      { product: 'BTC-USD', day: '2026-10-03' },
      { product: 'ETH-USD', day: '2026-10-03' },
      { product: 'BTC-USD', day: '2026-10-02' },
    ])
    expect(await claimAudits(live, plan, NOW)).toEqual([])
  })

  test('C13 what has not come to its end is due again after a while, what is done never', async () => {
    await upsertCandles(live, [at(0)])
    expect(await claimAudits(live, plan, NOW)).toEqual([btc])
    await failAudit(live, 'coinbase', btc, 'unavailable')
    expect(await readAudits(live, all)).toHaveLength(8)
    expect((await readAudits(live, all))[0]).toMatchObject({
      day: '2026-10-05',
      granularity: 'ONE_MINUTE',
      status: 'pending',
      compared: null,
      error: 'unavailable',
    })
    expect(await claimAudits(live, plan, NOW + 9 * MINUTE)).toEqual([])
    const again = await Promise.all([1, 2].map(() => claimAudits(live, plan, NOW + 11 * MINUTE)))
    expect(again.flat()).toEqual([btc])
    await recordComparison(live, 'coinbase', btc, found(9))
    await finishAudit(live, 'coinbase', btc, found(10), NOW)
    expect((await readAudits(live, all))[7]).toMatchObject({
      status: 'done',
      attempts: 2,
      equal: 9,
      repaired: 1,
      error: null,
    })
    expect(await claimAudits(live, plan, NOW + 60 * MINUTE)).toEqual([])
  })

  test('C13 what was found before the repair began stays, whoever goes on after a death in the middle', async () => {
    await upsertCandles(live, [at(0)])
    await claimAudits(live, plan, NOW)
    await recordComparison(live, 'coinbase', btc, found(4))
    expect(await claimAudits(live, plan, NOW + 11 * MINUTE)).toEqual([btc])
    await recordComparison(live, 'coinbase', btc, found(10))
    await finishAudit(live, 'coinbase', btc, found(10), NOW)
    await finishAudit(live, 'coinbase', btc, found(3), NOW)
    expect((await readAudits(live, { ...all, product: 'BTC-USD' }))[0]).toEqual({
      exchange: 'coinbase',
      product_id: 'BTC-USD',
      day: '2026-10-05',
      granularity: 'ONE_MINUTE',
      status: 'done',
      compared: 10,
      equal: 4,
      repaired: 6,
      missing_here: 2,
      missing_there: 1,
      attempts: 2,
      attempted_at: new Date(NOW + 11 * MINUTE).toISOString().replace('.000', ''),
      done_at: new Date(NOW).toISOString().replace('.000', ''),
      error: null,
    })
    expect(await readAudits(live, { ...all, product: 'ETH-USD' })).toEqual([])
    expect(await readAudits(live, { ...all, exchange: 'simulated' })).toEqual([])
    expect(await readAudits(live, { ...all, to: '2026-10-04' })).toEqual([])
  })

  test('C13 C6 a repair is the next revision of what is stored, written with it, and only once', async () => {
    const repair = (minutes: number, change: Partial<Repair> = {}): Repair => ({
      granularity: 'ONE_MINUTE',
      timestamp: DAY + minutes * 60,
      open: '10',
      high: '12.5',
      low: '9',
      close: '11',
      volume: '3.25',
      ...change,
    })
    await upsertCandles(live, [
      candle({ rev: 2 }),
      candle({ timestamp: DAY + 60, rev: 3 }),
      candle({ timestamp: DAY + 120, coverage: 'gap' }),
      candle({ timestamp: DAY + 180, is_complete: false }),
    ])
    const batch = [repair(0, { volume: '3.250' }), repair(1, { close: '12' }), repair(2), repair(3), repair(4)]
    const runs = await Promise.all([1, 2].map(() => repairCandles(live, 'coinbase', 'BTC-USD', batch, NOW)))
    expect(runs.sort()).toEqual([0, 4])
    const state = (await stored()).map((c) => [c.close, c.is_complete, c.coverage, c.rev, c.source])
    expect(state).toEqual([
      ['11', true, 'full', 2, 'trades'],
      ['12', true, 'full', 4, 'exchange'],
      ['11', true, 'full', 1, 'exchange'],
      ['11', true, 'full', 1, 'exchange'],
      ['11', true, 'full', 1, 'exchange'],
    ])
    const changes = (await log()).map((row) => [row.rev, row.reason, row.old_close, row.old_coverage, row.new_close])
    expect(changes).toEqual([
      [4, 'audit', '11', 'full', '12'],
      [1, 'coverage', '11', 'gap', '11'],
      [1, 'audit', null, null, '11'],
      [1, 'audit', null, null, '11'],
    ])
  })
})

describe('records that are kept for a time', () => {
  test('are dropped when they are older, each log by its own days', async () => {
    const ago = (days: number) => NOW - days * 86_400_000
    for (const days of [0, 1, 3, 9])
      await insertMetrics(live, [{ metric_name: 'sockets', value: days, labels: { product_id: 'BTC-USD' } }], ago(days))
    const numbers = { open: '1', high: '1', low: '1', close: '1', volume: '1', coverage: 'full' } as const
    const revisions = [1, 3, 9].map(
      (days): Revision => ({
        granularity: 'ONE_DAY',
        timestamp: DAY,
        rev: days,
        reason: 'coverage',
        before: null,
        after: numbers,
        recorded_at: new Date(ago(days)).toISOString(),
      }),
    )
    await insertRevisions(live, 'coinbase', 'BTC-USD', revisions)
    const dropped = await dropOldRecords(live, { candle_revisions: 8, system_metrics: 2 }, NOW)
    expect(dropped).toEqual({ candle_revisions: 1, system_metrics: 2 })
    const left = await live`SELECT metric_name, value, labels, recorded_at FROM system_metrics ORDER BY value`
    expect(left.map(({ value }) => value)).toEqual([0, 1])
    expect(left[0]).toMatchObject({ metric_name: 'sockets', labels: { product_id: 'BTC-USD' } })
    expect((await log()).map(({ rev }) => rev)).toEqual([1, 3])
    await insertMetrics(live, [], NOW)
  })
})
