import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CandleAggregator } from '../../../src/market/aggregator.ts'
import { parseTime } from '../../../src/market/coinbase.ts'
import { TradeCoverage } from '../../../src/market/coverage.ts'
import { FeedProcessor } from '../../../src/market/feed-processor.ts'
import { type Candle, type Coverage, formatCandle } from '../../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../../src/protocol/granularity.ts'
import { drawOptions, generateRecording } from '../../support/generated-recording.ts'
import { type PrintedCandle, violations } from '../../support/recording-rules.ts'
import { parseExact } from '../../support/recordings.ts'

const GRACE_MS = 1_000
const TRADE_WINDOW_MS = 7_200_000
const NOON = Date.UTC(2026, 2, 1, 12)
const AAA = 'AAA-USD'

/** An aggregator of one product and the messages of its feed. Times are seconds after noon; a trade's price is its id. */
function createMarket(product = AAA) {
  const aggregator = new CandleAggregator({
    exchange: 'coinbase',
    product,
    closeGraceMs: GRACE_MS,
    tradeWindowMs: TRADE_WINDOW_MS,
  })
  const processor = new FeedProcessor(aggregator, GRACE_MS)
  const at = (second: number) => new Date(NOON + second * 1000).toISOString()
  const trade = ([id, second]: [id: number, second: number], of = AAA) => ({
    product_id: of,
    trade_id: String(id),
    price: String(id),
    size: '1',
    time: at(second),
    side: 'BUY',
  })
  const text = (channel: string, sequence: number, second: number, events: unknown) =>
    JSON.stringify({ channel, timestamp: at(second), sequence_num: sequence, events })
  const receive = (message: string, second: number) => {
    processor.processMessage(message, NOON + second * 1000)
    return aggregator.takeChanged(NOON + second * 1000)
  }
  return {
    aggregator,
    processor,
    process: receive,
    open: () => processor.onOpen(),
    /** Closes the connection and drains the changes, as the object does. */
    disconnect: (second: number) => {
      processor.onClose()
      aggregator.takeChanged(NOON + second * 1000)
    },
    snapshot: (sequence: number, second: number, ...trades: [number, number][]) =>
      receive(
        text('market_trades', sequence, second, [
          { type: 'snapshot', trades: trades.map((one) => trade(one)).reverse() },
        ]),
        second,
      ),
    /** Trades, `[id, second]` each, in one message. */
    update: (sequence: number, second: number, ...trades: [number, number][]) =>
      receive(
        text('market_trades', sequence, second, [
          { type: 'update', trades: trades.map((one) => trade(one)).reverse() },
        ]),
        second,
      ),
    other: (sequence: number, second: number, id: number) =>
      receive(
        text('market_trades', sequence, second, [{ type: 'update', trades: [trade([id, second], 'BB-EUR')] }]),
        second,
      ),
    /** A message that arrives later than it was sent. */
    late: (sequence: number, sent: number, received: number, ...trades: [number, number][]) =>
      receive(
        text('market_trades', sequence, sent, [{ type: 'update', trades: trades.map((one) => trade(one)).reverse() }]),
        received,
      ),
    heartbeat: (sequence: number, second: number) =>
      receive(text('heartbeats', sequence, second, [{ current_time: 'now', heartbeat_counter: sequence }]), second),
    /** Coverage of the minutes [from, from + count) after noon. Candles of trades must agree with it. */
    minutes: (from: number, count: number): Coverage[] =>
      Array.from({ length: count }, (_, n) => {
        const start = NOON / 1000 + (from + n) * 60
        const expected = aggregator.tradeCoverage.coverage(start, start + 60)
        const bar = aggregator.bar('ONE_MINUTE', start)
        if (bar && bar.source === 'trades') expect(bar.coverage).toBe(expected)
        return expected
      }),
    gaps: (from: number, to: number) =>
      aggregator.tradeCoverage
        .gaps(NOON / 1000 + from * 60, NOON / 1000 + to * 60)
        .map(([start, end]) => [(start - NOON / 1000) / 60, (end - NOON / 1000) / 60]),
  }
}

/** A connection opened at noon, with an empty snapshot and one trade. The next sequence number is 3, the next id 11. */
function startedMarket() {
  const market = createMarket()
  market.open()
  market.snapshot(0, 0.1)
  market.heartbeat(1, 1)
  market.update(2, 70, [10, 70])
  return market
}

describe('C8 missing trades beyond the backfill limit', () => {
  test('C8 missing trades beyond the backfill limit stay missing, and later ones are still fetched', () => {
    const day = Date.UTC(2026, 9, 5) / 1000
    const tradeCoverage = new TradeCoverage()
    tradeCoverage.start(day, 0)
    tradeCoverage.record(1, day, 0)
    tradeCoverage.markUncertain(day + 3_600, null)
    tradeCoverage.record(500, day + 30 * 86_400, 0)
    tradeCoverage.resolveUncertain()
    tradeCoverage.dropBefore(day + 23 * 86_400)
    expect(tradeCoverage.missing.filter((hole) => !hole.start)).toMatchObject([
      { from: day + 23 * 86_400, to: day + 30 * 86_400 },
    ])
  })
})

describe('C8 a wrong sequence number', () => {
  test('C8 a wrong sequence number makes the coverage uncertain once; the messages after it are not late', () => {
    const aggregator = new CandleAggregator({
      exchange: 'coinbase',
      product: 'BTC-USD',
      closeGraceMs: 1_000,
      tradeWindowMs: 7_200_000,
    })
    const processor = new FeedProcessor(aggregator, 1_000)
    const text = (sequence: number, second: number, ids: number[]) =>
      JSON.stringify({
        channel: 'market_trades',
        timestamp: new Date(Date.UTC(2026, 9, 5, 12, 0, second)).toISOString(),
        sequence_num: sequence,
        events: [
          {
            type: 'update',
            trades: ids.map((id) => ({
              product_id: 'BTC-USD',
              trade_id: String(id),
              price: '1',
              size: '1',
              time: new Date(Date.UTC(2026, 9, 5, 12, 0, second)).toISOString(),
              side: 'BUY',
            })),
          },
        ],
      })
    const now = Date.UTC(2026, 9, 5, 12, 0, 30)
    processor.onOpen()
    processor.processMessage(text(0, 1, [10]), now)
    processor.processMessage(text(1_000_000, 2, []), now)
    processor.processMessage(text(2, 3, []), now)
    expect(aggregator.tradeCoverage.uncertain).not.toBeNull()
    processor.processMessage(text(3, 4, [11]), now)
    expect(aggregator.tradeCoverage.uncertain).toBeNull()
  })
})

describe('C8 the start', () => {
  test('C8 completed minutes of the start stay complete when later trades of the start come', () => {
    const day = Date.UTC(2026, 9, 5) / 1000
    const tradeCoverage = new TradeCoverage()
    tradeCoverage.start(day + 7_200, 0)
    tradeCoverage.record(100, day + 7_200, 0)
    tradeCoverage.markComplete(day, day + 7_080)
    tradeCoverage.record(90, day + 7_140, 0)
    expect(tradeCoverage.coverage(day, day + 7_140)).toBe('full')
    expect(tradeCoverage.coverage(day + 7_140, day + 7_200)).toBe('partial')
  })

  test('C8 with an empty snapshot, the minute of the first message and the day before it are partial', () => {
    const market = createMarket()
    market.open()
    market.snapshot(0, 30.1)
    market.heartbeat(1, 31)
    expect(market.minutes(-1, 3)).toEqual(['partial', 'partial', 'full'])
    market.update(2, 200, [10, 199.9])
    expect(market.minutes(-720, 1)).toEqual(['partial'])
    expect(market.minutes(-1, 6)).toEqual(['partial', 'partial', 'full', 'full', 'full', 'full'])
    expect(market.gaps(-720, 10)).toEqual([])
  })

  test("C8 with a snapshot, the minutes after its oldest trade's are full", () => {
    const market = createMarket()
    market.open()
    market.snapshot(0, 0.1, [7, -150], [8, -70], [9, -5])
    expect(market.minutes(-4, 5)).toEqual(['partial', 'partial', 'full', 'full', 'full'])
    expect(market.aggregator.bar('FIVE_MINUTES', NOON / 1000 - 300)?.coverage).toBe('partial')
    market.update(1, 70, [10, 70])
    expect(market.aggregator.bar('FIVE_MINUTES', NOON / 1000)?.coverage).toBe('full')
    expect(market.aggregator.bar('ONE_DAY', NOON / 1000 - 43_200)?.coverage).toBe('partial')
  })

  test('C8 without the first message, the minutes before the first trade are partial', () => {
    const market = createMarket()
    market.open()
    market.heartbeat(1, 1)
    market.update(2, 200, [10, 199.9])
    expect(market.minutes(-1, 2)).toEqual(['partial', 'partial'])
    expect(market.minutes(1, 4)).toEqual(['full', 'full', 'full', 'full'])
  })

  test('C8 trade id 1 has a start before it like any other, and no trade counts twice', () => {
    const market = createMarket()
    market.open()
    market.snapshot(0, 30.1)
    market.update(1, 70, [1, 69], [2, 69.5])
    expect(market.minutes(-1, 4)).toEqual(['partial', 'partial', 'full', 'full'])
    market.update(2, 80, [1, 69], [2, 69.5], [3, 80])
    expect(market.aggregator.bar('ONE_MINUTE', NOON / 1000 + 60)).toMatchObject({ volume: 3e8 })
    expect(market.minutes(-1, 4)).toEqual(['partial', 'partial', 'full', 'full'])
  })

  test('C8 a first message of another channel or product changes no coverage', () => {
    const market = createMarket()
    market.open()
    market.other(0, 0.1, 500)
    market.snapshot(1, 0.2)
    market.update(2, 70, [10, 70])
    expect(market.minutes(0, 2)).toEqual(['partial', 'full'])
  })
})

describe('C8 an unbroken connection', () => {
  test('C8 an unbroken connection gives full minutes in a quiet market too', () => {
    const market = startedMarket()
    for (let n = 3; n < 600; n++) market.heartbeat(n, 70 + n)
    expect(market.minutes(1, 12)).toEqual(Array(12).fill('full'))
    market.update(600, 700, [11, 700])
    expect(market.minutes(1, 12)).toEqual(Array(12).fill('full'))
  })

  test('C8 rejected messages do not break the sequence', () => {
    const market = startedMarket()
    for (const sequence of [0, 3, 99, 10 ** 9, -1])
      market.process(
        `{"channel":"market_trades","timestamp":"2026-03-01T12:01:11Z","sequence_num":${sequence},"events":[7]}`,
        71,
      )
    market.process('slow down', 71)
    market.process('{"type":"error","message":"slow down"}', 71)
    market.update(3, 72, [11, 72])
    expect(market.minutes(1, 2)).toEqual(['full', 'full'])
    expect(market.processor.counts.sequenceGaps).toBe(0)
    expect(market.processor.counts.dropped).toEqual({ malformed: 5, not_json: 1 })
  })

  test('C8 a repeated message changes no coverage', () => {
    const market = startedMarket()
    market.update(3, 130, [11, 130])
    expect(market.update(3, 130, [11, 130])).toEqual([])
    expect(market.update(2, 131, [10, 70])).toEqual([])
    market.update(4, 190, [12, 190])
    expect(market.minutes(1, 3)).toEqual(['full', 'full', 'full'])
  })
})

describe('C8 a gap in the sequence', () => {
  test("C8 a gap in the sequence is a gap until the next trade, and full when that trade's id is the next one", () => {
    const market = startedMarket()
    market.heartbeat(5, 130)
    expect(market.minutes(1, 3)).toEqual(['gap', 'gap', 'full'])
    expect(market.gaps(0, 10)).toEqual([[1, 3]])
    market.other(6, 140, 900)
    expect(market.minutes(1, 3)).toEqual(['gap', 'gap', 'full'])
    market.update(7, 200, [11, 200])
    expect(market.minutes(1, 3)).toEqual(['full', 'full', 'full'])
    expect(market.gaps(0, 10)).toEqual([])
  })

  test('C8 missing ids after a gap in the sequence are a gap in those minutes only', () => {
    const market = startedMarket()
    market.update(3, 130, [11, 130])
    market.heartbeat(4, 200)
    market.heartbeat(6, 260)
    market.heartbeat(7, 320)
    market.update(8, 380, [14, 380])
    // Between the messages 4 and 6, a second earlier at the most.
    expect(market.minutes(1, 6)).toEqual(['full', 'full', 'gap', 'gap', 'full', 'full'])
    expect(market.gaps(0, 10)).toEqual([[3, 5]])
    const bars = market.aggregator.range('FIVE_MINUTES', 0, 1e12, 9)
    expect(bars.map((bar) => bar.coverage)).toEqual(['gap', 'full'])
  })

  test('C8 a late message closes the gap minutes later', () => {
    const market = startedMarket()
    market.heartbeat(3, 100)
    market.update(5, 130, [13, 130])
    expect(market.minutes(1, 2)).toEqual(['gap', 'gap'])
    market.heartbeat(6, 200)
    const changed = market.late(4, 125, 400, [11, 124], [12, 125])
    expect(market.minutes(1, 2)).toEqual(['full', 'full'])
    expect(market.gaps(0, 10)).toEqual([])
    const minute = changed.find((bar) => bar.granularity === 'ONE_MINUTE' && bar.start === NOON / 1000 + 120)
    expect(minute).toMatchObject({ complete: true, rev: 1, coverage: 'full', open: '11', close: '13' })
  })

  test('C8 late messages narrow a gap of several messages', () => {
    const market = startedMarket()
    market.heartbeat(3, 100)
    market.update(7, 400, [14, 400])
    expect(market.minutes(1, 6)).toEqual(Array(6).fill('gap'))
    market.late(5, 250, 405, [12, 250])
    expect(market.minutes(1, 6)).toEqual(Array(6).fill('gap'))
    market.late(6, 300, 406, [13, 300])
    expect(market.minutes(1, 6)).toEqual(['gap', 'gap', 'gap', 'gap', 'full', 'full'])
    market.late(4, 150, 407, [11, 150])
    expect(market.minutes(1, 6)).toEqual(Array(6).fill('full'))
  })

  test('C8 an uncertain range elsewhere does not narrow missing ids', () => {
    const { tradeCoverage } = startedMarket().aggregator
    tradeCoverage.uncertain = { from: NOON / 1000 + 60, to: NOON / 1000 + 60 }
    tradeCoverage.record(11, NOON / 1000 + 180, NOON)
    tradeCoverage.record(13, NOON / 1000 + 240, NOON)
    tradeCoverage.resolveUncertain()
    expect(tradeCoverage.coverage(NOON / 1000 + 240, NOON / 1000 + 300)).toBe('gap')
  })
})

describe('C8 a lost connection', () => {
  test('C8 a lost connection is a gap until a snapshot joins the known trades', () => {
    const market = startedMarket()
    market.disconnect(100)
    expect(market.minutes(1, 20)).toEqual(Array(20).fill('gap'))
    expect(market.gaps(0, 20)).toEqual([[1, 20]])
    market.open()
    market.snapshot(0, 600, [9, 60], [10, 70], [11, 300])
    expect(market.minutes(1, 20)).toEqual(Array(20).fill('full'))
  })

  test('C8 a snapshot that does not join leaves a gap from the loss to its oldest trade', () => {
    const market = startedMarket()
    market.heartbeat(3, 100)
    market.disconnect(110)
    market.open()
    market.snapshot(0, 600, [20, 400], [21, 500])
    expect(market.minutes(1, 9)).toEqual(['gap', 'gap', 'gap', 'gap', 'gap', 'gap', 'full', 'full', 'full'])
    expect(market.gaps(0, 20)).toEqual([[1, 7]])
  })

  test('C8 after an empty snapshot, only the next trade shows whether trades are missing', () => {
    const market = startedMarket()
    market.disconnect(110)
    market.open()
    market.snapshot(0, 300)
    market.heartbeat(1, 360)
    expect(market.minutes(1, 6)).toEqual(['gap', 'gap', 'gap', 'gap', 'gap', 'full'])
    market.update(2, 500, [11, 500])
    expect(market.minutes(1, 8)).toEqual(Array(8).fill('full'))
  })

  test('C8 the snapshot of another product does not end a gap', () => {
    const market = startedMarket()
    market.disconnect(110)
    market.open()
    market.other(0, 300, 77)
    expect(market.minutes(1, 1)).toEqual(['gap'])
  })

  test('C8 a feed that was silent and goes on in sequence has no gap', () => {
    const market = startedMarket()
    market.disconnect(80)
    market.open()
    market.update(3, 400, [11, 390])
    expect(market.minutes(1, 6)).toEqual(Array(6).fill('full'))
  })

  test('C2 C8 the coverage survives a restart as JSON', () => {
    const market = startedMarket()
    market.heartbeat(5, 130)
    const state = JSON.parse(JSON.stringify(market.aggregator.tradeCoverage.state()))
    const aggregator = new CandleAggregator(
      { exchange: 'coinbase', product: AAA, closeGraceMs: GRACE_MS, tradeWindowMs: TRADE_WINDOW_MS },
      state,
    )
    expect(aggregator.tradeCoverage.gaps(NOON / 1000, NOON / 1000 + 600)).toEqual(
      market.aggregator.tradeCoverage.gaps(NOON / 1000, NOON / 1000 + 600),
    )
    expect(aggregator.tradeCoverage.has(10)).toBe(true)
    expect(aggregator.tradeCoverage.has(11)).toBe(false)
  })
})

test('C8 a minute with a missing trade is never full, and all are full once every trade came', () => {
  const events = fc.array(
    fc.record({
      pause: fc.integer({ min: 0, max: 150_000 }),
      trades: fc.integer({ min: 0, max: 4 }),
      outcome: fc.constantFrom('comes', 'comes', 'comes', 'lost', 'late', 'cut'),
    }),
    { minLength: 1, maxLength: 40 },
  )
  fc.assert(
    fc.property(events, (steps) => {
      const market = createMarket()
      const tradeTimes = new Map<number, number>()
      const delivered = new Set<number>()
      const pending: (() => void)[] = []
      let sequence = 0
      let second = 0
      market.open()
      market.snapshot(sequence++, 0.1)
      let id = 100
      for (const { pause, trades, outcome } of steps) {
        const before = second
        second += pause / 1000
        const sentTrades: [number, number][] = []
        for (let n = 0; n < trades; n++) {
          id++
          tradeTimes.set(id, second - 0.3)
          sentTrades.push([id, Math.max(before, second - 0.3)])
          tradeTimes.set(id, Math.max(before, second - 0.3))
        }
        const markDelivered = () => {
          for (const [one] of sentTrades) delivered.add(one)
        }
        const number = sequence++
        const sent = second
        if (outcome === 'comes') {
          if (trades > 0) market.update(number, second, ...sentTrades)
          else market.heartbeat(number, second)
          markDelivered()
        } else if (outcome === 'late')
          pending.push(() => {
            market.late(number, sent, second, ...sentTrades)
            markDelivered()
          })
        else if (outcome === 'cut') {
          market.disconnect(second)
          market.open()
          // Messages still pending on a closed connection never arrive.
          pending.length = 0
          sequence = 0
          market.heartbeat(sequence++, second + 0.5)
        }
        if (outcome === 'comes' && pending.length > 2) for (const deliver of pending.splice(0)) deliver()
      }
      for (const deliver of pending.splice(0)) deliver()
      const newest = Math.max(0, ...delivered)
      const minuteOf = (at: number) => Math.floor(at / 60)
      for (const [one, at] of tradeTimes)
        if (!delivered.has(one) && one < newest)
          expect(market.minutes(minuteOf(at), 1), `trade ${one} of ${at} s`).not.toEqual(['full'])
      // REST returns the missing trades; the next trade then resolves the remaining uncertainty.
      const missing = [...tradeTimes].filter(([one]) => !delivered.has(one))
      for (const [one, at] of missing.reverse())
        market.aggregator.addTrades(
          [{ product: AAA, id: one, price: '1', size: '1', time: '', minute: NOON / 1000 + minuteOf(at) * 60 }],
          NOON + second * 1000,
        )
      market.update(sequence++, second + 1, [id + 1, second + 1])
      const first = Math.min(id + 1, ...tradeTimes.keys())
      const start = tradeTimes.get(first) ?? second + 1
      const from = Math.max(1, minuteOf(start) + 1)
      expect(market.minutes(from, 120).filter((coverage) => coverage !== 'full')).toEqual([])
      expect(market.gaps(-720, 120)).toEqual([])
    }),
    { numRuns: 300 },
  )
})

/** Feeds a recording to a processor and an aggregator as the object does: closes by its clock, reconnects after silence. */
function replay(lines: readonly string[], product: string): Candle[] {
  const SILENCE_MS = 10_000
  const aggregator = new CandleAggregator({
    exchange: 'coinbase',
    product,
    closeGraceMs: GRACE_MS,
    tradeWindowMs: TRADE_WINDOW_MS,
  })
  const processor = new FeedProcessor(aggregator, GRACE_MS)
  const envelopes = lines.map((line) => JSON.parse(line) as { t: string; conn: string; ts?: number; data: string })
  const subscribes = (data: string) => data.includes('"market_trades"') && data.includes(`"${product}"`)
  const connections = new Set(
    envelopes.filter((one) => one.t === 'send' && subscribes(one.data)).map((one) => one.conn),
  )
  let now = 0
  let lastMessageAt: number | null = null
  const runTo = (to: number) => {
    while (aggregator.nextCloseAt <= to) aggregator.takeChanged(aggregator.nextCloseAt)
  }
  const watch = () => {
    if (lastMessageAt === null || now - lastMessageAt < SILENCE_MS) return
    runTo(lastMessageAt + SILENCE_MS)
    processor.onClose()
    aggregator.takeChanged(lastMessageAt + SILENCE_MS)
    processor.onOpen()
    lastMessageAt = now
  }
  for (const { t, conn, ts, data } of envelopes) {
    if (ts === undefined) continue
    now = Math.max(now, ts * 1000)
    if (!connections.has(conn)) continue
    watch()
    runTo(now)
    if (t === 'connect' || t === 'close') {
      if (lastMessageAt !== null) processor.onClose()
      lastMessageAt = t === 'connect' ? now : null
      if (t === 'connect') processor.onOpen()
    } else if (t === 'recv') {
      lastMessageAt = now
      processor.processMessage(data, now)
    }
    aggregator.takeChanged(now)
  }
  watch()
  runTo(now)
  aggregator.takeChanged(now)
  return GRANULARITIES.flatMap((granularity) =>
    aggregator.range(granularity, 0, 1e12, 1e9).map((bar) => aggregator.toCandle(bar)),
  )
}

test.each(Array.from({ length: 24 }, (_, n) => n + 1))(
  'C2-C8 candles of generated recording %i equal an independent fold',
  (seed) => {
    const options = drawOptions(seed)
    const recording = generateRecording(seed, {
      ...options,
      lengthMs: Math.min(options.lengthMs, options.meanIntervalMs * 2_000),
    })
    const candles = options.products.toSorted().flatMap((product) => replay(recording.lines, product))
    expect(candles.length).toBeGreaterThan(0)
    const printed = candles.map((candle) => parseExact(formatCandle(candle)) as PrintedCandle)
    expect(violations(recording, printed, 'none')).toEqual([])
  },
)

test('a time in RFC 3339 is parsed to unix milliseconds', () => {
  expect(parseTime('2026-03-01T12:00:00Z')).toBe(NOON)
})
