import fc from 'fast-check'
import { expect, test } from 'vitest'
import { revalueLot, revaluePosition } from '../../../src/portfolio/revalue.ts'
import { type LotBase, type PositionBase, valueLot, valuePosition } from '../../../src/portfolio/valuation.ts'
import type { PortfolioPrice } from '../../../src/protocol/portfolio.ts'

const DAY = '2026-03-04'
const currencies = fc.constantFrom('USD', 'EUR')
const rates = fc.constantFrom('1.0833333333333333', '0.9', null).map((eur) => ({ now: new Map([['EUR', eur]]) }))

/** `-1234.0567`: up to so many digits on each side of the point. */
const amount = (min: bigint, max: bigint) =>
  fc.tuple(fc.bigInt({ min, max }), fc.bigInt({ min: 0n, max: 10n ** 18n - 1n })).map(([whole, part]) => {
    const digits = String(part).padStart(18, '0').replace(/0+$/, '')
    return digits === '' ? String(whole) : `${whole}.${digits}`
  })
const above = amount(1n, 10n ** 9n)
const any = fc.oneof(above, amount(-1_000n, -1n))

const price = fc.record<PortfolioPrice>({
  asset_id: fc.constant(7),
  symbol: fc.constant('BTC'),
  price: above,
  currency: currencies,
  previous_close: fc.option(above),
  change24h: fc.constant(null),
  eps: fc.constant(null),
  pe_ratio: fc.constant(null),
  pe_as_of: fc.constant(null),
  market_state: fc.constant('open'),
  as_of: fc.constant(`${DAY}T10:00:00Z`),
  updated_at: fc.constant(`${DAY}T10:00:01Z`),
  stale: fc.constantFrom(null, 'expired', 'unavailable'),
})

const recent = fc.array(
  fc.record({
    day: fc.constantFrom('2026-03-02', '2026-03-03', DAY, '2026-03-05'),
    quantity: above,
    paid: fc.option(above, { freq: 8 }),
  }),
  { maxLength: 3 },
)

const position = fc.record<PositionBase>({
  asset_id: fc.constant(7),
  symbol: fc.constant('BTC'),
  name: fc.constant('Bitcoin'),
  type: fc.constant('crypto'),
  cmp_currency: fc.constant('USD'),
  quantity: any,
  lots: fc.integer({ min: 1, max: 9 }),
  invested: fc.option(fc.oneof(any, fc.constant('0')), { freq: 8 }),
  realised_gain: fc.constant('0'),
  income: fc.constant('0'),
  expenses: fc.constant('0'),
  recent,
})

/** The same price at another height, later on the same day, as a feed tells it. */
const later = (before: PortfolioPrice, height: string): PortfolioPrice => ({
  ...before,
  price: height,
  as_of: `${DAY}T23:59:59.999Z`,
  updated_at: `${DAY}T23:59:59.999Z`,
  stale: null,
})

test('P1 a position that is revalued by itself equals one that is valued from its lots, to the last digit', () => {
  fc.assert(
    fc.property(position, price, above, rates, currencies, (base, before, height, now, currency) => {
      const after = later(before, height)
      const known = valuePosition(base, before, now, currency)
      expect(revaluePosition(known, { price: height, as_of: after.as_of })).toEqual(
        valuePosition(base, after, now, currency),
      )
    }),
    { numRuns: 500 },
  )
})

test('P2 its lots follow as exactly', () => {
  const lot = fc.record<LotBase>({
    id: fc.constant('00000000-0000-4000-8000-000000000001'),
    asset_id: fc.constant(7),
    symbol: fc.constant('BTC'),
    quantity: any,
    opened_quantity: above,
    price: above,
    fees: fc.oneof(above, fc.constant('0')),
    currency: currencies,
    traded_at: fc.constantFrom('2026-03-03T23:59:59Z', `${DAY}T00:00:00Z`),
    cost: above,
    note: fc.constant(null),
    version: fc.constant(1),
    invested: fc.option(above, { freq: 8 }),
  })
  fc.assert(
    fc.property(lot, position, price, above, rates, currencies, (base, held, before, height, now, currency) => {
      const after = later(before, height)
      const known = valueLot(base, before, now, currency)
      const of = valuePosition(held, before, now, currency)
      expect(revalueLot(known, of, { price: height, as_of: after.as_of })).toEqual(valueLot(base, after, now, currency))
    }),
    { numRuns: 500 },
  )
})

test('P3 what has no price is not given one: nothing says of what day its change is', () => {
  const [base] = fc.sample(position, { seed: 1, numRuns: 1 })
  const known = valuePosition(base!, null, { now: new Map() }, 'USD')
  expect(revaluePosition(known, { price: '5', as_of: `${DAY}T11:00:00Z` })).toEqual(known)
})
