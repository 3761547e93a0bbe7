import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { UserPortfolio } from '../../../durable-objects/portfolio/user-portfolio.ts'
import type { WatchCounts } from '../../../durable-objects/quotes/watch-counts.ts'
import type { NewActivity } from '../../../src/db/activities.ts'
import { withLiveDatabase, withUserDatabase } from '../../../src/db/client.ts'
import { fillFxRates } from '../../../src/db/portfolio-outbox.ts'
import { readLots } from '../../../src/db/portfolio-views.ts'
import { userPortfolio } from '../../../src/objects.ts'
import { CLOSE_CODES } from '../../../src/protocol/errors.ts'
import {
  type EnrichedPortfolio,
  type PortfolioPrice,
  type Position,
  portfolioMessageSchema,
  type Totals,
} from '../../../src/protocol/portfolio.ts'
import { MINUTE_MS } from '../../../src/time.ts'
import * as cron from '../../../workers/jobs/portfolios.ts'
import { sendRefreshPlans } from '../../../workers/jobs/quotes.ts'
import { createMember } from '../support/person.ts'
import {
  assetIds,
  buyActivity,
  type ClientState,
  createUser,
  openPortfolioSocket,
  portfolioPrice,
  storePrices,
  type User,
} from '../support/portfolio-client.ts'
import { openSocket, setDatabaseOpen, waitFor } from '../support/wire.ts'

type Asset = { id: number; currency: string; symbol: string }
const SYMBOLS = ['AAPL', 'MSFT', 'SAP.DE', 'BTC', 'EURUSD=X'] as const
let assets: Record<(typeof SYMBOLS)[number], Asset>

const sql = (text: string, ...values: (string | number)[]) =>
  withLiveDatabase(env, (live) => live.unsafe(text, values as string[]))

/** As the views say it: they know nothing of how old a price is, and write times with fewer zeros. */
function unaged({ portfolio, positions }: { portfolio: Totals | null; positions: Position[] }) {
  const time = (text: string | null) => text && new Date(text).toISOString()
  return {
    portfolio,
    positions: positions.map(({ stale: _, as_of, updated_at, pe_as_of, ...position }) => {
      return { ...position, as_of: time(as_of), updated_at: time(updated_at), pe_as_of: time(pe_as_of) }
    }),
  }
}

type Reader = Awaited<ReturnType<User['open']>>
const opened: { close(): void }[] = []
const open = async (user: Pick<User, 'open'>, channels: string[]): Promise<Reader> => {
  const reader = await user.open()
  opened.push(reader)
  await reader.subscribe(channels)
  return reader
}

/** A new asset that nobody else in this file has, without a price. */
async function newAsset(symbol: string, { type = 'stock', code = symbol, currency = 'USD', provider = 'yahoo' } = {}) {
  const [row] = await sql(
    `INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
     VALUES ($1, $1, $2, $2, $3, $4, $1, $5) RETURNING asset_id AS id`,
    symbol,
    type,
    code,
    provider,
    currency,
  )
  return { id: (row as unknown as { id: number }).id, symbol, currency }
}

/** What a page of the portfolio knows when it has all that its object has: lots of a snapshot are read first. */
async function settled(user: User, reader: Reader): Promise<ClientState> {
  return waitFor('all that there is', async () => {
    const told = await reader.clientState()
    return told.position === (await user.object.status()).position ? told : null
  })
}

/** The page has what the views say, and what a page that comes now has. */
async function expectWhole(user: User, reader: Reader): Promise<void> {
  const told = (await settled(user, reader)).state
  expect(unaged(told)).toEqual(unaged(await user.valued()))
  const fresh = await open(user, ['portfolio'])
  expect((await fresh.clientState()).state).toEqual(told)
  fresh.close()
}

async function move({ object }: Pick<User, 'object'>, ...prices: PortfolioPrice[]): Promise<void> {
  await storePrices(prices)
  await object.updatePrices(prices)
}

const drain = (now = Date.now()) => cron.drainPortfolios(env, now)

beforeAll(async () => {
  const found = await assetIds(...SYMBOLS)
  assets = Object.fromEntries(SYMBOLS.map((symbol) => [symbol, { symbol, ...found[symbol] }])) as typeof assets
})
beforeEach(async () => {
  vi.spyOn(console, 'log').mockImplementation(() => {})
  await storePrices([
    portfolioPrice(assets.AAPL, '150', { previous_close: '149' }),
    portfolioPrice(assets.MSFT, '400', { previous_close: '401' }),
    portfolioPrice(assets['SAP.DE'], '120', { previous_close: '118' }),
    portfolioPrice(assets['EURUSD=X'], '1.1', { previous_close: '1.09' }),
  ])
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const reader of opened.splice(0)) reader.close()
  await setDatabaseOpen(true)
})

/** Somebody with one lot of each of AAPL and SAP.DE. */
async function investor(currency = 'USD'): Promise<User & { lots: NewActivity[] }> {
  const user = await createUser(currency)
  const lots = [
    buyActivity(assets.AAPL, { quantity: '2', price: '100', fees: '1' }),
    buyActivity(assets['SAP.DE'], {
      quantity: '3',
      price: '90',
      traded_at: new Date(Date.now() - 60_000).toISOString(),
    }),
  ]
  await user.write({ insert: lots })
  return { ...user, lots }
}

describe('P7 what is written and not told', () => {
  test('comes with the next run of cron, also when what was written after it was told', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio', 'asset.AAPL'])
    await drain()
    // The Worker dies between the commit and the telling of the first.
    await user.write({ insert: [buyActivity(assets.AAPL, { quantity: '5' })] })
    await user.change({ insert: [buyActivity(assets.MSFT, { quantity: '7' })] })
    expect((await reader.clientState()).positions.get(assets.AAPL.id)?.quantity).toBe('2')
    await drain()
    await expectWhole(user, reader)
    const lots = [...(await reader.clientState()).lots.values()].filter(({ asset_id }) => asset_id === assets.AAPL.id)
    expect(lots.map(({ quantity }) => quantity).sort()).toEqual(['2', '5'])
  })

  test('comes with a refresh, lots included', async () => {
    const user = await investor()
    const reader = await open(user, ['asset.AAPL'])
    await user.write({ insert: [buyActivity(assets.AAPL, { quantity: '5' })] })
    await user.change({ insert: [buyActivity(assets.MSFT, { quantity: '7' })] })
    await user.object.refresh()
    const lots = [...(await settled(user, reader)).lots.values()]
    expect(lots.map(({ quantity }) => quantity).sort()).toEqual(['2', '5'])
  })

  test('is not read again where all was told, in whatever order and however often', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    await drain()
    const changes = [
      await user.write({ insert: [buyActivity(assets.AAPL, { quantity: '5' })] }),
      await user.write({ insert: [buyActivity(assets.MSFT, { quantity: '7' })] }),
      await user.write({ insert: [buyActivity(assets['SAP.DE'], { quantity: '9' })] }),
    ] as const
    for (const i of [2, 0, 2, 1, 0] as const) await user.object.applyChange(changes[i])
    await expectWhole(user, reader)
    const { loads, version } = await user.object.status()
    expect(version).toBe(changes[2].version)
    await drain()
    for (const change of changes) await user.object.applyChange(change)
    expect((await user.object.status()).loads).toBe(loads)
  })

  test('two pages write at once, and both have all of it', async () => {
    const user = await investor()
    const pages = [await open(user, ['portfolio']), await open(user, ['portfolio'])]
    const writes = [assets.AAPL, assets.MSFT, assets.AAPL, assets['SAP.DE']].map((asset, i) =>
      user.change({ insert: [buyActivity(asset, { quantity: `${i + 1}` })] }),
    )
    await Promise.all(writes)
    for (const page of pages) await expectWhole(user, page)
  })

  test('what was written is known wherever the object dies', async () => {
    const user = await investor()
    await open(user, ['portfolio'])
    const object = () => userPortfolio(env, user.id)
    const kill = () =>
      runInDurableObject(object() as never, (_: unknown, ctx: DurableObjectState) => ctx.abort('a test')).catch(
        () => {},
      )
    for (const step of ['before', 'while', 'after']) {
      const change = await user.write({ insert: [buyActivity(assets.AAPL, { quantity: '1' })] })
      if (step === 'before') await kill()
      const telling = object()
        .applyChange(change)
        .catch(() => 'dead')
      if (step === 'while') await kill()
      await telling
      if (step === 'after') await kill()
      await drain()
      const reader = await openPortfolioSocket(object(), Date.now() + 60_000)
      opened.push(reader)
      await reader.subscribe(['portfolio'])
      expect(unaged((await reader.clientState()).state)).toEqual(unaged(await user.valued()))
    }
  })

  test('the object sleeps before and after each step, with its socket open', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    const sleep = () => evictDurableObject(user.object)
    await sleep()
    await move(user, portfolioPrice(assets.AAPL, '151', { previous_close: '149' }))
    await sleep()
    await user.change({ insert: [buyActivity(assets.AAPL, { quantity: '1' })] })
    await sleep()
    await sql('DELETE FROM activities WHERE id = $1', user.lots[0]!.id)
    await drain()
    await sleep()
    await move(user, portfolioPrice(assets['EURUSD=X'], '1.2', { previous_close: '1.09' }))
    await sleep()
    await expectWhole(user, reader)
    expect(reader.closed()).toBe(null)
  })
})

describe('the database goes away', () => {
  test('while much is written: each write is there or is not, and cron tells what nobody could', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    const writes = Array.from({ length: 24 }, (_, i) =>
      user
        .write({
          insert: [
            buyActivity(assets.AAPL, { quantity: '1', fees: `${i}` }),
            buyActivity(assets.MSFT, { quantity: '1' }),
          ],
        })
        .then(
          (change) =>
            user.object.applyChange(change).then(
              () => 'told',
              () => 'untold',
            ),
          () => 'refused',
        ),
    )
    await scheduler.wait(40)
    await setDatabaseOpen(false)
    const outcomes = await Promise.all(writes)
    await setDatabaseOpen(true)
    const [row] = await sql(
      `SELECT count(*) FILTER (WHERE asset_id = $2)::int AS apples, count(*) FILTER (WHERE asset_id = $3)::int AS others
       FROM activities WHERE user_id = $1`,
      user.id,
      assets.AAPL.id,
      assets.MSFT.id,
    )
    const { apples, others } = row as unknown as { apples: number; others: number }
    // One that was cut off in its commit may be there all the same.
    expect(apples - 1).toBe(others)
    expect(others).toBeGreaterThanOrEqual(outcomes.filter((outcome) => outcome !== 'refused').length)
    expect(outcomes).toContain('refused')
    await drain()
    await expectWhole(user, reader)
  })

  test('while the first page loads: it is told so, and has all when it asks again', async () => {
    const user = await investor()
    const reader = await user.open()
    opened.push(reader)
    await setDatabaseOpen(false)
    expect(await reader.subscribe(['portfolio'])).toMatchObject({ code: 'unavailable' })
    await setDatabaseOpen(true)
    expect(await reader.subscribe(['portfolio'])).toMatchObject({ type: 'subscribed', recovered: false })
    await expectWhole(user, reader)
  })

  test('while the outbox drains: its rows stay, and the next run tells them once', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    await drain()
    await sql('DELETE FROM activities WHERE id = $1', user.lots[0]!.id)
    const applyChange = UserPortfolio.prototype.applyChange
    vi.spyOn(UserPortfolio.prototype, 'applyChange').mockImplementationOnce(async function (
      this: UserPortfolio,
      change,
    ) {
      await setDatabaseOpen(false)
      return applyChange.call(this, change)
    })
    await expect(drain()).rejects.toThrow()
    await setDatabaseOpen(true)
    expect((await reader.clientState()).positions.get(assets.AAPL.id)?.quantity).toBe('2')
    // The next run of cron, when the claim of this one has expired.
    const next = Date.now() + MINUTE_MS
    await drain(next)
    await expectWhole(user, reader)
    expect(await drain(next)).toEqual({ notified: 0 })
  })
})

describe('boards', () => {
  test('that cannot be reached make prices stale; the open page has them fresh again by itself', async () => {
    const user = await investor()
    let away = true
    const follow = vi.fn(async (): Promise<PortfolioPrice[]> => {
      if (away) throw new Error('away')
      return [portfolioPrice(assets.AAPL, '155', { previous_close: '149' })]
    })
    await runInDurableObject(user.object as never, (object: UserPortfolio) => {
      Object.assign(object, { board: () => ({ subscribe: follow, lookup: async () => [] }) })
    })
    const reader = await open(user, ['portfolio'])
    expect((await reader.clientState()).positions.get(assets.AAPL.id)).toMatchObject({
      cmp: '150',
      stale: 'unavailable',
    })
    const refreshedAt = async () =>
      (JSON.parse((await user.object.enriched()) as string) as EnrichedPortfolio).refreshed_at
    const before = await refreshedAt()
    await scheduler.wait(5)
    expect(await refreshedAt()).toBe(before)
    away = false
    await waitFor('a fresh price', async () => {
      const position = (await reader.clientState()).positions.get(assets.AAPL.id)
      return position?.cmp === '155' && position.stale === null ? true : null
    })
  })

  test('an older word of a provider, or of the market, moves nothing back', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    const at = (ms: number) => new Date(Date.now() + ms).toISOString()
    await user.object.updatePrices([portfolioPrice(assets.AAPL, '160', { as_of: at(1_000), updated_at: at(1_000) })])
    const before = reader.frames.length
    await user.object.updatePrices([
      portfolioPrice(assets.AAPL, '140', { as_of: at(-60_000), updated_at: at(-60_000) }),
    ])
    await user.object.updatePrices([portfolioPrice(assets.AAPL, '141', { as_of: at(-60_000), updated_at: at(2_000) })])
    // Postgres is behind as well.
    await user.object.refresh()
    expect((await reader.clientState()).positions.get(assets.AAPL.id)?.cmp).toBe('160')
    expect(reader.types().slice(before)).not.toContain('price_update')
  })

  test('an asset that is made inactive is not told as fresh any more', async () => {
    const gone = await newAsset('GONE')
    await storePrices([portfolioPrice(gone, '10')])
    await sendRefreshPlans(env, Date.now() - 1_000)
    const user = await createUser()
    await user.write({ insert: [buyActivity(gone, { quantity: '2' })] })
    const reader = await open(user, ['portfolio'])
    expect((await reader.clientState()).positions.get(gone.id)).toMatchObject({ cmp: '10' })
    await sql('UPDATE assets SET active = FALSE WHERE asset_id = $1', gone.id)
    await sendRefreshPlans(env, Date.now())
    await waitFor('that it is stale', async () =>
      (await reader.clientState()).positions.get(gone.id)?.stale ? true : null,
    )
    await evictDurableObject(user.object)
    expect((await reader.clientState()).positions.get(gone.id)).toMatchObject({ cmp: '10', present_value: '20' })
  })
})

describe('an asset that a page has open', () => {
  const due = async (id: number) =>
    runInDurableObject(env.QUOTE_BOARD.getByName('simulated:0'), (board) =>
      (board as unknown as { watches: WatchCounts }).watches.since(id),
    )

  test('Q2 is refreshed as often as an open quote is, unless it is held; until the page has closed it', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio', 'asset.MSFT', 'asset.AAPL'])
    expect(await due(assets.MSFT.id)).toBeGreaterThan(Date.now() - 60_000)
    expect(await due(assets.AAPL.id)).toBe(null)
    await evictDurableObject(env.QUOTE_BOARD.getByName('simulated:0'))
    expect(await due(assets.MSFT.id)).toBeGreaterThan(Date.now() - 60_000)
    await user.change({ insert: [buyActivity(assets.MSFT, { quantity: '1' })] })
    await waitFor('that it is held', async () => ((await due(assets.MSFT.id)) === null ? true : null))
    const other = await open(user, ['asset.BTC'])
    expect(await due(assets.BTC.id)).toBeGreaterThan(0)
    reader.send({ op: 'subscribe', channels: ['asset.BTC'] })
    other.close()
    await reader.flushed()
    expect(await due(assets.BTC.id)).toBeGreaterThan(0)
    reader.send({ op: 'unsubscribe', channels: ['asset.BTC'] })
    await waitFor('that it is closed', async () => ((await due(assets.BTC.id)) === null ? true : null))
  })
})

describe('P3 what is not known', () => {
  test('a held asset that nobody can price is missing, never 0', async () => {
    const dark = await newAsset('DARK', { provider: 'manual' })
    const user = await investor()
    await user.write({ insert: [buyActivity(dark, { quantity: '4', price: '5' })] })
    const reader = await open(user, ['portfolio'])
    const { portfolio, positions } = await reader.clientState()
    const nothing = { cmp: null, present_value: null, gain_loss: null, gain_loss_percent: null, day_change: null }
    expect(positions.get(dark.id)).toMatchObject({ ...nothing, invested: '20', stale: 'unpriced' })
    expect(portfolio).toMatchObject({ incomplete: true, missing: ['DARK'] })
    await expectWhole(user, reader)
    await move(user, portfolioPrice(dark, '0'))
    expect((await reader.clientState()).positions.get(dark.id)).toMatchObject({ present_value: '0', gain_loss: '-20' })
    await expectWhole(user, reader)
    await move(user, portfolioPrice(dark, '-37.63'))
    expect((await reader.clientState()).positions.get(dark.id)).toMatchObject({
      present_value: '-150.52',
      gain_loss_percent: '-852.6',
    })
    await expectWhole(user, reader)
  })

  test('a currency that nobody prices has no rate; when somebody does, cron makes the open page whole', async () => {
    const user = await createUser()
    const lot = buyActivity({ id: assets.AAPL.id, currency: 'XTS' }, { quantity: '2', price: '100' })
    await user.write({ insert: [lot] })
    const reader = await open(user, ['portfolio'])
    expect((await reader.clientState()).positions.get(assets.AAPL.id)).toMatchObject({
      invested: null,
      gain_loss: null,
    })
    expect((await reader.clientState()).portfolio).toMatchObject({ incomplete: true, missing: ['AAPL'], invested: '0' })
    await expectWhole(user, reader)
    const rate = await newAsset('XTSUSD=X', { type: 'forex', code: 'XTSUSD', provider: 'manual' })
    await storePrices([portfolioPrice(rate, '0')])
    await withLiveDatabase(env, (live) => fillFxRates(live))
    await drain()
    expect((await reader.clientState()).portfolio).toMatchObject({ incomplete: true })
    await sql(
      'INSERT INTO price_history_daily (asset_id, date, open, high, low, close) VALUES ($1, $2, 2, 2, 2, 2)',
      rate.id,
      '2026-01-05',
    )
    await withLiveDatabase(env, (live) => fillFxRates(live))
    await drain()
    expect((await reader.clientState()).positions.get(assets.AAPL.id)).toMatchObject({
      invested: '400',
      gain_loss: '-100',
    })
    expect((await reader.clientState()).portfolio).toMatchObject({ incomplete: false, missing: [] })
    await expectWhole(user, reader)
  })
})

test('P3 a rate of now that gets a source is known on the open page, and not any more when that is made inactive', async () => {
  const user = await createUser('XXT')
  await user.write({ insert: [buyActivity({ id: assets.AAPL.id, currency: 'XXT' }, { quantity: '2', price: '100' })] })
  const reader = await open(user, ['portfolio'])
  await drain()
  const unknown = { rate: null, present_value: null, gain_loss: null, stale: 'no_rate' }
  expect((await reader.clientState()).positions.get(assets.AAPL.id)).toMatchObject({ ...unknown, invested: '200' })
  const source = await newAsset('XXTUSD=X', { type: 'forex', code: 'XXTUSD', provider: 'manual' })
  await storePrices([portfolioPrice(source, '0.5')])
  await drain()
  expect((await settled(user, reader)).positions.get(assets.AAPL.id)).toMatchObject({ rate: '2', present_value: '600' })
  await expectWhole(user, reader)
  await sql('UPDATE assets SET active = FALSE WHERE asset_id = $1', source.id)
  await drain()
  expect((await settled(user, reader)).positions.get(assets.AAPL.id)).toMatchObject(unknown)
  await expectWhole(user, reader)
})

describe('P2 splits', () => {
  const split = (asset: Asset, at: string) =>
    buyActivity(asset, {
      kind: 'split',
      quantity: '0',
      price: '0',
      traded_at: at,
      split: { numerator: '4', denominator: '1' },
    })

  test('one of the market changes the open page once, also when its user enters the same', async () => {
    const halved = await newAsset('SPLIT', { provider: 'manual' })
    await storePrices([portfolioPrice(halved, '25', { previous_close: '24' })])
    const user = await createUser()
    await user.write({ insert: [buyActivity(halved, { quantity: '2', price: '100', fees: '1' })] })
    const reader = await open(user, ['portfolio', 'asset.SPLIT'])
    await drain()
    await sql(
      `INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
      VALUES ($1, '2026-03-02', 'split', 4, 1)`,
      halved.id,
    )
    await drain()
    const expected = { quantity: '8', invested: '201', average_cost: '25.125', present_value: '200' }
    expect((await reader.clientState()).positions.get(halved.id)).toMatchObject(expected)
    expect([...(await reader.clientState()).lots.values()]).toMatchObject([{ quantity: '8', price: '25', cost: '201' }])
    await user.change({ insert: [split(halved, '2026-03-04T10:00:00Z')] })
    expect((await reader.clientState()).positions.get(halved.id)).toMatchObject(expected)
    await expectWhole(user, reader)
  })

  test('one that the market has announced takes effect on its day', async () => {
    const coming = await newAsset('COMING', { provider: 'manual' })
    await storePrices([portfolioPrice(coming, '25')])
    const user = await createUser()
    await user.write({ insert: [buyActivity(coming, { quantity: '2', price: '100' })] })
    const reader = await open(user, ['portfolio'])
    const day = Date.parse(`${new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10)}T00:00:00Z`)
    await sql(
      `INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
      VALUES ($1, $2, 'split', 4, 1)`,
      coming.id,
      new Date(day).toISOString().slice(0, 10),
    )
    await cron.queueDuePortfolios(env, Date.now())
    await drain()
    expect((await reader.clientState()).positions.get(coming.id)).toMatchObject({ quantity: '2' })
    await cron.queueDuePortfolios(env, day + 1_000)
    await drain(day + 1_000)
    expect((await reader.clientState()).positions.get(coming.id)).toMatchObject({ quantity: '8', invested: '200' })
  })

  test('a future activity takes effect on the open page', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio', 'asset.AAPL'])
    const later = Date.now() + 600_000
    await user.change({
      insert: [buyActivity(assets.AAPL, { quantity: '5', traded_at: new Date(later).toISOString() })],
    })
    await expectWhole(user, reader)
    await cron.queueDuePortfolios(env, later + 1_000)
    await drain(later + 1_000)
    expect((await settled(user, reader)).positions.get(assets.AAPL.id)).toMatchObject({ quantity: '7' })
    await expectWhole(user, reader)
  })
})

describe('P2 fees', () => {
  test('of a transfer that comes in and closes short lots alone are an expense', async () => {
    const user = await createUser()
    const reader = await open(user, ['portfolio'])
    const on = (kind: NewActivity['kind'], quantity: string, day: string, more: Partial<NewActivity>) =>
      buyActivity(assets.AAPL, { kind, quantity, traded_at: `2026-01-${day}T10:00:00Z`, ...more })
    const closing = on('transfer_in', '2', '06', { fees: '3' })
    const both = on('transfer_in', '5', '07', { fees: '4' })
    await user.change({ insert: [on('sell', '4', '05', { short: true, price: '100' }), closing] })
    expect((await reader.clientState()).positions.get(assets.AAPL.id)).toMatchObject({ expenses: '3', quantity: '-2' })
    // What opens a lot, too, has all of its fees in that.
    await user.change({ insert: [both] })
    expect((await reader.clientState()).positions.get(assets.AAPL.id)).toMatchObject({ expenses: '3', invested: '7' })
    await expectWhole(user, reader)
  })

  test('below 0 that cancel the price of a lot leave its change of the day unknown, as its rate is', async () => {
    const user = await createUser()
    const today = new Date(Date.now() - 1_000).toISOString()
    const free = buyActivity(assets['SAP.DE'], { quantity: '2', price: '90', fees: '-180', traded_at: today })
    await user.write({ insert: [free] })
    const reader = await open(user, ['portfolio', 'asset.SAP.DE'])
    const told = await reader.clientState()
    const [stored] = await withUserDatabase(env, user, (of) => readLots(of, user.id, { ids: [free.id], limit: 1 }))
    const lot = told.lots.get(free.id)
    expect(lot).toEqual(stored)
    expect(lot).toMatchObject({ cost: '0', present_value: '264', gain_loss: '264', day_change: null })
    expect(told.positions.get(assets['SAP.DE'].id)).toMatchObject({ invested: '0', gain_loss_percent: null })
    await expectWhole(user, reader)
  })
})

describe('somebody writes past Kerb', () => {
  test('an activity is deleted, another currency set: the open page has it with the next run', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    await drain()
    await sql('DELETE FROM activities WHERE id = $1', user.lots[0]!.id)
    await drain()
    await expectWhole(user, reader)
    await sql("UPDATE profiles SET currency = 'EUR' WHERE user_id = $1", user.id)
    await drain()
    expect((await reader.clientState()).portfolio?.currency).toBe('EUR')
    await expectWhole(user, reader)
  })

  test('another currency of who holds nothing yet', async () => {
    const user = await createUser()
    const reader = await open(user, ['portfolio'])
    await sql("UPDATE profiles SET currency = 'EUR' WHERE user_id = $1", user.id)
    await drain()
    expect((await reader.clientState()).portfolio?.currency).toBe('EUR')
    await expectWhole(user, reader)
  })

  test('who is deleted has no socket, no ticket and no portfolio in the object any more', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    const ticket = await user.object.issueTicket(Date.now() + 60_000)
    await drain()
    await sql('DELETE FROM profiles WHERE user_id = $1', user.id)
    await drain()
    expect((await waitFor('the close', () => reader.closed())).code).toBe(CLOSE_CODES.signed_out)
    expect(await user.object.redeemTicket(ticket)).toBe(null)
    expect(await user.object.enriched()).toBe(null)
    await runInDurableObject(user.object as never, (_: unknown, ctx: DurableObjectState) => {
      const left = ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name IN ('positions', 'prices')")
      expect([...left, ctx.storage.kv.get('head')]).toEqual([undefined])
    })
    expect(await sql('SELECT * FROM portfolio_outbox WHERE user_id = $1', user.id)).toHaveLength(0)
  })
})

describe('much of it', () => {
  test('P1 30 digits and 18 decimals are told to the last one', async () => {
    const user = await createUser()
    const reader = await open(user, ['portfolio', 'asset.BTC'])
    await move(user, portfolioPrice(assets.BTC, '60000.123456789012345678'))
    await user.change({
      insert: [
        buyActivity(assets.BTC, {
          quantity: '123456789012345678901234567890.123456789012345678',
          price: '1.000000000000000001',
        }),
        buyActivity(assets.BTC, {
          quantity: '0.000000000000000001',
          price: '0.000000000000000001',
          fees: '0.000000000000000001',
        }),
      ],
    })
    await expectWhole(user, reader)
    for (const frame of reader.frames)
      if (frame.type !== 'subscribed' && 'position' in frame) portfolioMessageSchema.parse(frame)
  })

  test('2,000 positions reach a page through /ws in one frame of more than 1 MiB', async () => {
    const { id, token } = await createMember()
    await sql('INSERT INTO profiles (user_id, name) VALUES ($1, $2)', id, 'Somebody')
    await sql('INSERT INTO portfolios (user_id) VALUES ($1)', id)
    await sql(
      `WITH own AS (
         INSERT INTO own_assets (user_id, symbol, name, currency)
         SELECT $1, 'OWN' || n, repeat('Something of my own ', 5) || n, 'USD' FROM generate_series(1, 2000) AS n
         RETURNING asset_id)
       INSERT INTO activities (id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at)
       SELECT gen_random_uuid(), $1, 'buy', asset_id, 1.5, 100.25, 0.1, 'USD', '2026-01-05' FROM own`,
      id,
    )
    await drain()
    const socket = await openSocket('/ws', env, { authorization: `Bearer ${token}` })
    socket.send({ op: 'subscribe', channels: ['portfolio'], req_id: 1 })
    const snapshot = (await socket.next('snapshot')) as unknown as { positions: Position[]; portfolio: Totals }
    socket.close()
    expect(snapshot.positions).toHaveLength(2_000)
    expect(snapshot.portfolio).toMatchObject({ positions: 2_000, invested: '300950' })
    expect(Math.max(...socket.texts.map((text) => text.length))).toBeGreaterThan(1_048_576)
  })

  test('a user has 50 sockets, and all are told; the next is refused', async () => {
    const user = await investor()
    const readers = await Promise.all(Array.from({ length: 50 }, () => open(user, ['portfolio'])))
    await expect(user.open()).rejects.toThrow('429')
    await user.change({ insert: [buyActivity(assets.MSFT, { quantity: '7' })] })
    const told = await Promise.all(readers.map((reader) => reader.clientState()))
    for (const { positions } of told) expect(positions.get(assets.MSFT.id)?.quantity).toBe('7')
    readers[0]?.close()
    await waitFor('a place', async () => ((await user.object.status()).sockets < 50 ? true : null))
    await open(user, ['portfolio'])
  })
})
