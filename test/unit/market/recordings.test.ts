import { describe, expect, test } from 'vitest'
import { CandleAggregator, type ExchangeCandle } from '../../../src/market/aggregator.ts'
import { parseFeedMessage, type Trade } from '../../../src/market/coinbase.ts'
import { GRANULARITIES, GRANULARITY_SECONDS, type Granularity } from '../../../src/protocol/granularity.ts'
import { fixture, fixtureLines, parseExact, recordedFrames } from '../../support/recordings.ts'

/** Prices and volume as plain decimal text without needless zeros. */
type Numbers = { start: number; open: string; high: string; low: string; close: string; volume: string }

const FRACTION = 30

/** Decimal text as a count of 10^-30: this file's own arithmetic, so that the fold is not checked with itself. */
function exact(text: string): bigint {
  const [whole = '0', fraction = ''] = text.split('.')
  if (fraction.length > FRACTION) throw new Error(`${text} has more digits than are compared`)
  return BigInt(whole + fraction.padEnd(FRACTION, '0'))
}

function decimal(value: bigint): string {
  const digits = value.toString().padStart(FRACTION + 1, '0')
  const fraction = digits.slice(-FRACTION).replace(/0+$/, '')
  return digits.slice(0, -FRACTION) + (fraction && `.${fraction}`)
}

const plain = (text: string): string => decimal(exact(text))

const numbers = (start: number, open: string, high: string, low: string, close: string, volume: string): Numbers => ({
  start,
  open: plain(open),
  high: plain(high),
  low: plain(low),
  close: plain(close),
  volume: plain(volume),
})

function trade(id: number, milliseconds: number, price: string, size: string): Trade {
  const time = new Date(milliseconds).toISOString()
  const minute = Math.floor(milliseconds / 60_000) * 60
  return { product: 'TEST', id, price: plain(price), size: plain(size), time, minute }
}

/** An independent fold: by minute and id, in big integers, one granularity at a time. */
function foldTrades(trades: readonly Trade[], seconds: number): Numbers[] {
  const ordered = [...trades].sort((a, b) => a.minute - b.minute || a.id - b.id)
  const buckets = Map.groupBy(ordered, ({ minute }) => minute - (minute % seconds))
  return [...buckets]
    .sort(([a], [b]) => a - b)
    .map(([start, bucket]) => {
      const prices = bucket.map(({ price }) => exact(price))
      const volume = bucket.reduce((sum, { size }) => sum + exact(size), 0n)
      const sorted = prices.toSorted((a, b) => (a < b ? -1 : 1))
      const [low, high] = [sorted[0] as bigint, sorted.at(-1) as bigint]
      const [open, close] = [prices[0] as bigint, prices.at(-1) as bigint]
      return numbers(start, decimal(open), decimal(high), decimal(low), decimal(close), decimal(volume))
    })
}

const createAggregator = () =>
  new CandleAggregator({ exchange: 'coinbase', product: 'TEST', closeGraceMs: 0, tradeWindowMs: 10 * 365 * 86_400_000 })

function aggregate(trades: readonly Trade[]): CandleAggregator {
  const aggregator = createAggregator()
  for (const one of trades) aggregator.addTrades([one], one.minute * 1000)
  return aggregator
}

const candlesOf = (aggregator: CandleAggregator, granularity: Granularity): Numbers[] =>
  aggregator.range(granularity, 0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY).map((bar) => {
    const { timestamp, open, high, low, close, volume } = aggregator.toCandle(bar)
    return { start: timestamp, open, high, low, close, volume }
  })

describe('C1, C2, C3: trades fold to the recorded candles, digit for digit', () => {
  const span = '2019-10-11T00-2019-10-12T12'
  const xrpEth = () =>
    (parseExact(fixture(`trades-and-candles/binance-XRPETH-aggtrades-${span}.json.gz`)) as string[][]).map((row) =>
      trade(Number(row[1]), Number(row[0]), row[4] as string, row[5] as string),
    )

  test.each([
    ['ONE_MINUTE', '1m', 1478],
    ['FIVE_MINUTES', '5m', 429],
  ] as const)('Binance XRP/ETH, %s', (granularity, name, count) => {
    const trades = xrpEth()
    const rows = parseExact(fixture(`trades-and-candles/binance-XRPETH-${name}-${span}.json`)) as string[][]
    const recorded = rows.map(([ms, o, h, l, c, v]) =>
      numbers(Number(ms) / 1000, o as string, h as string, l as string, c as string, v as string),
    )
    expect(recorded).toHaveLength(count)
    expect(candlesOf(aggregate(trades), granularity)).toEqual(recorded)
    expect(foldTrades(trades, GRANULARITY_SECONDS[granularity])).toEqual(recorded)
  })

  test('C7 Binance XRP/ETH: all eight granularities equal an independent fold', () => {
    const trades = xrpEth()
    const aggregator = aggregate(trades)
    for (const granularity of GRANULARITIES)
      expect(candlesOf(aggregator, granularity)).toEqual(foldTrades(trades, GRANULARITY_SECONDS[granularity]))
  })

  const kraken = 'trades-and-candles/kraken-XBTUSDT'
  const xbtUsdt = () =>
    (parseExact(fixture(`${kraken}-trades-2025-11-10T1723-2100.json`)) as string[][]).map((row) =>
      trade(Number(row[6]), Number(row[2]) * 1000, row[0] as string, row[1] as string),
    )
  const publishedRows = () => parseExact(fixture(`${kraken}-1m-2025-11-10T1723-2100.json`)) as string[][]

  test('Kraken XBT/USDT: the minutes and their counts of trades equal those that the exchange published', () => {
    const aggregator = createAggregator()
    const counts = new Map<number, number>()
    for (const one of xbtUsdt())
      counts.set(one.minute, (counts.get(one.minute) ?? 0) + aggregator.addTrades([one], one.minute * 1000))
    const [first, ...rows] = publishedRows().filter((row) => row[7] !== '0')
    // The trades begin inside the first minute: it holds one fewer than the candle.
    const [partial, ...own] = candlesOf(aggregator, 'ONE_MINUTE')
    expect(partial?.start).toBe(Number(first?.[0]))
    expect(counts.get(partial?.start as number)).toBe(Number(first?.[7]) - 1)

    expect(own).toEqual(
      rows.map((row) =>
        numbers(Number(row[0]), ...(row.slice(1, 5) as [string, string, string, string]), row[6] as string),
      ),
    )
    expect(own.map(({ start }) => counts.get(start))).toEqual(rows.map((row) => Number(row[7])))
  })

  test('C10 Kraken XBT/USDT: a minute that the exchange fills with a flat candle has no candle', () => {
    const starts = new Set(candlesOf(aggregate(xbtUsdt()), 'ONE_MINUTE').map(({ start }) => start))
    const empty = publishedRows().filter((row) => row[7] === '0')
    expect(empty.length).toBeGreaterThan(0)
    expect(empty.filter((row) => starts.has(Number(row[0])))).toEqual([])
  })

  test('Kraken XBT/USD: prices equal the published ones, and the volume is near the sum in floats', () => {
    const span = '2025-08-04T2314-2025-08-05T0400.csv'
    const [, ...rows] = fixtureLines(`trades-and-candles/kraken-XBTUSD-trades-${span}.gz`)
    const trades = rows.map((row, index) => {
      const [time, price, size] = row.split(',') as [string, string, string]
      return trade(index + 1, Date.parse(`${time.slice(0, 23).replace(' ', 'T')}Z`), price, Number(size).toFixed(12))
    })
    const [, ...candles] = fixtureLines(`trades-and-candles/kraken-XBTUSD-1m-computed-${span}`)
    const own = new Map(candlesOf(aggregate(trades), 'ONE_MINUTE').map((bar) => [bar.start, bar]))
    expect(candles).toHaveLength(286)
    for (const row of candles) {
      const [start, open, high, low, close, volume] = row.split(',') as [string, string, string, string, string, string]
      const bar = own.get(Number(start))
      expect(bar).toMatchObject({ open: plain(open), high: plain(high), low: plain(low), close: plain(close) })
      expect(Number(bar?.volume)).toBeCloseTo(Number(volume), 9)
    }
  })

  test.each(['xrp-eth-36h', 'btc-usdt-faults'])('C2 the trades of %s give the recorded candles', (name) => {
    const trades = fixtureLines(`replay/${name}.trades.jsonl.gz`).map((line) => {
      const { trade_id, price, size, time } = JSON.parse(line) as Record<string, string>
      return {
        ...trade(Number(trade_id), Date.parse(time as string), price as string, size as string),
        time: time as string,
      }
    })
    const aggregator = aggregate(trades)
    const recorded = fixtureLines(`replay/${name}.candles.jsonl.gz`).map(
      (line) => parseExact(line) as Record<string, string>,
    )
    for (const granularity of GRANULARITIES) {
      const rows = recorded.filter((candle) => candle.granularity === granularity)
      expect(rows.length).toBeGreaterThan(0)
      expect(candlesOf(aggregator, granularity)).toEqual(
        rows.map((c) =>
          numbers(
            Number(c.timestamp),
            c.open as string,
            c.high as string,
            c.low as string,
            c.close as string,
            c.volume as string,
          ),
        ),
      )
    }
  })
})

type Bar = { ms: number; ohlcv: [open: string, high: string, low: string, close: string, volume: string] }

/** Bars of the kind kept in `coinbase-candles/lean`: milliseconds of the day, then the five numbers. */
const leanBars = (path: string, day: number): Bar[] =>
  fixtureLines(`coinbase-candles/lean/${path}`).map((line) => {
    const [ms, ...ohlcv] = line.split(',')
    return { ms: day + Number(ms), ohlcv: ohlcv as Bar['ohlcv'] }
  })

const dayOf = (date: string): number => Date.parse(`${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}T00:00:00Z`)

describe('C7: recorded Coinbase bars fold to the recorded larger ones, digit for digit', () => {
  test.each(['20161007', '20161008'])('C7 BTC-USD %s: seconds fold to the recorded minutes', (date) => {
    const day = dayOf(date)
    const dust = decimal(1n)
    // Four trades a bar, in an order that gives its open, high, low and close, and its volume in all.
    const trades = leanBars(`btcusd_second_${date}_trade.csv`, day).flatMap(({ ms, ohlcv: [o, h, l, c, v] }, index) =>
      [o, h, l, c].map((price, part) =>
        trade(4 * index + part + 1, ms, price, part === 3 ? decimal(exact(v) - 3n) : dust),
      ),
    )
    const minutes = leanBars(`btcusd_minute_${date}_trade.csv`, day)
    expect(candlesOf(aggregate(trades), 'ONE_MINUTE')).toEqual(
      minutes.map(({ ms, ohlcv }) => numbers(ms / 1000, ...ohlcv)),
    )
  })

  test.each(['20161007', '20161008', '20170903', '20180405'])(
    'C7 C9 BTC-USD %s: minutes fold to the recorded day',
    (date) => {
      const day = dayOf(date)
      const minutes: ExchangeCandle[] = leanBars(`btcusd_minute_${date}_trade.csv`, day).map(({ ms, ohlcv }) => {
        const { start, ...rest } = numbers(ms / 1000, ...ohlcv)
        return { start, ...rest }
      })
      const aggregator = createAggregator()
      aggregator.reconcile(day / 1000, day / 1000 + 86_340, minutes, day + 86_400_000)
      const file = date === '20180405' ? 'btcusd_daily_20180405_trade.csv' : 'btcusd_daily_20141201_20170903_trade.csv'
      const row = fixtureLines(`coinbase-candles/lean/${file}`).find((line) => line.startsWith(date))
      const [, ...ohlcv] = (row as string).split(',')
      expect(candlesOf(aggregator, 'ONE_DAY')).toEqual([numbers(day / 1000, ...(ohlcv as Bar['ohlcv']))])
    },
  )
})

describe("C2, C3: Coinbase's own five-minute candles equal the fold of its trades at some trade", () => {
  type CandleMessage = { channel: string; events: { candles: Record<string, string>[] }[] }

  test.each([
    'coinbase-ws/advanced-trade-BTC-ETH-2026-08-09-seq0-559.jsonl.gz',
    'coinbase-ws/advanced-trade-BTC-ETH-2026-08-09-seq0-559.no-l2.jsonl',
  ])('C2 C3 the exchange’s candles in %s equal the fold of its trades at some trade', (path) => {
    const bucket = Date.parse('2026-08-09T21:05:00Z') / 1000
    const frames = recordedFrames(path)
    const candles = frames
      .filter((frame) => frame.includes('"channel":"candles"'))
      .flatMap((frame) => (JSON.parse(frame) as CandleMessage).events.flatMap(({ candles }) => candles))
      .filter((candle) => Number(candle.start) === bucket)
    expect(new Set(candles.map((candle) => candle.product_id))).toEqual(new Set(['BTC-USD', 'ETH-USD']))

    const trades = frames.flatMap((frame) => {
      const message = parseFeedMessage(frame)
      return message.kind === 'trades' ? message.trades : []
    })
    const states = new Map<string, Set<string>>()
    for (const product of ['BTC-USD', 'ETH-USD']) {
      const aggregator = new CandleAggregator({
        exchange: 'coinbase',
        product,
        closeGraceMs: 0,
        tradeWindowMs: 86_400_000,
      })
      const seen = new Set<string>()
      for (const one of trades.filter((other) => other.product === product).sort((a, b) => a.id - b.id)) {
        aggregator.addTrades([one], one.minute * 1000)
        const bar = candlesOf(aggregator, 'FIVE_MINUTES').find(({ start }) => start === bucket)
        if (bar) seen.add(JSON.stringify(bar))
      }
      states.set(product, seen)
    }
    for (const c of candles) {
      const candle = numbers(
        bucket,
        c.open as string,
        c.high as string,
        c.low as string,
        c.close as string,
        c.volume as string,
      )
      expect(states.get(c.product_id as string)).toContain(JSON.stringify(candle))
    }
  })
})
