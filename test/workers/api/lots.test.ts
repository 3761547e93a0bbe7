import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { addAsset } from '../../../src/db/assets.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { ensureHistoryPartitions } from '../../../src/db/price-history.ts'
import type { LookupResult, PortfolioChange, QuoteBoardObject } from '../../../src/objects.ts'
import type { ActivityPage, ActivityView, LotPage, Sale } from '../../../src/protocol/activity.ts'
import { activitySchema, saleSchema } from '../../../src/protocol/activity.ts'
import type { Asset } from '../../../src/protocol/asset.ts'
import type { Problem } from '../../../src/protocol/errors.ts'
import { type LotView, lotSchema } from '../../../src/protocol/portfolio.ts'
import { type ProfileWithPortfolio, profileSchema } from '../../../src/protocol/profile.ts'
import { createMember, type Member } from '../support/person.ts'
import { getWithEnv, setDatabaseOpen } from '../support/wire.ts'

const sql = (text: string, ...values: (string | number)[]) => withLiveDatabase(env, (live) => live.unsafe(text, values))

const draft = (symbol: string, rest: Partial<Asset> = {}): Omit<Asset, 'asset_id'> => ({
  symbol,
  name: `Stocks ${symbol}`,
  type: 'stock',
  category: 'stock',
  code: symbol,
  provider: 'yahoo',
  provider_id: symbol,
  currency: 'USD',
  isin: null,
  ...rest,
})

const assets = new Map<string, Asset>()
/** What the user's object was told, and what the board was asked to find. */
let told: { name: string; change: PortfolioChange }[]
let discovered: string[]
let here: Env

const board: Pick<QuoteBoardObject, 'lookup' | 'discover'> = {
  lookup: async (names) =>
    names.map((name): LookupResult => ({ name, kind: 'unknown', asked: name.startsWith('KSUNK') })),
  async discover(name): Promise<LookupResult> {
    discovered.push(name)
    if (name !== 'KSNEW') return { name, kind: 'unknown', asked: true }
    await withLiveDatabase(env, (live) => addAsset(live, draft('KSNEW', { currency: 'CHF' })))
    return { name, kind: 'unpriced', symbol: name, reason: 'unavailable', retryAfter: 1 }
  },
}

const PRICED = '2026-06-30T12:00:00Z'

beforeAll(async () => {
  await withLiveDatabase(env, async (live) => {
    for (const one of [
      draft('KSA', { isin: 'US0000000017' }),
      draft('KSE', { currency: 'EUR' }),
      draft('KSZ.L', { code: 'KSZ' }),
      draft('KSZ.AS', { code: 'KSZ', currency: 'EUR' }),
    ])
      assets.set(one.symbol, await addAsset(live, one))
    const [euro] = await live<
      { asset_id: number }[]
    >`SELECT asset_id FROM assets WHERE code = 'EURUSD' AND type = 'forex'`
    await ensureHistoryPartitions(live, '2026-01-01')
    for (const [date, close] of [
      ['2026-01-05', '1.25'],
      ['2026-02-05', '1.5'],
    ] as const)
      await live`
        INSERT INTO price_history_daily (asset_id, date, open, high, low, close)
        VALUES (${euro!.asset_id}, ${date}, ${close}, ${close}, ${close}, ${close})`
    for (const [asset_id, price, currency] of [
      [assets.get('KSA')!.asset_id, '150', 'USD'],
      [assets.get('KSE')!.asset_id, '40', 'EUR'],
      [euro!.asset_id, '2', 'USD'],
    ] as const)
      await live`
        INSERT INTO prices_current (asset_id, price, currency, previous_close, provider, as_of, updated_at)
        VALUES (${asset_id}, ${price}, ${currency}, ${price}, 'simulated', ${PRICED}, ${PRICED})`
  })
})

beforeEach(() => {
  told = []
  discovered = []
  const object = (name: string) => ({
    applyChange: async (change: PortfolioChange) => {
      told.push({ name, change })
    },
  })
  here = {
    ...env,
    QUOTE_BOARD: { getByName: () => board },
    USER_PORTFOLIO: { getByName: object },
    LOOKUP_LIMIT: { limit: async () => ({ success: true }) },
  } as unknown as Env
})

afterEach(() => setDatabaseOpen(true))

/** Somebody with a bearer token, and what they ask for. */
async function holder() {
  const { token, id }: Member = await createMember()
  const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    getWithEnv(here, `/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  const post = (path: string, body: unknown, headers?: Record<string, string>) => ask('POST', path, body, headers)
  return {
    id,
    ask,
    post,
    get: async <T>(path: string): Promise<T> => (await ask('GET', path)).json(),
    /** Enters a purchase, which must be taken. */
    buy: async (fields: Record<string, unknown> = {}): Promise<LotView> => {
      const answer = await post('/stocks', { ...BUY, ...fields })
      if (answer.status !== 201) throw new Error(await answer.text())
      return answer.json()
    },
    written: async () =>
      (
        await sql(
          `SELECT (SELECT json_agg(a ORDER BY id) FROM activities a WHERE user_id = $1) AS activities,
            (SELECT json_agg(l ORDER BY id) FROM lots l WHERE user_id = $1) AS lots,
            (SELECT json_agg(c ORDER BY activity_id, lot_id) FROM lot_closures c WHERE user_id = $1) AS closures,
            (SELECT version FROM portfolios WHERE user_id = $1) AS version,
            (SELECT count(*) FROM idempotency_keys WHERE user_id = $1) AS keys`,
          id,
        )
      )[0],
  }
}

const BUY = { symbol: 'KSA', quantity: '10', price: '100', traded_at: '2026-01-05T10:00:00Z' }
const SELL = { quantity: '4', price: '120', traded_at: '2026-02-05' }
const NOBODY = '00000000-0000-4000-8000-000000000000'

const problem = async (response: Response): Promise<Problem> => (await response.json()) as Problem
const codeOf = async (response: Response) => [response.status, (await problem(response)).code]
const gains = ({ cost, proceeds, realised_gain }: Pick<Sale, 'cost' | 'proceeds' | 'realised_gain'>) => [
  cost,
  proceeds,
  realised_gain,
]

describe('lots', () => {
  test('a lot is added, read, changed, sold and deleted, and the object is notified after each write', async () => {
    const who = await holder()
    const added = await who.post('/stocks', { ...BUY, symbol: ' ksa', fees: '1.50', note: 'first' })
    const lot: LotView = await added.json()
    expect(added.status).toBe(201)
    expect(added.headers.get('location')).toBe(`/api/v1/stocks/${lot.id}`)
    expect(added.headers.get('etag')).toBe('"v1"')
    expect(added.headers.get('cache-control')).toBe('private, no-store')
    expect(lotSchema.parse(lot)).toMatchObject({
      symbol: 'KSA',
      quantity: '10',
      opened_quantity: '10',
      price: '100',
      fees: '1.5',
      currency: 'USD',
      traded_at: '2026-01-05T10:00:00Z',
      cost: '1001.5',
      note: 'first',
      version: 1,
      invested: '1001.5',
      present_value: '1500',
      gain_loss: '498.5',
      gain_loss_percent: '49.7753',
    })
    const place = `/stocks/${lot.id}`
    expect(await who.get(place)).toEqual(lot)

    const changed = await who.ask('PATCH', place, { quantity: '12', note: null }, { 'if-match': '"v1"' })
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"v2"'])
    expect(await changed.json()).toMatchObject({ quantity: '12', note: null, cost: '1201.5', version: 2 })

    const sold = await who.post(`${place}/sell`, SELL)
    const sale = saleSchema.parse(await sold.json())
    expect(sold.status).toBe(201)
    expect(sold.headers.get('location')).toBe(`/api/v1/activities/${sale.activity_id}`)
    expect(sale).toMatchObject({ quantity: '4', cost: '400.5', proceeds: '480', realised_gain: '79.5' })
    expect(await who.get(place)).toMatchObject({ quantity: '8', opened_quantity: '12', fees: '1', cost: '801' })

    expect(await codeOf(await who.ask('DELETE', place))).toEqual([409, 'insufficient_quantity'])
    expect((await who.ask('DELETE', `/activities/${sale.activity_id}`)).status).toBe(204)
    expect((await who.ask('DELETE', place, undefined, { 'if-match': '"v2"' })).status).toBe(204)
    expect(await codeOf(await who.ask('GET', place))).toEqual([404, 'unknown_lot'])
    expect(await who.get('/stocks')).toEqual({ stocks: [], next_cursor: null })

    const asset_ids = [assets.get('KSA')!.asset_id]
    expect(told.map(({ change: { version: _, before: __, ...change } }) => change)).toEqual([
      { asset_ids, lots: [lot.id], removed_lots: [] },
      { asset_ids, lots: [lot.id], removed_lots: [] },
      { asset_ids, lots: [lot.id], removed_lots: [] },
      { asset_ids, lots: [lot.id], removed_lots: [] },
      { asset_ids, lots: [], removed_lots: [lot.id] },
    ])
    const versions = told.map(({ change }) => change.version)
    expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b))
    expect(told.map(({ change }) => change.before)).toEqual([0, ...versions.slice(0, -1)])
    expect(new Set(told.map(({ name }) => name))).toEqual(new Set([`simulated:${who.id}`]))
  })

  test('a purchase defaults to no fees, the currency of the asset and now; a date means its midnight in UTC', async () => {
    const who = await holder()
    const before = Date.now()
    const lot = await who.buy({ symbol: 'KSE', traded_at: undefined })
    expect(lot).toMatchObject({ fees: '0', currency: 'EUR', note: null })
    expect(Date.parse(lot.traded_at)).toBeGreaterThanOrEqual(before)
    expect(Date.parse(lot.traded_at)).toBeLessThanOrEqual(Date.now())
    expect(await who.buy({ traded_at: '2026-01-05' })).toMatchObject({ traded_at: '2026-01-05T00:00:00Z' })
    expect(await who.buy({ traded_at: '2026-01-05T10:00:00.250+02:00' })).toMatchObject({
      traded_at: '2026-01-05T08:00:00.25Z',
    })
  })

  test('P1 every digit is returned; a gift costs nothing and has no gain in per cent', async () => {
    const who = await holder()
    const amounts = { quantity: '123456789012345678901234567890.123456789012345678', price: '0.000000000000000001' }
    expect(await who.buy(amounts)).toMatchObject({
      ...amounts,
      cost: '123456789012.345678901234567890123456789012345678',
    })
    expect(await who.buy({ price: '0' })).toMatchObject({ cost: '0', gain_loss: '1500', gain_loss_percent: null })
  })

  const BAD: [Record<string, unknown>, Record<string, string>][] = [
    [
      { symbol: 7, quantity: 10, price: null, fees: '-0.01', currency: 'GBp', traded_at: '2026-02-30', short: true },
      {
        symbol: 'must be text',
        quantity: 'a number of JSON may have lost digits',
        price: 'must be a decimal',
        fees: 'not below 0',
        currency: 'GBp is a hundredth of GBP',
        traded_at: 'must be an RFC 3339 time',
        '': 'has unknown fields',
      },
    ],
    [
      {
        quantity: '0.00',
        price: '9'.repeat(31),
        fees: '1e3',
        currency: 'U',
        traded_at: 'yesterday',
        note: 'a\u0000b',
      },
      {
        quantity: 'must be above 0',
        price: '30 digits before',
        fees: 'must be a decimal',
        currency: 'must be a currency',
        traded_at: 'must be an RFC 3339 time',
        note: 'must be text',
      },
    ],
    // Of UTC, what is before 1900 is: no import would take it back.
    [
      { symbol: 'AAPL\u0000', traded_at: '1900-01-01T00:00:00+14:00', note: 'half of a \ud83d' },
      { symbol: 'must be text of one line', traded_at: 'from 1900 on', note: 'must be text' },
    ],
    [{ symbol: '\udc00' }, { symbol: 'must be text of one line' }],
    [
      { symbol: ' ', quantity: '-1', price: '1,5', fees: 'NaN', currency: '$', traded_at: '1899-12-31' },
      {
        symbol: 'is required',
        quantity: 'not below 0',
        price: 'must be a decimal',
        fees: 'must be a decimal',
        currency: 'must be a currency',
        traded_at: 'from 1900 on',
      },
    ],
    [
      { quantity: `1.${'1'.repeat(19)}`, currency: 'ILA', traded_at: 1_767_225_600, note: 'x'.repeat(501) },
      {
        quantity: '18 after it',
        currency: 'ILA is a hundredth of ILS',
        traded_at: 'must be an RFC 3339 time',
        note: '500 characters',
      },
    ],
    [{ currency: 'US' }, { currency: 'must be an ISO 4217 currency' }],
    [{ currency: 'UDS' }, { currency: 'must be an ISO 4217 currency' }],
    [{ traded_at: '2999-01-01' }, { traded_at: "The date can't be in the future." }],
  ]

  test('errors name each field, and nothing is written', async () => {
    const who = await holder()
    const { id } = await who.buy()
    const before = await who.written()
    told = []
    const refusal = async (answer: Response) => {
      const refused = await problem(answer)
      expect([refused.status, refused.code]).toEqual([400, 'invalid_request'])
      return Object.fromEntries((refused.errors ?? []).map(({ field, message }) => [field, message]))
    }
    const required = expect.stringContaining('is required')
    expect(await refusal(await who.post('/stocks', {}))).toEqual({
      symbol: required,
      quantity: required,
      price: required,
    })
    for (const [change, messages] of BAD) {
      const expected = Object.fromEntries(
        Object.entries(messages).map(([field, message]) => [field, expect.stringContaining(message)]),
      )
      expect(await refusal(await who.post('/stocks', { ...BUY, ...change }))).toEqual(expected)
      expect(await refusal(await who.ask('PATCH', `/stocks/${id}`, change))).toEqual(expected)
    }
    expect(await who.written()).toEqual(before)
    expect(told).toEqual([])
  })

  test('D6 a body that is no object, too long or not JSON is rejected', async () => {
    const who = await holder()
    for (const body of ['[]', 'null', '{', '"x"'])
      expect(await codeOf(await who.post('/stocks', body))).toEqual([400, 'invalid_request'])
    expect(await codeOf(await who.post('/stocks', { ...BUY, note: 'x'.repeat(300_000) }))).toEqual([
      413,
      'message_too_large',
    ])
  })

  test('a change with an outdated version in If-Match is rejected', async () => {
    const who = await holder()
    const { id } = await who.buy()
    const before = await who.written()
    for (const tag of ['"v2"', 'v1', 'W/"v1"', '""'])
      for (const method of ['PATCH', 'DELETE'])
        expect(
          await codeOf(
            await who.ask(method, `/stocks/${id}`, method === 'PATCH' ? { price: '1' } : undefined, {
              'if-match': tag,
            }),
          ),
        ).toEqual([412, 'version_conflict'])
    expect(await who.written()).toEqual(before)
    expect((await who.ask('PATCH', `/stocks/${id}`, { price: '1' }, { 'if-match': '"v9", "v1"' })).status).toBe(200)
    expect((await who.ask('DELETE', `/stocks/${id}`, undefined, { 'if-match': '*' })).status).toBe(204)
  })

  test('an empty change changes nothing', async () => {
    const who = await holder()
    const lot = await who.buy()
    const before = await who.written()
    const answer = await who.ask('PATCH', `/stocks/${lot.id}`, {})
    expect([answer.status, answer.headers.get('etag'), await answer.json()]).toEqual([200, '"v1"', lot])
    expect(await who.written()).toEqual(before)
  })

  test('pages by cursor list each lot once, the newest first, and filter by any name of a symbol and by open or closed', async () => {
    const who = await holder()
    for (const day of ['03', '01', '02', '02', '04']) await who.buy({ traded_at: `2026-01-${day}` })
    const euro = await who.buy({ symbol: 'KSE', traded_at: '2026-01-09' })
    const oldest = (await who.get<LotPage>('/stocks')).stocks.at(-1) as LotView
    await who.post(`/stocks/${oldest.id}/sell`, { ...SELL, quantity: '10' })
    const seen: LotView[] = []
    for (let path = '/stocks?limit=4'; ; ) {
      const page = await who.get<LotPage>(path)
      seen.push(...page.stocks)
      if (page.next_cursor === null) break
      path = `/stocks?limit=4&cursor=${encodeURIComponent(page.next_cursor)}`
    }
    expect(new Set(seen.map(({ id }) => id)).size).toBe(6)
    expect(seen.map(({ traded_at }) => traded_at.slice(8, 10))).toEqual(['09', '04', '03', '02', '02', '01'])
    const ids = async (query: string) => (await who.get<LotPage>(`/stocks?${query}`)).stocks.map(({ id }) => id)
    expect(await ids('symbol=kse')).toEqual([euro.id])
    expect(await ids('symbol=yahoo:KSE')).toEqual([euro.id])
    expect(await ids('symbol=US0000000017')).toHaveLength(5)
    expect(await ids('symbol=AAPL')).toEqual([])
    expect(await ids('open=false')).toEqual([oldest.id])
    expect(await ids('open=true')).toHaveLength(5)
    for (const query of [
      'limit=0',
      'limit=501',
      'limit=x',
      'open=1',
      'cursor=x',
      `cursor=${btoa('2026-02-30T00:00:00Z x')}`,
    ])
      expect(await codeOf(await who.ask('GET', `/stocks?${query}`)), query).toEqual([400, 'invalid_request'])
  })
})

describe('symbols', () => {
  test('a lot finds its asset by any of its names', async () => {
    const who = await holder()
    for (const symbol of ['KSA', 'ksa', 'US0000000017', 'yahoo:KSA'])
      expect(await who.buy({ symbol })).toMatchObject({ symbol: 'KSA' })
    expect(discovered).toEqual([])
  })

  test('an unknown symbol is rejected, an ambiguous one with its candidates, and nothing is written', async () => {
    const who = await holder()
    for (const symbol of ['KSNONE', 'KSUNKNOWN', 'no symbol!'])
      expect(await codeOf(await who.post('/stocks', { ...BUY, symbol })), symbol).toEqual([404, 'unknown_symbol'])
    expect(discovered).toEqual(['KSNONE'])
    const ambiguous = await problem(await who.post('/stocks', { ...BUY, symbol: 'KSZ' }))
    expect(ambiguous).toMatchObject({ status: 409, code: 'ambiguous_symbol' })
    expect(ambiguous.candidates?.map(({ name_for_it }) => name_for_it)).toEqual(['yahoo:KSZ.L', 'yahoo:KSZ.AS'])
    expect(await who.buy({ symbol: 'yahoo:KSZ.AS' })).toMatchObject({ symbol: 'KSZ.AS', currency: 'EUR' })
    expect((await who.get<ActivityPage>('/activities')).activities).toHaveLength(1)
  })

  test('a symbol that a provider knows becomes an asset, within the limit of lookups per client', async () => {
    const who = await holder()
    expect(await who.buy({ symbol: 'ksnew' })).toMatchObject({ symbol: 'KSNEW', currency: 'CHF', present_value: null })
    expect(discovered).toEqual(['KSNEW'])
    const limited = { ...here, LOOKUP_LIMIT: { limit: async () => ({ success: false }) } } as unknown as Env
    here = limited
    expect(await codeOf(await who.post('/stocks', { ...BUY, symbol: 'KSLIMIT' }))).toEqual([429, 'too_many_requests'])
    expect(discovered).toEqual(['KSNEW'])
  })

  test('the symbol of a custom asset means that asset', async () => {
    const who = await holder()
    await who.buy()
    await sql(
      `INSERT INTO own_assets (user_id, symbol, name, currency) VALUES ($1, 'My House', 'A house', 'EUR')`,
      who.id,
    )
    const house = await who.buy({ symbol: 'my house', price: '500000', quantity: '1' })
    expect(house).toMatchObject({ symbol: 'My House', currency: 'EUR', gain_loss: null, day_change: null })
    expect(house.asset_id).toBeLessThan(0)
    expect(house.present_value).toBe(house.invested)
    expect((await who.get<LotPage>('/stocks?symbol=my%20house')).stocks.map(({ id }) => id)).toEqual([house.id])
    expect(await codeOf(await (await holder()).post('/stocks', { ...BUY, symbol: 'My House' }))).toEqual([
      404,
      'unknown_symbol',
    ])
  })
})

describe('P4 sales', () => {
  test('P4 a sale takes the oldest lots first, whichever lot is named in the path, or the lots that it names', async () => {
    const who = await holder()
    const first = await who.buy({ traded_at: '2026-01-05', fees: '10' })
    const second = await who.buy({ traded_at: '2026-01-06', price: '110' })
    const third = await who.buy({ traded_at: '2026-01-07', price: '90' })
    const sell = async (fields: Record<string, unknown>): Promise<Sale> =>
      (await who.post(`/stocks/${third.id}/sell`, { ...SELL, ...fields })).json()
    const fifo = await sell({ quantity: '12', fees: '6' })
    expect(fifo.lots.map(({ lot_id, quantity, ...gain }) => [lot_id, quantity, ...gains(gain)])).toEqual([
      [first.id, '10', '1010', '1195', '185'],
      [second.id, '2', '220', '239', '19'],
    ])
    expect(gains(fifo)).toEqual(['1230', '1434', '204'])
    const named = await sell({
      quantity: '6',
      lots: [
        { lot_id: third.id, quantity: '5' },
        { lot_id: second.id, quantity: '1' },
      ],
    })
    expect(named.lots.map(({ lot_id, quantity, cost }) => [lot_id, quantity, cost])).toEqual([
      [second.id, '1', '110'],
      [third.id, '5', '450'],
    ])
    const left = (await who.get<LotPage>('/stocks')).stocks.map(({ quantity }) => quantity)
    expect(left).toEqual(['5', '7', '0'])
  })

  test('a dry run returns the result of the sale, and writes nothing', async () => {
    const who = await holder()
    const lot = await who.buy({ symbol: 'KSE', price: '20', fees: '1' })
    await who.buy({ symbol: 'KSE', traded_at: '2026-02-05', price: '30' })
    told = []
    const before = await who.written()
    const given = { quantity: '13', price: '50', fees: '0.03', currency: 'USD', traded_at: '2026-02-05T12:00:00Z' }
    const looked = await who.post(`/stocks/${lot.id}/sell?dry_run=true`, given, { 'idempotency-key': 'not used' })
    const look: Sale = await looked.json()
    expect([looked.status, look.activity_id]).toEqual([200, null])
    expect(await who.written()).toEqual(before)
    expect(told).toEqual([])
    const answer = await who.post(`/stocks/${lot.id}/sell?dry_run=false`, given)
    const sale: Sale = await answer.json()
    expect(answer.status).toBe(201)
    expect({ ...sale, activity_id: null }).toEqual(look)
    // By hand: the lots cost 201 EUR at 1.25 and 90 EUR at 1.5; the sale brings 649.97 USD.
    expect(gains(sale)).toEqual(['386.25', '649.97', '263.72'])
    expect(sale.portfolio).toEqual({ currency: 'USD', cost: '386.25', proceeds: '649.97', realised_gain: '263.72' })
    expect(sale.lots.map(({ lot_cost, lot_currency, cost }) => [lot_cost, lot_currency, cost])).toEqual([
      ['201', 'EUR', '251.25'],
      ['90', 'EUR', '135'],
    ])
  })

  test('P3 figures of a sale are null where a rate is missing, never computed at a rate of 1', async () => {
    const who = await holder()
    await who.ask('PATCH', '/users/profile', { currency: 'EUR' })
    const lot = await who.buy({ traded_at: '2020-01-05' })
    expect(lot).toMatchObject({ cost: '1000', invested: null, gain_loss: null, present_value: '750' })
    const sale: Sale = await (await who.post(`/stocks/${lot.id}/sell`, SELL)).json()
    expect(gains(sale)).toEqual(['400', '480', '80'])
    expect(sale.portfolio).toEqual({
      currency: 'EUR',
      cost: null,
      proceeds: '320.000000000000016',
      realised_gain: null,
    })
  })

  test('a sale of more than is held is rejected with the quantity held, and nothing is written', async () => {
    const who = await holder()
    const lot = await who.buy()
    const later = await who.buy({ traded_at: '2026-03-01' })
    const euro = await who.buy({ symbol: 'KSE' })
    const before = await who.written()
    const named = (lot_id: string, quantity: string) => ({ quantity, lots: [{ lot_id, quantity }] })
    const refusals: [Record<string, unknown>, number, string, string][] = [
      [{ quantity: '10.000000000000000001' }, 409, 'insufficient_quantity', 'You only hold 10.'],
      [{ quantity: '1', traded_at: '2026-01-05T09:59:59Z' }, 409, 'insufficient_quantity', 'You only hold 0.'],
      [named(lot.id, '11'), 409, 'insufficient_quantity', 'This lot only has 10.'],
      [named(later.id, '1'), 404, 'unknown_lot', later.id],
      [named(euro.id, '1'), 404, 'unknown_lot', euro.id],
      [named(NOBODY, '1'), 404, 'unknown_lot', NOBODY],
      [{ quantity: '3', lots: [{ lot_id: lot.id, quantity: '2' }] }, 400, 'invalid_request', 'they are 2 of 3'],
      [{ lots: [] }, 400, 'invalid_request', 'must name one lot at least'],
      [{ lots: [{ lot_id: 'x', quantity: '4' }] }, 400, 'invalid_request', 'must be the id of a lot'],
      [
        { quantity: '4', lots: [named(lot.id, '2').lots[0], named(lot.id, '2').lots[0]] },
        400,
        'invalid_request',
        'once',
      ],
      [{ quantity: '0' }, 400, 'invalid_request', 'must be above 0'],
      [{ quantity: 4 }, 400, 'invalid_request', 'must be in quotes'],
      [{ traded_at: '2999-01-01' }, 400, 'invalid_request', "The date can't be in the future."],
      [{ currency: 'UDS' }, 400, 'invalid_request', 'must be an ISO 4217 currency'],
      [{ symbol: 'KSA' }, 400, 'invalid_request', 'has unknown fields'],
    ]
    for (const [change, status, code, detail] of refusals)
      for (const query of code === 'invalid_request' ? [''] : ['', '?dry_run=true']) {
        const refused = await problem(await who.post(`/stocks/${lot.id}/sell${query}`, { ...SELL, ...change }))
        expect(refused, JSON.stringify(change)).toMatchObject({ status, code, detail: expect.stringContaining(detail) })
      }
    expect(await codeOf(await who.post(`/stocks/${NOBODY}/sell`, SELL))).toEqual([404, 'unknown_lot'])
    expect(await codeOf(await who.post('/stocks/x/sell', SELL))).toEqual([404, 'unknown_lot'])
    expect(await codeOf(await who.post(`/stocks/${lot.id}/sell?dry_run=maybe`, SELL))).toEqual([400, 'invalid_request'])
    expect(await who.written()).toEqual(before)
  })

  test('a change or deletion that would leave later sales without shares is rejected, and nothing is written', async () => {
    const who = await holder()
    const lot = await who.buy()
    const other = await who.buy({ traded_at: '2026-01-06' })
    await who.post(`/stocks/${lot.id}/sell`, { ...SELL, quantity: '15' })
    await who.post(`/stocks/${lot.id}/sell`, { ...SELL, quantity: '2', lots: [{ lot_id: other.id, quantity: '2' }] })
    const before = await who.written()
    for (const change of [{ quantity: '1' }, { traded_at: '2026-02-06' }, { symbol: 'KSE' }])
      expect(await codeOf(await who.ask('PATCH', `/stocks/${lot.id}`, change)), JSON.stringify(change)).toEqual([
        409,
        'insufficient_quantity',
      ])
    for (const { id } of [lot, other])
      expect(await codeOf(await who.ask('DELETE', `/stocks/${id}`))).toEqual([409, 'insufficient_quantity'])
    expect(await who.written()).toEqual(before)
  })

  test('of two concurrent sales of the same shares one is written and the other rejected', async () => {
    const who = await holder()
    const { id } = await who.buy()
    const answers = await Promise.all([1, 2].map(() => who.post(`/stocks/${id}/sell`, { ...SELL, quantity: '6' })))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
    expect(await who.get(`/stocks/${id}`)).toMatchObject({ quantity: '4' })
  })
})

describe('activities', () => {
  const kinds: Record<string, unknown>[] = [
    { kind: 'buy', symbol: 'KSA', quantity: '10', price: '100', traded_at: '2026-01-05' },
    { kind: 'transfer_in', symbol: 'KSA', quantity: '5', price: '80', traded_at: '2026-01-06' },
    { kind: 'dividend', symbol: 'KSA', quantity: '15', price: '0.5', fees: '1', traded_at: '2026-01-07' },
    { kind: 'split', symbol: 'KSA', split: { numerator: '2', denominator: '1' }, traded_at: '2026-01-08' },
    { kind: 'sell', symbol: 'KSA', quantity: '20', price: '60', traded_at: '2026-01-09' },
    { kind: 'transfer_out', symbol: 'KSA', quantity: '4', traded_at: '2026-01-10' },
    { kind: 'fee', price: '3', traded_at: '2026-01-11' },
    { kind: 'interest', price: '4', currency: 'EUR', traded_at: '2026-01-12' },
    { kind: 'tax', symbol: 'KSA', price: '5', traded_at: '2026-01-13' },
  ]

  test('activities of every kind are added, listed, read, changed and deleted', async () => {
    const who = await holder()
    const added: ActivityView[] = []
    for (const fields of kinds) {
      const answer = await who.post('/activities', fields)
      const one = activitySchema.parse(await answer.json())
      expect(answer.headers.get('location')).toBe(`/api/v1/activities/${one.id}`)
      const { symbol = null, traded_at, ...rest } = fields
      expect(one).toMatchObject({ symbol, traded_at: `${traded_at}T00:00:00Z`, version: 1, short: false, ...rest })
      added.push(one)
    }
    expect(added.map(({ quantity }) => quantity)).toEqual(['10', '5', '15', '0', '20', '4', '1', '1', '1'])
    expect((await who.get<LotPage>('/stocks')).stocks.map(({ quantity, cost }) => [quantity, cost])).toEqual([
      ['6', '240'],
      ['0', '0'],
    ])
    const page = await who.get<ActivityPage>('/activities?limit=5')
    const rest = await who.get<ActivityPage>(`/activities?limit=5&cursor=${page.next_cursor}`)
    expect([...page.activities, ...rest.activities]).toEqual(added.toReversed())
    expect(rest.next_cursor).toBeNull()
    const ids = async (query: string) =>
      (await who.get<ActivityPage>(`/activities?${query}`)).activities.map(({ id }) => id)
    expect(await ids('kind=split')).toEqual([added[3]?.id])
    expect(await ids('symbol=KSA&kind=tax')).toEqual([added[8]?.id])
    expect(await ids('symbol=KSA')).toHaveLength(7)
    expect(await codeOf(await who.ask('GET', '/activities?kind=gift'))).toEqual([400, 'invalid_request'])

    const place = `/activities/${added[3]?.id}`
    const changed = await who.ask(
      'PATCH',
      place,
      { split: { numerator: '3', denominator: '1' } },
      { 'if-match': '"v1"' },
    )
    expect(await changed.json()).toMatchObject({ split: { numerator: '3', denominator: '1' }, version: 2 })
    expect((await who.get<LotPage>('/stocks?open=true')).stocks.map(({ quantity }) => quantity).sort()).toEqual([
      '15',
      '6',
    ])
    for (const { id } of added.toReversed()) expect((await who.ask('DELETE', `/activities/${id}`)).status).toBe(204)
    expect(await who.get('/activities')).toEqual({ activities: [], next_cursor: null })
  })

  test('an activity accepts the fields of its kind and no others', async () => {
    const who = await holder()
    for (const fields of kinds.slice(0, 7)) await who.post('/activities', fields)
    const all = (await who.get<ActivityPage>('/activities')).activities
    const idOf = (kind: string) => all.find((one) => one.kind === kind)?.id
    const before = await who.written()
    const lots = [{ lot_id: idOf('buy'), quantity: '1' }]
    for (const fields of [
      {},
      { kind: 'gift' },
      { kind: 'split', symbol: 'KSA' },
      { kind: 'split', symbol: 'KSA', split: { numerator: '0', denominator: '1' } },
      { kind: 'split', symbol: 'KSA', split: { numerator: '2', denominator: '1' }, quantity: '1' },
      { kind: 'dividend', quantity: '1', price: '1' },
      { kind: 'dividend', symbol: 'KSA', quantity: '1', price: '1', lots },
      { kind: 'buy', symbol: 'KSA', quantity: '1', price: '1', lots },
      { kind: 'fee', price: 3 },
      { kind: 'fee', price: '3', split: { numerator: '2', denominator: '1' } },
      { kind: 'transfer_in', symbol: 'KSA', quantity: '1' },
    ])
      expect(await codeOf(await who.post('/activities', fields)), JSON.stringify(fields)).toEqual([
        400,
        'invalid_request',
      ])
    for (const [kind, change] of [
      ['split', { price: '1' }],
      ['buy', { split: { numerator: '2', denominator: '1' } }],
      ['buy', { lots }],
      ['sell', { lots }],
      ['fee', { kind: 'tax' }],
    ] as const)
      expect(await codeOf(await who.ask('PATCH', `/activities/${idOf(kind)}`, change)), JSON.stringify(change)).toEqual(
        [400, 'invalid_request'],
      )
    expect(await who.written()).toEqual(before)
    expect(await codeOf(await who.ask('GET', `/activities/${NOBODY}`))).toEqual([404, 'unknown_activity'])
    expect(await codeOf(await who.ask('PATCH', '/activities/x', { price: '1' }))).toEqual([404, 'unknown_activity'])
    expect(await codeOf(await who.ask('DELETE', `/activities/${NOBODY}`))).toEqual([404, 'unknown_activity'])
  })
})

describe('Idempotency-Key', () => {
  const key = (name: string) => ({ 'idempotency-key': name })

  test('repeated and concurrent requests with one key are done once, and get the same response', async () => {
    const who = await holder()
    const answers = await Promise.all(Array.from({ length: 4 }, () => who.post('/stocks', BUY, key('a'))))
    answers.push(await who.post('/stocks', BUY, key('a')))
    const texts = await Promise.all(answers.map((answer) => answer.text()))
    expect(new Set(texts).size).toBe(1)
    const headers = ['location', 'etag', 'content-type', 'cache-control']
    expect(
      new Set(answers.map((answer) => [answer.status, ...headers.map((name) => answer.headers.get(name))].join(' '))),
    ).toEqual(new Set([`201 /api/v1/stocks/${JSON.parse(texts[0]!).id} "v1" application/json private, no-store`]))
    expect((await who.get<LotPage>('/stocks')).stocks).toHaveLength(1)
    expect(told).toHaveLength(1)
  })

  test('a repeated sale, change or deletion gets its first response, even after later changes', async () => {
    const who = await holder()
    const { id } = await who.buy()
    for (const [method, path, body, status] of [
      ['POST', `/stocks/${id}/sell`, { ...SELL, quantity: '10' }, 201],
      ['PATCH', `/stocks/${id}`, { note: 'x' }, 200],
      ['PATCH', '/users/profile', { name: 'x' }, 200],
    ] as const) {
      const first = await who.ask(method, path, body, { ...key(path), 'if-match': '"v1"' })
      const again = await who.ask(method, path, body, { ...key(path), 'if-match': '"v1"' })
      expect([first.status, again.status]).toEqual([status, status])
      expect(await again.text()).toBe(await first.text())
    }
    const [sale] = (await who.get<ActivityPage>('/activities?kind=sell')).activities
    for (let i = 0; i < 2; i++)
      expect((await who.ask('DELETE', `/activities/${sale?.id}`, undefined, key('d'))).status).toBe(204)
    expect(await codeOf(await who.ask('DELETE', `/activities/${sale?.id}`))).toEqual([404, 'unknown_activity'])
  })

  test('another request with a used key is rejected, also at the same time; users do not share keys', async () => {
    const [who, other] = [await holder(), await holder()]
    const answers = await Promise.all(['1', '2'].map((quantity) => who.post('/stocks', { ...BUY, quantity }, key('a'))))
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
    const { id } = (await who.get<LotPage>('/stocks')).stocks[0] as LotView
    for (const conflict of [
      await who.post('/stocks', { ...BUY, quantity: '3' }, key('a')),
      await who.post('/activities', BUY, key('a')),
      await who.ask('DELETE', `/stocks/${id}`, undefined, key('a')),
    ])
      expect(await codeOf(conflict)).toEqual([409, 'idempotency_conflict'])
    expect((await other.post('/stocks', { ...BUY, quantity: '3' }, key('a'))).status).toBe(201)
    for (const bad of ['x'.repeat(201), 'a b'])
      expect(await codeOf(await who.post('/stocks', BUY, key(bad)))).toEqual([400, 'invalid_request'])
  })

  test('a rejected request does not use up its key', async () => {
    const who = await holder()
    expect(await codeOf(await who.post('/stocks', { ...BUY, symbol: 'KSNONE' }, key('a')))).toEqual([
      404,
      'unknown_symbol',
    ])
    const { id } = await who.buy()
    const sell = (quantity: string) => who.post(`/stocks/${id}/sell`, { ...SELL, quantity }, key('a'))
    expect(await codeOf(await sell('11'))).toEqual([409, 'insufficient_quantity'])
    expect((await who.written())?.keys).toBe('0')
    expect((await sell('10')).status).toBe(201)
  })
})

describe('P8', () => {
  test('P8 nobody reads or changes the lots of another user, or any without signing in', async () => {
    const [who, other] = [await holder(), await holder()]
    const theirs = await other.buy({ note: 'a secret of theirs' })
    const mine = await who.buy()
    const before = await other.written()
    for (const place of [`/stocks/${theirs.id}`, `/activities/${theirs.id}`]) {
      const code = place.startsWith('/stocks') ? 'unknown_lot' : 'unknown_activity'
      expect(await codeOf(await who.ask('GET', place))).toEqual([404, code])
      expect(await codeOf(await who.ask('PATCH', place, { note: 'mine' }))).toEqual([404, code])
      expect(await codeOf(await who.ask('DELETE', place))).toEqual([404, code])
    }
    expect(await codeOf(await who.post(`/stocks/${theirs.id}/sell`, SELL))).toEqual([404, 'unknown_lot'])
    const lots = [{ lot_id: theirs.id, quantity: '4' }]
    expect(await codeOf(await who.post(`/stocks/${mine.id}/sell`, { ...SELL, lots }))).toEqual([404, 'unknown_lot'])
    for (const path of ['/stocks', '/activities', '/users/profile']) {
      const answer = await who.ask('GET', path)
      expect(answer.headers.get('cache-control')).toBe('private, no-store')
      const text = await answer.text()
      for (const foreign of [theirs.id, 'a secret of theirs', other.id]) expect(text).not.toContain(foreign)
    }
    expect(await other.written()).toEqual(before)
    for (const [method, path] of [
      ['GET', '/stocks'],
      ['POST', '/stocks'],
      ['PATCH', `/stocks/${theirs.id}`],
      ['DELETE', `/stocks/${theirs.id}`],
      ['POST', `/stocks/${theirs.id}/sell`],
      ['GET', '/activities'],
      ['POST', '/activities'],
      ['DELETE', `/activities/${theirs.id}`],
    ] as const)
      expect(await codeOf(await getWithEnv(here, `/api/v1${path}`, { method })), `${method} ${path}`).toEqual([
        401,
        'unauthorized',
      ])
  })
})

describe('the profile', () => {
  test('the profile has a summary of holdings and the total invested; another currency changes all figures', async () => {
    const who = await holder()
    const empty = profileSchema.parse(await who.get('/users/profile'))
    expect(empty).toMatchObject({ portfolio: [], total_investment: '0' })
    await who.ask('PATCH', '/users/profile', { currency: 'CHF' })
    await who.ask('PATCH', '/users/profile', { currency: 'USD' })
    // A page of nothing is told, too.
    expect(told.map(({ change }) => [change.version, change.asset_ids])).toEqual([
      [0, null],
      [0, null],
    ])
    const lot = await who.buy()
    const euro = await who.buy({ symbol: 'KSE', price: '20' })
    await who.buy({ symbol: 'KSZ.L' })
    const gone = (await who.get<LotPage>('/stocks?symbol=KSZ.L')).stocks[0] as LotView
    await who.post(`/stocks/${gone.id}/sell`, { ...SELL, quantity: '10' })
    const held = (symbol: string, invested: string) => ({
      asset_id: assets.get(symbol)?.asset_id,
      symbol,
      name: `Stocks ${symbol}`,
      quantity: '10',
      lots: 1,
      invested,
    })
    const before = profileSchema.parse(await who.get<ProfileWithPortfolio>('/users/profile'))
    expect(before.portfolio).toEqual([held('KSA', '1000'), held('KSE', '250')])
    expect(before.total_investment).toBe('1250')
    told = []
    const answer = await who.ask('PATCH', '/users/profile', { currency: 'EUR' })
    const after = profileSchema.parse(await answer.json())
    expect(after).toMatchObject({ currency: 'EUR', total_investment: '1000' })
    expect(after.portfolio).toEqual([held('KSA', '800'), held('KSE', '200')])
    expect(told).toEqual([
      {
        name: `simulated:${who.id}`,
        change: { version: expect.any(Number), asset_ids: null, lots: [], removed_lots: [] },
      },
    ])
    expect(await who.get(`/stocks/${lot.id}`)).toMatchObject({ cost: '1000', invested: '800', present_value: '750' })
    expect(await who.get(`/stocks/${euro.id}`)).toMatchObject({ invested: '200', present_value: '400' })
    await who.ask('PATCH', '/users/profile', { name: 'Somebody else' })
    expect(told).toHaveLength(1)
  })
})

describe('failures', () => {
  test('a write succeeds when the user’s object cannot be notified', async () => {
    const who = await holder()
    const lost = () => ({ applyChange: () => Promise.reject(new Error('on purpose')) })
    here = { ...here, USER_PORTFOLIO: { getByName: lost } } as unknown as Env
    await who.buy()
    expect((await who.get<LotPage>('/stocks')).stocks).toHaveLength(1)
  })

  test('a write fails while the database is away', async () => {
    const who = await holder()
    await who.buy()
    await setDatabaseOpen(false)
    expect(await codeOf(await who.post('/stocks', BUY, { 'idempotency-key': 'a' }))).toEqual([503, 'unavailable'])
    expect(await codeOf(await who.ask('GET', '/stocks'))).toEqual([503, 'unavailable'])
    await setDatabaseOpen(true)
    expect((await who.post('/stocks', BUY, { 'idempotency-key': 'a' })).status).toBe(201)
    expect((await who.get<LotPage>('/stocks')).stocks).toHaveLength(2)
  })
})
