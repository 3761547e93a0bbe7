import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { applyMessage, EMPTY_STATE } from '../../../src/client/sdk/portfolio-state.ts'
import { addCustomAssets } from '../../../src/db/activities.ts'
import { withLiveDatabase, withUserDatabase } from '../../../src/db/client.ts'
import { quoteBoard, type UserPortfolioObject, userPortfolio } from '../../../src/objects.ts'
import { divideRounded, formatDecimal, parseDecimal } from '../../../src/portfolio/decimal.ts'
import { currentRates } from '../../../src/portfolio/rates.ts'
import { valueLot } from '../../../src/portfolio/valuation.ts'
import { CLOSE_CODES } from '../../../src/protocol/errors.ts'
import {
  type EnrichedPortfolio,
  type LotView,
  type PortfolioMessage,
  type PortfolioPrice,
  type Position,
  portfolioMessageSchema,
  type Totals,
} from '../../../src/protocol/portfolio.ts'
import * as worked from '../../support/worked-portfolio.ts'
import {
  assetIds,
  buyActivity,
  ClientState,
  createUser,
  openPortfolioSocket,
  portfolioPrice,
  storePrices,
  type User,
} from '../support/portfolio-client.ts'
import { waitFor } from '../support/wire.ts'

type Asset = { id: number; currency: string; symbol: string }
const SYMBOLS = ['AAPL', 'MSFT', 'SAP.DE', 'BTC', 'EURUSD=X'] as const
let assets: Record<(typeof SYMBOLS)[number], Asset>

/** Evenly in [0, 1), the same for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A price changes, as the board tells it after Postgres has it. */
async function move({ object }: Pick<User, 'object'>, ...prices: PortfolioPrice[]): Promise<boolean> {
  await storePrices(prices)
  return object.updatePrices(prices)
}

const loads = async ({ object }: Pick<User, 'object'>) => (await object.status()).loads

/** What of lots no price moves: the rest is as of when they were told. */
const still = (lots: Iterable<LotView>) =>
  [...lots]
    .map(({ present_value: _, gain_loss: __, gain_loss_percent: ___, day_change: ____, ...lot }) => lot)
    .sort((a, b) => (a.id < b.id ? -1 : 1))

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

/** Whether a message says anything of the portfolio. */
const isState = (type: string) => !['pong', 'subscribed', 'unsubscribed', 'error'].includes(type)

const opened: { close(): void }[] = []
const open = async (user: Pick<User, 'open'>, channels?: string[], since?: string) => {
  const reader = await user.open()
  opened.push(reader)
  if (channels) await reader.subscribe(channels, since)
  return reader
}

beforeAll(async () => {
  const found = await assetIds(...SYMBOLS)
  assets = Object.fromEntries(SYMBOLS.map((symbol) => [symbol, { symbol, ...found[symbol] }])) as typeof assets
})
beforeEach(() => {
  vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
  for (const reader of opened.splice(0)) reader.close()
})

/** Somebody who holds two lots of AAPL, one of SAP.DE. */
async function investor(currency = 'USD') {
  const user = await createUser(currency)
  await storePrices([
    portfolioPrice(assets.AAPL, '150', { previous_close: '149' }),
    portfolioPrice(assets.MSFT, '400', { previous_close: '401' }),
    portfolioPrice(assets['SAP.DE'], '120', { previous_close: '118' }),
    portfolioPrice(assets.BTC, '60000'),
    portfolioPrice(assets['EURUSD=X'], '1.1', { previous_close: '1.09' }),
  ])
  const lots = [
    buyActivity(assets.AAPL, { quantity: '2', price: '100', fees: '1' }),
    buyActivity(assets.AAPL, { quantity: '1', price: '110', traded_at: '2026-02-05T15:00:00Z' }),
    buyActivity(assets['SAP.DE'], {
      quantity: '3',
      price: '90',
      traded_at: new Date(Date.now() - 60_000).toISOString(),
    }),
  ]
  await user.write({ insert: lots })
  return { ...user, lots }
}

describe('D4 a socket of a user', () => {
  test('D4 a socket gets a snapshot of each channel, then only what changes', async () => {
    const user = await investor()
    const reader = await open(user)
    await reader.subscribe(['portfolio', 'asset.AAPL', 'asset.MSFT'])
    expect(reader.types()).toEqual(['subscribed', 'snapshot', 'snapshot', 'snapshot', 'pong'])
    const [, whole, apple, other] = reader.frames as never as { position: string; [key: string]: unknown }[]
    for (const frame of [whole, apple, other]) portfolioMessageSchema.parse(frame)
    expect(whole).toMatchObject({
      channel: 'portfolio',
      portfolio: { positions: 2, invested: '608', incomplete: false },
    })
    expect(apple).toMatchObject({ channel: 'asset.AAPL', prices: [{ price: '150' }], positions: [{ quantity: '3' }] })
    expect(apple?.lots).toHaveLength(2)
    expect(other).toMatchObject({ channel: 'asset.MSFT', prices: [{ price: '400' }], positions: [], lots: [] })
    const before = reader.frames.length

    await move(user, portfolioPrice(assets.AAPL, '151', { previous_close: '149' }))
    await reader.flushed()
    const [price, position] = reader.frames.slice(before) as never as { [key: string]: unknown }[]
    expect(price).toMatchObject({ type: 'price_update', prices: [{ symbol: 'AAPL', price: '151' }] })
    // Changed keys alone.
    expect(position).toMatchObject({ type: 'position_update', positions: [{ cmp: '151', present_value: '453' }] })
    const { positions, portfolio } = position as unknown as { positions: object[]; portfolio: object }
    for (const key of ['name', 'quantity', 'invested'])
      for (const keys of [...positions, portfolio]) expect(keys).not.toHaveProperty(key)
    // Only the last frame of a change can be returned to as having all of it.
    expect([price?.position, position?.position]).toEqual([other?.position, (await user.object.status()).position])
  })

  test('D4 a socket gets no updates of other assets, nor of channels that it has unsubscribed from', async () => {
    const user = await investor()
    const reader = await open(user, ['asset.SAP.DE'])
    const before = reader.frames.length
    await move(user, portfolioPrice(assets.AAPL, '151'))
    await user.change({ insert: [buyActivity(assets.AAPL, {})] })
    await reader.flushed()
    expect(reader.types().slice(before)).toEqual(['pong'])
    // A rate moves it all the same.
    await move(user, portfolioPrice(assets['EURUSD=X'], '1.2'))
    await reader.flushed()
    expect(reader.types().slice(before)).toEqual(['pong', 'position_update', 'pong'])
    reader.send({ op: 'unsubscribe', channels: ['asset.SAP.DE'], req_id: 'gone' })
    await move(user, portfolioPrice(assets['EURUSD=X'], '1.3'))
    await reader.flushed()
    expect(reader.types().slice(before + 3)).toEqual(['unsubscribed', 'pong'])
  })

  test('D4 a subscription with an unknown channel is rejected as a whole, and the error names the channel', async () => {
    const user = await investor()
    const reader = await open(user)
    expect(await reader.subscribe(['portfolio', 'asset.NO-SUCH'])).toMatchObject({
      code: 'unknown_symbol',
      field: 'channels/1',
    })
    expect(await reader.subscribe(['asset.not a symbol'])).toMatchObject({ code: 'unknown_symbol' })
    expect(await reader.subscribe(['quotes.AAPL'])).toMatchObject({ code: 'unknown_channel', field: 'channels/0' })
    await move(user, portfolioPrice(assets.AAPL, '152'))
    await reader.flushed()
    expect(reader.types()).not.toContain('price_update')
  })

  test('D4 a socket closes when its authorization expires, and reconnects with a new ticket unless the user has signed out', async () => {
    const user = await investor()
    const object = user.object as UserPortfolioObject
    expect((await object.fetch(new Request('http://kerb.test/', { headers: { upgrade: 'websocket' } }))).status).toBe(
      401,
    )
    const short = await openPortfolioSocket(object, Date.now() + 60_000)
    const long = await openPortfolioSocket(object, Date.now() + 3_600_000)
    for (const reader of [short, long]) await reader.subscribe(['portfolio'])
    const now = Date.now()
    vi.spyOn(Date, 'now').mockReturnValue(now + 60_001)
    await object.updatePrices([portfolioPrice(assets.AAPL, '153')])
    expect((await waitFor('the close', () => short.closed())).code).toBe(CLOSE_CODES.session_expired)
    expect((await object.status()).sockets).toBe(1)
    await object.closeSockets()
    expect((await waitFor('the close', () => long.closed())).code).toBe(CLOSE_CODES.signed_out)
    expect(short.types()).not.toContain('price_update')
    expect(long.types()).toContain('price_update')
  })
})

test('D1 connections with the same subscription get identical frames', async () => {
  const user = await investor()
  const [one, other] = [await open(user, ['portfolio']), await open(user, ['portfolio'])]
  await move(user, portfolioPrice(assets.AAPL, '154'))
  for (const reader of [one, other]) await reader.flushed()
  const texts = [one, other].map((reader) => reader.texts.filter((text) => text.includes('_update"')))
  expect(texts[0]).toHaveLength(2)
  expect(texts[0]).toEqual(texts[1])
})

/** Sequences of prices, writes and both; each ends with what came of it. */
async function history(
  seed: number,
  steps: number,
  after: (user: Awaited<ReturnType<typeof investor>>) => Promise<void>,
) {
  const random = randomOf(seed)
  const upTo = (n: number) => Math.floor(random() * n)
  const amount = (n: number) => `${1 + upTo(n)}.${1 + upTo(9)}`
  const user = await investor(seed % 2 === 0 ? 'EUR' : 'USD')
  const activities = [...user.lots]
  const named = [assets.AAPL, assets['SAP.DE'], assets.BTC]
  const one = <T>(list: readonly T[]): T => list[upTo(list.length)] as T
  const day = () => `2026-0${1 + upTo(6)}-1${upTo(9)}T12:00:00Z`
  await after(user)
  for (let i = 0; i < steps; i++) {
    const what = upTo(10)
    if (what < 4) {
      const moved = SYMBOLS.filter(() => upTo(3) === 0)
      const prices = moved.map((symbol) => {
        const price = symbol === 'EURUSD=X' ? `1.${10 + upTo(80)}1` : amount(500)
        const more = { previous_close: one([null, amount(500)]), eps: one([null, '-1.5', '6.1']), pe_ratio: '21.5' }
        return portfolioPrice(assets[symbol], price, { ...more, stale: one([null, null, 'expired' as const]) })
      })
      await move(user, ...prices)
    } else if (what < 7 || activities.length < 3) {
      const kind = one(['buy', 'buy', 'sell', 'dividend', 'fee'] as const)
      const traded_at = one([day(), new Date(Date.now() - 1_000).toISOString()])
      const given = {
        kind,
        quantity: amount(9),
        price: amount(300),
        fees: amount(3),
        short: kind === 'sell',
        traded_at,
      }
      const activity = buyActivity(kind === 'fee' ? null : one(named), given)
      activities.push(activity)
      await user.change({ insert: [activity] })
    } else if (what < 9) {
      const [gone] = activities.splice(upTo(activities.length), 1)
      await user.change({ remove: [gone!.id] })
    } else await user.object.refresh()
    await after(user)
  }
  return user
}

describe('P7 the snapshot and what came after it', () => {
  test.each([1, 2])(
    'P7 snapshot and updates equal a fresh snapshot and the views after any sequence (%i)',
    async (seed) => {
      let first: Awaited<ReturnType<typeof openPortfolioSocket>> | undefined
      await history(seed, 16, async (user) => {
        first ??= await open(user, ['portfolio'])
        const told = (await first.clientState()).state
        const fresh = await open(user, ['portfolio'])
        const anew = (await fresh.clientState()).state
        fresh.close()
        expect(told).toEqual(anew)
        expect(unaged(told)).toEqual(unaged(await user.valued()))
      })
    },
  )

  test('D2 P7 a client that resumes has the complete state, wherever it was cut off', async () => {
    let first: Awaited<ReturnType<typeof openPortfolioSocket>> | undefined
    const user = await history(3, 18, async (of) => {
      first ??= await open(of, ['portfolio', 'asset.AAPL'])
      await first.clientState()
    })
    for (const rate of ['1.21', '1.22', '1.23'])
      await move(user, portfolioPrice(assets['EURUSD=X'], rate), portfolioPrice(assets.AAPL, `1${rate}`))
    const whole = await first!.clientState()
    const lots = still([...whole.lots.values()].filter(({ asset_id }) => asset_id === assets.AAPL.id))
    const frames = first!.frames.filter(({ type }) => isState(type))
    expect(frames.length).toBeGreaterThan(15)
    // Also when the object has slept: it has forgotten which lots had changed, and says so.
    for (const least of [12, 4]) {
      let recovered = 0
      const told = new ClientState()
      for (const frame of frames) {
        told.apply(frame)
        const reader = await open(user)
        const answer = await reader.subscribe(['portfolio', 'asset.AAPL'], told.position)
        const back: ClientState = Object.assign(new ClientState(), structuredClone({ ...told }))
        for (const next of reader.frames) if (isState(next.type)) back.apply(next)
        expect(back.state).toEqual(whole.state)
        expect(back.position).toBe(whole.position)
        expect(still([...back.lots.values()].filter(({ asset_id }) => asset_id === assets.AAPL.id))).toEqual(lots)
        if ((answer as { recovered?: boolean }).recovered) recovered++
        reader.close()
      }
      expect(recovered).toBeGreaterThan(least)
      await evictDurableObject(user.object)
    }
    const stranger = await open(user)
    expect(await stranger.subscribe(['portfolio'], 'another-1')).toMatchObject({ recovered: false })
  })

  test('D3 P7 a slow connection ends with the complete state, in fewer frames', async () => {
    const user = await investor()
    const reader = await open(user)
    // It never acks: it has a frame a beat at most.
    reader.send({ op: 'subscribe', channels: ['portfolio'], req_id: 's' })
    await waitFor('the snapshot', () => reader.frames.find(({ type }) => type === 'snapshot'))
    for (let i = 0; i < 40; i++) await user.object.updatePrices([portfolioPrice(assets.AAPL, `160.${10 + i}`)])
    await user.change({ insert: [buyActivity(assets.MSFT, { quantity: '7' })] })
    const last = (await user.object.status()).position
    await waitFor('the last state', () => reader.frames.find((frame) => 'position' in frame && frame.position === last))
    expect(reader.frames.length).toBeLessThan(40)
    const fresh = await open(user, ['portfolio'])
    expect((await reader.clientState()).state).toEqual((await fresh.clientState()).state)
    expect([...(await reader.clientState()).lots.values()].map(({ quantity }) => quantity)).toEqual(['7'])
  })
})

describe('the database', () => {
  test('the database is read once, not again for a second socket, a price or after hibernation', async () => {
    const user = await investor()
    expect(await user.object.enriched()).toBe(null)
    const reader = await open(user, ['portfolio'])
    expect(await loads(user)).toBe(1)
    await open(user, ['portfolio'])
    await move(user, portfolioPrice(assets.AAPL, '170'))
    await evictDurableObject(user.object)
    await move(user, portfolioPrice(assets.AAPL, '171'))
    const other = await open(user, ['portfolio'])
    expect(await loads(user)).toBe(1)
    const told = await reader.clientState()
    expect(told.state).toEqual((await other.clientState()).state)
    expect(told.positions.get(assets.AAPL.id)?.cmp).toBe('171')
    expect(unaged(told.state)).toEqual(unaged(await user.valued()))
  })

  test('the database is read once for a write, however often it is reported', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    const first = await user.write({ insert: [buyActivity(assets.MSFT, {})] })
    const second = await user.write({ insert: [buyActivity(assets.BTC, { price: '50000' })] })
    const before = await loads(user)
    // In whatever order it is told.
    await user.object.applyChange(second)
    await user.object.applyChange(first)
    expect(await loads(user)).toBe(before + 2)
    for (const change of [first, second]) await user.object.applyChange(change)
    expect(await loads(user)).toBe(before + 2)
    const { portfolio, positions } = (await reader.clientState()).state
    expect(unaged({ portfolio, positions })).toEqual(unaged(await user.valued()))
    expect(portfolio?.version).toBe(second.version)
  })

  test('all sockets learn of changed and removed lots at once', async () => {
    const user = await investor()
    const [one, other] = [await open(user, ['portfolio']), await open(user, ['asset.AAPL'])]
    const [lot] = user.lots
    await user.change({ insert: [buyActivity(assets.AAPL, { kind: 'sell', quantity: '1', price: '150' })] })
    for (const reader of [one, other]) {
      await reader.flushed()
      const told = reader.frames.findLast(({ type }) => type === 'lot_update') as unknown as { lots: LotView[] }
      expect(told.lots).toMatchObject([{ id: lot!.id, quantity: '1', opened_quantity: '2', cost: '100.5' }])
    }
    await user.change({ remove: [user.lots[1]!.id] })
    await other.flushed()
    expect(other.frames.findLast(({ type }) => type === 'lot_update')).toMatchObject({
      lots: [],
      removed: [user.lots[1]!.id],
    })
  })

  test('while the database is away, subscriptions are refused and prices still update the known portfolio', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    await fetch(env.DATABASE_SWITCH_URL, { method: 'POST', body: JSON.stringify({ open: false }) })
    try {
      expect(await reader.subscribe(['asset.AAPL'])).toMatchObject({ code: 'unavailable' })
      await user.object.updatePrices([portfolioPrice(assets.AAPL, '172')])
      expect((await reader.clientState()).positions.get(assets.AAPL.id)?.cmp).toBe('172')
      const told = user.object.applyChange({ version: 99, asset_ids: null, lots: [], removed_lots: [] })
      expect(
        await told.then(
          () => 'done',
          () => 'failed',
        ),
      ).toBe('failed')
    } finally {
      await fetch(env.DATABASE_SWITCH_URL, { method: 'POST', body: JSON.stringify({ open: true }) })
    }
    expect(await reader.subscribe(['asset.AAPL'])).toMatchObject({ type: 'subscribed' })
  })
})

test('D5 an idle object is evicted while its socket stays open, and a lot that is added still arrives', async () => {
  const user = await investor()
  const reader = await open(user, ['portfolio'])
  await evictDurableObject(user.object)
  await runInDurableObject(user.object as never, async (_: unknown, ctx: DurableObjectState) => {
    // No timer but the one that finds readers that are gone.
    const alarm = await ctx.storage.getAlarm()
    expect((alarm ?? Number.POSITIVE_INFINITY) - Date.now()).toBeGreaterThan(500_000)
  })
  await evictDurableObject(user.object)
  const before = reader.frames.length
  await user.change({ insert: [buyActivity(assets.MSFT, { quantity: '2', price: '390' })] })
  await waitFor('the lot', () => reader.frames.slice(before).find(({ type }) => type === 'lot_update'))
  const told = await reader.clientState()
  expect(told.positions.get(assets.MSFT.id)).toMatchObject({ quantity: '2', invested: '780' })
  expect(reader.closed()).toBe(null)
})

test('a batch of prices writes one row of SQLite', async () => {
  const user = await investor()
  await open(user, ['portfolio'])
  await runInDurableObject(user.object as never, async (object: UserPortfolioObject, ctx: DurableObjectState) => {
    let written = 0
    const exec = ctx.storage.sql.exec.bind(ctx.storage.sql)
    ctx.storage.sql.exec = ((...args: Parameters<typeof exec>) => {
      const cursor = exec(...args)
      written += cursor.rowsWritten
      return cursor
    }) as never
    for (let i = 0; i < 200; i++)
      await object.updatePrices([
        portfolioPrice(assets.AAPL, `${180 + i}`),
        portfolioPrice(assets['EURUSD=X'], `1.${1000 + i}1`),
      ])
    expect(written).toBeLessThanOrEqual(200)
    expect(written).toBeGreaterThan(190)
  })
  await evictDurableObject(user.object)
  const told = await (await open(user, ['portfolio'])).clientState()
  expect(told.positions.get(assets.AAPL.id)?.cmp).toBe('379')
  expect(told.positions.get(assets['SAP.DE'].id)?.rate).toBe('1.11991')
})

describe('boards', () => {
  const followers = () =>
    runInDurableObject(env.QUOTE_BOARD.getByName('simulated:0') as never, (_: unknown, ctx: DurableObjectState) =>
      ctx.storage.sql.exec<{ user: string; ids: string }>('SELECT * FROM followers').toArray(),
    )
  const followed = async (user: Pick<User, 'id'>) => {
    const row = (await followers()).find((one) => one.user === user.id)
    return row && (JSON.parse(row.ids) as number[]).sort((a, b) => a - b)
  }
  const ids = (...list: Asset[]) => list.map(({ id }) => id).sort((a, b) => a - b)

  test('boards send prices of holdings, rates and watched assets, also of later holdings', async () => {
    const user = await investor()
    await open(user, ['portfolio'])
    expect(await followed(user)).toEqual(ids(assets.AAPL, assets['SAP.DE'], assets['EURUSD=X']))
    await open(user, ['asset.BTC'])
    expect(await followed(user)).toContain(assets.BTC.id)
    await user.change({ insert: [buyActivity(assets.MSFT, {})] })
    await waitFor('MSFT followed', async () => ((await followed(user))?.includes(assets.MSFT.id) ? true : null))
  })

  test('boards look up unknown prices, and a price change reaches the socket', async () => {
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    const { KO } = await assetIds('KO')
    await user.change({ insert: [buyActivity(KO, { quantity: '10', price: '50' })] })
    const first = await waitFor('a price of KO', async () => (await reader.clientState()).positions.get(KO.id)?.cmp)
    const body = JSON.stringify([{ provider: 'yahoo', id: 'KO', price: Number(first) + 3 }])
    await fetch(`${env.PROVIDERS_URL}/_prices`, { method: 'POST', body })
    const before = await loads(user)
    await quoteBoard(env, 0).refresh(['KO'])
    const known = async () => (await reader.clientState()).positions.get(KO.id)
    await waitFor('the next price of KO', async () =>
      Number((await known())?.cmp) === Number(first) + 3 ? true : null,
    )
    // The board sleeps, and a price grows old in its time: its followers are told all the same.
    const board = env.QUOTE_BOARD.getByName('simulated:0')
    await evictDurableObject(board)
    const now = Date.now()
    vi.spyOn(Date, 'now').mockReturnValue(now + 1_000_000)
    await runDurableObjectAlarm(board)
    await waitFor('that it is stale', async () => ((await known())?.stale === 'expired' ? true : null))
    expect(await loads(user)).toBe(before)
  })

  test('boards drop a user without sockets, and are subscribed to again later', async () => {
    const began = Date.now()
    const user = await investor()
    const reader = await open(user, ['portfolio'])
    expect(await user.object.updatePrices([portfolioPrice(assets.AAPL, '190')])).toBe(true)
    reader.close()
    await waitFor('no socket', async () => ((await user.object.status()).sockets === 0 ? true : null))
    expect(await user.object.updatePrices([portfolioPrice(assets.AAPL, '191')])).toBe(false)
    // Read without a socket: it is kept up to date for a while.
    const text = (await user.object.enriched()) as string
    const enriched = JSON.parse(text) as EnrichedPortfolio
    expect(enriched.age_seconds).toBeLessThanOrEqual((Date.now() - began) / 1_000 + 1)
    expect(enriched.portfolio.positions).toBe(2)
    expect(await user.object.updatePrices([portfolioPrice(assets.AAPL, '192')])).toBe(true)
    expect(
      (JSON.parse((await user.object.enriched()) as string) as EnrichedPortfolio).positions.find(
        ({ symbol }) => symbol === 'AAPL',
      )?.cmp,
    ).toBe('192')
    const now = Date.now()
    vi.spyOn(Date, 'now').mockReturnValue(now + 121_000)
    expect(await user.object.updatePrices([portfolioPrice(assets.AAPL, '193')])).toBe(false)
  })
})

test('one refresh is queued at a time, and a refresh that never ran expires', async () => {
  const { object } = await investor()
  expect([await object.requestRefresh(), await object.requestRefresh()]).toEqual([true, false])
  await evictDurableObject(object)
  expect(await object.requestRefresh()).toBe(false)
  await object.refresh()
  expect(await object.requestRefresh()).toBe(true)
  const now = Date.now()
  vi.spyOn(Date, 'now').mockReturnValue(now + 60_001)
  expect(await object.requestRefresh()).toBe(true)
  await object.cancelRefresh()
  expect(await object.requestRefresh()).toBe(true)
})

test('a request for an unknown user stores nothing', async () => {
  const object = userPortfolio(env, crypto.randomUUID()) as UserPortfolioObject & DurableObjectStub<undefined>
  expect(await object.redeemTicket('x'.repeat(43))).toBe(null)
  const left = await runInDurableObject(object as never, (_: unknown, ctx: DurableObjectState) => [
    ...ctx.storage.kv.list(),
    ...ctx.storage.sql.exec('SELECT name FROM sqlite_master'),
  ])
  expect(left).toEqual([])
})

describe('a ticket', () => {
  test('a ticket opens one socket, once, before it expires, and survives hibernation', async () => {
    const { object } = await createUser()
    const over = Date.now() + 3_600_000
    const ticket = await object.issueTicket(over)
    expect(ticket).toMatch(/^[A-Za-z0-9_-]{43}$/)
    await evictDurableObject(object)
    expect(await object.redeemTicket(`${ticket}x`)).toBe(null)
    expect(await object.redeemTicket(ticket)).toBe(over)
    expect(await object.redeemTicket(ticket)).toBe(null)
    const late = await object.issueTicket(over)
    const now = Date.now()
    vi.spyOn(Date, 'now').mockReturnValue(now + 30_001)
    expect(await object.redeemTicket(late)).toBe(null)
  })

  test('a user has at most twenty tickets, stored as digests and voided when sessions end', async () => {
    const { object } = await createUser()
    const tickets: string[] = []
    for (let i = 0; i < 22; i++) tickets.push(await object.issueTicket(Date.now() + 60_000))
    const kept = await runInDurableObject(object as never, (_: unknown, ctx: DurableObjectState) =>
      JSON.stringify(ctx.storage.kv.get('tickets')),
    )
    expect(JSON.parse(kept)).toHaveLength(20)
    for (const ticket of tickets) expect(kept).not.toContain(ticket)
    await object.closeSockets()
    expect(await object.redeemTicket(tickets.at(-1) as string)).toBe(null)
  })
})

/** The user's own asset of the worked portfolio, and everything that the market tells for it, as if nothing else were known. */
async function workedUser() {
  const user = await createUser(worked.CURRENCY)
  const listed = [...new Set(worked.prices(() => 0).map(({ symbol }) => symbol))]
  const numbers = new Map(Object.entries(await assetIds(...listed)).map(([symbol, { id }]) => [symbol, id]))
  const [own] = await withUserDatabase(env, user, (sql) => addCustomAssets(sql, user.id, [worked.CABIN]))
  numbers.set(worked.CABIN.symbol, own as number)
  const idOf = (symbol: string): number => numbers.get(symbol) as number
  await withLiveDatabase(env, async (sql) => {
    await sql`DELETE FROM prices_current WHERE asset_id = ANY (${`{${listed.map(idOf).join()}}`}::text::integer[])`
    for (const [symbol, splits] of Object.entries(worked.SPLITS))
      for (const { ex_date, numerator, denominator } of splits)
        await sql`
          INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
          VALUES (${idOf(symbol)}, ${ex_date}, 'split', ${numerator}, ${denominator})`
    for (const [currency, days] of Object.entries(worked.DAY_RATES))
      for (const [day, usd] of Object.entries(days))
        await sql`
          INSERT INTO fx_rates (currency, day, usd) VALUES (${currency}, ${day}, ${usd})
          ON CONFLICT (currency, day) DO UPDATE SET usd = excluded.usd`
  })
  return { ...user, idOf, prices: worked.prices(idOf) }
}

test('P2 P4 P5 every figure that the object sends and the browser computes for the worked portfolio equals its table', async () => {
  const user = await workedUser()
  const { idOf, prices } = user
  // Half of what it will be: the figures of the table are then told as changes.
  const other = prices.map((price) => ({
    ...price,
    price: formatDecimal(divideRounded(parseDecimal(price.price), parseDecimal('2'), 10)),
  }))
  await storePrices(other)
  const insert = worked.activities(idOf).map((activity) => ({ ...activity, fingerprint: null }))
  await user.write({ insert })
  // The board of the other tests has later prices.
  const subscribe = async (_: string, ids: number[]) => other.filter(({ asset_id }) => ids.includes(asset_id))
  await runInDurableObject(user.object as never, (object: UserPortfolioObject) => {
    Object.assign(object, { board: () => ({ subscribe, lookup: async () => [] }) })
  })
  const reader = await open(user, ['portfolio', 'asset.AAPL', 'asset.BTC'])
  const apart = (await reader.clientState()).portfolio
  await move(user, ...prices)

  const told = await reader.clientState()
  const browser = reader.frames
    .filter((frame) => portfolioMessageSchema.safeParse(frame).success)
    .reduce((state, frame) => applyMessage(state, frame as PortfolioMessage), EMPTY_STATE)
  for (const { portfolio, positions } of [told.state, browser]) {
    expect(portfolio).toEqual({ ...worked.TOTALS, currency: worked.CURRENCY, version: expect.any(Number) })
    expect(portfolio?.present_value).not.toBe(apart?.present_value)
    expect(positions).toHaveLength(worked.POSITIONS.length)
    for (const figures of worked.POSITIONS)
      expect(positions.find(({ symbol }) => symbol === figures.symbol)).toMatchObject(figures)
  }
  // Price changes send no lots: the browser values them.
  const rates = currentRates(
    ['EUR', 'CHF'].map((currency) => ({ currency, asset_id: idOf(`${currency}USD=X`), inverse: false })),
    new Map(prices.map((price) => [price.asset_id, price])),
  )
  const lots = new Map(browser.lots.map((lot) => [lot.id, lot]))
  for (const { name, ...figures } of worked.LOTS.filter(({ symbol }) => symbol === 'AAPL' || symbol === 'BTC')) {
    const lot = lots.get(worked.idOf(name))
    const price = prices.find(({ symbol }) => symbol === figures.symbol) as PortfolioPrice
    if (lot) expect(valueLot(lot, price, rates, worked.CURRENCY)).toMatchObject(figures)
    else expect(figures.quantity).toBe('0')
  }
})
