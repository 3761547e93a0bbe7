import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { FeedSlots } from '../../durable-objects/candles/feed-slots.ts'
import { ProductCandles } from '../../durable-objects/candles/product-candles.ts'
import { CandleStore } from '../../durable-objects/candles/store.ts'
import { Meter } from '../../durable-objects/meter.ts'
import { PortfolioStore } from '../../durable-objects/portfolio/store.ts'
import { UserPortfolio } from '../../durable-objects/portfolio/user-portfolio.ts'
import { ProviderGate } from '../../durable-objects/providers/provider-gate.ts'
import { QuoteBoard } from '../../durable-objects/quotes/quote-board.ts'
import { QuoteStore } from '../../durable-objects/quotes/store.ts'
import { migrateStorage } from '../../durable-objects/store-schema.ts'
import { productObjectName } from '../../src/objects.ts'
import { QuoteCache } from '../../src/pricing/quote-cache.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../../src/protocol/granularity.ts'
import BEFORE_VERSIONS from '../fixtures/object-storage/before-versions.json'

const NOON = Date.UTC(2026, 10, 20, 12)
const NOON_S = NOON / 1000

type OldStorage = { sql: string[]; kv: Record<string, unknown> }
const CLASSES = { ProductCandles, QuoteBoard, UserPortfolio, ProviderGate, FeedSlots, Meter }
type ClassName = keyof typeof CLASSES
const NAMESPACES = {
  ProductCandles: env.PRODUCT_CANDLES,
  QuoteBoard: env.QUOTE_BOARD,
  UserPortfolio: env.USER_PORTFOLIO,
  ProviderGate: env.PROVIDER_GATE,
  FeedSlots: env.FEED_SLOTS,
  Meter: env.METER,
} as const

const tablesOf = ({ sql }: DurableObjectStorage): string[] =>
  sql
    .exec<{ name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_cf_*' AND name NOT GLOB 'sqlite_*'",
    )
    .toArray()
    .map(({ name }) => name)

/** Runs `use` in an object of a class whose storage is `old` and nothing else. */
const withStorage = (
  className: ClassName,
  name: string,
  old: OldStorage,
  use: (ctx: DurableObjectState) => unknown,
): Promise<unknown> =>
  runInDurableObject(NAMESPACES[className].getByName(name) as never, (_: unknown, ctx: DurableObjectState) => {
    const { storage } = ctx
    for (const table of tablesOf(storage)) storage.sql.exec(`DROP TABLE ${table}`)
    for (const [key] of storage.kv.list()) storage.kv.delete(key)
    for (const statement of old.sql) storage.sql.exec(statement)
    for (const [key, value] of Object.entries(old.kv)) storage.kv.put(key, value)
    return use(ctx)
  })

const versionOf = ({ storage }: DurableObjectState) => storage.kv.get('schema_version')

describe('storage from before schema versions opens with all that it holds', () => {
  test('ProductCandles: bars and revisions are found by the name of their granularity', () =>
    withStorage('ProductCandles', 'bars', BEFORE_VERSIONS.ProductCandles, (ctx) => {
      const store = new CandleStore(ctx.storage)
      expect(versionOf(ctx)).toBe(2)
      const bars = store.loadBars()
      expect(bars.map(({ bar, unflushed }) => [bar.granularity, bar.start, bar.rev, unflushed]).toSorted()).toEqual(
        [
          ['ONE_MINUTE', NOON_S, 1, false],
          ['ONE_MINUTE', NOON_S + 300, 0, true],
          ['FIVE_MINUTES', NOON_S, 1, true],
          ['FIVE_MINUTES', NOON_S + 300, 0, true],
          ['FIFTEEN_MINUTES', NOON_S, 1, true],
          ['THIRTY_MINUTES', NOON_S, 1, true],
          ['ONE_HOUR', NOON_S, 1, true],
          ['TWO_HOURS', NOON_S, 1, true],
          ['SIX_HOURS', NOON_S, 1, true],
        ].toSorted(),
      )
      expect(bars.find(({ bar }) => bar.granularity === 'SIX_HOURS')?.bar).toEqual({
        granularity: 'SIX_HOURS',
        start: NOON_S,
        end: NOON_S + 21_600,
        open: '10',
        high: '12.5',
        low: '10',
        close: '12.5',
        highValue: 12.5,
        lowValue: 10,
        volume: 500_000_001n * 10n ** 29n,
        openMinute: NOON_S,
        openId: 7,
        closeMinute: NOON_S + 300,
        closeId: 9,
        lastTime: '2026-11-20T12:05:00.000Z',
        source: 'trades',
        complete: true,
        rev: 1,
        reason: 'late_trade',
        coverage: 'gap',
        altered: false,
        touched: false,
      })
      expect(store.loadState()).toEqual({
        coverage: {
          lastTradeId: 9,
          lastMinute: NOON_S + 300,
          missing: [
            expect.objectContaining({ after: 0, before: 7, from: NOON_S - 43_200, to: NOON_S - 60, start: true }),
            expect.objectContaining({ after: 7, before: 9, from: NOON_S, to: NOON_S + 300, start: false }),
          ],
          uncertain: null,
        },
        lastGoodAt: NOON + 22_000_500,
      })
      const revisions = (granularity: Granularity) =>
        store.loadRevisions([{ granularity, timestamp: NOON_S, rev: 1 } as Candle])
      expect(GRANULARITIES.map((granularity) => revisions(granularity).map((one) => one.granularity))).toEqual([
        [],
        ['FIVE_MINUTES'],
        ['FIFTEEN_MINUTES'],
        ['THIRTY_MINUTES'],
        ['ONE_HOUR'],
        ['TWO_HOURS'],
        ['SIX_HOURS'],
        [],
      ])
      expect(revisions('SIX_HOURS')[0]).toMatchObject({ rev: 1, reason: 'late_trade', after: { high: '12.5' } })
    }))

  test('ProductCandles: the object gives the same candles and makes no revision of its own', () =>
    withStorage(
      'ProductCandles',
      productObjectName('simulated', 'ONE-USD'),
      { ...BEFORE_VERSIONS.ProductCandles, kv: { offline: true } },
      async (ctx) => {
        const object = new ProductCandles(ctx, env)
        for (const granularity of GRANULARITIES.filter((name) => name !== 'ONE_DAY')) {
          const { candles } = await object.candles({ granularity, start: NOON_S, end: NOON_S + 60, limit: 1 })
          expect(candles).toMatchObject([{ granularity, is_complete: true, rev: 1, coverage: 'gap', open: '10' }])
        }
        const [day] = (await object.candles({ granularity: 'ONE_DAY', limit: 1 })).candles
        expect(day).toMatchObject({ timestamp: NOON_S - 43_200, rev: 0, high: '12.5', volume: '0.500000001' })
        // Six complete candles with a revision, two without, and the day, which closed now.
        expect((await object.status()).unflushed).toBe(9)
      },
    ))

  test('QuoteBoard: quotes, plan, unknown symbols, counts and subscribed portfolios', () =>
    withStorage('QuoteBoard', 'old', BEFORE_VERSIONS.QuoteBoard, (ctx) => {
      const store = new QuoteStore(ctx.storage)
      expect(versionOf(ctx)).toBe(1)
      const head = store.head
      expect(head).toEqual({ epoch: '0123456789abcdef', floor: 2, flushed: 1 })
      const cache = new QuoteCache(() => Number.POSITIVE_INFINITY, store.loadBatches(), head?.floor)
      expect(cache.lastBatch).toBe(2)
      expect([...cache.ids()]).toEqual([1, 2])
      expect(cache.quote(1)).toMatchObject({ symbol: 'AAPL', price: '190.1', market: 'NASDAQ', provider: 'yahoo' })
      // Published as fresh before, so not published again; and not requested again before its time.
      cache.markStale(NOON)
      expect(cache.commit(NOON)).toBeNull()
      expect(cache.quotesAfter(0).map(({ symbol }) => symbol)).toEqual(['AAPL'])
      expect(cache.entry(2)).toMatchObject({ retryAt: NOON + 60_000 })
      expect(store.loadPlan()).toMatchObject({ at: NOON, assets: [{ asset_id: 1, symbol: 'AAPL', interval: 60 }] })
      expect(store.unknownUntil('NOPE')).toBe(NOON + 3_600_000)
      expect(store.loadCounts()).toMatchObject({ since: NOON, refreshed: 5, failed: 1 })
      expect(ctx.storage.sql.exec('SELECT * FROM followers').toArray()).toEqual([{ user: 'ann', ids: '[1]' }])
    }))

  test('UserPortfolio: head, positions, prices and subscriptions', () =>
    withStorage('UserPortfolio', 'old', BEFORE_VERSIONS.UserPortfolio, (ctx) => {
      const store = new PortfolioStore(ctx.storage)
      expect(versionOf(ctx)).toBe(1)
      const portfolio = store.load()
      expect(portfolio?.head).toEqual({ ...BEFORE_VERSIONS.UserPortfolio.kv.head, n: 5 })
      expect(portfolio?.lastPriceAt).toBe(NOON + 15_000)
      expect([...(portfolio?.positions ?? [])]).toMatchObject([
        [1, { of: { symbol: 'AAPL', quantity: '2', invested: '300' }, n: 4 }],
        [2, { of: null, n: 3 }],
      ])
      expect([...(portfolio?.prices ?? [])]).toMatchObject([[1, { of: { price: '191' }, n: 5 }]])
      expect(store.loadSubscriptions()).toEqual({ 0: { ids: [1, 9], watched: [], at: NOON } })
      expect(store.loadTimestamp('active_until')).toBe(NOON + 60_000)
    }))

  test("ProviderGate: each provider's use and the ids that it does not know", () =>
    withStorage('ProviderGate', 'old', BEFORE_VERSIONS.ProviderGate, async (ctx) => {
      const gate = new (class extends ProviderGate {
        protected override now(): number {
          return NOON + 1_000
        }
      })(ctx, env)
      expect(versionOf(ctx)).toBe(1)
      const yahoo = (await gate.limits()).find(({ provider }) => provider === 'yahoo')
      expect(yahoo).toMatchObject({ used: 3, requests_total: 1, last_request_at: NOON, since: NOON })
      const ids = ctx.storage.sql.exec('SELECT * FROM bad_ids').toArray()
      expect(ids).toEqual([{ provider: 'yahoo', id: 'NOPE', until: 4_000_000_000_000 }])
    }))

  test('FeedSlots: leases', () =>
    withStorage('FeedSlots', 'old', BEFORE_VERSIONS.FeedSlots, (ctx) => {
      const slots = new FeedSlots(ctx, env)
      expect(versionOf(ctx)).toBe(1)
      expect(slots.open(NOON)).toEqual([{ product: 'BTC-USD', until: NOON + 120_000 }])
    }))

  test('Meter: counts', () =>
    withStorage('Meter', 'old', BEFORE_VERSIONS.Meter, async (ctx) => {
      const meter = new Meter(ctx, env)
      expect(versionOf(ctx)).toBe(1)
      expect(await meter.drain()).toEqual(BEFORE_VERSIONS.Meter.kv.counts)
    }))
})

describe('an object whose storage newer code has written', () => {
  test.each(Object.keys(CLASSES) as ClassName[])('%s refuses to open and names both versions', async (className) => {
    const kv = { ...BEFORE_VERSIONS[className].kv, schema_version: 1_000 }
    const name = className === 'ProductCandles' ? productObjectName('simulated', 'TWO-USD') : 'newer'
    await withStorage(className, name, { sql: BEFORE_VERSIONS[className].sql, kv }, (ctx) => {
      expect(() => new (CLASSES[className] as typeof Meter)(ctx, env)).toThrow(
        /^the storage has schema version 1000, but this code knows \d+ at most: deploy newer code$/,
      )
    })
  })
})

describe('migrations', () => {
  const EMPTY: OldStorage = { sql: [], kv: {} }

  test('run once each, in order, and only those that are missing', () =>
    withStorage('Meter', 'order', EMPTY, (ctx) => {
      const ran: number[] = []
      const migrations = [1, 2, 3].map((version) => () => void ran.push(version))
      migrateStorage(ctx.storage, migrations.slice(0, 1))
      expect(ran).toEqual([1])
      migrateStorage(ctx.storage, migrations)
      migrateStorage(ctx.storage, migrations)
      expect(ran).toEqual([1, 2, 3])
      expect(versionOf(ctx)).toBe(3)
    }))

  test('leave the storage as it was when one of them fails', () =>
    withStorage('Meter', 'atomic', EMPTY, (ctx) => {
      const create = (sql: SqlStorage) => void sql.exec('CREATE TABLE half (id INTEGER)')
      const fail = () => {
        throw new Error('no')
      }
      expect(() => migrateStorage(ctx.storage, [create, fail])).toThrow('no')
      expect([tablesOf(ctx.storage), versionOf(ctx)]).toEqual([[], undefined])
    }))
})
