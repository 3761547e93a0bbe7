import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { divideRounded, formatDecimal, parseDecimal } from '../../../src/portfolio/decimal.ts'
import { currentRates } from '../../../src/portfolio/rates.ts'
import { revalueLot, revaluePosition } from '../../../src/portfolio/revalue.ts'
import { computeTotals, replacePosition, sumPositions, totalsOf } from '../../../src/portfolio/totals.ts'
import { changedKeys, changedTotals } from '../../../src/portfolio/updates.ts'
import { type PositionBase, valueLot, valuePosition } from '../../../src/portfolio/valuation.ts'
import type { PortfolioPrice, Position } from '../../../src/protocol/portfolio.ts'
import { computeBases, deriveAll } from '../../support/portfolio-bases.ts'
import * as worked from '../../support/worked-portfolio.ts'

const NOW = '2026-01-01T00:00:00Z'
const SYMBOLS = ['AAPL', 'SAP.DE', 'NESN.SW', 'MSFT', 'BTC', 'ASML.AS', 'EURUSD=X', 'CHFUSD=X']
const assetId = (symbol: string): number => (symbol === 'CABIN' ? -1 : SYMBOLS.indexOf(symbol) + 1)
const prices = new Map(worked.prices(assetId).map((price) => [price.asset_id, price]))
const sources = [
  { currency: 'EUR', asset_id: assetId('EURUSD=X'), inverse: false },
  { currency: 'CHF', asset_id: assetId('CHFUSD=X'), inverse: false },
]

function valued(rates = currentRates(sources, prices), known: ReadonlyMap<number, PortfolioPrice> = prices) {
  const activities = worked.activities(assetId)
  const splits = (id: number) => worked.SPLITS[SYMBOLS[id - 1] ?? ''] ?? []
  const named = (id: number) => {
    if (id < 0) return { ...worked.CABIN, type: 'own' }
    const symbol = SYMBOLS[id - 1]!
    return { symbol, name: symbol, type: 'stock', currency: prices.get(id)!.currency }
  }
  const bases = computeBases(
    { activities, currency: worked.CURRENCY, now: NOW, named },
    deriveAll(activities, splits, NOW),
    (currency, day) => worked.DAY_RATES[currency]?.[day] ?? null,
  )
  const price = (id: number) => known.get(id) ?? null
  return {
    positions: bases.positions.map((base) => valuePosition(base, price(base.asset_id), rates, worked.CURRENCY)),
    lots: bases.lots.map(({ paid: _, ...base }) => valueLot(base, price(base.asset_id), rates, worked.CURRENCY)),
  }
}
const find = (positions: Position[], symbol: string) => positions.find((position) => position.symbol === symbol)!

describe('the worked portfolio', () => {
  const { positions, lots } = valued()

  test.each(worked.LOTS)('P2 P5 lot $name of $symbol', ({ name, ...figures }) => {
    expect(lots.find(({ id }) => id === worked.idOf(name))).toMatchObject(figures)
  })
  test.each(worked.POSITIONS)('P2 P4 P5 position $symbol', (figures) => {
    expect(find(positions, figures.symbol)).toMatchObject(figures)
  })
  test('P2 its totals', () => {
    expect([lots.length, positions.length]).toEqual([worked.LOTS.length, worked.POSITIONS.length])
    expect(totalsOf(positions, { currency: 'EUR', version: 3 })).toEqual({
      ...worked.TOTALS,
      currency: 'EUR',
      version: 3,
    })
  })
})

describe('the worked portfolio in the browser', () => {
  const half = new Map(
    [...prices].map(([id, price]) => [
      id,
      { ...price, price: formatDecimal(divideRounded(parseDecimal(price.price), parseDecimal('2'), 10)) },
    ]),
  )
  const before = valued(undefined, half)

  test.each(worked.POSITIONS)('P5 a newer price of $symbol brings it to the table', (figures) => {
    const position = find(before.positions, figures.symbol)
    const price = prices.get(position.asset_id)
    const after = price && position.lots > 0 ? revaluePosition(position, price) : position
    expect(after).toMatchObject(figures)
    if (price && position.lots > 0) expect(after.present_value).not.toBe(position.present_value)
  })
  test.each(worked.LOTS)('P5 a newer price brings lot $name of $symbol to the table', ({ name, ...figures }) => {
    const lot = before.lots.find(({ id }) => id === worked.idOf(name))!
    const price = prices.get(lot.asset_id)
    const position = find(before.positions, figures.symbol)
    expect(price && lot.quantity !== '0' ? revalueLot(lot, position, price) : lot).toMatchObject(figures)
  })
})

describe('what is not known', () => {
  const without = (symbol: string) => new Map([...prices].filter(([id]) => id !== assetId(symbol)))

  test('P3 a price that is missing gives null, and totals of the rest that say so', () => {
    const { positions } = valued(undefined, without('NESN.SW'))
    expect(find(positions, 'NESN.SW')).toMatchObject({
      cmp: null,
      present_value: null,
      gain_loss: null,
      gain_loss_percent: null,
      day_change: null,
      stale: 'unpriced',
      invested: '3025.57498007673476784',
    })
    const all = totalsOf(positions, { currency: 'EUR', version: 1 })
    expect(all).toMatchObject({ incomplete: true, missing: ['NESN.SW'], invested: worked.TOTALS.invested })
    // 39,999 less 3,290; the gain of what is, by what is invested in it.
    expect(all.present_value).toBe('36709.2380279449376516675')
    expect(all.gain_loss).toBe('-157.50706778952986872414003418')
  })

  test('P3 a rate that is missing gives null, never 1', () => {
    const { positions, lots } = valued(currentRates(sources, without('CHFUSD=X')))
    const nestle = find(positions, 'NESN.SW')
    expect(nestle).toMatchObject({ cmp: '88.14', rate: null, present_value: null, day_change: null, stale: 'no_rate' })
    expect(lots.filter(({ symbol }) => symbol === 'NESN.SW').map((lot) => lot.present_value)).toEqual([null, null])
    expect(find(positions, 'SAP.DE').present_value).toBe('1215')
    const nothing = valued({ now: new Map() })
    expect(find(nothing.positions, 'SAP.DE').present_value).toBe('1215')
    expect(find(nothing.positions, 'AAPL').present_value).toBeNull()
  })

  const base: PositionBase = {
    asset_id: 1,
    symbol: 'X',
    name: 'X',
    type: 'stock',
    cmp_currency: 'EUR',
    quantity: '2',
    lots: 1,
    invested: '0',
    realised_gain: '0',
    income: '0',
    expenses: '0',
    recent: [],
  }
  const price: PortfolioPrice = { ...prices.get(assetId('SAP.DE'))!, asset_id: 1, eps: null, pe_ratio: '20' }
  const value = (change: Partial<PositionBase>, told: Partial<PortfolioPrice> = {}) =>
    valuePosition({ ...base, ...change }, { ...price, ...told }, { now: new Map() }, 'EUR')

  test('P3 no percentage of nothing', () => {
    expect(value({})).toMatchObject({ gain_loss: '202.5', gain_loss_percent: null, day_change_percent: '-1.2195' })
    expect(value({}, { previous_close: '0' })).toMatchObject({ day_change: '202.5', day_change_percent: null })
    expect(totalsOf([], { currency: 'EUR', version: 0 })).toMatchObject({
      gain_loss_percent: null,
      day_change_percent: null,
    })
  })

  test('P5 without a previous close only what was bought since has a change of the day', () => {
    expect(value({}, { previous_close: null }).day_change).toBeNull()
    expect(totalsOf([value({}, { previous_close: null })], { currency: 'EUR', version: 0 }).missing).toEqual(['X'])
    const recent = [
      { day: '2025-08-31', quantity: '1', paid: null },
      { day: '2025-09-01', quantity: '1.5', paid: '100' },
      { day: '2025-09-02', quantity: '0.5', paid: '100' },
    ]
    expect(value({ recent }, { previous_close: null }).day_change).toBe('2.5')
    expect(value({ recent }, { as_of: '2025-08-31T23:59:59Z' }).day_change).toBeNull()
    expect(value({ recent }, { as_of: '2025-09-02T00:00:00Z' }).day_change).toBe('-51.25')
  })

  test('P6 no P/E of a loss', () => {
    const pe = (eps: string | null) => {
      const { pe_ratio, pe_as_of } = value({}, { eps, pe_as_of: NOW })
      return [pe_ratio, pe_as_of]
    }
    expect(pe('1')).toEqual(['20', NOW])
    expect(pe(null)).toEqual(['20', NOW])
    expect(pe('0')).toEqual([null, null])
    expect(pe('-1')).toEqual([null, null])
  })

  test('Q1 a value by an old rate says so, where the price itself is of now', () => {
    const old = new Map(prices)
    const euro = prices.get(assetId('EURUSD=X'))!
    old.set(euro.asset_id, { ...euro, stale: 'unavailable' })
    const { positions } = valued(currentRates(sources, old))
    expect(find(positions, 'AAPL')).toMatchObject({ present_value: expect.any(String), stale: 'unavailable' })
    // In the portfolio's own currency no rate is asked for.
    expect(find(positions, 'SAP.DE').stale).toBe(null)
  })

  test('what is closed is not priced; a quote that is stale says so', () => {
    expect(value({ quantity: '0', lots: 0 }, { stale: 'expired' })).toMatchObject({
      cmp: null,
      rate: null,
      stale: null,
      present_value: '0',
    })
    expect(value({}, { stale: 'expired' }).stale).toBe('expired')
  })

  test('rates: through the dollar, of either direction, null for what is no price', () => {
    const told = new Map([
      [1, { price: '160', stale: null }],
      [2, { price: '-1', stale: null }],
    ])
    const { now } = currentRates(
      [
        { currency: 'JPY', asset_id: 1, inverse: true },
        { currency: 'XXX', asset_id: 2, inverse: false },
        { currency: 'YYY', asset_id: 3, inverse: false },
      ],
      told,
    )
    expect(Object.fromEntries(now)).toEqual({ JPY: '0.00625', XXX: null, YYY: null })
  })
})

describe('what changes', () => {
  const { positions } = valued()
  const amount = fc.option(fc.integer({ min: -1e6, max: 1e6 }).map((n) => String(n / 8)))
  const position = fc.record({
    at: fc.integer({ min: 0, max: positions.length - 1 }),
    gone: fc.boolean(),
    change: fc.record(
      {
        lots: fc.integer({ min: 0, max: 2 }),
        invested: amount,
        present_value: amount,
        gain_loss: amount,
        day_change: amount,
        income: amount,
      },
      { requiredKeys: [] },
    ),
  })

  test('P2 totals that follow each change are the totals of what is there then', () => {
    fc.assert(
      fc.property(fc.array(position, { maxLength: 30 }), (changes) => {
        const held: (Position | null)[] = [...positions]
        let sums = sumPositions(positions)
        for (const { at, gone, change } of changes) {
          const after = gone ? null : { ...positions[at]!, ...change }
          sums = replacePosition(sums, held[at]!, after)
          held[at] = after
        }
        const of = { currency: 'EUR', version: 1 }
        expect(computeTotals(sums, of)).toEqual(
          totalsOf(
            held.filter((one) => one !== null),
            of,
          ),
        )
      }),
    )
  })

  test('P7 only changed keys travel, and make of the old what the new is', () => {
    fc.assert(
      fc.property(position, ({ at, change }) => {
        const before = positions[at]!
        const after = { ...before, ...change }
        const update = changedKeys(before, after)
        expect({ ...before, ...update }).toEqual(after)
        for (const [key, value] of Object.entries(update ?? {}))
          if (key !== 'asset_id') expect(value).not.toBe(before[key as 'name'])
        expect(update === null).toBe(JSON.stringify(before) === JSON.stringify(after))
        expect(changedKeys(null, after)).toEqual(after)
      }),
    )
    const of = { currency: 'EUR', version: 1 }
    const all = totalsOf(positions, of)
    expect(changedTotals(all, totalsOf(positions, { ...of, version: 2 }))).toEqual({ version: 2 })
    expect(changedTotals(null, all)).toEqual(all)
  })
})
