import { GRANULARITIES } from '../src/protocol/granularity.ts'
import { type Child, cpuMicroseconds, startChild } from './child.ts'
import { type Figures, median, rounded, type Size } from './figures.ts'
import { PRODUCT, startServer } from './server.ts'
import type { ReceivedCounts, ViewerRequest } from './viewers.ts'
import type { WsRequest } from './ws-server.ts'

/** `quick` delivers as much as the clock of CPU time, which has steps of 10 ms, can distinguish from nothing. */
const SIZES = { full: { sockets: 1_000, rounds: 5, ticks: 30 }, quick: { sockets: 200, rounds: 1, ticks: 30 } }
type Scale = (typeof SIZES)[Size]
const CANDLES = GRANULARITIES.length

/** The candles' texts as they stand in an update frame. */
const candleTexts = (frame: string): string[] =>
  frame.slice(frame.indexOf('[') + 1, frame.lastIndexOf(']')).split(/(?<=\}),(?=\{)/)

type Contender = { pid: number; group: string; tick(frame: number): Promise<void> }

/** CPU microseconds of a side's server per candle delivered, over one round of ticks; every delivery is counted. */
async function runRound(
  side: Contender,
  viewers: Child<ViewerRequest>,
  { sockets, ticks }: Scale,
): Promise<{ cost: number; taken: ReceivedCounts }> {
  await viewers.ask({ do: 'take', group: side.group })
  const before = cpuMicroseconds(side.pid)
  for (let tick = 0; tick < ticks; tick++) await side.tick(tick)
  const spent = cpuMicroseconds(side.pid) - before
  const taken = await viewers.ask<ReceivedCounts>({ do: 'take', group: side.group })
  const sent = sockets * CANDLES * ticks
  if (taken.candles < sent) throw new Error(`${side.group}: ${taken.candles} candles came of ${sent}`)
  return { cost: spent / taken.candles, taken }
}

/**
 * Server CPU per delivered candle: 1,000 sockets on one product, all eight granularities, one frame a tick; the next
 * tick goes out when every socket has the last. Beside it a Node `ws` server with the same texts, each candle as its
 * own message (`vs_ws_per_update`) or in the same frames (`vs_ws_per_frame`): ours over its.
 */
export async function fanout(size: Size): Promise<Figures> {
  const { sockets, ticks } = SIZES[size]
  const server = await startServer()
  const viewers = startChild<ViewerRequest>('viewers.ts')
  const ws = startChild<WsRequest>('ws-server.ts')
  try {
    const subscribe = JSON.stringify({ op: 'subscribe', channels: [`candles.${PRODUCT}.*`] })
    await viewers.ask({ do: 'open', group: 'kerb', url: server.socketUrl, count: sockets, subscribe })

    let price = 100
    const closes: string[] = []
    const trade = async () => {
      price += 0.01
      const close = String(Number(price.toFixed(2)))
      closes.push(close)
      server.exchange.trade(PRODUCT, { price: close, size: '0.5' })
      await viewers.ask({ do: 'await', group: 'kerb', close, candles: CANDLES })
    }
    for (let warm = 0; warm < ticks; warm++) await trade()

    // One warm round of ours gives the texts that the other server sends.
    await viewers.ask({ do: 'take', group: 'kerb' })
    closes.length = 0
    for (let tick = 0; tick < ticks; tick++) await trade()
    const { texts } = await viewers.ask<ReceivedCounts>({ do: 'take', group: 'kerb' })
    const frames = texts.filter((text) => candleTexts(text).length === CANDLES).slice(-ticks)
    if (frames.length < ticks) throw new Error(`${frames.length} frames with ${CANDLES} candles came of ${ticks}`)

    const port = await ws.ask<number>({ do: 'listen' })
    const sides: Record<string, Contender> = { kerb: { pid: server.pid, group: 'kerb', tick: trade } }
    // Prices must differ from round to round, or the viewers could not distinguish the ticks.
    let sent = 0
    const raised = (text: string, close: string) => text.replaceAll(/"close":[\d.]+/g, `"close":${close}`)
    for (const [group, split] of [
      ['ws_per_update', true],
      ['ws_per_frame', false],
    ] as const) {
      await viewers.ask({ do: 'open', group, url: `ws://127.0.0.1:${port}`, count: sockets, subscribe: null })
      sides[group] = {
        pid: ws.pid,
        group,
        tick: async (tick) => {
          const close = (100 + ++sent / 100).toFixed(2).replace(/\.?0+$/, '')
          const frame = raised(frames[tick] as string, close)
          await ws.ask({ do: 'send', texts: split ? candleTexts(frame) : [frame] })
          await viewers.ask({ do: 'await', group, close, candles: CANDLES })
        },
      }
    }
    return await measure(sides, viewers, SIZES[size])
  } finally {
    await Promise.all([viewers.stop(), ws.stop()])
    await server.stop()
  }
}

async function measure(
  sides: Record<string, Contender>,
  viewers: Child<ViewerRequest>,
  scale: Scale,
): Promise<Figures> {
  const { sockets, rounds, ticks } = scale
  const costs = new Map<string, number[]>()
  let deliveries = 0
  for (let turn = 0; turn < rounds; turn++)
    for (const [name, side] of Object.entries(sides)) {
      const { cost, taken } = await runRound(side, viewers, scale)
      costs.set(name, [...(costs.get(name) ?? []), cost])
      if (name === 'kerb') deliveries += taken.candles
    }
  const cost = (name: string) => median(costs.get(name) ?? [])
  return {
    ratios: {
      vs_ws_per_update: rounded(cost('kerb') / cost('ws_per_update')),
      vs_ws_per_frame: rounded(cost('kerb') / cost('ws_per_frame')),
    },
    sockets,
    rounds,
    ticks_a_round: ticks,
    candles_delivered: deliveries,
    cpu_us_per_candle: Object.fromEntries([...costs.keys()].map((name) => [name, rounded(cost(name))])),
  }
}
