import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Activity } from '../../../src/portfolio/activity.ts'
import { formatDecimal, parseDecimal } from '../../../src/portfolio/decimal.ts'
import { deriveLots } from '../../../src/portfolio/lots.ts'
import {
  computeValueHistory,
  type HistoryPoint,
  historyPoints,
  historySpan,
  type ValueHistoryInput,
} from '../../../src/portfolio/value-history.ts'

const micros = (time: string): number => Date.parse(time) * 1000

const activity = (change: Partial<Activity>): Activity => ({
  id: crypto.randomUUID(),
  kind: 'buy',
  asset_id: 1,
  quantity: '10',
  price: '100',
  fees: '0',
  currency: 'USD',
  traded_at: '2026-01-05T15:00:00Z',
  split: null,
  lots: null,
  note: null,
  short: false,
  ...change,
})

const day = (date: string): HistoryPoint => ({ date, prices: micros(date), until: micros(date) + 86_400e6 })

const closes = (of: Record<string, string>) => Object.entries(of).map(([date, close]) => ({ at: micros(date), close }))

const input = (change: Partial<ValueHistoryInput>): ValueHistoryInput => ({
  currency: 'USD',
  activities: [],
  splits: new Map(),
  taken: [],
  points: [],
  closes: new Map(),
  currencyOf: new Map([[1, 'USD']]),
  rateSources: new Map(),
  usdOfDay: () => null,
  ...change,
})

describe('what a portfolio was worth', () => {
  test('P4 a purchase, a price, a part sold, a dividend: by hand', () => {
    const told = computeValueHistory(
      input({
        activities: [
          activity({ fees: '5' }),
          activity({ kind: 'sell', quantity: '4', price: '120', fees: '2', traded_at: '2026-01-07T15:00:00Z' }),
          activity({ kind: 'dividend', quantity: '6', price: '0.5', fees: '0.3', traded_at: '2026-01-08T09:00:00Z' }),
        ],
        points: ['2026-01-04', '2026-01-05', '2026-01-06', '2026-01-07', '2026-01-08'].map(day),
        closes: new Map([[1, closes({ '2026-01-05': '101', '2026-01-06': '110.5', '2026-01-08': '119' })]]),
      }),
    )
    expect(told).toEqual([
      { date: '2026-01-04', value: '0', net_deposits: '0', incomplete: false },
      { date: '2026-01-05', value: '1010', net_deposits: '1005', incomplete: false },
      { date: '2026-01-06', value: '1105', net_deposits: '1005', incomplete: false },
      // 1005 - (480 - 2); no trade that day: the price of the day before.
      { date: '2026-01-07', value: '663', net_deposits: '527', incomplete: false },
      // 527 - (3 - 0.3)
      { date: '2026-01-08', value: '714', net_deposits: '524.3', incomplete: false },
    ])
  })

  test('a split changes the shares on its day, and the raw price of that day with them', () => {
    const told = computeValueHistory(
      input({
        activities: [activity({})],
        splits: new Map([[1, [{ ex_date: '2026-01-07', numerator: '4', denominator: '1' }]]]),
        points: ['2026-01-06', '2026-01-07'].map(day),
        closes: new Map([[1, closes({ '2026-01-06': '100', '2026-01-07': '26' })]]),
      }),
    )
    expect(told.map(({ value }) => value)).toEqual(['1000', '1040'])
  })

  test('P3 a price or a rate that is missing is told, and is neither 0 nor 1', () => {
    const held = {
      activities: [activity({ currency: 'EUR' })],
      currencyOf: new Map([[1, 'EUR']]),
      points: ['2026-01-05', '2026-01-06'].map(day),
      closes: new Map([
        [1, closes({ '2026-01-05': '100' })],
        [2, closes({ '2026-01-06': '1.25' })],
      ]),
      rateSources: new Map([['EUR', { asset_id: 2, inverse: false }]]),
    }
    expect(computeValueHistory(input({ ...held, usdOfDay: () => '1.2' }))).toEqual([
      { date: '2026-01-05', value: '0', net_deposits: '1200', incomplete: true },
      { date: '2026-01-06', value: '1250', net_deposits: '1200', incomplete: false },
    ])
    expect(computeValueHistory(input(held)).map(({ incomplete }) => incomplete)).toEqual([true, true])
  })

  test('an asset that nobody prices is worth what was paid for it; a transfer out takes its cost', () => {
    const bought = activity({ asset_id: -1, quantity: '2', price: '50' })
    const out = activity({
      asset_id: -1,
      kind: 'transfer_out',
      quantity: '1',
      price: '0',
      traded_at: '2026-01-07T00:00:00Z',
    })
    const told = computeValueHistory(
      input({
        activities: [bought, out],
        taken: [
          {
            asset_id: -1,
            traded_at: out.traded_at,
            cost: '50',
            currency: 'USD',
            lot_traded_at: bought.traded_at,
            transfer: true,
          },
        ],
        points: ['2026-01-06', '2026-01-07'].map(day),
      }),
    )
    expect(told).toEqual([
      { date: '2026-01-06', value: '100', net_deposits: '100', incomplete: false },
      { date: '2026-01-07', value: '50', net_deposits: '50', incomplete: false },
    ])
  })

  test('P2 value less deposits is all that was gained: unrealised, realised, income and expenses', () => {
    const step = fc.record({
      kind: fc.constantFrom('buy', 'sell', 'dividend', 'fee', 'transfer_out' as const),
      quantity: fc.integer({ min: 1, max: 50 }).map(String),
      price: fc.integer({ min: 1, max: 9_999 }).map((cents) => formatDecimal(parseDecimal(`${cents}`).times('0.01'))),
      fees: fc.integer({ min: 0, max: 99 }).map((cents) => formatDecimal(parseDecimal(`${cents}`).times('0.01'))),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const activities: Activity[] = []
        for (const [n, one] of steps.entries()) {
          const next = activity({ ...one, traded_at: new Date(Date.UTC(2026, 0, 5 + n)).toISOString() })
          if (!('refused' in deriveLots([...activities, next], [], '2026-12-31T00:00:00Z'))) activities.push(next)
        }
        const derived = deriveLots(activities, [], '2026-12-31T00:00:00Z')
        if ('refused' in derived) throw new Error('what was refused was left out')
        const sum = (amounts: string[]) => amounts.reduce((all, amount) => all.plus(amount), parseDecimal('0'))
        const quantity = sum(derived.lots.map((lot) => lot.quantity))
        const unrealised = quantity.times('7.5').minus(sum(derived.lots.map(({ cost }) => cost)))
        const sold = derived.closures.filter(({ proceeds }) => proceeds !== null)
        const realised = sum(sold.map(({ proceeds }) => proceeds as string)).minus(sum(sold.map(({ cost }) => cost)))
        const of = (kind: string) => activities.filter((each) => each.kind === kind)
        const income = sum(of('dividend').map((each) => formatDecimal(parseDecimal(each.quantity).times(each.price))))
        const amounts = sum(of('fee').map((each) => formatDecimal(parseDecimal(each.quantity).times(each.price))))
        const fees = sum(['dividend', 'fee', 'transfer_out'].flatMap((kind) => of(kind).map((each) => each.fees)))
        const gained = unrealised.plus(realised).plus(income).minus(amounts).minus(fees)
        const tradedAt = (id: string) => activities.find((each) => each.id === id)?.traded_at as string
        const [last] = computeValueHistory(
          input({
            activities,
            taken: derived.closures.flatMap((each) =>
              each.proceeds === null
                ? [{ ...each, currency: 'USD', lot_traded_at: tradedAt(each.lot_id), transfer: true }]
                : [],
            ),
            points: [{ date: 'now', prices: micros('2026-12-31'), until: micros('2026-12-31') }],
            closes: new Map([[1, closes({ '2026-01-01': '7.5' })]]),
          }),
        )
        expect(formatDecimal(parseDecimal(last?.value as string).minus(last?.net_deposits as string))).toBe(
          formatDecimal(gained),
        )
      }),
      { numRuns: 200 },
    )
  })
})

test('points are the days, weeks or months that are over, from the first activity on', () => {
  const now = Date.parse('2026-11-21T12:02:10Z')
  expect(historySpan('1m', '2020-01-01', '2026-11-21')).toEqual({ interval: 'ONE_DAY', from: '2026-10-21' })
  expect(historySpan('all', '2026-11-18', '2026-11-21')).toEqual({ interval: 'ONE_DAY', from: '2026-11-18' })
  expect(historySpan('all', '2019-05-07', '2026-11-21')).toEqual({ interval: 'ONE_MONTH', from: '2019-05-01' })
  expect(historyPoints('all', 'ONE_DAY', '2026-11-18', now).map(({ date }) => date)).toEqual([
    '2026-11-18',
    '2026-11-19',
    '2026-11-20',
  ])
  expect(historyPoints('3y', 'ONE_WEEK', '2026-11-02', now).map(({ date }) => date)).toEqual([
    '2026-11-02',
    '2026-11-09',
  ])
  expect(historyPoints('all', 'ONE_MONTH', '2026-08-01', now).map(({ date }) => date)).toEqual([
    '2026-08-01',
    '2026-09-01',
    '2026-10-01',
  ])
  const minutes = historyPoints('1d', 'FIVE_MINUTES', '2026-11-21', now)
  expect([minutes.length, minutes[0]?.date, minutes.at(-1)?.date]).toEqual([
    289,
    '2026-11-20T12:00:00Z',
    '2026-11-21T12:00:00Z',
  ])
})
