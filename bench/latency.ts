import { setTimeout as pause } from 'node:timers/promises'
import { GRANULARITIES } from '../src/protocol/granularity.ts'
import { startChild } from './child.ts'
import { type Figures, median, quantile, rounded } from './figures.ts'
import { PRODUCT, startServer } from './server.ts'
import type { ReceivedCounts, ViewerRequest } from './viewers.ts'

const VIEWERS = 100
const TICKS = 300
const WARM_UP = 50
/** Between two ticks: Coinbase gathers trades for 50 to 250 ms. */
const PAUSE_MS = 50

/** From the exchange's send to the receipt at each of 100 sockets with all eight granularities, in milliseconds. */
export async function latency(): Promise<Figures> {
  const server = await startServer()
  const viewers = startChild<ViewerRequest>('viewers.ts')
  try {
    const subscribe = JSON.stringify({ op: 'subscribe', channels: [`candles.${PRODUCT}.*`] })
    await viewers.ask({ do: 'open', group: 'kerb', url: server.socketUrl, count: VIEWERS, subscribe, timed: true })
    const sent = new Map<string, bigint>()
    for (let tick = 0; tick < WARM_UP + TICKS; tick++) {
      const close = (100 + tick / 100).toFixed(2).replace(/\.?0+$/, '')
      if (tick === WARM_UP) await viewers.ask({ do: 'take', group: 'kerb' })
      // Both processes read the machine's one monotonic clock.
      if (tick >= WARM_UP) sent.set(close, process.hrtime.bigint())
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
    if (delays.length < VIEWERS * TICKS) throw new Error(`${delays.length} messages came of ${VIEWERS * TICKS}`)
    return {
      ratios: {},
      viewers: VIEWERS,
      ticks: TICKS,
      messages: delays.length,
      median_ms: rounded(median(delays)),
      p99_ms: rounded(quantile(delays, 0.99)),
    }
  } finally {
    await viewers.stop()
    await server.stop()
  }
}
