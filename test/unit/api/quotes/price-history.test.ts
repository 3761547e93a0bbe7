import { describe, expect, test } from 'vitest'
import {
  parseAssetName,
  parseHistoryInput,
  parsePriceInput,
  parseRefreshInput,
  parseSymbolsInput,
} from '../../../../src/api/quotes/input.ts'
import { readSettings } from '../../../../src/config.ts'
import {
  currentDayBar,
  historyInterval,
  mergeDays,
  rangeStart,
  startOfPeriod,
  tradingDay,
} from '../../../../src/pricing/history-range.ts'
import { barsFromSnapshots } from '../../../../src/pricing/snapshot-bars.ts'
import { CodedError } from '../../../../src/protocol/errors.ts'
import type { PriceBar } from '../../../../src/protocol/price-history.ts'
import type { Quote } from '../../../../src/protocol/quote.ts'

const query = (text: string) => new URLSearchParams(text)
const SETTINGS = readSettings({ MAX_SYMBOLS: '3' })

/** The code and the named fields of the error that `run` throws. */
function refusal(run: () => unknown): [string, string[]] {
  try {
    run()
  } catch (error) {
    if (error instanceof CodedError) return [error.code, error.errors.map(({ field }) => field)]
    throw error
  }
  throw new Error('nothing was refused')
}

describe('D6 queries and bodies of prices', () => {
  test('a symbol is trimmed and in capitals, and given once', () => {
    expect(parsePriceInput(query('symbol=%20shel.l'))).toBe('SHEL.L')
    expect(parseAssetName('yahoo:BRK-B')).toBe('YAHOO:BRK-B')
    expect(refusal(() => parsePriceInput(query('')))).toEqual(['invalid_request', ['symbol']])
    expect(refusal(() => parsePriceInput(query('symbol=A&symbol=B')))).toEqual(['invalid_request', ['symbol']])
  })

  test.each(["'; DROP TABLE assets; --", '', ' ', 'A B', 'ß', 'A'.repeat(60), '%00', '../x'])(
    'what can be no symbol is unknown: %j',
    (symbol) => expect(refusal(() => parseAssetName(symbol))).toEqual(['unknown_symbol', ['symbol']]),
  )

  test('a history has a range of the closed set, and an end that is not to come', () => {
    const today = '2026-03-02'
    expect(parseHistoryInput(query('symbol=AAPL&range=1m'), today)).toEqual({
      symbol: 'AAPL',
      range: '1m',
      basis: 'split',
      until: null,
    })
    expect(parseHistoryInput(query('symbol=AAPL&range=all&basis=raw&until=2026-03-02'), today).until).toBe('2026-03-02')
    const of = (rest: string) => refusal(() => parseHistoryInput(query(`symbol=AAPL&${rest}`), today))
    expect(of('range=2w')).toEqual(['unknown_range', ['range']])
    expect(of('')).toEqual(['invalid_request', ['range']])
    expect(of('range=1m&basis=real')).toEqual(['invalid_request', ['basis']])
    expect(of('range=1m&until=2026-03-03')).toEqual(['invalid_request', ['until']])
    expect(of('range=1m&until=2026-02-30')).toEqual(['invalid_request', ['until']])
  })

  test.each([
    [null, 'invalid_request', ['symbols']],
    [[], 'invalid_request', ['symbols']],
    [{}, 'invalid_request', ['symbols']],
    [{ symbols: 'AAPL' }, 'invalid_request', ['symbols']],
    [{ symbols: [] }, 'invalid_request', ['symbols']],
    [{ symbols: ['A', 1] }, 'invalid_request', ['symbols/1']],
    [{ symbols: ['A', 'A', 'A', 'A'] }, 'too_many_symbols', ['symbols']],
  ])('a body of %j is refused', (body, code, fields) => {
    expect(refusal(() => parseSymbolsInput(body, SETTINGS))).toEqual([code, fields])
  })

  test('a refresh names symbols, or means all', () => {
    expect(parseRefreshInput({}, SETTINGS)).toBeNull()
    expect(parseRefreshInput({ symbols: ['aapl'], other: 1 }, SETTINGS)).toEqual(['aapl'])
    expect(refusal(() => parseRefreshInput({ symbols: [] }, SETTINGS))).toEqual(['invalid_request', ['symbols']])
  })
})

const bar = (date: string, close: string, rest: Partial<PriceBar> = {}): PriceBar => ({
  date,
  open: close,
  high: close,
  low: close,
  close,
  volume: '10',
  is_complete: true,
  ...rest,
})

describe('bars of the prices that were told', () => {
  const T = Date.parse('2026-03-02T15:00:00Z') / 1_000

  test('hold first, greatest, least and last of their time, with all digits', () => {
    const points = [
      { at: T, price: '1.10' },
      { at: T + 120, price: '1.1000000000000000000002' },
      { at: T + 240, price: '1.1000000000000000000001' },
      { at: T + 299, price: '1.05' },
    ]
    expect(barsFromSnapshots(points, 300, T + 300)).toEqual([
      {
        date: '2026-03-02T15:00:00Z',
        open: '1.10',
        high: '1.1000000000000000000002',
        low: '1.05',
        close: '1.05',
        volume: null,
        is_complete: true,
      },
    ])
  })

  test('C10 where nothing was told there is none, and the one of now is not complete', () => {
    const points = [
      { at: T + 10, price: '1' },
      { at: T + 910, price: '2' },
    ]
    const bars = barsFromSnapshots(points, 300, T + 950)
    expect(bars.map(({ date, is_complete }) => [date, is_complete])).toEqual([
      ['2026-03-02T15:00:00Z', true],
      ['2026-03-02T15:15:00Z', false],
    ])
    expect(barsFromSnapshots([], 300, T)).toEqual([])
  })
})

describe('ranges', () => {
  test.each([
    ['1m', '2026-03-31', '2026-02-28'],
    ['1m', '2026-01-15', '2025-12-15'],
    ['3m', '2026-03-02', '2025-12-02'],
    ['1y', '2024-02-29', '2023-02-28'],
    ['10y', '2026-03-02', '2016-03-02'],
    ['all', '2026-03-02', '1900-01-01'],
  ] as const)('%s before %s begins at %s', (range, day, start) => expect(rangeStart(range, day)).toBe(start))

  test('Q7 a week begins on its Monday, a month on its first', () => {
    expect(startOfPeriod('2026-03-01', 'ONE_WEEK')).toBe('2026-02-23')
    expect(startOfPeriod('2026-03-02', 'ONE_WEEK')).toBe('2026-03-02')
    expect(startOfPeriod('2026-03-31', 'ONE_MONTH')).toBe('2026-03-01')
  })

  test('a stretch whose days are not kept any more has weeks, and then months', () => {
    const today = '2026-03-02'
    expect(historyInterval('1y', rangeStart('1y', today), today)).toBe('ONE_DAY')
    expect(historyInterval('3y', rangeStart('3y', today), today)).toBe('ONE_WEEK')
    expect(historyInterval('1m', '2024-03-02', today)).toBe('ONE_WEEK')
    expect(historyInterval('1m', '2019-03-02', today)).toBe('ONE_MONTH')
    expect(historyInterval('all', '1900-01-01', today)).toBe('ONE_MONTH')
  })
})

describe('the day that is going on', () => {
  const asset = { provider_id: 'AAPL', type: 'stock' }

  test('is the market’s own day, not that of UTC', () => {
    expect(tradingDay(asset, '2026-03-03T00:30:00Z')).toBe('2026-03-02')
    expect(tradingDay({ provider_id: 'BHP.AX', type: 'stock' }, '2026-03-02T23:30:00Z')).toBe('2026-03-03')
    expect(tradingDay({ provider_id: 'BTC-USD', type: 'crypto' }, '2026-03-03T00:30:00Z')).toBe('2026-03-03')
  })

  test('takes the price for an extreme where it is one; without an opening it is not told', () => {
    const quote = { open: '10', high: '11', low: '9', price: '12', volume: '5', as_of: '2026-03-02T16:00:00Z' } as Quote
    expect(currentDayBar(asset, quote)).toEqual(
      bar('2026-03-02', '12', { open: '10', high: '12', low: '9', volume: '5', is_complete: false }),
    )
    expect(currentDayBar(asset, { ...quote, open: null })).toBeNull()
  })

  test('Q7 is added to the bar of its week, exactly, or begins one', () => {
    const week = bar('2026-03-02', '10', { volume: '0.1', is_complete: false })
    const day = bar('2026-03-04', '12', { open: '11', low: '8', volume: '0.2', is_complete: false })
    expect(mergeDays([week], [day], 'ONE_WEEK')).toEqual([
      { ...week, high: '12', low: '8', close: '12', volume: '0.3', is_complete: false },
    ])
    const next = bar('2026-03-09', '13', { is_complete: false })
    expect(mergeDays([week], [next], 'ONE_WEEK')).toEqual([week, next])
    expect(mergeDays([bar('2026-03-01', '9')], [day], 'ONE_DAY').map(({ date }) => date)).toEqual([
      '2026-03-01',
      '2026-03-04',
    ])
    expect(mergeDays([], [day], 'ONE_MONTH')).toEqual([{ ...day, date: '2026-03-01' }])
  })
})
