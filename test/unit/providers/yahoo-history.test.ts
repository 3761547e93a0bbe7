import { describe, expect, test } from 'vitest'
import type { DailyHistory } from '../../../src/pricing/provider-quote.ts'
import { parseResponse } from '../../../src/providers/fetch-json.ts'
import { chartSchema, toDailyHistory } from '../../../src/providers/yahoo-history.ts'
import { fixtureLines } from '../../support/recordings.ts'
import { yahooBody } from './yahoo-answers.ts'

type Column = (number | null)[]
type Chart = {
  meta: Record<string, unknown>
  timestamp?: number[]
  events?: {
    dividends?: Record<string, { amount: number; date: number }>
    splits?: Record<string, { date: number; numerator: number; denominator: number; splitRatio?: string }>
  }
  indicators: { quote: { open?: Column; high?: Column; low?: Column; close?: Column; volume?: Column }[] }
}
const recorded = (file: string) => (yahooBody(file) as { chart: { result: Chart[] } }).chart.result[0] as Chart
const bodyOf = (chart: object) => ({ chart: { result: [chart], error: null } })

/** Long after every recording. */
const LATER = Date.UTC(2025, 5, 1)

function parse(body: unknown, from: string | null, now: number) {
  const response = parseResponse(chartSchema, body)
  return response.ok ? toDailyHistory(response.value, from, now) : response
}

function days(chart: object, from: string | null = null, now = LATER): DailyHistory {
  const result = parse(bodyOf(chart), from, now)
  if (!result.ok) throw new Error(result.detail)
  return result.value
}

const at = (text: string) => Date.parse(text) / 1000

/** A chart with a row for each time: its close, and everything else from it. */
function made(rows: [time: string, close: number | null, volume?: number][], more: Partial<Chart> = {}): Chart {
  const column = (factor: number): Column => rows.map(([, close]) => (close === null ? null : close * factor))
  return {
    meta: {
      currency: 'USD',
      exchangeTimezoneName: 'America/New_York',
      gmtoffset: -18_000,
      currentTradingPeriod: { regular: { start: at('2025-05-30T13:30:00Z'), end: at('2025-05-30T20:00:00Z') } },
      ...more.meta,
    },
    timestamp: rows.map(([time]) => at(time)),
    indicators: {
      quote: [
        {
          open: column(1),
          high: column(2),
          low: column(0.5),
          close: column(1),
          volume: rows.map(([, , volume = 100]) => volume),
        },
      ],
    },
    ...(more.events && { events: more.events }),
  }
}
const splitOn = (time: string, numerator: number, denominator: number) => ({
  [at(time)]: { date: at(time), numerator, denominator },
})

const lean = new Map(
  fixtureLines('daily/lean-aapl-daily-raw-x10000.csv.gz').map((line) => {
    const [day = '', ...columns] = line.split(',')
    return [`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6, 8)}`, columns.map(Number)]
  }),
)
/** One close there has half a cent more than the exchange's own. */
const dollars = (value: number | undefined): string => String(Math.round((value ?? 0) / 100) / 100)
const cents = (text: string | undefined): string => String(Math.round(Number(text) * 100) / 100)
/** What a double is worth times four, by its own digits: the shares of one day in four of today's. */
const fourTimes = (value: number | null | undefined): string => {
  const [whole = '', fraction = ''] = String(value).split('.')
  const digits = String(BigInt(whole + fraction) * 4n).padStart(fraction.length + 1, '0')
  return `${digits.slice(0, digits.length - fraction.length)}.${digits.slice(-fraction.length)}`.replace(/\.?0+$/, '')
}

describe('the raw basis has the prices as traded', () => {
  test('Q7 49 recorded days after a split equal another source to the cent', () => {
    const { currency, days: all, actions } = days(recorded('chart-AAPL-2020-08-31-to-2020-11-07.json'))
    expect(currency).toBe('USD')
    expect(all).toHaveLength(49)
    expect(all[0]?.date).toBe('2020-08-31')
    expect(all.at(-1)?.date).toBe('2020-11-06')
    expect(all.map((day) => [day.date, cents(day.close)])).toEqual(
      all.map((day) => [day.date, dollars(lean.get(day.date)?.[3])]),
    )
    expect(all[0]).toEqual({
      date: '2020-08-31',
      open: '127.58000183105469',
      high: '131',
      low: '126',
      close: '129.0399932861328',
      volume: '225702700',
    })
    expect(actions).toEqual([
      { kind: 'split', ex_date: '2020-08-31', numerator: '4', denominator: '1' },
      { kind: 'dividend', ex_date: '2020-11-06', amount: '0.205', reference_close: '119.02999877929688' },
    ])
  })

  test('Q7 before a split prices are multiplied and volumes divided by it, exactly', () => {
    // The day in January is from another recording: there Yahoo gives it in the shares after the split of August.
    const before = recorded('chart-AAPL-2020-01-01-to-2020-01-03.json')
    const after = recorded('chart-AAPL-2020-08-31-to-2020-11-07.json')
    const [q1, q2] = [before.indicators.quote[0], after.indicators.quote[0]]
    const joined = (name: 'open' | 'high' | 'low' | 'close' | 'volume') => [
      ...(q1?.[name] ?? []),
      ...(q2?.[name] ?? []),
    ]
    const all = days({
      ...after,
      timestamp: [...(before.timestamp ?? []), ...(after.timestamp ?? [])],
      indicators: {
        quote: [
          {
            open: joined('open'),
            high: joined('high'),
            low: joined('low'),
            close: joined('close'),
            volume: joined('volume'),
          },
        ],
      },
    }).days
    expect(all).toHaveLength(50)
    const splitDay = before.indicators.quote[0]
    expect(all[0]).toEqual({
      date: '2020-01-02',
      open: fourTimes(splitDay?.open?.[0]),
      high: fourTimes(splitDay?.high?.[0]),
      low: fourTimes(splitDay?.low?.[0]),
      close: fourTimes(splitDay?.close?.[0]),
      volume: '33870100',
    })
    expect(cents(all[0]?.close)).toBe(dollars(lean.get('2020-01-02')?.[3]))
    expect(cents(all[0]?.high)).toBe(dollars(lean.get('2020-01-02')?.[1]))
    expect(cents(all[0]?.low)).toBe(dollars(lean.get('2020-01-02')?.[2]))
    expect(all[1]?.close).toBe('129.0399932861328')
  })

  test('splits multiply, reverse splits divide, and a dividend is in the shares of its day', () => {
    const chart = made(
      [
        ['2020-01-02T14:30:00Z', 10, 700],
        ['2020-01-03T14:30:00Z', 10, 700],
        ['2020-01-06T14:30:00Z', 10, 700],
        ['2020-01-07T14:30:00Z', 10, 700],
      ],
      {
        events: {
          splits: { ...splitOn('2020-01-03T14:30:00Z', 7, 2), ...splitOn('2020-01-07T14:30:00Z', 1, 3) },
          dividends: {
            a: { date: at('2020-01-03T14:30:00Z'), amount: 0.3 },
            b: { date: at('2020-01-06T14:30:00Z'), amount: 0.3 },
            c: { date: at('2020-01-07T14:30:00Z'), amount: 0.3 },
          },
        },
      },
    )
    const { days: all, actions } = days(chart)
    // 7/2 * 1/3 = 7/6; endless quotients have ten decimals.
    expect(all.map((day) => [day.close, day.volume])).toEqual([
      ['11.6666666667', '600'],
      ['3.3333333333', '2100'],
      ['3.3333333333', '2100'],
      ['10', '700'],
    ])
    expect(actions).toEqual([
      { kind: 'split', ex_date: '2020-01-03', numerator: '7', denominator: '2' },
      { kind: 'dividend', ex_date: '2020-01-03', amount: '0.1', reference_close: '11.6666666667' },
      { kind: 'dividend', ex_date: '2020-01-06', amount: '0.1', reference_close: '3.3333333333' },
      { kind: 'split', ex_date: '2020-01-07', numerator: '1', denominator: '3' },
      { kind: 'dividend', ex_date: '2020-01-07', amount: '0.3', reference_close: '3.3333333333' },
    ])
  })

  test('a spin-off that Yahoo sends as a split with decimals is exact', () => {
    const splits = splitOn('2020-01-03T14:30:00Z', 1.032, 1)
    const chart = made([['2020-01-02T14:30:00Z', 12.5, 1_032]], { events: { splits } })
    const { days: all, actions } = days(chart)
    expect(all[0]).toMatchObject({ close: '12.9', volume: '1000' })
    expect(actions).toEqual([{ kind: 'split', ex_date: '2020-01-03', numerator: '1.032', denominator: '1' }])
  })

  test('D7 prices and volumes have the digits of the response', () => {
    const close = [Math.fround(75.0875), Math.fround(0.00001234), Math.fround(741_325.0625), 129.123456789]
    const rows = close.map((one, i): [string, number, number] => [`2020-01-0${i + 6}T14:30:00Z`, one, 225_702_704])
    const { days: all } = days(made(rows))
    expect(all.map((day) => Number(day.close))).toEqual(close)
    expect(all.map((day) => day.close)).toEqual(expect.arrayContaining(['75.0875015258789', '129.123456789']))
    expect(new Set(all.map((day) => day.volume))).toEqual(new Set(['225702704']))
  })

  test('the dividends of a recorded year have the close of the day before as reference', () => {
    const { days: all, actions } = days(recorded('historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.json'))
    expect(all).toHaveLength(252)
    expect(actions).toEqual([
      { kind: 'dividend', ex_date: '2021-02-17', amount: '0.56', reference_close: '243.6999969482422' },
      { kind: 'dividend', ex_date: '2021-05-19', amount: '0.56', reference_close: '243.0800018310547' },
      { kind: 'dividend', ex_date: '2021-08-18', amount: '0.56', reference_close: '293.0799865722656' },
      { kind: 'dividend', ex_date: '2021-11-17', amount: '0.62', reference_close: '339.510009765625' },
    ])
    for (const action of actions) {
      if (action.kind !== 'dividend') continue
      const index = all.findIndex((day) => day.date === action.ex_date)
      expect(all[index - 1]?.close).toBe(action.reference_close)
    }
  })

  test('days from a given one have the close before it as reference', () => {
    const chart = recorded('historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.json')
    const { days: all, actions } = days(chart, '2021-11-17')
    expect(all[0]?.date).toBe('2021-11-17')
    expect(actions).toEqual([
      { kind: 'dividend', ex_date: '2021-11-17', amount: '0.62', reference_close: '339.510009765625' },
    ])
    expect(days(chart, '2021-11-18').actions).toEqual([])
  })

  test('Q6 amounts in pence become pounds, also dividends', () => {
    const chart = made([['2020-01-02T08:00:00Z', 2_931.5]], {
      meta: { currency: 'GBp', exchangeTimezoneName: 'Europe/London' },
      events: { dividends: { a: { date: at('2020-01-03T08:00:00Z'), amount: 35.5 } } },
    })
    expect(days(chart)).toEqual({
      currency: 'GBP',
      days: [{ date: '2020-01-02', open: '29.315', high: '58.63', low: '14.6575', close: '29.315', volume: '100' }],
      actions: [{ kind: 'dividend', ex_date: '2020-01-03', amount: '0.355', reference_close: '29.315' }],
    })
  })
})

describe('days are in the time zone of the exchange', () => {
  test.each([
    ['chart-0P000071W8.TO-2020-01-01-to-2020-01-03.json', ['2020-01-02']],
    ['chart-AAPL-2020-01-01-to-2020-01-03.json', ['2020-01-02']],
    ['chart-AAPL.json', ['2022-02-22']],
    ['chart-BTC-USD-2020-01-01-to-2020-01-03.json', ['2020-01-01', '2020-01-02', '2020-01-03']],
    ['chart-GC=F-2020-01-01-to-2020-01-03.json', ['2020-01-02']],
    ['chart-GOOG-2020-01-01-to-2020-01-03.json', ['2020-01-02']],
    ['chart-WSU.DE-2023-08-04-to-2023-08-09.json', ['2023-08-04', '2023-08-07', '2023-08-08']],
  ])('the days of %s are in the time zone of the exchange', (file, expected) => {
    expect(days(recorded(file)).days.map((day) => day.date)).toEqual(expected)
  })

  test('a row has the offset of its own day, not the offset of today', () => {
    // Midnight in London, in summer and in winter; the response has the offset of winter.
    const zone = { currency: 'USD', exchangeTimezoneName: 'Europe/London', gmtoffset: 0 }
    const chart = made(
      [
        ['2024-07-01T23:00:00Z', 1],
        ['2024-12-02T00:00:00Z', 1],
      ],
      { meta: zone },
    )
    expect(days(chart).days.map((day) => day.date)).toEqual(['2024-07-02', '2024-12-02'])
  })

  test('rows without a price are left out; of two rows of a day the last one counts', () => {
    const chart = made([
      ['2020-01-02T14:30:00Z', 10],
      ['2020-01-03T14:30:00Z', null],
      ['2020-01-06T14:30:00Z', 11],
      ['2020-01-06T21:00:00Z', 12],
      ['2020-01-07T14:30:00Z', 0],
    ])
    expect(days(chart).days.map((day) => [day.date, day.close])).toEqual([
      ['2020-01-02', '10'],
      ['2020-01-06', '12'],
    ])
  })

  test('a bar’s high and low include its open and close', () => {
    const chart = made([['2020-01-02T14:30:00Z', 10]])
    const [quote] = chart.indicators.quote
    Object.assign(quote ?? {}, { open: [10.01], high: [10], low: [9.99], close: [9.98] })
    expect(days(chart).days[0]).toMatchObject({ open: '10.01', high: '10.01', low: '9.98', close: '9.98' })
  })

  test.each([
    ['before the open', '2025-05-30T12:00:00Z', ['2025-05-29']],
    ['while it trades', '2025-05-30T15:00:00Z', ['2025-05-29']],
    ['at the close', '2025-05-30T20:00:00Z', ['2025-05-29']],
    ['when it has settled', '2025-05-30T20:30:00Z', ['2025-05-29', '2025-05-30']],
    ['in the evening', '2025-05-31T03:00:00Z', ['2025-05-29', '2025-05-30']],
    ['the day after', '2025-05-31T05:00:00Z', ['2025-05-29', '2025-05-30']],
  ])('the current day is left out until it has settled: %s', (_, now, expected) => {
    const chart = made([
      ['2025-05-29T13:30:00Z', 10],
      ['2025-05-30T13:30:00Z', 11],
    ])
    expect(days(chart, null, Date.parse(now)).days.map((day) => day.date)).toEqual(expected)
  })

  test('the trading period of yesterday does not end the day of today', () => {
    const period = { regular: { start: at('2025-05-29T13:30:00Z'), end: at('2025-05-29T20:00:00Z') } }
    const chart = made([['2025-05-30T13:30:00Z', 11]])
    chart.meta.currentTradingPeriod = period
    expect(days(chart, null, Date.parse('2025-05-30T15:00:00Z')).days).toEqual([])
  })

  test('a split of the current day applies to the days before', () => {
    const chart = made([['2025-05-29T13:30:00Z', 10]], { events: { splits: splitOn('2025-05-30T13:30:00Z', 4, 1) } })
    const { days: all, actions } = days(chart, null, Date.parse('2025-05-30T15:00:00Z'))
    expect(all.map((day) => day.close)).toEqual(['40'])
    expect(actions).toHaveLength(1)
  })

  test('the volume of coins, which is in money, is dropped', () => {
    const chart = recorded('chart-BTC-USD-2020-01-01-to-2020-01-03.json')
    expect(days(chart).days[0]).toEqual({
      date: '2020-01-01',
      open: '7194.89208984375',
      high: '7254.33056640625',
      low: '7174.9443359375',
      close: '7200.17431640625',
      volume: '0',
    })
  })
})

describe('responses without days', () => {
  test('an empty range has no rows', () => {
    const file = 'chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json'
    expect(days(recorded(file))).toEqual({ currency: 'USD', days: [], actions: [] })
  })

  test.each([
    ['nothing', {}],
    ['no result', { chart: { result: [], error: null } }],
    ['no currency', bodyOf({ ...made([]), meta: { ...made([]).meta, currency: null } })],
    ['no zone', bodyOf({ ...made([]), meta: { ...made([]).meta, exchangeTimezoneName: 'Mars/Olympus' } })],
    ['columns of text', bodyOf({ ...made([]), indicators: { quote: [{ open: ['10'] }] } })],
    ['a split of nothing', bodyOf(made([], { events: { splits: splitOn('2020-01-03T00:00:00Z', 0, 1) } }))],
  ])('a response with %s is invalid', (_, body) => {
    expect(parse(body, null, LATER)).toMatchObject({ ok: false, reason: 'invalid' })
  })
})
