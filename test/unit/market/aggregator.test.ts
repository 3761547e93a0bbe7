import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CandleAggregator, type ExchangeCandle } from '../../../src/market/aggregator.ts'
import type { Bar } from '../../../src/market/bar.ts'
import type { Trade } from '../../../src/market/coinbase.ts'
import { formatUnits, parseUnits } from '../../../src/market/decimal.ts'
import type { Candle } from '../../../src/protocol/candle.ts'
import { GRANULARITIES, GRANULARITY_SECONDS, type Granularity } from '../../../src/protocol/granularity.ts'
import { fromScaled, GRANULARITY_SECONDS as SIZES, toScaled } from '../../support/recording-rules.ts'

const GRACE_MS = 1_000
const TRADE_WINDOW_MS = 7_200_000
const options = { exchange: 'coinbase', product: 'AAA-USD', closeGraceMs: GRACE_MS, tradeWindowMs: TRADE_WINDOW_MS }
/** 2026-03-01, 12:00 UTC: in the middle of a day, at the start of every size but the day. */
const NOON = Date.UTC(2026, 2, 1, 12)

const trade = (id: number, ms: number, price: string, size = '1'): Trade => ({
  product: 'AAA-USD',
  id,
  price,
  size,
  time: new Date(ms).toISOString(),
  minute: Math.floor(ms / 60_000) * 60,
})

/** All candles of a book, by key. */
function candlesOf(aggregator: CandleAggregator): Map<string, Candle> {
  const candles = new Map<string, Candle>()
  for (const granularity of GRANULARITIES)
    for (const bar of aggregator.range(granularity, 0, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)) {
      const candle = aggregator.toCandle(bar)
      candles.set(`${granularity} ${candle.timestamp}`, candle)
    }
  return candles
}

const numbers = ({ open, high, low, close, volume, last_update }: Candle) => ({
  open,
  high,
  low,
  close,
  volume,
  last_update,
})
const numbersOf = (aggregator: CandleAggregator) =>
  [...candlesOf(aggregator)].map(([key, candle]) => [key, numbers(candle)]).sort()

/** C7: whole = sum of parts, in big integers. */
function expectFolds(aggregator: CandleAggregator): void {
  const candles = candlesOf(aggregator)
  const minutes = [...candles.values()].filter((candle) => candle.granularity === 'ONE_MINUTE')
  for (const [granularity, seconds] of SIZES.slice(1)) {
    const groups = Map.groupBy(minutes, ({ timestamp }) => timestamp - (timestamp % seconds))
    expect([...candles.keys()].filter((key) => key.startsWith(granularity))).toHaveLength(groups.size)
    for (const [start, parts] of groups) {
      const whole = candles.get(`${granularity} ${start}`) as Candle
      const highs = parts.map((part) => toScaled(part.high)).toSorted((a, b) => (a < b ? -1 : 1))
      const lows = parts.map((part) => toScaled(part.low)).toSorted((a, b) => (a < b ? -1 : 1))
      expect({ ...numbers(whole), high: toScaled(whole.high), low: toScaled(whole.low) }).toEqual({
        open: parts[0]?.open,
        high: highs.at(-1),
        low: lows[0],
        close: parts.at(-1)?.close,
        volume: fromScaled(parts.reduce((sum, part) => sum + toScaled(part.volume), 0n)),
        last_update: parts.at(-1)?.last_update,
      })
    }
  }
}

/** A new aggregator from the stored bars and state, as after an object restarts. Volumes are stored as text. */
function restart(aggregator: CandleAggregator, saved: Iterable<Bar>): CandleAggregator {
  const bodies = [...saved]
    .toSorted((a, b) => a.granularity.localeCompare(b.granularity) || a.start - b.start)
    .map((bar) => JSON.stringify({ ...bar, volume: formatUnits(bar.volume), touched: false }))
  const next = new CandleAggregator(options, JSON.parse(JSON.stringify(aggregator.tradeCoverage.state())))
  next.restore(
    bodies.map((body) => {
      const bar = JSON.parse(body) as Bar & { volume: string }
      return { ...bar, volume: parseUnits(bar.volume) }
    }),
  )
  return next
}

describe('C1 buckets begin at UTC boundaries, inclusive, and end before the next', () => {
  test('C1 each of the eight granularities has its length in seconds', () => {
    expect(GRANULARITIES.map((name) => [name, GRANULARITY_SECONDS[name]])).toEqual(SIZES)
  })

  test.each(SIZES)(
    'C1 a candle of %s starts on a multiple of its length and excludes its end',
    (granularity, seconds) => {
      const day = Date.UTC(2028, 1, 29)
      for (const start of [day, day + 86_400_000 - seconds * 1000, Date.UTC(2026, 9, 25), Date.UTC(1999, 11, 31)]) {
        for (const [ms, bucket] of [
          [start, start],
          [start + seconds * 1000 - 1, start],
          [start - 1, start - seconds * 1000],
          [start + seconds * 1000, start + seconds * 1000],
        ] as const) {
          const aggregator = new CandleAggregator(options)
          aggregator.addTrades([trade(5, ms, '1')], ms)
          const bars = aggregator.range(granularity as Granularity, 0, 1e12, 10)
          expect(bars.map((bar) => [bar.start, bar.end])).toEqual([[bucket / 1000, bucket / 1000 + seconds]])
        }
      }
    },
  )
})

const price = fc
  .tuple(fc.integer({ min: 1, max: 9_999 }), fc.constantFrom('', '.5', '.00000001', '.1000000000000000055'))
  .map(([whole, rest]) => `${whole}${rest}`)
const size = fc.oneof(
  fc.integer({ min: 1, max: 1e9 }).map(String),
  fc.constantFrom('0.00000001', '0.000000000000000001', '90071992.54740993', '123456789012345678901234567890.5'),
)

/** Trades with dense ids whose times never go back, within an hour and a half. */
const market = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 240_000 }), price, size), { minLength: 1, maxLength: 25 })
  .map((steps) => {
    let ms = NOON - 1_800_000
    return steps.map(([pause, at, quantity], index) => {
      ms += pause
      return trade(1_000 + index, ms, at, quantity)
    })
  })

const END = NOON + 5_400_000

describe('C2 the same trades give the same candles', () => {
  const reference = (trades: Trade[]): CandleAggregator => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades(trades.toReversed(), END)
    return aggregator
  }

  test('C2 trades give the same candles in any order, repeated, and in messages of any size', () => {
    fc.assert(
      fc.property(
        market.chain((trades) =>
          fc.tuple(
            fc.constant(trades),
            fc.shuffledSubarray([...trades, ...trades, ...trades], { minLength: trades.length * 3 }),
            fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
          ),
        ),
        ([trades, received, cuts]) => {
          const aggregator = new CandleAggregator(options)
          let added = 0
          for (let at = 0, n = 0; at < received.length; n++) {
            const count = cuts[n % cuts.length] as number
            added += aggregator.addTrades(received.slice(at, at + count), END)
            aggregator.takeChanged(END)
            at += count
          }
          expect(added).toBe(trades.length)
          expect(numbersOf(aggregator)).toEqual(numbersOf(reference(trades)))
          expectFolds(aggregator)
        },
      ),
      { numRuns: 150 },
    )
  })

  test('C2 a restart at any moment changes no candle when unsaved trades come again', () => {
    fc.assert(
      fc.property(
        market.chain((trades) =>
          fc.tuple(
            fc.constant(trades),
            fc.shuffledSubarray(trades, { minLength: trades.length }),
            fc.nat({ max: trades.length }),
            fc.boolean(),
          ),
        ),
        ([trades, received, cut, close]) => {
          const aggregator = new CandleAggregator(options)
          const saved = new Set<Bar>()
          const save = (bars: Bar[]) => {
            for (const bar of bars) if (bar.granularity === 'ONE_MINUTE' || bar.complete) saved.add(bar)
          }
          const now = close ? END : NOON - 1_800_000
          for (const one of received.slice(0, cut)) {
            aggregator.addTrades([one], now)
            save(aggregator.takeChanged(now))
          }
          const next = restart(aggregator, saved)
          expect(numbersOf(next)).toEqual(numbersOf(aggregator))
          for (const [key, candle] of candlesOf(next)) {
            const before = candlesOf(aggregator).get(key)
            expect([key, candle.is_complete, candle.rev]).toEqual([key, before?.is_complete, before?.rev])
          }
          for (const one of received) {
            next.addTrades([one], END)
            next.takeChanged(END)
          }
          expect(numbersOf(next)).toEqual(numbersOf(reference(trades)))
          expectFolds(next)
        },
      ),
      { numRuns: 150 },
    )
  })

  test('C2 trades of other products and trades older than the trade window change no candle', () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON, '1')], NOON)
    expect(aggregator.addTrades([{ ...trade(2, NOON, '9'), product: 'BB-EUR' }], NOON)).toBe(0)
    expect(aggregator.addTrades([trade(2, NOON - TRADE_WINDOW_MS - 120_000, '9')], NOON)).toBe(0)
    expect([...candlesOf(aggregator).values()].map((candle) => candle.high)).toEqual(GRANULARITIES.map(() => '1'))
    // The trade is known to be missing: its minute is a gap until the exchange's own candle replaces it.
    const old = (NOON - TRADE_WINDOW_MS - 120_000) / 1000
    expect(aggregator.tradeCoverage.coverage(old - (old % 60), old - (old % 60) + 60)).toBe('gap')
  })
})

describe('C5 a candle closes by the clock and its grace', () => {
  test('C5 a candle closes once, at the end of its grace period to the millisecond, without a next trade', () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON + 5_000, '1')], NOON + 5_000)
    expect(aggregator.takeChanged(NOON + 5_000)).toHaveLength(8)
    const close = NOON + 60_000 + GRACE_MS
    expect(aggregator.nextCloseAt).toBe(close)
    expect(aggregator.takeChanged(close - 1)).toEqual([])
    expect(aggregator.takeChanged(close).map((bar) => aggregator.toCandle(bar))).toMatchObject([
      { granularity: 'ONE_MINUTE', is_complete: true, rev: 0 },
    ])
    expect(aggregator.takeChanged(close)).toEqual([])
    expect(aggregator.takeChanged(close + 1)).toEqual([])
    expect(aggregator.nextCloseAt).toBe(NOON + 300_000 + GRACE_MS)
    const closings: string[] = []
    for (let ms = close; ms <= NOON + 86_400_000 + GRACE_MS; ms += 250)
      for (const bar of aggregator.takeChanged(ms)) closings.push(`${bar.granularity} ${(ms - GRACE_MS - NOON) / 1000}`)
    expect(closings).toEqual([
      'FIVE_MINUTES 300',
      'FIFTEEN_MINUTES 900',
      'THIRTY_MINUTES 1800',
      'ONE_HOUR 3600',
      'TWO_HOURS 7200',
      'SIX_HOURS 21600',
      'ONE_DAY 43200',
    ])
    expect(aggregator.nextCloseAt).toBe(Number.POSITIVE_INFINITY)
  })

  test('C5 each revision of a complete candle is published once, and revisions only rise', () => {
    fc.assert(
      fc.property(
        market,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 200_000 })), { minLength: 1, maxLength: 60 }),
        (trades, steps) => {
          const aggregator = new CandleAggregator(options)
          const revisions = new Map<string, number>()
          let now = NOON - 1_800_000
          for (const [which, pause] of steps) {
            now += pause
            aggregator.addTrades([trades[which % trades.length] as Trade], now)
            for (const bar of aggregator.takeChanged(now)) {
              const { granularity, timestamp, is_complete, rev } = aggregator.toCandle(bar)
              const key = `${granularity} ${timestamp}`
              const closed = now >= (timestamp + GRANULARITY_SECONDS[granularity]) * 1000 + GRACE_MS
              expect(is_complete).toBe(closed)
              expect(rev).toBe(is_complete ? (revisions.get(key) ?? -1) + 1 : 0)
              if (is_complete) revisions.set(key, rev)
            }
          }
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('C6 a late trade is a new revision', () => {
  test('C6 a late trade revises its minute and every larger complete candle; forming ones change without a revision', () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON, '5'), trade(3, NOON + 1_000, '6')].toReversed(), NOON + 1_000)
    const now = NOON + 900_000 + GRACE_MS
    aggregator.takeChanged(now)
    aggregator.addTrades([trade(2, NOON + 500, '9', '2')], now)
    const changed = aggregator.takeChanged(now).map((bar) => aggregator.toCandle(bar))
    expect(changed.map((c) => [c.granularity, c.is_complete, c.rev])).toEqual([
      ['ONE_MINUTE', true, 1],
      ['FIVE_MINUTES', true, 1],
      ['FIFTEEN_MINUTES', true, 1],
      ['THIRTY_MINUTES', false, 0],
      ['ONE_HOUR', false, 0],
      ['TWO_HOURS', false, 0],
      ['SIX_HOURS', false, 0],
      ['ONE_DAY', false, 0],
    ])
    for (const candle of changed)
      expect(candle).toMatchObject({ open: '5', high: '9', low: '5', close: '6', volume: '4' })
    expect(aggregator.takeChanged(now + 1)).toEqual([])
    // The same trade again changes nothing.
    expect(aggregator.addTrades([trade(2, NOON + 500, '9', '2')], now)).toBe(0)
    expect(aggregator.takeChanged(now + 2)).toEqual([])
  })

  test('C6 a late trade in a minute without trades adds a candle that is complete at once', () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON, '5')], NOON)
    aggregator.addTrades([trade(3, NOON + 130_000, '6')], NOON + 130_000)
    aggregator.takeChanged(NOON + 130_000)
    aggregator.addTrades([trade(2, NOON + 70_000, '4')], NOON + 140_000)
    expect(aggregator.takeChanged(NOON + 140_000).map((bar) => aggregator.toCandle(bar))).toContainEqual(
      expect.objectContaining({ granularity: 'ONE_MINUTE', timestamp: NOON / 1000 + 60, is_complete: true, rev: 0 }),
    )
  })
})

describe('C7 and C9 larger candles equal the fold of their minutes', () => {
  const candle = (start: number, value: string): ExchangeCandle => ({
    start,
    open: value,
    high: value,
    low: value,
    close: value,
    volume: '7.5',
  })

  test('C7 larger candles equal the fold of their minutes after any sequence of trades, restarts and reconciliations', () => {
    const minute = fc.integer({ min: -40, max: 40 }).map((n) => NOON / 1000 + n * 60)
    const step = fc.oneof(
      fc.record({ kind: fc.constant('trade' as const), which: fc.nat(), pause: fc.integer({ min: 0, max: 90_000 }) }),
      fc.record({
        kind: fc.constant('exchange' as const),
        from: minute,
        length: fc.nat({ max: 10 }),
        prices: fc.array(price, { maxLength: 6 }),
      }),
      fc.record({ kind: fc.constant('restart' as const) }),
    )
    fc.assert(
      fc.property(market, fc.array(step, { maxLength: 40 }), (trades, steps) => {
        let aggregator = new CandleAggregator(options)
        let now = NOON
        const saved = new Map<string, Bar>()
        for (const one of steps) {
          if (one.kind === 'trade') {
            now += one.pause
            aggregator.addTrades([trades[one.which % trades.length] as Trade], now)
          } else if (one.kind === 'exchange') {
            const to = one.from + one.length * 60
            aggregator.reconcile(
              one.from,
              to,
              one.prices.map((value, i) => candle(one.from + i * 60, value)),
              now,
            )
          } else aggregator = restart(aggregator, saved.values())
          for (const bar of aggregator.takeChanged(now))
            if (bar.granularity === 'ONE_MINUTE' || bar.complete) saved.set(`${bar.granularity} ${bar.start}`, bar)
          expectFolds(aggregator)
        }
      }),
      { numRuns: 150 },
    )
  })

  test("C9 the exchange's minute replaces ours as a new revision, and larger candles follow", () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON, '5'), trade(2, NOON + 60_000, '6')].toReversed(), NOON)
    const now = NOON + 300_000 + GRACE_MS
    aggregator.takeChanged(now)
    const start = NOON / 1000
    aggregator.reconcile(
      start,
      start + 60,
      [{ start, open: '4', high: '8', low: '3', close: '7', volume: '2.25' }],
      now,
    )
    const changed = aggregator.takeChanged(now).map((bar) => aggregator.toCandle(bar))
    expect(
      changed.filter((c) => c.is_complete).map((c) => [c.granularity, c.rev, c.open, c.high, c.low, c.close, c.volume]),
    ).toEqual([
      ['ONE_MINUTE', 1, '4', '8', '3', '7', '2.25'],
      ['FIVE_MINUTES', 1, '4', '8', '3', '6', '3.25'],
    ])
    expect(changed[0]?.last_update).toBe(new Date(now).toISOString())
    // A trade that comes after it is in the exchange's candle already.
    aggregator.addTrades([trade(3, NOON + 30_000, '99')], now)
    expect(aggregator.takeChanged(now).map((bar) => bar.high)).not.toContain('99')
  })

  test("C9 a minute equal to the exchange's gets no revision", () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON, '5', '7.5')], NOON)
    aggregator.takeChanged(NOON + 61_000)
    aggregator.reconcile(NOON / 1000, NOON / 1000, [candle(NOON / 1000, '5')], NOON + 61_000)
    expect(aggregator.takeChanged(NOON + 61_000)).toEqual([])
  })

  test('C8 a day with an uncertain range is not dropped, so that a backfill can fold it from all its minutes', () => {
    const aggregator = new CandleAggregator(options)
    const [morning, evening] = [NOON - 3_600_000, NOON + 39_000_000]
    aggregator.addTrades([trade(1, morning, '5')], morning)
    aggregator.addTrades([trade(2, evening, '6')], evening)
    aggregator.tradeCoverage.markUncertain(Math.floor(evening / 60_000) * 60, null)
    const later = NOON + 86_400_000
    aggregator.dropBefore(aggregator.oldestOpenDay(later))
    aggregator.reconcile(evening / 1000, evening / 1000, [candle(evening / 1000, '6')], later)
    const day = candlesOf(aggregator).get(`ONE_DAY ${NOON / 1000 - 43_200}`)
    expect(day).toMatchObject({ open: '5', close: '6', volume: '8.5' })
  })

  test('C8 complete days without an uncertain range are dropped', () => {
    const aggregator = new CandleAggregator(options)
    aggregator.addTrades([trade(1, NOON, '5')], NOON)
    aggregator.dropBefore(aggregator.oldestOpenDay(NOON + 86_400_000 + TRADE_WINDOW_MS))
    expect(candlesOf(aggregator).size).toBe(0)
  })
})
