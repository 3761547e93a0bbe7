import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../dev/migrate.ts'
import { type Postgres, startPostgres } from '../../dev/postgres.ts'
import { readRefreshSettings } from '../../src/db/app-settings.ts'
import { addAsset, assetsAddedSince, findAssets, plannedAssets, searchAssets } from '../../src/db/assets.ts'
import { type LiveSql, openDatabase } from '../../src/db/client.ts'
import { resolve } from '../../src/pricing/symbol.ts'
import { type Asset, PROVIDERS, SYMBOL } from '../../src/protocol/asset.ts'
import { CodedError } from '../../src/protocol/errors.ts'

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

class Undone extends Error {}

/** Runs in a transaction that is undone: other tests see the seed as it was. */
async function undone(run: (sql: LiveSql) => Promise<void>): Promise<void> {
  const began = live.begin(async (transaction) => {
    await run(Object.assign(transaction, markOf(live)) as unknown as LiveSql)
    throw new Undone()
  })
  await began.catch((error: unknown) => {
    if (!(error instanceof Undone)) throw error
  })
}

/** The mark of its binding, which a transaction does not inherit. */
const markOf = (sql: LiveSql): object =>
  Object.fromEntries(Object.getOwnPropertySymbols(sql).map((key) => [key, Reflect.get(sql, key)]))

const draft = (change: Partial<Asset> = {}): Omit<Asset, 'asset_id'> => {
  const { asset_id: _, ...rest } = { asset_id: 0, ...change }
  return {
    symbol: 'KRB',
    name: 'Kerb Inc.',
    type: 'stock',
    category: 'stock',
    code: 'KRB',
    provider: 'yahoo',
    provider_id: 'KRB',
    currency: 'USD',
    isin: null,
    ...rest,
  }
}

/** ISO 6166: letters as 10 to 35, then Luhn's sum of all digits. */
function isIsin(text: string): boolean {
  const digits = [...text].map((c) => Number.parseInt(c, 36)).join('')
  const sum = [...digits].reverse().reduce((total, digit, i) => {
    const value = Number(digit) * (i % 2 === 1 ? 2 : 1)
    return total + Math.floor(value / 10) + (value % 10)
  }, 0)
  return sum % 10 === 0
}

const symbolsOf = (assets: readonly Asset[]) => assets.map(({ symbol }) => symbol)
const meant = async (name: string) => {
  const found = resolve(name, await findAssets(live, [name]))
  return found.kind === 'one' ? found.asset.symbol : found.kind === 'ambiguous' ? symbolsOf(found.assets) : null
}

describe('the seed', () => {
  const all = async () => live<(Asset & { active: boolean })[]>`SELECT * FROM assets`

  test('is a thousand assets of every kind, each of which can be asked for by its own name', async () => {
    const assets = await all()
    expect(assets).toHaveLength(1000)
    const kinds: Record<string, number> = {}
    for (const { type } of assets) kinds[type] = (kinds[type] ?? 0) + 1
    expect(kinds).toEqual({ stock: 720, etf: 100, index: 30, forex: 40, commodity: 10, crypto: 100 })
    expect(new Set(assets.map((a) => `${a.provider}:${a.provider_id}`)).size).toBe(1000)
    for (const asset of assets) {
      expect(PROVIDERS).toContain(asset.provider)
      for (const name of [asset.symbol, asset.code, `${asset.provider}:${asset.provider_id}`.toUpperCase()])
        expect(name).toMatch(SYMBOL)
      expect(asset.active).toBe(true)
    }
  })

  test('ISINs have the right check digit; one stands for several assets only where the share is the same', async () => {
    const assets = (await all()).filter(({ isin }) => isin !== null)
    expect(assets.length).toBeGreaterThan(150)
    expect(assets.filter(({ isin }) => !isIsin(isin!))).toEqual([])
    expect(isIsin('US0378331006')).toBe(false)
    const shared = Object.entries(Object.groupBy(assets, ({ isin }) => isin!)).filter(([, same]) => same!.length > 1)
    expect(shared.map(([, same]) => new Set(same!.map(({ code }) => code)).size)).toEqual(shared.map(() => 1))
  })

  test('Q6 no currency is a minor unit, and none is another than that of the market', async () => {
    const assets = await all()
    const minor = new Set(['GBP', 'GBX', 'ZAC', 'ZAX', 'ILA', 'USX'])
    const london = assets.filter(({ symbol }) => symbol.endsWith('.L'))
    expect(london.length).toBeGreaterThan(10)
    expect(new Set(london.map(({ currency }) => currency))).toEqual(new Set(['GBP']))
    for (const { currency, symbol } of assets) if (!/\.L$|GBP|\^FT/.test(symbol)) expect(minor).not.toContain(currency)
    for (const { currency, provider, provider_id, type } of assets) {
      if (provider === 'coinbase' || provider === 'binance') expect(provider_id.endsWith(currency)).toBe(true)
      if (type === 'forex') expect(provider_id).toMatch(new RegExp(`${currency}=X$`))
    }
  })

  test('what users expect is there, and TSLA is not: brief 001 adds it', async () => {
    const names = ['AAPL', 'MSFT', 'NVDA', 'BTC', 'ETH', 'SPY', 'SHEL', 'VWCE.DE', '^GSPC', 'GC=F', 'EURUSD=X']
    for (const name of names) expect(await meant(name), name).toBe(name)
    expect(await meant('TSLA')).toBeNull()
  })

  test('none of it counts as added on the day of the migration', async () => {
    expect(await assetsAddedSince(live, Date.UTC(2026, 10, 2))).toBe(0)
    expect(await assetsAddedSince(live, Date.UTC(2026, 9, 1))).toBe(1000)
  })
})

describe('assets', () => {
  test('brief 001: the statements of its Maintenance and Troubleshooting run as they are written', async () => {
    await undone(async (sql) => {
      await sql`
        INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
        VALUES ('TSLA', 'Tesla Inc.', 'stock', 'stock', 'TSLA', 'yahoo', 'TSLA', 'USD')`
      expect(symbolsOf(await findAssets(sql, ['TSLA']))).toEqual(['TSLA'])
      expect((await plannedAssets(sql)).at(-1)).toMatchObject({ symbol: 'TSLA', isin: null, interval: 300 })
      await sql`SELECT * FROM provider_rate_limits`
      await sql`
        SELECT * FROM system_metrics
        WHERE metric_name LIKE 'price_refresh%'
        ORDER BY recorded_at DESC
        LIMIT 10`
    })
  })

  test('what could not be asked for or priced is refused, and the constraint says why', async () => {
    const refused: [string, Record<string, unknown>][] = [
      ['assets_symbol_can_be_asked_for', { symbol: 'A B' }],
      ['assets_symbol_can_be_asked_for', { symbol: 'X'.repeat(41) }],
      ['assets_name_is_not_empty', { name: ' ' }],
      ['assets_type_is_a_word', { type: 'Stock!' }],
      ['assets_category_is_a_word', { category: '' }],
      ['assets_code_is_in_capitals', { code: 'krb' }],
      ['assets_provider_is_known', { provider: 'Yahoo' }],
      ['assets_provider_id_is_in_capitals', { provider_id: "KRB'; DROP TABLE assets" }],
      ['assets_currency_is_no_minor_unit', { currency: 'GBp' }],
      ['assets_currency_is_no_minor_unit', { currency: 'GBX' }],
      ['assets_isin_has_its_form', { isin: '037833100' }],
    ]
    for (const [constraint, change] of refused)
      await expect(addAsset(live, draft(change as Partial<Asset>)), constraint).rejects.toMatchObject({
        constraint_name: constraint,
      })
  })

  test('one that is there gets the ISIN that it had not, and keeps the one that it has', () =>
    undone(async (sql) => {
      const first = await addAsset(sql, draft({ symbol: 'KRBI', provider_id: 'KRBI', isin: null }))
      const isin = 'US0000000017'
      expect(await addAsset(sql, draft({ name: 'Other', provider_id: 'KRBI', isin }))).toEqual({ ...first, isin })
      for (const other of [null, 'US0000000025'])
        expect(await addAsset(sql, draft({ provider_id: 'KRBI', isin: other }))).toEqual({ ...first, isin })
    }))

  test('Q5 each way of naming one finds it; several that fit are ambiguous', async () => {
    expect(await meant('YAHOO:SHEL.L')).toBe('SHEL.L')
    expect(await meant('COINBASE:BTC-USD')).toBe('BTC')
    expect(await meant('BTC')).toBe('BTC')
    expect(await meant('BTC-USD')).toBe('BTC')
    expect(await meant('BTC-USDT')).toBe('BTCUSDT')
    expect(await meant('TRX')).toBe('TRXUSDT')
    expect(await meant('US0378331005')).toBe('AAPL')
    expect(await meant('USDJPY')).toBe('USDJPY=X')
    expect(await meant('JPY=X')).toBe('USDJPY=X')
    expect(await meant('GSPC')).toBe('^GSPC')
    expect(await meant('SHEL')).toBe('SHEL')
    expect(await meant('SAN')).toEqual(['SAN.PA', 'SAN.MC'])
    expect(await meant('AIR')).toEqual(['AIR.DE', 'AIR.PA'])
    expect(await meant('NONE')).toBeNull()
  })

  test('many names are one query; a symbol in small letters is found, one that is not active is not', async () => {
    await undone(async (sql) => {
      await addAsset(sql, draft({ symbol: 'krb' }))
      await sql`UPDATE assets SET active = FALSE WHERE symbol = 'MSFT'`
      const found = symbolsOf(await findAssets(sql, ['KRB', 'MSFT', 'AAPL', 'AAPL', 'NONE', "'; DROP TABLE assets"]))
      expect(found.sort()).toEqual(['AAPL', 'krb'])
      expect(await findAssets(sql, [])).toEqual([])
      expect(symbolsOf(await plannedAssets(sql))).not.toContain('MSFT')
    })
  })

  test('names are looked up by indexes alone', async () => {
    await undone(async (sql) => {
      await sql`
        INSERT INTO assets (symbol, name, type, category, code, provider, provider_id, currency)
        SELECT 'Q' || i, 'Company ' || i, 'crypto', 'crypto', 'Q' || i, 'yahoo', 'Q' || i, 'USD'
        FROM generate_series(1, 9000) AS i`
      await sql`ANALYZE assets`
      const before = await scans(sql)
      for (const name of ['AAPL', 'Q77', 'Q78-USD', 'YAHOO:Q79', 'US0378331005']) await findAssets(sql, [name])
      expect(await scans(sql)).toBe(before)
    })
  })

  const scans = async (sql: LiveSql): Promise<number> => {
    const [row] = await sql<{ scans: number }[]>`
      SELECT pg_stat_get_xact_numscans('assets'::regclass)::integer AS scans`
    return row!.scans
  }

  test('one that another has added meanwhile is given back; two at once add one', async () => {
    const other = openDatabase('live', server.url)
    try {
      const both = await Promise.all([addAsset(live, draft()), addAsset(other, draft({ name: 'Another name' }))])
      expect(both[0]).toEqual(both[1])
      expect(await addAsset(live, draft({ symbol: 'OTHER' }))).toEqual(both[0])
      expect(await assetsAddedSince(live, Date.now() - 3_600_000)).toBe(1)
    } finally {
      await live`DELETE FROM assets WHERE provider_id = 'KRB'`
      await other.end()
    }
  })
})

describe('settings', () => {
  const set = (sql: LiveSql, name: string, value: number | string) =>
    sql`UPDATE app_settings SET value = ${value}::text::numeric WHERE name = ${name}`

  test('Q2 they are seeded, and a change is read by the next', async () => {
    expect(await readRefreshSettings(live)).toEqual({
      refresh_min_seconds: 15,
      refresh_max_seconds: 300,
      refresh_default_seconds: 60,
      closed_refresh_seconds: 900,
      snapshot_seconds: 300,
      snapshot_days: 8,
      history_days: 365,
      history_weeks: 157,
    })
    await undone(async (sql) => {
      await sql`UPDATE app_settings SET updated_at = '2020-01-01Z'`
      await set(sql, 'refresh_max_seconds', 120)
      expect((await readRefreshSettings(sql)).refresh_max_seconds).toBe(120)
      const [row] =
        await sql`SELECT updated_at > '2026-01-01Z' AS noted FROM app_settings WHERE name = 'refresh_max_seconds'`
      expect(row).toEqual({ noted: true })
    })
  })

  test('a value out of bounds is refused, and so are a minimum above the maximum, and names that mean nothing', async () => {
    const refused = (run: Promise<unknown>, message: string) => expect(run).rejects.toThrow(message)
    for (const value of ['0', '-1', '86401', 'NaN', 'Infinity'])
      await refused(set(live, 'refresh_min_seconds', value), 'app_settings_value_is_in_bounds')
    await refused(set(live, 'snapshot_days', 1.5), 'app_settings_value_is_a_whole_number')
    await refused(
      set(live, 'refresh_min_seconds', 301),
      'refresh_min_seconds (301) cannot be above refresh_max_seconds (300)',
    )
    await refused(
      set(live, 'refresh_max_seconds', 14),
      'refresh_min_seconds (15) cannot be above refresh_max_seconds (14)',
    )
    await refused(live`INSERT INTO app_settings VALUES ('refresh_often', 1)`, 'app_settings_name_is_known')
    await refused(live`DELETE FROM app_settings WHERE name = 'snapshot_days'`, 'cannot be deleted, only changed')
    await undone(async (sql) => {
      await sql`
        UPDATE app_settings SET value = CASE name WHEN 'refresh_min_seconds' THEN 400 ELSE 500 END
        WHERE name IN ('refresh_min_seconds', 'refresh_max_seconds')`
      expect(await readRefreshSettings(sql)).toMatchObject({ refresh_min_seconds: 400, refresh_max_seconds: 500 })
    })
  })

  test('of two changes at once that do not go together the second is refused', async () => {
    const other = openDatabase('live', server.url)
    try {
      const changes = await Promise.allSettled([
        set(live, 'refresh_min_seconds', 200),
        set(other, 'refresh_max_seconds', 100),
      ])
      expect(changes.filter(({ status }) => status === 'rejected')).toHaveLength(1)
      const { refresh_min_seconds, refresh_max_seconds } = await readRefreshSettings(live)
      expect(refresh_min_seconds).toBeLessThanOrEqual(refresh_max_seconds)
    } finally {
      await set(live, 'refresh_max_seconds', 300)
      await set(live, 'refresh_min_seconds', 15)
      await other.end()
    }
  })

  test('Q2 an asset has the least interval of its watchers within the bounds; one that nobody watches the greatest', async () => {
    await undone(async (sql) => {
      const watch = async (symbol: string, ...intervals: (number | null)[]) => {
        for (const interval of intervals)
          await sql`
            INSERT INTO asset_watches (user_id, asset_id, interval_seconds)
            SELECT gen_random_uuid(), asset_id, ${interval} FROM assets WHERE symbol = ${symbol}`
      }
      await watch('AAPL', 90, 45, null)
      await watch('MSFT', null, 120)
      await watch('NVDA', 5)
      await watch('BTC', 4000)
      await addAsset(sql, draft({ symbol: 'HOUSE', provider: 'manual' }))
      const planned = await plannedAssets(sql)
      const interval = (symbol: string) => planned.find((asset) => asset.symbol === symbol)?.interval
      expect(planned).toHaveLength(1000)
      expect(['AAPL', 'MSFT', 'NVDA', 'BTC', 'ETH', 'HOUSE'].map(interval)).toEqual([45, 60, 15, 300, 300, undefined])
      await set(sql, 'refresh_default_seconds', 20)
      await set(sql, 'refresh_max_seconds', 30)
      const changed = await plannedAssets(sql)
      expect(changed.find(({ symbol }) => symbol === 'AAPL')?.interval).toBe(20)
      expect(changed.find(({ symbol }) => symbol === 'ETH')?.interval).toBe(30)
    })
  })

  test('a watch of no asset, or at no interval, is refused', async () => {
    await expect(live`INSERT INTO asset_watches VALUES (gen_random_uuid(), 0, 60)`).rejects.toThrow('foreign key')
    await expect(
      live`INSERT INTO asset_watches SELECT gen_random_uuid(), min(asset_id), 0 FROM assets`,
    ).rejects.toThrow('asset_watches_interval_seconds_check')
  })
})

describe('search', () => {
  const search = async (q: string, limit = 5) => symbolsOf((await searchAssets(live, { q, limit, after: null })).assets)

  test('exact first, then symbols that begin so, then words of names, then what holds it', async () => {
    expect(await search('shel')).toEqual(['SHEL', 'SHEL.AS', 'SHEL.L'])
    expect(await search('apple')).toEqual(['AAPL'])
    expect((await search('bank'))[0]).toBe('BAC')
    expect(await search('btc')).toEqual(['BTC', 'BTCUSDT', 'FBTC', 'GBTC'])
    expect(await search('US5949181045')).toEqual(['MSFT'])
    expect(await search('hathaway')).toEqual(['BRK-B'])
    expect(await search('xyzzy')).toEqual([])
  })

  test('capitals and accents make no difference', async () => {
    for (const q of ['nestle', 'Nestlé', ' NESTLÉ ']) expect(await search(q)).toEqual(['NESN.SW'])
    expect(await search('deutsche borse')).toEqual(['DB1.DE'])
  })

  test('no character means anything but itself', async () => {
    for (const q of ['%', '_', '\\', "'; DROP TABLE assets; --", '\0', 'a\0', '%%', '\ud800'])
      expect(await search(q), q).toEqual([])
    expect(await search('s&p 500 low')).toEqual([])
    expect(await search('A. O.')).toEqual([])
    expect(await search('^gs')).toEqual(['^GSPC', '^GSPTSE'])
    expect(await search('20+')).toEqual(['TLT'])
    expect((await live`SELECT count(*)::integer AS n FROM assets`)[0]).toEqual({ n: 1000 })
  })

  test('pages skip and repeat nothing, also when assets come and go between them', async () => {
    await undone(async (sql) => {
      const all = symbolsOf((await searchAssets(sql, { q: 'a', limit: 1000, after: null })).assets)
      expect(all.length).toBeGreaterThan(300)
      expect(all[0]).toBe('A')
      const paged: string[] = []
      let after: string | null = null
      for (let page = 0; page === 0 || after !== null; page++) {
        const found: Awaited<ReturnType<typeof searchAssets>> = await searchAssets(sql, { q: 'a', limit: 37, after })
        paged.push(...symbolsOf(found.assets))
        after = found.next
        if (page === 1) await addAsset(sql, draft({ symbol: 'A0', provider_id: 'A0' }))
        if (page === 2) await sql`UPDATE assets SET active = FALSE WHERE symbol = ${paged[0]!}`
      }
      expect(paged).toEqual(all)
      expect((await searchAssets(sql, { q: '', limit: 2000, after: null })).assets).toHaveLength(1000)
    })
  })

  test('a last page that is full tells no next', async () => {
    expect((await searchAssets(live, { q: 'shel', limit: 3, after: null })).next).toBeNull()
    expect((await searchAssets(live, { q: 'shel', limit: 2, after: null })).next).not.toBeNull()
  })

  test('a cursor that is none is refused', async () => {
    const cursors = [
      '',
      'x',
      '!',
      btoa('[1,"A"]'),
      btoa('[1,2,3]'),
      btoa('["1","A",1]'),
      btoa('[9e99,"A",1]'),
      btoa('%'),
    ]
    for (const after of cursors) {
      const refused = await searchAssets(live, { q: 'a', limit: 1, after }).catch((error: unknown) => error)
      expect(refused, after).toBeInstanceOf(CodedError)
      expect((refused as CodedError).code).toBe('invalid_request')
    }
  })
})
