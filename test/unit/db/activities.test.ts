import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../../dev/postgres.ts'
import {
  type ActivitiesChange,
  addCustomAssets,
  changeActivities,
  deriveAssets,
  MAX_ACTIVITIES,
  type NewActivity,
} from '../../../src/db/activities.ts'
import { type LiveSql, openDatabase, type UserSql, withUserDatabase } from '../../../src/db/client.ts'
import { claimKey, deleteExpiredIdempotencyKeys, readKey, storeResponse } from '../../../src/db/idempotency.ts'
import { ensureProfile } from '../../../src/db/profiles.ts'
import {
  type ActivityCursor,
  findActivity,
  findCustomAsset,
  readActivities,
  readActivityAssets,
} from '../../../src/db/read-activities.ts'
import type { ActivityView } from '../../../src/protocol/activity.ts'
import { DAY_MS } from '../../../src/time.ts'

const dir = mkdtempSync(join(tmpdir(), 'kerb-activities-'))
const NOW = new Date('2026-03-01T12:00:00Z')
let server: Postgres
let live: LiveSql
let apple: number
let sap: number

type User = { id: string; name: string }

const as = <T>(user: { id: string }, use: (sql: UserSql) => Promise<T>): Promise<T> =>
  withUserDatabase({ HYPERDRIVE: { connectionString: server.url } }, user, use)

/** Somebody with a profile. */
async function person(): Promise<User> {
  const user = { id: randomUUID(), name: 'somebody' }
  await as(user, (sql) => ensureProfile(sql, user))
  return user
}

const activity = (rest: Partial<NewActivity> = {}): NewActivity => ({
  id: randomUUID(),
  kind: 'buy',
  asset_id: apple,
  quantity: '10',
  price: '100',
  fees: '0',
  currency: 'USD',
  traded_at: '2026-01-05T10:00:00Z',
  split: null,
  lots: null,
  note: null,
  short: false,
  fingerprint: null,
  ...rest,
})
const sell = (rest: Partial<NewActivity> = {}) => activity({ kind: 'sell', traded_at: '2026-01-06T10:00:00Z', ...rest })

const change = (user: User, given: ActivitiesChange, now = NOW) =>
  as(user, (sql) => changeActivities(sql, user.id, now, given))

/** Changes, and must not be refused. */
async function done(user: User, given: ActivitiesChange, now = NOW) {
  const result = await change(user, given, now)
  if (!result.ok) throw new Error(JSON.stringify(result.refused))
  return result.change
}

const lotsOf = ({ id }: User) => live`
  SELECT id, asset_id, quantity, opened_quantity, price, fees, cost FROM lots WHERE user_id = ${id} ORDER BY traded_at, id`
const closuresOf = ({ id }: User) => live`
  SELECT activity_id, lot_id, quantity, cost, proceeds FROM lot_closures WHERE user_id = ${id} ORDER BY traded_at, quantity`
const activityIds = async ({ id }: User) =>
  (await live<{ id: string }[]>`SELECT id FROM activities WHERE user_id = ${id} ORDER BY id`).map((row) => row.id)
/** When each row of a user was last written: `xmin` is the transaction that wrote it. */
const writers = async (table: 'lots' | 'lot_closures', { id }: User) =>
  Object.fromEntries(
    (
      await live.unsafe(
        `SELECT ${table === 'lots' ? 'id' : `activity_id || ' ' || lot_id`} AS key, xmin::text FROM ${table} WHERE user_id = $1`,
        [id],
      )
    ).map(({ key, xmin }) => [key, xmin]),
  )

beforeAll(async () => {
  server = await startPostgres({ dir, fast: true })
  await migrate(server.url)
  live = openDatabase('live', server.url)
  const [first] = await live<{ asset_id: number }[]>`SELECT asset_id FROM assets WHERE symbol = 'AAPL'`
  const [second] = await live<{ asset_id: number }[]>`SELECT asset_id FROM assets WHERE symbol = 'SAP.DE'`
  apple = first!.asset_id
  sap = second!.asset_id
})

afterAll(async () => {
  await live?.end()
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

describe('activities are written with the lots that follow from them', () => {
  test('P4 purchases open lots, a sale closes the oldest first; every digit is kept', async () => {
    const user = await person()
    const first = activity({ quantity: '0.123456789012345678', price: '98765432109876543210.5', fees: '0.01' })
    const second = activity({ traded_at: '2026-01-05T10:00:00.123456Z', quantity: '2' })
    const bought = await done(user, { insert: [second, first] })
    expect(bought).toEqual({
      before: 0,
      version: expect.any(Number),
      asset_ids: [apple],
      lots: expect.arrayContaining([first.id, second.id]),
      removed_lots: [],
    })
    expect(await lotsOf(user)).toMatchObject([
      {
        id: first.id,
        quantity: '0.123456789012345678',
        fees: '0.01',
      },
      { id: second.id, quantity: '2', cost: '200' },
    ])
    const sale = sell({ quantity: '1.123456789012345678', price: '3' })
    const sold = await done(user, { insert: [sale] })
    expect(new Set(sold.lots)).toEqual(new Set([first.id, second.id]))
    expect(sold.version).toBeGreaterThan(bought.version)
    expect(await lotsOf(user)).toMatchObject([
      { id: first.id, quantity: '0', cost: '0', fees: '0' },
      { id: second.id, quantity: '1', cost: '100' },
    ])
    expect(await closuresOf(user)).toMatchObject([
      { activity_id: sale.id, lot_id: first.id, quantity: '0.123456789012345678', proceeds: '0.370370367037037034' },
      { activity_id: sale.id, lot_id: second.id, quantity: '1', cost: '100', proceeds: '3' },
    ])
  })

  test('what is refused changes nothing, and says which activity it is about', async () => {
    const user = await person()
    const [first, second] = [activity(), activity({ traded_at: '2026-01-05T11:00:00Z' })]
    const sale = sell({
      quantity: '15',
      lots: [
        { lot_id: first.id, quantity: '10' },
        { lot_id: second.id, quantity: '5' },
      ],
    })
    await done(user, { insert: [first, second, sale] })
    const before = [await lotsOf(user), await closuresOf(user), await activityIds(user)]
    const tooMuch = sell({ quantity: '5.000000000000000001', traded_at: '2026-01-06T10:00:01Z' })
    const tooSoon = sell({ quantity: '1', traded_at: '2026-01-05T09:59:59.999999Z' })
    const unknown = sell({ quantity: '1', lots: [{ lot_id: randomUUID(), quantity: '1' }] })
    const other = activity({ asset_id: sap, currency: 'EUR' })
    const version = 1
    const refusals: [ActivitiesChange, string, string][] = [
      [{ insert: [tooMuch] }, 'insufficient_quantity', tooMuch.id],
      [{ insert: [other, tooMuch] }, 'insufficient_quantity', tooMuch.id],
      [{ insert: [tooSoon] }, 'insufficient_quantity', tooSoon.id],
      [{ insert: [unknown] }, 'unknown_lot', unknown.id],
      [{ remove: [first.id] }, 'unknown_lot', sale.id],
      [{ update: [{ ...first, quantity: '9', version }] }, 'insufficient_quantity', sale.id],
      [{ update: [{ ...first, asset_id: sap, version }] }, 'unknown_lot', sale.id],
      [{ update: [{ ...first, note: 'x', version: 2 }] }, 'version_conflict', first.id],
      [{ update: [{ ...other, version }] }, 'unknown_activity', other.id],
      [{ remove: [other.id] }, 'unknown_activity', other.id],
    ]
    for (const [given, reason, activity_id] of refusals)
      expect(await change(user, given), `${reason} ${JSON.stringify(given)}`).toMatchObject({
        ok: false,
        refused: { reason, activity_id },
      })
    expect([await lotsOf(user), await closuresOf(user), await activityIds(user)]).toEqual(before)
  })

  test('only rows that differ are written', async () => {
    const user = await person()
    const [first, second, third] = ['2026-01-02', '2026-01-03', '2026-01-04'].map((day) =>
      activity({ traded_at: `${day}T00:00:00Z`, price: '33.30', fees: '1.10' }),
    ) as [NewActivity, NewActivity, NewActivity]
    const sale = sell({ quantity: '12' })
    await done(user, { insert: [first, second, third, sale] })
    const lots = await writers('lots', user)
    const closures = await writers('lot_closures', user)

    const noted = await done(user, { update: [{ ...third, note: 'for later', version: 1 }] })
    expect(noted).toMatchObject({ lots: [third.id], removed_lots: [] })
    expect(await writers('lots', user)).toEqual(lots)
    expect(await writers('lot_closures', user)).toEqual(closures)
    expect(await as(user, (sql) => findActivity(sql, user.id, third.id))).toMatchObject({
      note: 'for later',
      version: 2,
    })

    expect(await done(user, { insert: [sell({ quantity: '1', traded_at: '2026-01-07T00:00:00Z' })] })).toMatchObject({
      lots: [second.id],
    })
    const after = await writers('lots', user)
    expect([after[first.id], after[third.id]]).toEqual([lots[first.id], lots[third.id]])
    expect(after[second.id]).not.toBe(lots[second.id])
    expect(await writers('lot_closures', user)).toMatchObject(closures)
  })

  test('a lot goes with its purchase, and moves with it to another asset', async () => {
    const user = await person()
    const [kept, moved] = [activity(), activity({ quantity: '3' })]
    await done(user, { insert: [kept, moved] })
    expect(await done(user, { update: [{ ...moved, asset_id: sap, version: 1 }] })).toMatchObject({
      asset_ids: [apple, sap].sort((a, b) => a - b),
      lots: [moved.id],
      removed_lots: [],
    })
    expect(await lotsOf(user)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id: moved.id, asset_id: sap }),
        expect.objectContaining({ id: kept.id, asset_id: apple }),
      ]),
    )
    expect(await done(user, { remove: [kept.id] })).toMatchObject({ lots: [], removed_lots: [kept.id] })
    expect(await activityIds(user)).toEqual([moved.id])
  })

  test('what belongs to no asset touches no lot; what is yet to come has no effect until then', async () => {
    const user = await person()
    const fee = activity({ kind: 'fee', asset_id: null, quantity: '1', price: '2' })
    const later = activity({ traded_at: '2026-03-02T00:00:00Z' })
    expect(await done(user, { insert: [fee, later] })).toMatchObject({ asset_ids: [0, apple], lots: [] })
    expect(await lotsOf(user)).toEqual([])
    const derive = (now: string) => as(user, (sql) => deriveAssets(sql, user.id, new Date(now), [apple]))
    expect(await derive('2026-03-01T23:59:59Z')).toMatchObject({ lots: [] })
    expect(await derive('2026-03-02T00:00:00Z')).toMatchObject({ lots: [later.id] })
  })

  test('a split that somebody enters, and one that the market tells, change the lots that were open, once', async () => {
    const user = await person()
    const [before, after] = [activity(), activity({ traded_at: '2026-02-03T00:00:00Z' })]
    const split = activity({
      kind: 'split',
      quantity: '0',
      price: '0',
      traded_at: '2026-02-02T15:00:00Z',
      split: { numerator: '4', denominator: '1' },
    })
    await done(user, { insert: [before, after, split] })
    const expected = [
      { id: before.id, quantity: '40', price: '25', cost: '1000' },
      { id: after.id, quantity: '10', price: '100', cost: '1000' },
    ]
    expect(await lotsOf(user)).toMatchObject(expected)
    await live`INSERT INTO corporate_actions (asset_id, ex_date, kind, numerator, denominator)
      VALUES (${apple}, '2026-02-01', 'split', 4, 1)`
    await as(user, (sql) => deriveAssets(sql, user.id, NOW, null))
    expect(await lotsOf(user)).toMatchObject(expected)
    await live`DELETE FROM corporate_actions`
  })

  test('two fingerprints that are the same are written once', async () => {
    const user = await person()
    const imported = () => activity({ fingerprint: 'the same' })
    await done(user, { insert: [imported()] })
    await expect(change(user, { insert: [imported()] })).rejects.toMatchObject({ code: '23505' })
    await expect(
      change(user, { insert: [activity({ fingerprint: 'b' }), activity({ fingerprint: 'b' })] }),
    ).rejects.toThrow()
    expect(await activityIds(user)).toHaveLength(1)
    await done(await person(), { insert: [imported()] })
  })

  test('P4 of sales at once of the same shares one is written', async () => {
    const user = await person()
    await done(user, { insert: [activity()] })
    const sales = Array.from({ length: 5 }, () => sell({ quantity: '4' }))
    const results = await Promise.all(sales.map((sale) => change(user, { insert: [sale] })))
    expect(results.filter(({ ok }) => ok)).toHaveLength(2)
    expect(await lotsOf(user)).toMatchObject([{ quantity: '2' }])
  })

  test('first activities at once make one portfolio', async () => {
    const user = await person()
    await Promise.all(Array.from({ length: 4 }, () => done(user, { insert: [activity()] })))
    expect(await lotsOf(user)).toHaveLength(4)
  })

  test('a portfolio has a bounded number of activities', async () => {
    const user = await person()
    await done(user, { insert: [activity({ kind: 'fee', asset_id: null })] })
    await live`
      INSERT INTO activities (id, user_id, kind, quantity, price, fees, currency, traded_at)
      SELECT gen_random_uuid(), ${user.id}, 'fee', 1, 1, 0, 'USD', now() FROM generate_series(2, ${MAX_ACTIVITIES - 1})`
    const [first, second] = [activity({ kind: 'fee', asset_id: null }), activity({ kind: 'fee', asset_id: null })]
    expect(await change(user, { insert: [first, second] })).toMatchObject({
      refused: { reason: 'too_many_activities' },
    })
    await done(user, { insert: [first] })
    expect(await change(user, { insert: [second] })).toMatchObject({ refused: { reason: 'too_many_activities' } })
    await done(user, { insert: [second], remove: [first.id] })
  })
})

describe('what was written past Kerb', () => {
  /** Written as an operator would, in no user's name. */
  const directly = async (user: User, given: NewActivity) => {
    await live`
      INSERT INTO activities (id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at, named_lots)
      VALUES (${given.id}, ${user.id}, ${given.kind}, ${given.asset_id}, ${given.quantity}, ${given.price}, ${given.fees},
        ${given.currency}, ${given.traded_at}, ${given.lots && JSON.stringify(given.lots)}::text::jsonb)`
  }

  test('has its lots made; more than is held goes short, as an import does, and can be changed after', async () => {
    const user = await person()
    const [bought, sold, more] = [
      activity(),
      sell({ quantity: '15' }),
      sell({ quantity: '1', lots: [{ lot_id: randomUUID(), quantity: '1' }], traded_at: '2026-01-07T00:00:00Z' }),
    ]
    await done(user, { insert: [bought] })
    await directly(user, sold)
    await directly(user, more)
    const change = await as(user, (sql) => deriveAssets(sql, user.id, NOW, null))
    expect(change).toMatchObject({ asset_ids: null, removed_lots: [] })
    expect(new Set(change.lots)).toEqual(new Set([bought.id, sold.id, more.id]))
    expect(await lotsOf(user)).toMatchObject([
      { id: bought.id, quantity: '0' },
      { id: sold.id, quantity: '-5', cost: '-500' },
      { id: more.id, quantity: '-1' },
    ])
    await done(user, { insert: [activity({ traded_at: '2026-01-08T00:00:00Z', quantity: '6' })] })
    expect(await lotsOf(user)).toMatchObject([{ quantity: '0' }, { quantity: '0' }, { quantity: '0' }])
  })

  test('is left alone where it is another’s, and nothing is made for who has no portfolio', async () => {
    const [user, other] = [await person(), await person()]
    const bought = activity()
    await done(other, { insert: [activity()] })
    await directly(other, bought)
    expect(await as(user, (sql) => deriveAssets(sql, user.id, NOW, null))).toEqual({
      before: 0,
      version: 0,
      asset_ids: [],
      lots: [],
      removed_lots: [],
    })
    await as(user, (sql) => deriveAssets(sql, other.id, NOW, null))
    expect(await lotsOf(other)).toHaveLength(1)
    expect(await as(other, (sql) => deriveAssets(sql, other.id, NOW, [apple]))).toMatchObject({ lots: [bought.id] })
  })
})

describe('P8 nobody reaches what is another’s', () => {
  test('by the query, by row level security, or by both', async () => {
    const [user, other] = [await person(), await person()]
    const theirs = activity()
    await done(other, { insert: [theirs] })
    await done(user, { insert: [activity()] })
    expect(await as(user, (sql) => findActivity(sql, user.id, theirs.id))).toBeNull()
    expect(await as(user, (sql) => findActivity(sql, other.id, theirs.id))).toBeNull()
    expect(await change(user, { update: [{ ...theirs, note: 'mine', version: 1 }] })).toMatchObject({ ok: false })
    expect(await change(user, { remove: [theirs.id] })).toMatchObject({ ok: false })
    const sale = sell({ quantity: '1', lots: [{ lot_id: theirs.id, quantity: '1' }] })
    expect(await change(user, { insert: [sale] })).toMatchObject({ refused: { reason: 'unknown_lot' } })
    for (const table of ['activities', 'lots', 'lot_closures', 'own_assets', 'idempotency_keys', 'portfolios'])
      expect(
        await as(user, (sql) => sql.unsafe(`SELECT DISTINCT user_id FROM ${table} WHERE user_id <> '${user.id}'`)),
      ).toEqual([])
    // In another's name: the row of the portfolio cannot even be locked.
    await expect(as(user, (sql) => changeActivities(sql, other.id, NOW, { insert: [activity()] }))).rejects.toThrow(
      'row-level security',
    )
  })

  test('assets of one’s own are one’s own', async () => {
    const [user, other] = [await person(), await person()]
    const house = { symbol: 'House', name: 'A house', currency: 'EUR' }
    const boat = { symbol: 'Boat', name: 'A boat', currency: 'EUR' }
    const add = async (who: typeof user, own: (typeof house)[]) =>
      (await as(who, (sql) => addCustomAssets(sql, who.id, own))) as [number, ...number[]]
    const [mine] = await add(user, [house])
    const [ship, again] = await add(user, [boat, { ...house, name: 'other' }])
    const [theirs] = await add(other, [house])
    expect(mine).toBeLessThan(0)
    expect(again).toBe(mine)
    expect(ship).toBeLessThan(mine)
    expect(theirs).not.toBe(mine)
    expect(await as(user, (sql) => findCustomAsset(sql, user.id, 'HOUSE', null))).toMatchObject({ asset_id: mine })
    await done(user, { insert: [activity({ asset_id: mine, currency: 'EUR' })] })
    expect(await as(user, (sql) => readActivityAssets(sql, user.id))).toMatchObject([
      { asset_id: mine, symbol: 'House' },
    ])
    await expect(change(user, { insert: [activity({ asset_id: theirs })] })).rejects.toMatchObject({ code: '23503' })
  })
})

test('pages of activities skip and repeat nothing, whatever their times', async () => {
  const user = await person()
  const all = Array.from({ length: 12 }, (_, i) =>
    activity({ traded_at: `2026-01-0${1 + (i % 3)}T00:00:00.${i % 2}Z`, asset_id: i % 4 === 0 ? sap : apple }),
  )
  await done(user, { insert: all })
  const seen: string[] = []
  for (let after: ActivityCursor | null = null; ; ) {
    const asked: Parameters<typeof readActivities>[2] = { assetIds: null, kind: null, limit: 5, after }
    const page: ActivityView[] = await as(user, (sql) => readActivities(sql, user.id, asked))
    seen.push(...page.map(({ id }) => id))
    if (page.length < 5) break
    after = page.at(-1)!
  }
  expect(new Set(seen).size).toBe(12)
  expect(seen).toHaveLength(12)
  const only = { assetIds: [sap], kind: 'buy' as const, limit: 50, after: null }
  expect(await as(user, (sql) => readActivities(sql, user.id, only))).toHaveLength(3)
  expect(await as(user, (sql) => readActivities(sql, user.id, { ...only, kind: 'sell' }))).toEqual([])
})

describe('an answer is stored under its key', () => {
  const answer = { status: 201, headers: { etag: '"v1"' }, body: '{"id":"x"}' }
  const keep = (user: User, key: string, request: string) =>
    as(user, async (sql) => {
      const use = await claimKey(sql, user.id, key, request)
      if (use.kind === 'new') await storeResponse(sql, user.id, key, answer)
      return use.kind
    })

  test('once, for one request, for one user, for so long', async () => {
    const [user, other] = [await person(), await person()]
    expect(await Promise.all([keep(user, 'k', 'a'), keep(user, 'k', 'a'), keep(user, 'k', 'a')])).toEqual(
      expect.arrayContaining(['new', 'answered', 'answered']),
    )
    const find = (who: User, request: string) => as(who, (sql) => readKey(sql, who.id, 'k', request))
    expect(await find(user, 'a')).toEqual({ kind: 'answered', answer })
    expect(await find(user, 'b')).toEqual({ kind: 'other_request' })
    expect(await keep(user, 'k', 'b')).toBe('other_request')
    expect(await find(other, 'a')).toEqual({ kind: 'new' })
    expect(await deleteExpiredIdempotencyKeys(live, 1, Date.now() + DAY_MS - 60_000)).toBe(0)
    expect(await deleteExpiredIdempotencyKeys(live, 1, Date.now() + DAY_MS + 60_000)).toBe(1)
    expect(await find(user, 'a')).toEqual({ kind: 'new' })
  })

  test('with what it tells of, or not at all', async () => {
    const user = await person()
    const failing = as(user, async (sql) => {
      await claimKey(sql, user.id, 'k', 'a')
      throw new Error('on purpose')
    })
    const [, second] = await Promise.allSettled([failing, keep(user, 'k', 'a')])
    expect(second).toMatchObject({ value: 'new' })
  })
})
