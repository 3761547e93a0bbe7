import Big from 'big.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Activity, Split } from '../../src/portfolio/activity.ts'
import { decimal, quotient, ratio, text } from '../../src/portfolio/decimal.ts'
import { type Derived, deriveLots } from '../../src/portfolio/lots.ts'
import * as worked from '../support/worked-portfolio.ts'

const NOW = '2026-01-01T00:00:00Z'
const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

let count = 0
const done = (
  kind: Activity['kind'],
  quantity: string,
  traded_at: string,
  change: Partial<Activity> = {},
): Activity => ({
  id: uuid(++count),
  kind,
  asset_id: 1,
  quantity,
  price: '10',
  fees: '0',
  currency: 'USD',
  traded_at: traded_at.length === 10 ? `${traded_at}T12:00:00Z` : traded_at,
  split: null,
  lots: null,
  note: null,
  short: false,
  ...change,
})
const split = (traded_at: string, numerator: string, denominator: string) =>
  done('split', '0', traded_at, { split: { numerator, denominator } })

function derived(activities: Activity[], splits: Split[] = [], now = NOW): Derived {
  const result = deriveLots(activities, splits, now)
  if ('refused' in result) throw new Error(JSON.stringify(result.refused))
  return result
}
const refused = (activities: Activity[], splits: Split[] = []) => {
  const result = deriveLots(activities, splits, NOW)
  return 'refused' in result ? result.refused : null
}
const quantities = ({ lots }: Derived) => lots.map(({ quantity }) => quantity)
const sum = (amounts: string[]): string => amounts.reduce((a, b) => a.plus(b), new Big(0)).toFixed()

describe('ratios', () => {
  const amount = fc.tuple(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), fc.integer({ min: 0, max: 12 }))
  const textOf = ([units, places]: [bigint, number]) => new Big(String(units)).times(`1e-${places}`).toFixed()

  test('P1 a / b is rounded once, halves away from zero, as integers do it', () => {
    fc.assert(
      fc.property(amount, amount, fc.constantFrom(4, 10, 16), (a, b, places) => {
        fc.pre(b[0] !== 0n)
        const over = a[0] * 10n ** BigInt(b[1] + places)
        const under = b[0] * 10n ** BigInt(a[1])
        const [n, d] = [over < 0n ? -over : over, under < 0n ? -under : under]
        const units = ((2n * n + d) / (2n * d)) * (over < 0n !== under < 0n ? -1n : 1n)
        expect(text(ratio(decimal(textOf(a)), decimal(textOf(b)), places))).toBe(textOf([units, places]))
      }),
    )
  })

  test('P1 what ends is told whole, what does not has ten digits', () => {
    expect(text(quotient(decimal('1'), decimal('1024')))).toBe('0.0009765625')
    expect(text(quotient(decimal('1'), decimal('1048576')))).toBe('0.00000095367431640625')
    expect(text(quotient(decimal('-2'), decimal('3')))).toBe('-0.6666666667')
    expect(text(decimal('1').minus('1').neg())).toBe('0')
  })
})

describe('P4 lots', () => {
  test('the oldest go first, whatever the order they were entered in; named ones instead where they are named', () => {
    const [a, b] = [done('buy', '5', '2025-01-02'), done('buy', '5', '2025-01-01')]
    const sale = done('sell', '7', '2025-01-03')
    expect(quantities(derived([sale, a, b]))).toEqual(['0', '3'])
    const lots = [
      { lot_id: a.id, quantity: '2' },
      { lot_id: b.id, quantity: '1' },
      { lot_id: a.id, quantity: '1' },
    ]
    const taken = derived([a, b, { ...sale, quantity: '4', lots }])
    expect(taken.lots.map(({ id, quantity }) => [id, quantity])).toEqual([
      [b.id, '4'],
      [a.id, '2'],
    ])
    expect(taken.closures.map(({ lot_id, quantity }) => [lot_id, quantity])).toEqual([
      [a.id, '3'],
      [b.id, '1'],
    ])
    // What is sold after it takes the oldest again, past those that are closed.
    const rest = derived([
      a,
      b,
      { ...sale, quantity: '5', lots: [{ lot_id: b.id, quantity: '5' }] },
      done('sell', '5', '2025-01-04'),
    ])
    expect(quantities(rest)).toEqual(['0', '0'])
  })

  test('what is not there is refused, by the activity that asks for it', () => {
    const a = done('buy', '5', '2025-01-01')
    const sale = done('sell', '6', '2025-01-02')
    expect(refused([a, sale])).toMatchObject({ activity_id: sale.id, reason: 'insufficient_quantity' })
    expect(refused([a, done('transfer_out', '5.000000001', '2025-01-02')])?.reason).toBe('insufficient_quantity')
    const naming = (lot_id: string, quantity: string, all = quantity) =>
      refused([a, done('sell', all, '2025-01-02', { lots: [{ lot_id, quantity }], short: true })])?.reason
    expect(naming(uuid(999_999), '1')).toBe('unknown_lot')
    expect(naming(a.id, '6')).toBe('insufficient_quantity')
    expect(naming(a.id, '1', '2')).toBe('insufficient_quantity')
    expect(naming(a.id, '5')).toBeUndefined()
    const later = done('buy', '1', '2025-01-03')
    const early = done('sell', '1', '2025-01-02', { lots: [{ lot_id: later.id, quantity: '1' }] })
    expect(refused([a, early, later])?.reason).toBe('unknown_lot')
  })

  test('at the same instant purchases come first, then ids decide; a part of a microsecond is none', () => {
    const at = '2025-01-01T12:00:00.5Z'
    const sale = { ...done('sell', '1', at), id: uuid(1) }
    const [a, b] = [
      { ...done('buy', '1', '2025-01-01T13:00:00.500000+01:00'), id: uuid(3) },
      { ...done('buy', '1', at), id: uuid(2) },
    ]
    expect(derived([sale, a, b]).lots.map(({ id, quantity }) => [id, quantity])).toEqual([
      [b.id, '0'],
      [a.id, '1'],
    ])
    expect(refused([{ ...sale, traded_at: '2025-01-01T12:00:00.499999Z' }, a])?.reason).toBe('insufficient_quantity')
  })

  test('a sale that may opens a short lot, which a purchase closes before it opens its own', () => {
    const a = done('buy', '2', '2025-01-01')
    const sale = done('sell', '5', '2025-01-02', { short: true, price: '12', fees: '5' })
    const back = done('buy', '4', '2025-01-03', { price: '11', fees: '4' })
    const short = derived([a, sale])
    expect(short.lots).toMatchObject([
      { id: a.id, quantity: '0', cost: '0' },
      { id: sale.id, quantity: '-3', opened_quantity: '-3', fees: '3', cost: '-33' },
    ])
    expect(short.closures).toMatchObject([{ lot_id: a.id, quantity: '2', cost: '20', proceeds: '22' }])
    const after = derived([a, sale, back])
    expect(after.lots).toMatchObject([
      { quantity: '0' },
      { quantity: '0' },
      { id: back.id, quantity: '1', fees: '1', cost: '12' },
    ])
    // 33 received, 36 paid back.
    expect(after.closures[1]).toMatchObject({
      activity_id: back.id,
      lot_id: sale.id,
      quantity: '3',
      cost: '-33',
      proceeds: '-36',
    })
  })

  test('a transfer realises nothing, and takes no fee into a lot', () => {
    const came = done('transfer_in', '4', '2025-01-01', { fees: '1' })
    const went = done('transfer_out', '3', '2025-01-02', { fees: '2' })
    const { lots, closures } = derived([came, went])
    expect(lots).toMatchObject([{ quantity: '1', fees: '0.25', cost: '10.25' }])
    expect(closures).toMatchObject([{ quantity: '3', cost: '30.75', proceeds: null }])
  })

  test('a position that was closed opens again; what is yet to come has no effect', () => {
    const life = [done('buy', '1', '2025-01-01'), done('sell', '1', '2025-01-02'), done('buy', '2', '2025-01-03')]
    const future = [done('sell', '9', '2026-01-01T00:00:00.000001Z'), split('2026-01-02', '2', '1')]
    const market = [{ ex_date: '2026-01-02', numerator: '3', denominator: '1' }]
    expect(quantities(derived([...life, ...future], market))).toEqual(['0', '2'])
    expect(quantities(derived([...life, future[1]!], market, '2026-01-02T00:00:00Z'))).toEqual(['0', '6'])
  })
})

describe('splits', () => {
  const market = (ex_date: string, numerator: string, denominator = '1'): Split => ({ ex_date, numerator, denominator })

  test('change quantity and price of what was open before the day, and no cost', () => {
    const activities = [
      done('buy', '10', '2025-03-02T23:59:59.999999Z', { price: '100', fees: '7' }),
      done('buy', '10', '2025-03-03T00:00:00Z', { price: '25' }),
      done('sell', '30', '2025-03-04'),
    ]
    const { lots, closures } = derived(activities, [market('2025-03-03', '4')])
    expect(lots).toMatchObject([
      { quantity: '10', opened_quantity: '40', price: '25', fees: '1.75', cost: '251.75' },
      { quantity: '10', opened_quantity: '10', price: '25', cost: '250' },
    ])
    expect(closures).toMatchObject([{ quantity: '30', cost: '755.25' }])
  })

  test('from two sources count once: the same ratio within seven days; another ratio, or later, is another', () => {
    const buy = done('buy', '1', '2025-01-01')
    const held = (...given: (Activity | Split)[]) =>
      quantities(
        derived(
          [buy, ...given.filter((one): one is Activity => 'id' in one)],
          given.filter((one): one is Split => !('id' in one)),
        ),
      )[0]
    const told = market('2025-03-03', '2')
    expect(held(told)).toBe('2')
    expect(held(told, split('2025-03-10T23:00:00Z', '4', '2'))).toBe('2')
    expect(held(told, split('2025-02-24', '2', '1'), split('2025-03-05', '2', '1'))).toBe('2')
    expect(held(told, split('2025-03-11', '2', '1'))).toBe('4')
    expect(held(told, split('2025-03-03', '3', '1'))).toBe('6')
    expect(held(told, told)).toBe('2')
    // Who enters it twice, and nobody tells it.
    expect(held(split('2025-03-03', '2', '1'), split('2025-03-04', '2', '1'))).toBe('2')
  })

  test('that do not divide leave whole positions whole, and every cost as it was', () => {
    const lots = [1, 2, 3].map((day) => done('buy', '10', `2025-01-0${day}`, { price: '1.1', fees: '0.5' }))
    const after = derived(lots, [market('2025-03-03', '1', '3')])
    expect(quantities(after)).toEqual(['3.3333333333', '3.3333333334', '3.3333333333'])
    expect(after.lots.map(({ price, cost }) => [price, cost])).toEqual(Array(3).fill(['3.3', '11.5']))
    const sold = derived([...lots, done('sell', '10', '2025-04-01')], [market('2025-03-03', '1', '3')])
    expect(quantities(sold)).toEqual(['0', '0', '0'])
    expect(sum(sold.closures.map(({ cost }) => cost))).toBe('34.5')
  })
})

const decimalOf = (max: number, places: number) =>
  fc
    .tuple(fc.integer({ min: 1, max }), fc.integer({ min: 0, max: places }))
    .map(([n, p]) => new Big(n).times(`1e-${p}`).toFixed())
const anything = fc.array(
  fc.record({
    kind: fc.constantFrom('buy', 'buy', 'sell', 'sell', 'transfer_in', 'transfer_out', 'dividend', 'split' as const),
    quantity: decimalOf(10_000, 6),
    price: decimalOf(100_000, 8),
    fees: decimalOf(1_000, 3),
    day: fc.integer({ min: 1, max: 28 }),
    ratio: fc.constantFrom(['2', '1'], ['1', '3'], ['3', '2'], ['1', '10'], ['7', '3']),
  }),
  { maxLength: 40 },
)
const activitiesOf = (given: typeof anything extends fc.Arbitrary<infer T> ? T : never): Activity[] =>
  given.map(({ kind, quantity, price, fees, day, ratio: [numerator, denominator] }, i) => ({
    ...done(kind, quantity, `2025-05-${String(day).padStart(2, '0')}`, { price, fees, short: true }),
    id: uuid(i),
    split: kind === 'split' ? { numerator: numerator!, denominator: denominator! } : null,
  }))

describe('any sequence', () => {
  test('P2 that would leave a lot nothing are rounded later: no cost stays with what is not there', () => {
    const [dust, share] = [done('buy', '0.00000000001', '2025-01-02'), done('buy', '1', '2025-01-03')]
    const { lots } = derived([dust, share, split('2025-02-03', '1', '3')])
    expect(lots.map(({ cost }) => cost)).toEqual(['0.0000000001', '10'])
    expect(lots[0]?.quantity).toBe(`0.${'0'.repeat(11)}${'3'.repeat(27)}`)
    expect(sum(lots.map(({ quantity }) => quantity))).toBe(`0.33333333333${'6'.repeat(26)}7`)
    const alone = derived([dust, split('2025-02-03', '1', '3'), done('sell', lots[0]!.quantity, '2025-03-03')])
    expect(alone.lots).toMatchObject([{ quantity: '0', cost: '0' }])
    expect(alone.closures).toMatchObject([{ cost: '0.0000000001' }])
  })

  test('P2 what closed and what is open is the whole cost, to the last digit; a closed lot costs nothing', () => {
    fc.assert(
      fc.property(anything, (given) => {
        const activities = activitiesOf(given)
        const { lots, closures } = derived(activities)
        const byId = new Map(activities.map((activity) => [activity.id, activity]))
        for (const lot of lots) {
          const opened = byId.get(lot.id)!
          const sells = opened.kind === 'sell' || opened.kind === 'transfer_out'
          // What it had not closed of others, it opened; its fees went to both by quantity, those of a transfer to the lot.
          const closedOthers = sum(closures.filter((c) => c.activity_id === lot.id).map(({ quantity }) => quantity))
          const rest = new Big(opened.quantity).minus(closedOthers)
          const opening = rest.times(sells ? new Big(opened.price).neg() : opened.price)
          const own = closures.filter((c) => c.lot_id === lot.id)
          const whole = new Big(sum([lot.cost, ...own.map(({ cost }) => cost)]))
          const fees = whole.minus(opening)
          const due = {
            buy: new Big(opened.fees).times(rest).div(opened.quantity),
            sell: new Big(opened.fees).times(rest).div(opened.quantity),
            transfer_in: new Big(opened.fees),
            transfer_out: new Big(0),
          }[opened.kind as 'buy']
          expect(Number(fees.minus(due).abs())).toBeLessThan(1e-9)
          if (closedOthers === '0' && opened.kind !== 'transfer_out') expect(fees.toFixed()).toBe(opened.fees)
          if (lot.quantity === '0') expect([lot.cost, lot.fees]).toEqual(['0', '0'])
          expect(Math.sign(Number(lot.quantity))).toBe(lot.quantity === '0' ? 0 : sells ? -1 : 1)
        }
        // Never long and short at once.
        expect(
          new Set(lots.filter(({ quantity }) => quantity !== '0').map(({ quantity }) => quantity[0] === '-')).size,
        ).toBeLessThan(2)
      }),
      { numRuns: 200 },
    )
  })

  test('P4 what a sale realises is what it brought, less all of its fees', () => {
    fc.assert(
      fc.property(anything, (given) => {
        const activities = activitiesOf(given)
        const { lots, closures } = derived(activities)
        for (const { id, kind, quantity, price, fees } of activities) {
          if (kind !== 'sell' || lots.some((lot) => lot.id === id)) continue
          const own = closures.filter((closure) => closure.activity_id === id)
          expect(sum(own.map((closure) => closure.quantity))).toBe(quantity)
          expect(sum(own.map(({ proceeds }) => proceeds!))).toBe(new Big(quantity).times(price).minus(fees).toFixed())
        }
      }),
      { numRuns: 200 },
    )
  })

  test('a split that is entered too, and told a week apart, is the one that is told', () => {
    fc.assert(
      fc.property(anything, fc.integer({ min: 8, max: 20 }), fc.integer({ min: -7, max: 7 }), (given, day, apart) => {
        const activities = activitiesOf(given).filter(({ kind }) => kind !== 'split')
        const on = (n: number) => `2025-05-${String(n).padStart(2, '0')}`
        const told = [{ ex_date: on(day), numerator: '3', denominator: '2' }]
        expect(derived([...activities, split(on(day + apart), '6', '4')], told)).toEqual(derived(activities, told))
      }),
      { numRuns: 50 },
    )
  })

  test('the order in which they are given is nothing', () => {
    fc.assert(
      fc.property(anything, (given) => {
        const activities = activitiesOf(given)
        expect(derived(activities.toReversed())).toEqual(derived(activities))
      }),
      { numRuns: 50 },
    )
  })
})

test('ten thousand of one asset cost no more each than a thousand do', () => {
  const many = Array.from({ length: 10_000 }, (_, i) => {
    const time = new Date(Date.UTC(2020, 0, 1) + i * 3_600_000).toISOString()
    return done(i % 3 === 2 ? 'sell' : 'buy', i % 3 === 2 ? '1.7' : '1.000001', time, {
      fees: '0.99',
      price: '123.4567',
    })
  })
  const named = many.map((one, i) => {
    const lots = [{ lot_id: many[i - 1]?.id ?? '', quantity: '0.5' }]
    return one.kind === 'sell' ? { ...one, quantity: '0.5', lots } : one
  })
  const splits = Array.from({ length: 10 }, (_, i) => ({
    ex_date: `2020-${String(i + 1).padStart(2, '0')}-15`,
    numerator: '3',
    denominator: '2',
  }))
  const costOf = (activities: typeof many) => {
    const began = process.cpuUsage()
    derived(activities, splits)
    return process.cpuUsage(began).user
  }
  for (const activities of [many, named]) {
    costOf(activities)
    // Ten times as many cost ten times as much, or a hundred times if it were quadratic.
    expect(costOf(activities) / costOf(activities.slice(0, 1_000))).toBeLessThan(40)
  }
})

test('P2 P4 the lots and closures of the worked portfolio are those of its table', () => {
  const symbols = [...new Set(worked.LOTS.map(({ symbol }) => symbol))]
  const all = worked.activities((symbol) => symbols.indexOf(symbol) + 1)
  const parts = symbols.map((symbol, i) =>
    derived(
      all.filter(({ asset_id }) => asset_id === i + 1),
      worked.SPLITS[symbol],
    ),
  )
  const lots = parts.flatMap((part) => part.lots).map(({ asset_id: _, traded_at: __, ...lot }) => lot)
  const expected = worked.LOTS.map(({ name, quantity, opened_quantity, price, fees, cost, currency }) => {
    return { id: worked.idOf(name), quantity, opened_quantity, price, fees, cost, currency }
  })
  const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
  expect(lots.toSorted(byId)).toEqual(expected.toSorted(byId))
  const closures = parts.flatMap((part) => part.closures)
  expect(
    closures
      .map(({ activity_id, lot_id, quantity, cost, proceeds }) => [activity_id, lot_id, quantity, cost, proceeds])
      .sort(),
  ).toEqual(
    worked.CLOSURES.map(({ activity, lot, quantity, cost, proceeds }) => [
      worked.idOf(activity),
      worked.idOf(lot),
      quantity,
      cost,
      proceeds,
    ]).sort(),
  )
})
