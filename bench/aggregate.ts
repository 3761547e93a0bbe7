import candlestickConvert from 'candlestick-convert'
import { CandleAggregator } from '../src/market/aggregator.ts'
import { FeedProcessor } from '../src/market/feed-processor.ts'
import { GRANULARITIES, GRANULARITY_SECONDS } from '../src/protocol/granularity.ts'
import { recordedFrames } from '../test/support/recordings.ts'
import { type Figures, median, rounded, type Size } from './figures.ts'

/** `warmUp` rounds go before the others and are not counted: the compiler has then seen all three. */
const SIZES = { full: { rounds: 15, warmUp: 5 }, quick: { rounds: 1, warmUp: 0 } }

type WireTrade = { product_id: string; price: string; size: string; time: string }
type WireMessage = { timestamp: string; events: { trades: WireTrade[] }[] }

/** CPU milliseconds of this process that `work` took: what else the machine does counts less than on the wall clock. */
function cpuMs(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

/** The product object's work on each text, up to the candles that it would send. */
function runKerb(frames: readonly string[], clocks: readonly number[]): number {
  const book = new CandleAggregator({
    exchange: 'coinbase',
    product: 'XRP-ETH',
    closeGraceMs: 1_000,
    tradeWindowMs: 7_200_000,
  })
  const intake = new FeedProcessor(book, 1_000)
  intake.onOpen()
  let candles = 0
  for (let i = 0; i < frames.length; i++) {
    const now = clocks[i] as number
    intake.processMessage(frames[i] as string, now)
    candles += book.takeChanged(now).map((bar) => book.toCandle(bar)).length
  }
  return candles
}

/** All text in one batch: parsed, handed over once a granularity. The package writes into what it is given. */
function runCandlestickConvert(frames: readonly string[]): number {
  const trades = frames.flatMap((frame) =>
    (JSON.parse(frame) as WireMessage).events.flatMap((event) =>
      event.trades.map(({ price, size, time }) => ({
        price: Number(price),
        quantity: Number(size),
        time: Date.parse(time),
      })),
    ),
  )
  let candles = 0
  for (const granularity of GRANULARITIES) {
    const ticks = trades.map((trade) => ({ ...trade }))
    candles += candlestickConvert.batchTicksToCandle(ticks, GRANULARITY_SECONDS[granularity], true).length
  }
  return candles
}

/**
 * Feed texts to candles, all `market_trades` frames of a 36-hour recording. Times are CPU milliseconds for all frames.
 * `vs_json_parse`: ours over JSON.parse alone of the same texts; `vs_candlestick_convert`: that package's over ours.
 */
export async function aggregate(size: Size): Promise<Figures> {
  const { rounds, warmUp } = SIZES[size]
  const frames = recordedFrames('replay/xrp-eth-36h.jsonl.gz').filter((text) =>
    text.includes('"channel":"market_trades"'),
  )
  const clocks = frames.map((text) => Date.parse((JSON.parse(text) as WireMessage).timestamp))
  const times = { kerb: [] as number[], json_parse: [] as number[], candlestick_convert: [] as number[] }
  let candles = 0
  for (let round = -warmUp; round < rounds; round++) {
    const kerb = cpuMs(() => {
      candles = runKerb(frames, clocks)
    })
    const parse = cpuMs(() => {
      for (const text of frames) JSON.parse(text)
    })
    const convert = cpuMs(() => {
      runCandlestickConvert(frames)
    })
    if (round < 0) continue
    times.kerb.push(kerb)
    times.json_parse.push(parse)
    times.candlestick_convert.push(convert)
  }
  const kerb = median(times.kerb)
  const parse = median(times.json_parse)
  const convert = median(times.candlestick_convert)
  return {
    ratios: { vs_json_parse: rounded(kerb / parse), vs_candlestick_convert: rounded(convert / kerb) },
    frames: frames.length,
    candles_made: candles,
    rounds,
    ms: { kerb: rounded(kerb), json_parse: rounded(parse), candlestick_convert: rounded(convert) },
  }
}
