import { setTimeout as pause } from 'node:timers/promises'
import { GRANULARITIES } from '../src/protocol/granularity.ts'
import { startChild } from './child.ts'
import { type Figures, median, quantile, rounded, type Size } from './figures.ts'
import { PRODUCT, startServer } from './server.ts'
import type { ReceivedCounts, ViewerRequest } from './viewers.ts'

const SIZES = { full: { viewers: 100, ticks: 300, warmUp: 50 }, quick: { viewers: 10, ticks: 30, warmUp: 5 } }
/** Between two ticks: Coinbase gathers trades for 50 to 250 ms. */
const PAUSE_MS = 50

/** From the exchange's send to the receipt at each of 100 sockets with all eight granularities, in milliseconds. */
export async function latency(size: Size): Promise<Figures> {
  const { viewers: sockets, ticks, warmUp } = SIZES[size]
  const server = await startServer()
  const viewers = startChild<ViewerRequest>('viewers.ts')
  try {
    const subscribe = JSON.stringify({ op: 'subscribe', channels: [`candles.${PRODUCT}.*`] })
    await viewers.ask({ do: 'open', group: 'kerb', url: server.socketUrl, count: sockets, subscribe, timed: true })
    const sent = new Map<string, bigint>()
    for (let tick = 0; tick < warmUp + ticks; tick++) {
      const close = (100 + tick / 100).toFixed(2).replace(/\.?0+$/, '')
      if (tick === warmUp) await viewers.ask({ do: 'take', group: 'kerb' })
      // Both processes read the machine's one monotonic clock.
      if (tick >= warmUp) sent.set(close, process.hrtime.bigint())
      server.exchange.trade(PRODUCT, { price: close, size: '0.5' })
      await Promise.all([
        viewers.ask({ do: 'await', group: 'kerb', close, candles: GRANULARITIES.length }),
        pause(PAUSE_MS),
      ])
    }
    const { arrivals } = await viewers.ask<ReceivedCounts>({ do: 'take', group: 'kerb' })
    const delays = arrivals.flatMap(([close, at]) => {
      const start = sent.get(close)
      return start === undefined ? [] : [Number(BigInt(at) - start) / 1e6]
    })
    if (delays.length < sockets * ticks) throw new Error(`${delays.length} messages came of ${sockets * ticks}`)
    return {
      ratios: {},
      viewers: sockets,
      ticks,
      messages: delays.length,
      median_ms: rounded(median(delays)),
      p99_ms: rounded(quantile(delays, 0.99)),
    }
  } finally {
    await viewers.stop()
    await server.stop()
  }
}
