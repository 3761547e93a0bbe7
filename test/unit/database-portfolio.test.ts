import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import { type LiveSql, openDatabase, type UserSql, withUserDatabase } from '../../src/db/client.ts'
import { fillRates } from '../../src/db/portfolio-outbox.ts'
import { readLots, readPortfolio, readValued } from '../../src/db/portfolio-views.ts'
import { changeProfile, readProfile } from '../../src/db/profiles.ts'
import type { Activity } from '../../src/portfolio/activity.ts'
import { decimal, ratio, text } from '../../src/portfolio/decimal.ts'
import type { Derived } from '../../src/portfolio/lots.ts'
import { ratesOf } from '../../src/portfolio/rates.ts'
import { totalsOf } from '../../src/portfolio/totals.ts'
import { valueLot, valuePosition } from '../../src/portfolio/valuation.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import { basesOf, deriveAll, type Named } from '../support/portfolio-bases.ts'
import * as worked from '../support/worked-portfolio.ts'

const NOW = '2026-01-01T00:00:00Z'
const dir = mkdtempSync(join(tmpdir(), 'kerb-portfolio-'))
let server: Postgres
let live: LiveSql
const ids = new Map<string, number>()
const assetId = (symbol: string): number => ids.get(symbol)!

type User = { id: string; name: string }
const person = (name: string): User => ({ id: randomUUID(), name })
const as = <T>(user: { id: string }, use: (sql: UserSql) => Promise<T>, url = server.url): Promise<T> =>
  withUserDatabase({ HYPERDRIVE: { connectionString: url } }, user, use)

/** Somebody with an empty portfolio in this currency. */
async function owner(currency: string): Promise<User> {
  const user = person('somebody')
  await as(user, async (sql) => {
    await readProfile(sql, user)
    await changeProfile(sql, user, { currency })
    await sql`INSERT INTO portfolios (user_id) VALUES (${user.id})`
  })
  return user
}

/** Writes activities and what was derived of them in the place of what the user has. */
async function store(sql: UserSql, user: User, activities: readonly Activity[], { lots, closures }: Derived) {
  const rows = (list: readonly object[]) => JSON.stringify(list.map((row) => ({ ...row, user_id: user.id })))
  await sql`SELECT set_config('kerb.derived', 'yes', TRUE)`
  await sql`DELETE FROM activities`
  await sql`
    INSERT INTO activities (id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at, split_numerator,
      split_denominator, named_lots, note, short)
    SELECT id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at, (split ->> 'numerator')::numeric,
      (split ->> 'denominator')::numeric, lots, note, short
    FROM jsonb_to_recordset(${rows(activities)}::text::jsonb) AS a (id uuid, user_id uuid, kind text, asset_id integer,
      quantity numeric, price numeric, fees numeric, currency text, traded_at timestamptz, split jsonb, lots jsonb,
      note text, short boolean)`
  await sql`
    INSERT INTO lots (id, user_id, asset_id, currency, traded_at, quantity, opened_quantity, price, fees, cost)
    SELECT * FROM jsonb_to_recordset(${rows(lots)}::text::jsonb) AS l (id uuid, user_id uuid, asset_id integer,
      currency text, traded_at timestamptz, quantity numeric, opened_quantity numeric, price numeric, fees numeric,
      cost numeric)`
  await sql`
    INSERT INTO lot_closures (activity_id, lot_id, user_id, asset_id, quantity, cost, proceeds, currency, traded_at)
    SELECT * FROM jsonb_to_recordset(${rows(closures)}::text::jsonb) AS c (activity_id uuid, lot_id uuid, user_id uuid,
      asset_id integer, quantity numeric, cost numeric, proceeds numeric, currency text, traded_at timestamptz)`
}

async function storePrices(prices: readonly PortfolioPrice[]) {
  await live`DELETE FROM prices_current`
  await live`
    INSERT INTO prices_current (asset_id, price, currency, previous_close, eps, pe_ratio, pe_as_of, market_state, provider,
      as_of, updated_at)
    SELECT asset_id, price, currency, previous_close, eps, pe_ratio, pe_as_of, market_state, 'simulated', as_of, updated_at
    FROM jsonb_to_recordset(${JSON.stringify(prices)}::text::jsonb) AS p (asset_id integer, price numeric, currency text,
      previous_close numeric, eps numeric, pe_ratio numeric, pe_as_of timestamptz, market_state text, as_of timestamptz,
      updated_at timestamptz)`
}

async function storeDayRates(rates: readonly { currency: string; day: string; usd: string | null }[]) {
  await live`DELETE FROM fx_rates`
  await live`
    INSERT INTO fx_rates SELECT * FROM jsonb_to_recordset(${JSON.stringify(rates)}::text::jsonb)
      AS r (currency text, day date, usd numeric)`
}

const workedRates = Object.entries(worked.DAY_RATES).flatMap(([currency, days]) => {
  return Object.entries(days).map(([day, usd]) => ({ currency, day, usd }))
})
const ownAsset = (sql: UserSql, user: User) =>
  sql<{ asset_id: number }[]>`
    INSERT INTO own_assets (user_id, symbol, name, currency)
    VALUES (${user.id}, ${worked.CABIN.symbol}, ${worked.CABIN.name}, ${worked.CABIN.currency}) RETURNING asset_id`

/** A user with the worked portfolio, and how that user's cabin is called. */
async function workedOwner() {
  const user = await owner(worked.CURRENCY)
  const idOfOwn = new Map(ids)
  const activities = await as(user, async (sql) => {
    const [own] = await ownAsset(sql, user)
    idOfOwn.set('CABIN', own!.asset_id)
    // Ids are the whole server's: another user's copy has its own.
    const fresh = new Map<string, string>()
    const rename = (id: string) => fresh.get(id) ?? fresh.set(id, randomUUID()).get(id)!
    const all = worked
      .activities((symbol) => idOfOwn.get(symbol)!)
      .map((activity) => {
        const lots = activity.lots?.map((lot) => ({ ...lot, lot_id: rename(lot.lot_id) })) ?? null
        return { ...activity, id: rename(activity.id), lots, name: activity.id }
      })
    await store(
      sql,
      user,
      all,
      deriveAll(all, (id) => worked.SPLITS[symbolOf(id)] ?? [], NOW),
    )
    return all
  })
  return { user, activities, idOfOwn }
}
const symbolOf = (id: number): string => [...ids].find(([, known]) => known === id)?.[0] ?? ''

const urlOf = (database: string): string => {
  const url = new URL(server.url)
  url.pathname = `/${database}`
  return url.href
}

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url)
  live = openDatabase('live', server.url)
  for (const { symbol, asset_id } of await live<{ symbol: string; asset_id: number }[]>`
    SELECT symbol, min(asset_id) AS asset_id FROM assets GROUP BY symbol`)
    ids.set(symbol, asset_id)
})

afterAll(async () => {
  await live?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

beforeEach(async () => {
  // Their portfolios go with them. A hundred rows are deleted faster than a dozen tables are truncated.
  await live`DELETE FROM profiles`
  for (const table of ['fx_rates', 'prices_current', 'corporate_actions', 'portfolio_outbox'])
    await live.unsafe(`DELETE FROM ${table}`)
})

test('P1 portfolio_ratio rounds as the other one does', async () => {
  const amount = fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.integer({ min: 0, max: 20 }))
  const pairs = fc
    .sample(fc.tuple(amount, amount, fc.constantFrom(4, 10, 16)), { numRuns: 2_000, seed: 7 })
    .map(([a, b, places]) => {
      const [over, under] = [a, b].map(([n, p]) => text(decimal(String(n)).times(`1e-${p}`)))
      return { a: over!, b: under!, places }
    })
  const halves = ['0.00005', '-0.00005', '0.00004999999999999999999999', '2.5'].map((a) => ({ a, b: '1', places: 4 }))
  const given = [...pairs, ...halves].filter(({ b }) => b !== '0')
  const rows = await live<{ ratio: string }[]>`
    SELECT portfolio_ratio(a, b, places) AS ratio
    FROM jsonb_to_recordset(${JSON.stringify(given)}::text::jsonb) AS p (a numeric, b numeric, places integer)`
  expect(rows.map((row) => row.ratio)).toEqual(
    given.map(({ a, b, places }) => text(ratio(decimal(a), decimal(b), places))),
  )
  expect(await live`SELECT portfolio_ratio(1, 0, 4) AS ratio`).toEqual([{ ratio: null }])
})

describe('the worked portfolio', () => {
  test('P2 P4 P5 every figure of the views is that of its table', async () => {
    const { user, activities } = await workedOwner()
    await storePrices(worked.prices(assetId))
    await storeDayRates(workedRates)
    const { positions, portfolio } = await as(user, (sql) => readValued(sql, user.id))
    expect(positions).toHaveLength(worked.POSITIONS.length)
    for (const figures of worked.POSITIONS)
      expect(positions.find(({ symbol }) => symbol === figures.symbol)).toMatchObject(figures)
    expect(portfolio).toEqual({ ...worked.TOTALS, currency: 'EUR', version: expect.any(Number) })
    const sap = positions.find(({ symbol }) => symbol === 'SAP.DE')
    expect(sap).toMatchObject({ pe_ratio: null, pe_as_of: null, as_of: '2025-09-01T15:30:00Z', stale: null })

    const lots = await as(user, (sql) => readLots(sql, user.id, { limit: 100 }))
    expect(lots).toHaveLength(worked.LOTS.length)
    const names = new Map(activities.map(({ id, name }) => [id, name]))
    for (const { name, ...figures } of worked.LOTS)
      expect(
        lots.find(({ id }) => names.get(id) === worked.idOf(name)),
        name,
      ).toMatchObject(figures)
  })

  test('lots are read by asset, by id, open ones alone, and page by page, the latest first', async () => {
    const { user, activities } = await workedOwner()
    const read = (query: Parameters<typeof readLots>[2]) => as(user, (sql) => readLots(sql, user.id, query))
    const all = await read({ limit: 100 })
    expect(all.map(({ traded_at }) => traded_at)).toEqual(
      all
        .map(({ traded_at }) => traded_at)
        .toSorted()
        .reverse(),
    )
    expect((await read({ limit: 100, open: true })).every(({ quantity }) => quantity !== '0')).toBe(true)
    expect((await read({ limit: 100, open: true })).length).toBe(10)
    expect(await read({ limit: 9, assetIds: [assetId('AAPL')] })).toEqual(all.filter((lot) => lot.symbol === 'AAPL'))
    const id = activities[0]!.id
    expect(await read({ limit: 9, ids: [id] })).toEqual(all.filter((lot) => lot.id === id))
    const paged = [await read({ limit: 5 })]
    while (paged.at(-1)!.length > 0) paged.push(await read({ limit: 5, after: paged.at(-1)!.at(-1)! }))
    expect(paged.flat()).toEqual(all)
  })

  test('with ids only these positions are read, with what their figures need', async () => {
    const { user, idOfOwn } = await workedOwner()
    await storePrices(worked.prices(assetId))
    await storeDayRates(workedRates)
    const read = (assetIds: number[] | null) => as(user, (sql) => readPortfolio(sql, user.id, assetIds))
    const all = await read(null)
    for (const [symbols, needed] of [
      [['SAP.DE'], ['SAP.DE']],
      [
        ['AAPL', 'NESN.SW'],
        ['AAPL', 'CHFUSD=X', 'EURUSD=X', 'NESN.SW'],
      ],
      [['CABIN'], []],
      [[], []],
    ] as const) {
      const some = await read(symbols.map((symbol) => idOfOwn.get(symbol)!))
      expect(some.positions).toEqual(all.positions.filter(({ symbol }) => symbols.some((one) => one === symbol)))
      expect(some.prices.map(({ symbol }) => symbol).sort()).toEqual(needed)
    }
    expect((await read([0])).positions).toMatchObject([{ asset_id: 0, symbol: '', income: '2.723339272079409549' }])
    expect(all.rateSources).toHaveLength(2)
  })

  test('who has neither profile nor portfolio has nothing', async () => {
    const nobody = person('nobody')
    const nothing = { currency: 'USD', version: 0, positions: [], rateSources: [], prices: [] }
    expect(await as(nobody, (sql) => readPortfolio(sql, nobody.id, null))).toEqual(nothing)
    const portfolio = totalsOf([], { currency: 'USD', version: 0 })
    expect(await as(nobody, (sql) => readValued(sql, nobody.id))).toEqual({ positions: [], portfolio })
    expect(await as(nobody, (sql) => readLots(sql, nobody.id, { limit: 1 }))).toEqual([])
  })
})

describe('any portfolio', () => {
  const small = fc.tuple(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 0, max: 4 })).map(([n, p]) => {
    return text(decimal(String(n)).times(`1e-${p}`))
  })
  const day = fc.integer({ min: 1, max: 6 }).map((n) => `2025-05-0${n}`)
  const CURRENCIES = ['USD', 'EUR', 'CHF', 'SEK']
  const activity = fc.record({
    kind: fc.constantFrom(
      ...([
        'buy',
        'buy',
        'buy',
        'sell',
        'sell',
        'transfer_in',
        'transfer_out',
        'dividend',
        'interest',
        'fee',
        'split',
      ] as const),
    ),
    asset: fc.integer({ min: 0, max: 3 }),
    quantity: small,
    price: small,
    fees: fc.oneof(fc.constant('0'), small),
    currency: fc.constantFrom(...CURRENCIES),
    day,
    hour: fc.integer({ min: 10, max: 12 }),
    ratio: fc.constantFrom(['2', '1'], ['1', '3']),
  })
  const told = fc.option(
    fc.record({
      price: small,
      previous_close: fc.option(small),
      day,
      eps: fc.option(fc.constantFrom('-1', '2')),
      pe_ratio: fc.option(small),
    }),
    { freq: 12 },
  )
  const portfolio = fc.record({
    currency: fc.constantFrom('EUR', 'USD', 'SEK'),
    activities: fc.array(activity, { maxLength: 25 }),
    prices: fc.array(told, { minLength: 6, maxLength: 6 }),
    // Of three currencies on six days; a few are not known.
    dayRates: fc
      .array(fc.option(small, { freq: 25 }), { minLength: 18, maxLength: 18 })
      .map((known) =>
        known.map((usd, i) => ({ currency: CURRENCIES[1 + (i % 3)]!, day: `2025-05-0${1 + Math.floor(i / 3)}`, usd })),
      ),
  })

  test('P2 P3 the views and the code give the same, to the last digit; lots sum to positions, positions to totals', async () => {
    const user = await owner('EUR')
    const [own] = await as(user, (sql) => ownAsset(sql, user))
    const assets = [assetId('AAPL'), assetId('SAP.DE'), own!.asset_id]
    const SOURCES = ['EURUSD=X', 'CHFUSD=X', 'USDSEK=X']
    const priced = [...['AAPL', 'SAP.DE', 'NESN.SW'], ...SOURCES].map(assetId)
    const names = new Map<number, Named>([
      [own!.asset_id, { ...worked.CABIN, type: 'own' }],
      ...(await live<(Named & { asset_id: number })[]>`SELECT asset_id, symbol, name, type, currency FROM assets`).map(
        ({ asset_id, ...named }): [number, Named] => [asset_id, named],
      ),
    ])
    let seen = 0
    const check = fc.asyncProperty(portfolio, async (given) => {
      const activities = given.activities.map(
        (one, i): Activity => ({
          ...one,
          id: `00000000-0000-4000-9000-${String(i).padStart(12, '0')}`,
          asset_id: assets[one.asset] ?? (one.kind === 'fee' || one.kind === 'interest' ? null : assets[0]!),
          traded_at: `${one.day}T${one.hour}:00:00Z`,
          split: one.kind === 'split' ? { numerator: one.ratio[0]!, denominator: one.ratio[1]! } : null,
          lots: null,
          note: null,
          short: true,
        }),
      )
      const derived = deriveAll(activities, () => [], NOW)
      const prices = given.prices.flatMap((one, i): PortfolioPrice[] => {
        if (one === null) return []
        const { symbol, currency } = names.get(priced[i]!)!
        const at = `${one.day}T20:00:00.25Z`
        const rest = {
          pe_as_of: one.pe_ratio && at,
          market_state: null,
          as_of: at,
          updated_at: at,
          change24h: null,
          stale: null,
        }
        const { price, previous_close, eps, pe_ratio } = one
        return [{ asset_id: priced[i]!, symbol, price, currency, previous_close, eps, pe_ratio, ...rest }]
      })
      const dayRates = new Map(given.dayRates.map((one) => [`${one.currency} ${one.day}`, one]))
      await storePrices(prices)
      // It wants rates, and fills those that the prices tell: the given ones take their place.
      await as(user, (sql) => changeProfile(sql, user, { currency: given.currency }))
      await storeDayRates([...dayRates.values()])
      const read = await as(user, async (sql) => {
        await store(sql, user, activities, derived)
        const all = await readPortfolio(sql, user.id, null)
        return { ...(await readValued(sql, user.id)), all, lots: await readLots(sql, user.id, { limit: 1_000 }) }
      })

      const bases = basesOf(
        { activities, currency: given.currency, now: NOW, named: (id) => names.get(id)! },
        derived,
        (currency, on) => dayRates.get(`${currency} ${on}`)?.usd ?? null,
      )
      const byAsset = new Map(read.all.prices.map((price) => [price.asset_id, price]))
      const rates = ratesOf(read.all.rateSources, byAsset)
      const value = (base: (typeof bases.positions)[number]) =>
        valuePosition(base, byAsset.get(base.asset_id) ?? null, rates, given.currency)
      expect(read.positions).toEqual(bases.positions.map(value))
      expect(read.all.positions.map(value)).toEqual(read.positions)
      expect(read.portfolio).toEqual(totalsOf(read.positions, read.portfolio))
      expect(read.portfolio).toMatchObject({ currency: given.currency, version: read.all.version })
      const lots = bases.lots.map(({ paid: _, ...base }) => {
        return valueLot(base, byAsset.get(base.asset_id) ?? null, rates, given.currency)
      })
      expect(read.lots).toEqual(lots.toSorted((a, b) => (a.traded_at + a.id < b.traded_at + b.id ? 1 : -1)))

      for (const position of read.positions)
        for (const key of ['quantity', 'invested', 'present_value', 'gain_loss', 'day_change'] as const) {
          const parts = read.lots.filter((lot) => lot.asset_id === position.asset_id).map((lot) => lot[key])
          if (parts.includes(null)) continue
          expect(text(parts.reduce((sum, part) => sum.plus(part!), decimal('0'))), key).toBe(position[key])
        }
      seen += read.positions.filter(({ gain_loss, lots: open }) => open > 0 && gain_loss !== null).length
    })
    await fc.assert(check, { numRuns: 25 })
    // Not everything was unknown.
    expect(seen).toBeGreaterThan(5)
  })
})

describe('what triggers and functions tell', () => {
  const outbox = async () => {
    const rows = await live`DELETE FROM portfolio_outbox RETURNING id, user_id, asset_id, derive`
    return rows.toSorted((a, b) => a.id - b.id).map(({ user_id, asset_id, derive }) => ({ user_id, asset_id, derive }))
  }
  const version = async (user: User) =>
    (await live`SELECT version FROM portfolios WHERE user_id = ${user.id}`)[0]?.version
  const buy = (id: number | null, change: Partial<Activity> = {}): Activity => ({
    id: randomUUID(),
    kind: 'buy',
    asset_id: id,
    quantity: '1',
    price: '10',
    fees: '0',
    currency: 'USD',
    traded_at: '2025-05-05T10:00:00Z',
    split: null,
    lots: null,
    note: null,
    short: false,
    ...change,
  })
  const write = (user: User, activities: Activity[]) =>
    as(user, async (sql) => {
      await store(
        sql,
        user,
        activities,
        deriveAll(activities, () => [], NOW),
      )
      await sql`SELECT portfolio_derived(${user.id})`
    })

  test('P7 the version rises with every statement that changes something, and with none that does not', async () => {
    const user = await owner('USD')
    const other = await owner('USD')
    const before = await version(user)
    await write(user, [buy(assetId('AAPL')), buy(assetId('MSFT'))])
    // One statement for activities, one for lots; that for closures had nothing.
    expect(Number(await version(user)) - Number(before)).toBe(2)
    await as(user, (sql) => sql`UPDATE lots SET quantity = 5 WHERE FALSE`)
    expect(Number(await version(user)) - Number(before)).toBe(2)
    await as(user, (sql) => sql`UPDATE activities SET note = 'x'`)
    expect(Number(await version(user)) - Number(before)).toBe(3)
    expect(await version(other)).toBe('0')
  })

  test('what Kerb has derived is told once; what somebody else has changed is to be derived', async () => {
    const user = await owner('USD')
    const [aapl, msft] = [assetId('AAPL'), assetId('MSFT')].sort((a, b) => a - b) as [number, number]
    const fee = buy(null, { kind: 'fee' })
    await write(user, [buy(aapl), buy(msft), fee])
    const row = (asset_id: number, derive: boolean) => ({ user_id: user.id, asset_id, derive })
    expect(await outbox()).toEqual([row(0, false), row(aapl, false), row(msft, false)])
    await live`UPDATE activities SET quantity = 2 WHERE asset_id = ${aapl}`
    expect(await outbox()).toEqual([row(aapl, true)])
    await live`UPDATE activities SET asset_id = ${msft} WHERE asset_id = ${aapl}`
    expect(await outbox()).toEqual([row(aapl, true), row(msft, true)])
    await live`UPDATE lots SET quantity = 2`
    expect(await outbox()).toEqual([row(aapl, true), row(msft, true)])
    await live`DELETE FROM activities WHERE id = ${fee.id}`
    expect(await outbox()).toEqual([row(0, true)])
    await live`DELETE FROM profiles`
    // The object is told of the portfolio that is gone, and of its user.
    const gone = { user_id: user.id, asset_id: null, derive: false }
    expect([await outbox(), await live`SELECT FROM asset_watches`]).toEqual([[gone, gone], []])
  })

  test('a split that the market tells of concerns whoever has had the asset, a dividend nobody', async () => {
    const [user, other] = [await owner('USD'), await owner('USD')]
    const aapl = assetId('AAPL')
    await write(user, [buy(aapl)])
    await write(other, [buy(assetId('MSFT'))])
    await outbox()
    const derive = [{ user_id: user.id, asset_id: aapl, derive: true }]
    await live`INSERT INTO corporate_actions (asset_id, ex_date, kind, amount) VALUES (${aapl}, '2025-06-01', 'dividend', 1)`
    expect(await outbox()).toEqual([])
    await live`INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
      VALUES (${aapl}, '2025-06-01', 'split', 2, 1)`
    expect(await outbox()).toEqual(derive)
    await live`UPDATE corporate_actions SET numerator = 3 WHERE kind = 'split'`
    expect(await outbox()).toEqual(derive)
    await live`DELETE FROM corporate_actions`
    expect(await outbox()).toEqual(derive)
  })

  test('another currency or interval is told, changes the version and what is watched; another name does not', async () => {
    const user = await owner('EUR')
    const watched = () => live`
      SELECT symbol, interval_seconds FROM asset_watches JOIN assets USING (asset_id) WHERE user_id = ${user.id} ORDER BY 1`
    const both = { ...buy(assetId('NESN.SW')), id: randomUUID(), currency: 'CHF' }
    const sold = [buy(assetId('MSFT'), { traded_at: '2025-05-04T10:00:00Z' }), buy(assetId('MSFT'), { kind: 'sell' })]
    await write(user, [buy(assetId('AAPL')), both, ...sold])
    const at = (symbols: string[], interval_seconds: number | null) =>
      symbols.map((symbol) => ({ symbol, interval_seconds }))
    expect(await watched()).toEqual(at(['AAPL', 'CHFUSD=X', 'EURUSD=X', 'NESN.SW'], null))
    await outbox()
    const before = Number(await version(user))
    await as(user, (sql) => changeProfile(sql, user, { name: 'other' }))
    expect([await outbox(), Number(await version(user))]).toEqual([[], before])
    await as(user, (sql) => changeProfile(sql, user, { currency: 'USD', refresh_interval_seconds: 30 }))
    expect(await outbox()).toEqual([{ user_id: user.id, asset_id: null, derive: false }])
    expect(Number(await version(user))).toBe(before + 1)
    expect(await watched()).toEqual(at(['AAPL', 'CHFUSD=X', 'NESN.SW'], 30))
  })

  test('the histories that somebody waits for come first: those of rates that are missing, then those of what is held', async () => {
    await live`DELETE FROM asset_history`
    await live`DELETE FROM fx_rates`
    await live`DELETE FROM prices_current`
    const user = await owner('EUR')
    await write(user, [{ ...buy(assetId('NESN.SW')), id: randomUUID(), currency: 'CHF' }])
    const first = await live<{ symbol: string }[]>`
      SELECT symbol FROM asset_history JOIN assets USING (asset_id) ORDER BY next_attempt_at, symbol`
    expect(first.map(({ symbol }) => symbol)).toEqual(['CHFUSD=X', 'EURUSD=X', 'NESN.SW'])
  })

  describe('rates of days', () => {
    const closes = (symbol: string, table: 'daily' | 'weekly' | 'monthly', rows: [string, string][]) =>
      live.unsafe(
        `INSERT INTO price_history_${table} SELECT $1, day, close, close, close, close, NULL
          FROM jsonb_to_recordset($2::text::jsonb) AS d (day date, close numeric)`,
        [assetId(symbol), JSON.stringify(rows.map(([on, close]) => ({ day: on, close })))],
      )
    const rates = async () => {
      const rows = await live<{ currency: string; day: string; usd: string | null }[]>`
        SELECT currency, day::text, usd FROM fx_rates ORDER BY 1, 2`
      return rows.map(({ currency, day: on, usd }) => [currency, on, usd])
    }
    const on = (currency: string, ...days: string[]) =>
      days.map((one) => buy(assetId('AAPL'), { currency, traded_at: `${one}T23:59:59Z` }))

    beforeEach(async () => {
      for (const table of ['daily', 'weekly', 'monthly']) await live.unsafe(`DELETE FROM price_history_${table}`)
    })

    test('P3 are the last close on or before the day, from the finest that there is, and never one of later', async () => {
      await closes('EURUSD=X', 'daily', [
        ['2025-05-02', '1.1'],
        ['2025-05-05', '1.2'],
      ])
      await closes('EURUSD=X', 'weekly', [
        ['2025-04-14', '1.3'],
        ['2025-04-21', '1.4'],
      ])
      await closes('EURUSD=X', 'monthly', [
        ['2025-01-01', '1.5'],
        ['2025-02-01', '1.6'],
      ])
      const user = await owner('USD')
      await write(
        user,
        on('EUR', '2025-05-05', '2025-05-04', '2025-04-30', '2025-04-26', '2025-03-30', '2025-02-27', '2025-01-30'),
      )
      expect(await rates()).toEqual([
        ['EUR', '2025-01-30', null],
        ['EUR', '2025-02-27', '1.5'],
        ['EUR', '2025-03-30', '1.6'],
        ['EUR', '2025-04-26', '1.3'],
        ['EUR', '2025-04-30', '1.4'],
        ['EUR', '2025-05-04', '1.1'],
        ['EUR', '2025-05-05', '1.2'],
      ])
    })

    test('are wanted of both currencies, of whichever way there is, and not where none is needed', async () => {
      await closes('USDSEK=X', 'daily', [['2025-05-05', '9.6']])
      const user = await owner('EUR')
      await write(user, [
        ...on('SEK', '2025-05-05'),
        ...on('EUR', '2025-05-06'),
        ...on('USD', '2025-05-07'),
        buy(null, { kind: 'fee', currency: 'CHF', traded_at: '2025-05-08T10:00:00Z' }),
      ])
      expect(await rates()).toEqual([
        ['CHF', '2025-05-08', null],
        ['EUR', '2025-05-05', null],
        ['EUR', '2025-05-07', null],
        ['EUR', '2025-05-08', null],
        ['SEK', '2025-05-05', '0.1041666666666667'],
      ])
    })

    test('that come later are filled, once, and those whose figures they change are told', async () => {
      const [user, other] = [await owner('EUR'), await owner('USD')]
      await write(user, on('USD', '2025-05-05'))
      await write(other, on('USD', '2025-05-05'))
      await outbox()
      expect([await fillRates(live), await outbox()]).toEqual([0, []])
      const before = Number(await version(user))
      await closes('EURUSD=X', 'daily', [['2025-05-05', '1.2']])
      expect(await fillRates(live)).toBe(1)
      expect(await outbox()).toEqual([{ user_id: user.id, asset_id: null, derive: false }])
      expect(Number(await version(user))).toBe(before + 1)
      await live`UPDATE price_history_daily SET close = 9`
      expect([await fillRates(live), await rates()]).toEqual([0, [['EUR', '2025-05-05', '1.2']]])
    })

    test('of today are the price of now', async () => {
      await storePrices(worked.prices(assetId))
      await live`UPDATE prices_current SET as_of = now() - INTERVAL '3 days'`
      const user = await owner('USD')
      const today = new Date().toISOString().slice(0, 10)
      const trade = buy(assetId('AAPL'), { currency: 'EUR', traded_at: `${today}T00:00:00Z` })
      await as(user, async (sql) => {
        await store(
          sql,
          user,
          [trade],
          deriveAll([trade], () => [], `${today}T00:00:00Z`),
        )
        await sql`SELECT portfolio_derived(${user.id})`
      })
      expect(await rates()).toEqual([['EUR', today, '1.1725']])
    })
  })

  test('P8 nobody derives for another, fills rates, or tells the outbox', async () => {
    const [user, other] = [await owner('USD'), await owner('USD')]
    await expect(as(user, (sql) => sql`SELECT portfolio_derived(${other.id})`)).rejects.toThrow('only for the user')
    for (const text of [
      'SELECT fill_fx_rates()',
      `SELECT want_for_portfolio('${user.id}')`,
      'SELECT * FROM portfolio_outbox',
      'SELECT * FROM asset_watches',
      `INSERT INTO fx_rates VALUES ('EUR', '2025-01-01', 2)`,
    ])
      await expect(
        as(user, async (sql) => sql.unsafe(text)),
        text,
      ).rejects.toThrow('permission denied')
    await expect(live`SELECT portfolio_derived(${user.id})`).rejects.toThrow('only for the user')
  })

  test('P8 nobody has an asset of another’s own', async () => {
    const [user, other] = [await owner('USD'), await owner('USD')]
    const [own] = await as(other, (sql) => ownAsset(sql, other))
    await expect(write(user, [buy(own!.asset_id)])).rejects.toThrow('foreign key')
    await expect(write(other, [buy(own!.asset_id)])).resolves.toBeUndefined()
  })
})

describe('P8 row level security', () => {
  type Owned = { name: string; kind: string; secured: boolean }
  const owned = (sql: LiveSql) => sql<Owned[]>`
    SELECT c.relname AS name, c.relkind AS kind,
      CASE c.relkind WHEN 'v' THEN coalesce(c.reloptions @> ARRAY['security_invoker=true'], FALSE)
        ELSE c.relrowsecurity END AS secured
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1`

  /** Whose rows a user must not even be shown empty. */
  const CLOSED = ['asset_watches', 'auth_accounts', 'auth_sessions', 'portfolio_outbox']

  test('without a WHERE, everything that has an owner shows the owner’s rows alone', async () => {
    const users = [(await workedOwner()).user, (await workedOwner()).user]
    for (const { id } of users) {
      await live`INSERT INTO idempotency_keys VALUES (${id}, 'key', '00', 200, '{}', '')`
      await live`INSERT INTO auth_users (id, name, email) VALUES (${id}, 'x', ${`${id}@example.com`})`
      await live`INSERT INTO auth_sessions (id, token, user_id, expires_at)
        VALUES (gen_random_uuid(), md5(${id}) || md5(${id}), ${id}, now())`
      await live`INSERT INTO auth_accounts (id, user_id, issuer, account_id, provider_id)
        VALUES (gen_random_uuid(), ${id}, 'x', ${id}, 'x')`
      await as({ id }, (sql) => sql`SELECT portfolio_derived(${id})`)
    }
    const tables = await owned(live)
    expect(tables.map(({ name }) => name)).toEqual(expect.arrayContaining([...CLOSED, 'lots', 'positions_view']))
    for (const { name, secured } of tables) {
      expect(secured, `${name} is not secured`).toBe(true)
      const owners = (await live.unsafe(`SELECT DISTINCT user_id FROM ${name}`)).map((row) => row.user_id)
      // A table that is new has to be filled above, for both: else nothing here is proved.
      for (const { id } of users) expect(owners, `${name} has no row to hide`).toContain(id)
      for (const { id } of users) {
        const seen = as({ id }, async (sql) => sql.unsafe(`SELECT DISTINCT user_id FROM ${name}`))
        if (CLOSED.includes(name)) await expect(seen, name).rejects.toThrow('permission denied')
        else expect([...(await seen)], name).toEqual([{ user_id: id }])
      }
    }
    await live`DELETE FROM auth_users`
  })

  test('without a WHERE, nobody changes or deletes what is another’s, or writes in another’s name', async () => {
    const [user, other] = [(await workedOwner()).user, (await workedOwner()).user]
    const counts = () => live`SELECT (SELECT count(*) FROM activities WHERE user_id = ${other.id}) AS activities,
      (SELECT sum(cost) FROM lots WHERE user_id = ${other.id}) AS cost`
    const before = await counts()
    await as(user, async (sql) => {
      await sql`UPDATE lots SET cost = 0`
      await sql`DELETE FROM lot_closures`
      await sql`DELETE FROM activities`
    })
    expect(await counts()).toEqual(before)
    const own = person('x')
    for (const text of [
      `INSERT INTO own_assets (user_id, symbol, name, currency) VALUES ('${other.id}', 'X', 'X', 'USD')`,
      `UPDATE portfolios SET user_id = '${own.id}'`,
    ])
      await expect(as(user, async (sql) => sql.unsafe(text))).rejects.toThrow('row-level security')
  })

  test('migrations run where Supabase has its schema, its roles and its grants; its clients are shown nothing', async () => {
    const admin = openDatabase('live', urlOf('postgres'))
    await admin.unsafe('CREATE DATABASE supabase')
    await admin.end()
    const sql = openDatabase('live', urlOf('supabase'))
    for (const role of ['anon', 'authenticated', 'service_role'])
      await sql.unsafe(`CREATE ROLE ${role} NOLOGIN ${role === 'service_role' ? 'BYPASSRLS' : ''}`)
    await sql.unsafe(`
      CREATE SCHEMA auth;
      CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
      GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
      ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
      ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;`)
    await migrate(urlOf('supabase'))
    const ada = person('Ada')
    await as(ada, (user) => readProfile(user, ada), urlOf('supabase'))
    expect(await as(ada, (user) => readValued(user, ada.id), urlOf('supabase'))).toMatchObject({ positions: [] })
    const tried = (role: string, query: string) =>
      sql.begin(async (transaction) => {
        const claims = JSON.stringify({ sub: ada.id, role })
        await transaction`SELECT set_config('role', ${role}, TRUE), set_config('request.jwt.claims', ${claims}, TRUE)`
        return transaction.unsafe(query)
      })
    for (const role of ['anon', 'authenticated']) {
      for (const { name } of await owned(sql))
        await expect(tried(role, `SELECT * FROM ${name}`), `${role} ${name}`).rejects.toThrow('permission denied')
      for (const call of ['fill_fx_rates()', `portfolio_derived('${ada.id}')`, `want_for_portfolio('${ada.id}')`])
        await expect(tried(role, `SELECT ${call}`), `${role} ${call}`).rejects.toThrow('permission denied')
    }
    expect([...(await tried('service_role', 'SELECT user_id FROM portfolio_totals_view'))]).toEqual([
      { user_id: ada.id },
    ])
    await sql.end()
  })
})
