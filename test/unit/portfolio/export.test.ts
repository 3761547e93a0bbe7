import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Activity } from '../../../src/portfolio/activity.ts'
import { exportCsv, exportJson } from '../../../src/portfolio/export.ts'
import {
  type ActivityContent,
  computeFingerprints,
  matchDuplicates,
  type StoredActivity,
} from '../../../src/portfolio/fingerprint.ts'
import { matchAsset } from '../../../src/portfolio/import/match-asset.ts'
import { readImport } from '../../../src/portfolio/import/read-import.ts'
import { type ImportedActivity, isActivity } from '../../../src/portfolio/import/row.ts'
import { deriveLots } from '../../../src/portfolio/lots.ts'
import { indexAssets } from '../../../src/pricing/symbol.ts'
import type { Asset } from '../../../src/protocol/asset.ts'
import { ACTIVITY_KINDS } from '../../../src/protocol/portfolio.ts'

const NOW = '2026-01-01T00:00:00Z'
const digest = async (text: string): Promise<string> => createHash('sha256').update(text).digest('hex')
const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

const asset = (asset_id: number, symbol: string, change: Partial<Asset> = {}): Asset => ({
  asset_id,
  symbol,
  name: `${symbol}, Inc.`,
  type: 'stock',
  category: 'stock',
  code: symbol,
  provider: 'yahoo',
  provider_id: symbol,
  currency: 'USD',
  isin: null,
  ...change,
})
const coin = { type: 'crypto', category: 'crypto', code: 'BTC' } as const
const own = { type: 'own', category: 'own', provider: 'manual' } as const
const ASSETS = [
  asset(1, 'MSFT', { isin: 'US5949181045' }),
  asset(2, 'BTC', { ...coin, provider: 'coinbase', provider_id: 'BTC-USD' }),
  asset(3, 'BTCUSDT', { ...coin, provider: 'binance', provider_id: 'BTCUSDT' }),
  asset(4, 'NOVN.SW', { currency: 'CHF' }),
  asset(-1, 'Penthouse', own),
  asset(-2, 'Penthouse', { ...own, currency: 'EUR' }),
  asset(-3, '=cmd|calc', { ...own, name: '@"it"; and\nmore' }),
]
const byId = new Map(ASSETS.map((one) => [one.asset_id, one]))
const index = indexAssets(ASSETS.filter(({ asset_id }) => asset_id > 0))

/** What an import makes of a row: the assets are those of the same database. */
function placed(read: ImportedActivity, ids: ReadonlyMap<string, string>): Activity {
  const { row: _row, asset: meant, id, currency, lots, ...rest } = read
  const found = meant === null || meant.manual ? null : matchAsset(meant, currency, index, new Map())
  const mine = ASSETS.find(
    ({ asset_id, symbol, currency: of }) =>
      asset_id < 0 && symbol === meant?.symbol && of === (meant.currency ?? currency),
  )
  const asset_id = meant === null ? null : found?.kind === 'one' ? found.asset.asset_id : (mine?.asset_id ?? Number.NaN)
  return {
    ...rest,
    id: ids.get(id as string) as string,
    asset_id,
    currency: currency as string,
    lots: lots?.map(({ lot_id, quantity }) => ({ lot_id: ids.get(lot_id) as string, quantity })) ?? null,
  }
}

/** The activities that come of an export, under other ids in the same order. */
function imported(text: string, offset: number): Activity[] {
  const { rows } = readImport(text, null)
  const read = rows.filter(isActivity)
  expect(rows.filter((row) => !isActivity(row))).toEqual([])
  const ids = new Map(read.map(({ id }, at) => [id as string, uuid(offset + at)]))
  return read.map((row) => placed(row, ids))
}

const decimal = fc
  .tuple(fc.bigInt({ min: 0n, max: 10n ** 12n }), fc.integer({ min: 0, max: 14 }))
  .map(([digits, places]) => {
    const text = String(digits).padStart(places + 1, '0')
    const [whole, fraction] = [text.slice(0, text.length - places), text.slice(text.length - places)]
    const end = fraction.replace(/0+$/, '')
    return end === '' ? whole : `${whole}.${end}`
  })
const positive = decimal.filter((text) => /[1-9]/.test(text))
const note = fc
  .option(
    fc.oneof(
      fc.constantFrom('Fee', '=1+1', "'=1+1", '-5', '@home', 'a, "b"; c', 'two\nlines', 'é🤓', 'Interest: x'),
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).map((text) => text.replace(/\p{Cc}/gu, ' ').trim()),
    ),
    { nil: null },
  )
  .map((text) => (text === '' ? null : text))

const anActivity = fc
  .record({
    kind: fc.constantFrom(...ACTIVITY_KINDS),
    asset_id: fc.constantFrom(...ASSETS.map(({ asset_id }) => asset_id), null),
    quantity: decimal,
    price: decimal,
    fees: fc.oneof(
      decimal,
      positive.map((text) => `-${text}`),
    ),
    currency: fc.constantFrom('USD', 'EUR', 'BTC'),
    at: fc.integer({ min: 0, max: 2_000 }),
    micros: fc.constantFrom('', '.5', '.000001'),
    split: fc.record({ numerator: positive, denominator: positive }),
    note,
    short: fc.boolean(),
    byName: fc.boolean(),
  })
  .filter(({ kind, asset_id }) => asset_id !== null || ['fee', 'interest', 'tax'].includes(kind))

/** Activities of one account, the oldest first; some sales name the first lot of their asset. */
const activities = fc.array(anActivity, { maxLength: 25 }).map((drafts) => {
  const sorted = drafts.toSorted((a, b) => a.at - b.at)
  return sorted.map(({ at, micros, byName, split, ...rest }, i): Activity => {
    const closes = rest.kind === 'sell' || rest.kind === 'transfer_out'
    const lot = sorted.findIndex((one) => one.asset_id === rest.asset_id && one.kind === 'buy')
    return {
      ...rest,
      id: uuid(i + 1),
      traded_at: `${new Date(Date.UTC(2015, 0, 1) + at * 86_400_000).toISOString().slice(0, 19)}${micros}Z`,
      split: rest.kind === 'split' ? split : null,
      lots: closes && byName && lot >= 0 ? [{ lot_id: uuid(lot + 1), quantity: rest.quantity }] : null,
      short: closes ? rest.short : true,
    }
  })
})

const content = ({
  kind,
  asset_id,
  quantity,
  price,
  fees,
  currency,
  traded_at,
  split,
}: ActivityContent): ActivityContent => ({
  kind,
  asset_id,
  quantity,
  price,
  fees,
  currency,
  traded_at,
  split,
})

/** Lots and closures of all assets, without the ids, which another account has others of. */
function derived(all: readonly Activity[]): unknown[] {
  const rank = new Map(all.map(({ id }, at) => [id, at]))
  return ASSETS.map(({ asset_id }) => {
    const made = deriveLots(
      all.filter((one) => one.asset_id === asset_id),
      [],
      NOW,
    )
    if ('refused' in made) return { reason: made.refused.reason, activity: rank.get(made.refused.activity_id) }
    return {
      lots: made.lots.map((lot) => ({ ...lot, id: rank.get(lot.id) })),
      closures: made.closures.map((one) => ({
        ...one,
        activity_id: rank.get(one.activity_id),
        lot_id: rank.get(one.lot_id),
      })),
    }
  })
}

const EXPORTS = {
  json: (all: readonly Activity[]) => exportJson({ activities: all, assets: byId, currency: 'EUR' }, NOW),
  csv: (all: readonly Activity[]) => exportCsv({ activities: all, assets: byId, currency: 'EUR' }),
}

describe.each(['json', 'csv'] as const)('an export as %s', (format) => {
  test('imports back to the same activities, of which the same lots follow', () => {
    fc.assert(
      fc.property(activities, (all) => {
        const again = imported(EXPORTS[format](all), 1_000)
        expect(again.map(content)).toEqual(all.map(content))
        expect(again.map(({ note: said, short }) => [said, short])).toEqual(all.map((one) => [one.note, one.short]))
        expect(derived(again)).toEqual(derived(all))
      }),
      { numRuns: 150 },
    )
  })

  test('imported where it comes from, changes nothing: whether it was typed or imported', () =>
    fc.assert(
      fc.asyncProperty(activities, fc.boolean(), async (all, typed) => {
        const again = imported(EXPORTS[format](all), 1_000)
        const before = await computeFingerprints(all, digest)
        const there = all.map(
          (one, at): StoredActivity => ({ ...one, fingerprint: typed ? null : (before[at] as string) }),
        )
        const verdicts = matchDuplicates(again, await computeFingerprints(again, digest), there)
        expect(verdicts.filter(({ known }) => known === null)).toEqual([])
        expect(new Set(verdicts.map(({ known }) => known)).size).toBe(all.length)
      }),
      { numRuns: 50 },
    ))
})

const one = (change: Partial<Activity> = {}): Activity => ({
  id: uuid(1),
  kind: 'buy',
  asset_id: 1,
  quantity: '5',
  price: '298.58',
  fees: '19',
  currency: 'USD',
  traded_at: '2021-09-16T00:00:00Z',
  split: null,
  lots: null,
  note: null,
  short: false,
  ...change,
})

describe('what Ghostfolio reads of it', () => {
  const all = [
    one(),
    one({ id: uuid(2), kind: 'transfer_in', asset_id: 2 }),
    one({
      id: uuid(3),
      kind: 'split',
      split: { numerator: '2', denominator: '1' },
      quantity: '0',
      price: '0',
      fees: '0',
    }),
    one({ id: uuid(4), kind: 'tax', asset_id: null, note: 'Withheld' }),
    one({ id: uuid(5), asset_id: -1 }),
  ]

  test('JSON: its kinds, its symbols, its fields alone; numbers with all their digits', () => {
    const exact = '0.12345678901234567890'
    const text = EXPORTS.json([...all, one({ id: uuid(6), quantity: exact })])
    expect(text).toContain(`"quantity": ${exact}`)
    const { activities: rows, assetProfiles, kerb } = JSON.parse(text)
    expect(
      rows.map((row: { type: string; symbol: string; dataSource: string }) => [row.type, row.symbol, row.dataSource]),
    ).toEqual([
      ['BUY', 'MSFT', 'YAHOO'],
      ['BUY', 'BTCUSD', 'YAHOO'],
      ['BUY', 'MSFT', 'YAHOO'],
      ['FEE', uuid(4), 'MANUAL'],
      ['BUY', 'Penthouse', 'MANUAL'],
      ['BUY', 'MSFT', 'YAHOO'],
    ])
    expect(Object.keys(rows[0]).sort()).toEqual(
      'accountId comment currency dataSource date fee id quantity symbol tags type unitPrice'.split(' '),
    )
    expect(
      assetProfiles.map(({ symbol, name, dataSource }: Record<string, string>) => [symbol, name, dataSource]),
    ).toEqual([
      ['Penthouse', 'Penthouse, Inc.', 'MANUAL'],
      ['Penthouse (EUR)', 'Penthouse, Inc.', 'MANUAL'],
      ['=cmd|calc', '@"it"; and\nmore', 'MANUAL'],
      [uuid(4), 'Withheld', 'MANUAL'],
    ])
    expect(kerb.kinds).toEqual({ [uuid(2)]: 'transfer_in', [uuid(3)]: 'split', [uuid(4)]: 'tax' })
  })

  test('CSV: its columns first; no text can be a formula', () => {
    const [head, ...rows] = EXPORTS.csv([...all, one({ id: uuid(6), asset_id: -3, note: '+1' })])
      .trim()
      .split('\r\n')
    expect(head).toMatch(/^Date,Code,DataSource,Currency,Price,Quantity,Action,Fee,Note,/)
    expect(rows[0]).toBe(
      `2021-09-16T00:00:00Z,MSFT,YAHOO,USD,298.58,5,buy,19,,"MSFT, Inc.",US5949181045,yahoo:MSFT,buy,,,,,${uuid(1)}`,
    )
    expect(rows[5]).toMatch(/,'=cmd\|calc,MANUAL,.*,'\+1,"'@""it""; and\nmore",/)
  })
})

describe('duplicates', () => {
  const judged = async (rows: readonly Activity[], there: readonly StoredActivity[]) =>
    matchDuplicates(rows, await computeFingerprints(rows, digest), there)
  const printed = async (rows: readonly Activity[]): Promise<StoredActivity[]> => {
    const prints = await computeFingerprints(rows, digest)
    return rows.map((row, at) => ({ ...row, fingerprint: prints[at] as string }))
  }

  test('two equal trades of one file are two; the file once more adds nothing; a third one is new', async () => {
    const twice = [one(), one({ id: uuid(2) })]
    const prints = await computeFingerprints(twice, digest)
    expect(new Set(prints).size).toBe(2)
    const there = await printed(twice)
    expect(await judged(twice, there)).toEqual([{ known: uuid(1) }, { known: uuid(2) }])
    const [, , third] = await judged([...twice, one({ id: uuid(3) })], there)
    expect(third).toEqual({ known: null, fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) })
    expect(prints).not.toContain((third as { fingerprint: string }).fingerprint)
  })

  test('one that was deleted comes back under the fingerprint that is free', async () => {
    const twice = [one(), one({ id: uuid(2) })]
    const [first] = await printed(twice)
    const [, second] = await judged(twice, [first as StoredActivity])
    expect(second).toEqual({ known: null, fingerprint: (await computeFingerprints(twice, digest))[1] })
  })

  test('one that was edited since counts as what it was, and as what it is', async () => {
    const [imported] = await printed([one()])
    const edited = { ...(imported as StoredActivity), price: '300' }
    expect(await judged([one()], [edited])).toEqual([{ known: uuid(1) }])
    expect(await judged([one({ price: '300' })], [edited])).toEqual([{ known: uuid(1) }])
    expect(await judged([one({ price: '300' }), one()], [edited])).toEqual([
      { known: uuid(1) },
      { known: null, fingerprint: null },
    ])
  })

  test('the same day of another asset, currency, kind or split is another activity', async () => {
    const there = await printed([one()])
    for (const change of [
      { asset_id: 2 },
      { currency: 'EUR' },
      { kind: 'sell' },
      { fees: '18' },
      { traded_at: NOW },
    ] as const)
      expect(await judged([one(change)], there)).toMatchObject([{ known: null }])
  })
})
