import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { type ImportResult, importResultSchema } from '../../../src/api/portfolio/import/result.ts'
import { addAsset } from '../../../src/db/assets.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import type { LookupResult, PortfolioChange, QuoteBoardObject } from '../../../src/objects.ts'
import type { ActivityView } from '../../../src/protocol/activity.ts'
import type { Problem } from '../../../src/protocol/errors.ts'
import { createMember } from '../support/person.ts'
import { getWithEnv } from '../support/wire.ts'

declare global {
  interface ImportMeta {
    glob(pattern: string, options: { query: string; import: string; eager: true }): Record<string, string>
  }
}

const FILES = import.meta.glob('../../fixtures/portfolio/**/*', { query: '?raw', import: 'default', eager: true })
const file = (path: string): string => FILES[`../../fixtures/portfolio/${path}`] as string
const named = (folder: string): string[] =>
  Object.keys(FILES).flatMap((path) => path.split(`portfolio/${folder}/`)[1] ?? [])

type Options = { query?: string; type?: string; headers?: Record<string, string>; to?: Env }

/** Finds what looks like a ticker or a coin, as providers would. */
const board: Pick<QuoteBoardObject, 'lookup' | 'discover'> = {
  lookup: async (names) => names.map((name): LookupResult => ({ name, kind: 'unknown', asked: false })),
  async discover(name): Promise<LookupResult> {
    const [, code, money] = /^([A-Z]{2,5})(-USD)?$/.exec(name) ?? []
    if (code === undefined) return { name, kind: 'unknown', asked: true }
    const type = money === undefined ? 'stock' : 'crypto'
    const provider = money === undefined ? 'yahoo' : 'coinbase'
    const listing = { symbol: code, name: code, type, category: type, code, provider, provider_id: name } as const
    await withLiveDatabase(env, (sql) => addAsset(sql, { ...listing, currency: 'USD', isin: null }))
    return { name, kind: 'unpriced', symbol: code, reason: 'unavailable', retryAfter: 1 }
  },
}

const unreachable = (name: string): LookupResult => ({
  name,
  kind: 'unpriced',
  symbol: name,
  reason: 'unavailable',
  retryAfter: 1,
})

/** Somebody who imports; `told` is what their object was told. */
async function importer() {
  const { token, id } = await createMember()
  const told: PortfolioChange[] = []
  const object = { applyChange: async (change: PortfolioChange) => void told.push(change) }
  const here = {
    ...env,
    QUOTE_BOARD: { getByName: () => board },
    USER_PORTFOLIO: { getByName: () => object },
    LOOKUP_LIMIT: { limit: async () => ({ success: true }) },
  } as unknown as Env
  const authorization = `Bearer ${token}`
  const post = (body: BodyInit, { query = '', type = 'text/csv', headers = {}, to = here }: Options = {}) =>
    getWithEnv(to, `/api/v1/portfolio/import${query}`, {
      method: 'POST',
      headers: { authorization, ...(type === '' ? {} : { 'content-type': type }), ...headers },
      body,
    })
  const get = (path: string) => getWithEnv(here, `/api/v1${path}`, { headers: { authorization } })
  return {
    id,
    told,
    here,
    post,
    get,
    /** An import that has to be taken; its answer is as the document says. */
    take: async (body: string, options: Options = {}): Promise<ImportResult> => {
      const answer = await post(body, options)
      if (answer.status !== 200) throw new Error(await answer.text())
      return importResultSchema.parse(await answer.json())
    },
    all: async (): Promise<ActivityView[]> =>
      ((await (await get('/activities?limit=500')).json()) as { activities: ActivityView[] }).activities.reverse(),
    stored: async () =>
      (
        await withLiveDatabase(env, (sql) =>
          sql.unsafe(
            `SELECT (SELECT count(*)::int FROM activities WHERE user_id = $1) AS activities,
              (SELECT count(*)::int FROM lots WHERE user_id = $1) AS lots,
              (SELECT count(*)::int FROM own_assets WHERE user_id = $1) AS own,
              (SELECT coalesce(max(version), 0)::int FROM portfolios WHERE user_id = $1) AS version`,
            [id],
          ),
        )
      )[0],
  }
}

const NOTHING = { activities: 0, lots: 0, own: 0, version: 0 }
const refusal = async (response: Response) => {
  const { code, errors } = (await response.json()) as Problem
  return { status: response.status, code, errors }
}
const counts = ({ imported, duplicates, skipped, failed }: ImportResult) => ({ imported, duplicates, skipped, failed })

describe('files of Ghostfolio', () => {
  // JSON says what CSV does: it comes to somebody else.
  test.each([
    ['one after the other', named('ghostfolio/ok').filter((name) => name !== 'sample.json')],
    ['by another person', ['sample.json']],
  ])('all of ok are imported, and once more add nothing: %s', async (_, names) => {
    const who = await importer()
    let [activities, told] = [0, 0]
    for (const name of names) {
      const text = file(`ghostfolio/ok/${name}`)
      const dry = await who.take(text, { query: '?dry_run=true' })
      expect(dry.errors, name).toEqual([])
      expect([(await who.stored())?.activities, who.told.length], name).toEqual([activities, told])
      const first = await who.take(text)
      expect(counts(first), name).toEqual(counts(dry))
      expect(first.imported, name).toBeGreaterThan(0)
      activities += first.imported
      told += 1
      const again = await who.take(text)
      expect(counts(again), name).toEqual({ ...counts(first), imported: 0, duplicates: first.imported })
      expect([(await who.stored())?.activities, who.told.length], name).toEqual([activities, told])
    }
  })

  test('every invalid file of Ghostfolio is rejected with the row and the reason', async () => {
    const who = await importer()
    for (const name of named('ghostfolio/not-ok')) {
      const text = file(`ghostfolio/not-ok/${name}`)
      const refused = await refusal(await who.post(text))
      expect(refused, name).toMatchObject({ status: 400, code: 'invalid_request' })
      const row = name.endsWith('.csv') ? 2 : 1
      expect(refused.errors, name).toEqual([{ row, field: expect.any(String), message: expect.any(String) }])
      const dry = await who.take(text, { query: '?dry_run=true' })
      expect([dry.failed, dry.errors, dry.imported], name).toEqual([1, refused.errors, 0])
    }
    expect(await who.stored()).toEqual(NOTHING)
  })

  test('oversold shares open short lots, future activities wait, and a manual asset is valued at cost', async () => {
    const short = await importer()
    await short.take(file('ghostfolio/ok/btcusd-short.json'))
    const lots = (await (await short.get('/stocks')).json()) as { stocks: { quantity: string; symbol: string }[] }
    expect(lots.stocks.map(({ symbol, quantity }) => [symbol, quantity])).toEqual([
      ['BTC', '-1'],
      ['BTC', '-1'],
    ])
    const house = await importer()
    await house.take(file('ghostfolio/ok/sample.csv'))
    const all = await house.all()
    expect(all.map(({ kind, symbol, note, traded_at }) => [kind, symbol, note, traded_at.slice(0, 4)])).toEqual([
      ['fee', null, 'Account Opening Fee', '2021'],
      ['buy', 'MSFT', 'My first order 🤓', '2021'],
      ['dividend', 'MSFT', null, '2021'],
      ['buy', 'Penthouse Apartment', null, '2022'],
      ['buy', 'MSFT', null, '2050'],
    ])
    expect(await house.stored()).toMatchObject({ own: 1, lots: 2 })
    // JSON says the same with other symbols: the fee, the order, the dividend and the house are there already.
    expect(counts(await house.take(file('ghostfolio/ok/sample.json')))).toMatchObject({ imported: 0, duplicates: 5 })
  })
})

describe('exports of brokers', () => {
  test('an unknown ISIN is looked up at providers, and is an asset from then on', async () => {
    const who = await importer()
    const asking = { ...who.here, QUOTE_BOARD: env.QUOTE_BOARD } as Env
    const text = file('broker-exports/ibkr-trades-export.csv')
    const taken = await who.take(text, { to: asking })
    expect(new Set(taken.activities.map(({ symbol }) => symbol))).toEqual(new Set(['SMMCHA.SW', 'VT', null]))
    const known = await withLiveDatabase(env, (sql) => sql.unsafe(`SELECT isin FROM assets WHERE symbol = 'VT'`))
    expect(known.map(({ isin }) => isin)).toEqual(['US9220427424'])
    expect(counts(await (await importer()).take(text))).toMatchObject({ failed: 0, imported: taken.imported })
  })

  test('every broker’s export is imported; unknown assets become custom assets', async () => {
    const who = await importer()
    for (const name of named('broker-exports')) {
      const text = file(`broker-exports/${name}`)
      const first = await who.take(text, { query: '?unknown=own' })
      expect(first.errors, name).toEqual([])
      expect(first.imported, name).toBeGreaterThan(0)
      expect(first.duplicates, name).toBe(0)
      // What was made one's own is known from then on.
      const again = await who.take(text)
      expect(counts(again), name).toEqual({ ...counts(first), imported: 0, duplicates: first.imported })
    }
  })

  test('an asset never becomes a custom asset while providers cannot be asked; a ticker that contradicts its ISIN is not looked up', async () => {
    const who = await importer()
    const csv = (name: string) => `Date,Code,ISIN,Currency,Price,Quantity,Action,Fee
01-01-2021,${name},DE000A3GK2N1,EUR,10,1,buy,0`
    const away = { ...board, discover: async (name: string): Promise<LookupResult> => unreachable(name) }
    const outage = { ...who.here, QUOTE_BOARD: { getByName: () => away } } as unknown as Env
    for (const query of ['', '?unknown=own'])
      expect(await refusal(await who.post(csv('XBTI'), { to: outage, query }))).toMatchObject({
        errors: [{ row: 2, field: 'symbol', message: expect.stringContaining('try again') }],
      })
    expect(await who.stored()).toEqual(NOTHING)
    // The ISIN nobody knows; the ticker is that of a share in US dollars.
    expect(await refusal(await who.post(csv('XBTI')))).toMatchObject({
      errors: [{ row: 2, message: "We couldn't find an asset called XBTI; XBTI is a different asset here" }],
    })
    expect(await who.take(csv('XBTI'), { query: '?unknown=own' })).toMatchObject({ imported: 1 })
    expect(await who.stored()).toMatchObject({ own: 1 })
  })

  test('unknown assets are errors of their rows, and nothing is written', async () => {
    const who = await importer()
    const csv = `Date,Code,Currency,Price,Quantity,Action,Fee
01-01-2021,MSFT,USD,10,1,buy,0
02-01-2021,NONESUCH,USD,10,1,buy,0
03-01-2021,MSFT,WAMPUM,10,1,buy,0
04-01-2021,MSFT,USD,10,1,sell,0`
    expect(await refusal(await who.post(csv))).toEqual({
      status: 400,
      code: 'invalid_request',
      errors: [
        { row: 3, field: 'symbol', message: "We couldn't find an asset called NONESUCH" },
        { row: 4, field: 'currency', message: 'WAMPUM is not a valid currency' },
      ],
    })
    const dry = await who.take(csv, { query: '?dry_run=true' })
    expect(counts(dry)).toEqual({ imported: 2, duplicates: 0, skipped: 0, failed: 2 })
    expect(await who.stored()).toEqual(NOTHING)
  })
})

describe('what is asked', () => {
  const CSV = 'Date,Code,Currency,Price,Quantity,Action,Fee\n01-01-2021,MSFT,USD,10.50,1,buy,0\n'

  test('a file may be the body or a part of a form, in UTF-8, UTF-16 or Windows-1252', async () => {
    const who = await importer()
    const form = new FormData()
    form.set('file', new File([CSV.replace('10.50', '11')], 'activities.csv', { type: 'text/csv' }))
    expect(counts(await (await who.post(form, { type: '' })).json())).toMatchObject({ imported: 1 })
    expect(counts(await who.take(CSV, { type: 'text/plain' }))).toMatchObject({ imported: 1 })
    const latin = CSV.replace('Fee\n', 'Fee,Note\n').replace('buy,0', 'sell,0,caf\u00e9')
    const bytes = Uint8Array.from(latin, (letter) => letter.charCodeAt(0))
    expect(counts(await (await who.post(bytes)).json())).toMatchObject({ imported: 1 })
    expect((await who.all()).map(({ price, note }) => [price, note]).sort()).toEqual([
      ['10.5', null],
      ['10.5', 'café'],
      ['11', null],
    ])
    const empty = new FormData()
    empty.set('other', 'x')
    expect(await refusal(await who.post(empty, { type: '' }))).toMatchObject({ errors: [{ field: 'file' }] })
  })

  test('a long note is cut between characters, and control characters become spaces', async () => {
    const who = await importer()
    const long = `\u0000"two\nlines"${'x'.repeat(486)}${'🤓'.repeat(20)}`
    const text = `{"activities":[{"type":"BUY","symbol":"MSFT","dataSource":"YAHOO","currency":"USD","date":"2021-01-01","fee":0,"quantity":1,"unitPrice":1,"comment":${JSON.stringify(long)}}]}`
    await who.take(text, { type: 'application/json' })
    expect((await who.all()).map(({ note }) => note)).toEqual([` "two\nlines"${'x'.repeat(486)} …`])
  })

  test('an import enforces its limits and validates its query', async () => {
    const who = await importer()
    const many = { ...who.here, MAX_IMPORT_ROWS: '2', MAX_IMPORT_BYTES: '300' } as unknown as Env
    const rows = `${CSV}${'01-01-2021,MSFT,USD,1,1,buy,0\n'.repeat(2)}`
    expect(await refusal(await who.post(rows, { to: many }))).toMatchObject({ status: 413, code: 'message_too_large' })
    expect(await refusal(await who.post(CSV.padEnd(301), { to: many }))).toMatchObject({ code: 'message_too_large' })
    for (const query of ['?dry_run=maybe', '?format=excel', '?unknown=guess'])
      expect(await refusal(await who.post(CSV, { query }))).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await refusal(await who.post(CSV, { query: '?format=coinbase' }))).toMatchObject({
      errors: [{ row: 1, field: 'format', message: 'is not of the form coinbase' }],
    })
    expect(await who.stored()).toEqual(NOTHING)
    const nobody = await getWithEnv(env, '/api/v1/portfolio/import', { method: 'POST', body: CSV })
    expect((await refusal(nobody)).code).toBe('unauthorized')
  })

  test('P8 the same file is a separate import for another user; with a key it is done once', async () => {
    const [one, two] = [await importer(), await importer()]
    const headers = { 'idempotency-key': 'once' }
    const first = await one.take(CSV, { headers })
    expect(await one.take(CSV, { headers })).toEqual(first)
    expect(counts(await two.take(CSV, { headers }))).toMatchObject({ imported: 1, duplicates: 0 })
    expect(await refusal(await one.post(`${CSV}\n`, { headers }))).toMatchObject({ code: 'idempotency_conflict' })
    expect([(await one.all()).length, (await two.all()).length]).toEqual([1, 1])
  })

  test('a sale of lots that do not exist is an error of its row', async () => {
    const who = await importer()
    const csv = `Date,Code,Currency,Price,Quantity,Action,Fee,Lots,Id
2021-01-01,MSFT,USD,10,1,buy,0,,a
2021-02-01,MSFT,USD,10,1,sell,0,b=1,c`
    expect(await refusal(await who.post(csv))).toMatchObject({ errors: [{ row: 3, field: 'lots' }] })
    expect(await who.stored()).toEqual(NOTHING)
    expect(counts(await who.take(csv.replace('b=1', 'a=1')))).toMatchObject({ imported: 2 })
    const [bought, sold] = await who.all()
    expect(sold?.lots).toEqual([{ lot_id: bought?.id, quantity: '1' }])
  })
})

describe('export', () => {
  test.each(['json', 'csv'])(
    'as %s: importing it changes nothing, and makes the same portfolio elsewhere',
    async (format) => {
      const from = await importer()
      await from.take(file('ghostfolio/ok/sample.json'))
      await from.take(file('broker-exports/trading212-export.csv'), { query: '?unknown=own' })
      await from.take(file('ghostfolio/ok/jnug-buy-and-sell-and-buy-and-sell.json'))
      const answer = await from.get(`/portfolio/export?format=${format}`)
      expect(answer.headers.get('content-disposition')).toMatch(
        new RegExp(`^attachment; filename="kerb-portfolio-\\d{4}-\\d\\d-\\d\\d\\.${format}"$`),
      )
      expect(answer.headers.get('cache-control')).toBe('private, no-store')
      const text = await answer.text()
      const before = await from.all()
      expect(counts(await from.take(text))).toEqual({ imported: 0, duplicates: before.length, skipped: 0, failed: 0 })
      expect(await from.all()).toEqual(before)

      const to = await importer()
      expect(counts(await to.take(text))).toEqual({ imported: before.length, duplicates: 0, skipped: 0, failed: 0 })
      const said = ({ kind, symbol, name, quantity, price, fees, currency, traded_at, split, note }: ActivityView) =>
        JSON.stringify([kind, symbol, name, quantity, price, fees, currency, traded_at, split, note])
      expect((await to.all()).map(said)).toEqual(before.map(said))
      const lots = async (who: typeof to) =>
        ((await (await who.get('/stocks?limit=500')).json()) as { stocks: Record<string, unknown>[] }).stocks.map(
          ({ id: _, asset_id: __, ...lot }) => lot,
        )
      expect(await lots(to)).toEqual(await lots(from))
    },
  )

  test('an empty portfolio exports an empty file; an unknown format is rejected', async () => {
    const who = await importer()
    expect(((await (await who.get('/portfolio/export')).json()) as { activities: [] }).activities).toEqual([])
    expect((await (await who.get('/portfolio/export?format=csv')).text()).split('\r\n')).toHaveLength(2)
    expect(await refusal(await who.get('/portfolio/export?format=xml'))).toMatchObject({ code: 'invalid_request' })
  })
})
