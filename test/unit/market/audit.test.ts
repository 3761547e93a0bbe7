import { expect, test } from 'vitest'
import { CandleAggregator } from '../../../src/market/aggregator.ts'
import { compareCandles, findRepairs, matchRate } from '../../../src/market/audit.ts'
import type { Bar } from '../../../src/market/bar.ts'
import type { Trade } from '../../../src/market/coinbase.ts'
import { createRevision } from '../../../src/market/revision.ts'
import type { Candle } from '../../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../../src/protocol/granularity.ts'

const DAY = Date.UTC(2026, 9, 5) / 1000
const END = (DAY + 86_400) * 1000 + 60_000

const trade = (id: number, minute: number, price: string): Trade => ({
  product: 'BTC-USD',
  id,
  price,
  size: '1',
  time: new Date((minute + 1) * 1000).toISOString(),
  minute,
})

/** An aggregator of a closed day with the trades 1, 2 (in the first minute) and 4 (in the third), and its published bars. */
function closedDay(): { aggregator: CandleAggregator; published: Map<Bar, Bar> } {
  const aggregator = new CandleAggregator({
    exchange: 'x',
    product: 'BTC-USD',
    closeGraceMs: 1_000,
    tradeWindowMs: 2 * 86_400_000,
  })
  for (const one of [trade(1, DAY, '10'), trade(2, DAY, '11'), trade(4, DAY + 120, '12')])
    aggregator.addTrades([one], END)
  const published = new Map(aggregator.takeChanged(END).map((bar) => [bar, { ...bar }]))
  return { aggregator, published }
}

/** The revisions of the next drain: granularity, revision, reason, and the close before and after. */
function revised({ aggregator, published }: ReturnType<typeof closedDay>) {
  return aggregator.takeChanged(END).flatMap((bar) => {
    const revision = createRevision(bar, published.get(bar) ?? null, END)
    if (revision === null) return []
    const { granularity, rev, reason, before, after } = revision
    return [[granularity, rev, reason, before?.close ?? null, after.close]]
  })
}

const of = (change: unknown[]) => GRANULARITIES.map((granularity) => [granularity, ...change])

test('C6 a late trade makes a revision of each of its candles, with the numbers published before', () => {
  const at = closedDay()
  at.aggregator.addTrades([trade(5, DAY + 120, '13')], END)
  expect(revised(at)).toEqual(of([1, 'late_trade', '12', '13']))
  expect(revised(at)).toEqual([])
})

test('C6 C9 the reason of a revision distinguishes a fetched trade from a candle of the exchange', () => {
  const fetched = closedDay()
  fetched.aggregator.addTrades([trade(3, DAY, '14')], END, 'backfill')
  const small = revised(fetched).filter(([granularity]) => granularity === 'ONE_MINUTE')
  expect(small).toEqual([
    ['ONE_MINUTE', 1, 'backfill', '11', '14'],
    // Its own trades were complete; only the gap before them is closed now.
    ['ONE_MINUTE', 1, 'coverage', '12', '12'],
  ])

  const taken = closedDay()
  const minute = { start: DAY, open: '10', high: '15', low: '10', close: '15', volume: '3' }
  taken.aggregator.reconcile(DAY, DAY + 86_340, [minute], END)
  const first = revised(taken)[0]
  expect(first).toEqual(['ONE_MINUTE', 1, 'reconciled', '11', '15'])
})

test('C8 a change of coverage alone is a revision with the reason coverage', () => {
  const at = closedDay()
  at.aggregator.tradeCoverage.markComplete(DAY, DAY + 86_340)
  const changes = revised(at)
  expect(changes.length).toBeGreaterThan(0)
  expect(new Set(changes.map(([, rev, reason]) => `${rev} ${reason}`))).toEqual(new Set(['1 coverage']))
})

test('C13 the audit adds a candle that only the exchange has as complete, at revision 1', () => {
  const at = closedDay()
  const minute = { start: DAY + 7_200, open: '20', high: '20', low: '20', close: '20', volume: '3' }
  at.aggregator.reconcile(DAY, DAY + 86_340, [minute], END, 'audit')
  const changes = revised(at)
  expect(changes).toContainEqual(['ONE_MINUTE', 1, 'audit', null, '20'])
  expect(changes).toContainEqual(['ONE_HOUR', 1, 'audit', null, '20'])
  expect(changes).toContainEqual(['ONE_DAY', 1, 'audit', '12', '20'])
  expect(at.aggregator.bar('ONE_MINUTE', DAY + 7_200)).toMatchObject({ complete: true, coverage: 'full', rev: 1 })
})

test('C6 a forming candle and one that closes for the first time have no revision', () => {
  const aggregator = new CandleAggregator({
    exchange: 'x',
    product: 'BTC-USD',
    closeGraceMs: 1_000,
    tradeWindowMs: 86_400_000,
  })
  aggregator.addTrades([trade(1, DAY, '10')], DAY * 1000)
  for (const now of [DAY * 1000, (DAY + 62) * 1000])
    for (const bar of aggregator.takeChanged(now)) expect(createRevision(bar, null, now)).toBeNull()
})

const candle = (timestamp: number, change: Partial<Candle> = {}): Candle => ({
  exchange: 'x',
  product_id: 'BTC-USD',
  granularity: 'ONE_MINUTE',
  timestamp,
  open: '1',
  high: '2.5',
  low: '0.5',
  close: '2',
  volume: '3',
  is_complete: true,
  coverage: 'full',
  rev: 0,
  last_update: '2026-10-05T00:00:30Z',
  source: 'trades',
  ...change,
})
const exchangeCandle = (start: number, change: Partial<Candle> = {}) => ({
  start,
  open: '1',
  high: '2.5',
  low: '0.5',
  close: '2',
  volume: '3',
  ...change,
})

test('C13 candles are compared by value and counted as equal, different, or missing on one side', () => {
  const tiny = '0.00000000000000000000000000000000000001'
  const ours = [
    candle(0, { high: '2.50', volume: '3.0' }),
    candle(60, { volume: `3.${tiny.slice(2)}` }),
    candle(120),
    candle(240, { is_complete: false }),
  ]
  expect(
    compareCandles(ours, [exchangeCandle(0), exchangeCandle(60), exchangeCandle(180), exchangeCandle(240)]),
  ).toEqual({
    compared: 5,
    equal: 1,
    missingHere: 2,
    missingThere: 1,
  })
  expect(compareCandles([], [])).toEqual({ compared: 0, equal: 0, missingHere: 0, missingThere: 0 })
})

test.each([
  [0, 0, null],
  [0, 5, '0'],
  [5, 5, '1'],
  [1, 2, '0.5'],
  [1_439, 1_440, '0.999305'],
  [9_999_999, 10_000_000, '0.999999'],
  [1, 30, '0.033333'],
])(
  'C13 %s equal of %s compared candles give a match rate of %s, which is 1 only if all are equal',
  (equal, compared, rate) => {
    expect(matchRate(equal, compared)).toBe(rate)
  },
)

const fold = (size: (typeof GRANULARITIES)[number], change: Partial<Candle>) =>
  candle(0, { granularity: size, ...change })
const LARGER = GRANULARITIES.slice(1)

test('C13 C7 a repair writes the exchange’s minute and folds every larger candle again', () => {
  const ours = [candle(0), candle(60), ...LARGER.map((size) => fold(size, { volume: '6' }))]
  expect(findRepairs(ours, [exchangeCandle(0), exchangeCandle(60)])).toEqual([])
  const wrong = findRepairs(ours, [exchangeCandle(0), exchangeCandle(60, { close: '2.2', volume: '4' })])
  expect(wrong.map(({ granularity, timestamp, close, volume }) => [granularity, timestamp, close, volume])).toEqual([
    ['ONE_MINUTE', 60, '2.2', '4'],
    ...LARGER.map((size) => [size, 0, '2.2', '7']),
  ])
})

test('C13 C8 missing, open and incomplete candles are repaired, and a minute that only we have stays in the fold', () => {
  const ours = [
    candle(0, { coverage: 'gap' }),
    candle(60, { is_complete: false }),
    candle(120),
    ...LARGER.map((size) => fold(size, { volume: '9' })),
  ]
  expect(
    findRepairs(ours, [exchangeCandle(0), exchangeCandle(60)]).map(({ granularity, timestamp }) => [
      granularity,
      timestamp,
    ]),
  ).toEqual([
    ['ONE_MINUTE', 0],
    ['ONE_MINUTE', 60],
  ])
  expect(findRepairs([], [exchangeCandle(0)])).toHaveLength(8)
})
