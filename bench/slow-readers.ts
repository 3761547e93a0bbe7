import { setTimeout as pause } from 'node:timers/promises'
import { GRANULARITIES } from '../src/protocol/granularity.ts'
import { type Child, residentBytes, startChild } from './child.ts'
import { type Figures, median, quantile, rounded, type Size } from './figures.ts'
import { type BenchServer, PRODUCT, startServer } from './server.ts'
import type { ReceivedCounts, ViewerRequest } from './viewers.ts'

/**
 * Of the `dead` half have acked once, half never; none of them reads. `memoryLive` viewers read while memory is measured:
 * few, so that time can run faster.
 */
const SIZES = {
  full: { live: 900, dead: 100, rounds: 5, ticks: 40, memoryLive: 50, minutes: 10 },
  quick: { live: 20, dead: 10, rounds: 1, ticks: 5, memoryLive: 5, minutes: 0.5 },
}
type Scale = (typeof SIZES)[Size]

/** Ticks that shut the windows of the dead. */
const WARM_UP = 80
/** Between two ticks: the machine has to be done with one before the next, or the queue is measured. */
const PAUSE_MS = 100

/** Market milliseconds per millisecond while memory is measured. */
const SPEED = 10
/** How often memory is measured: in the full size every half minute of market time. */
const SAMPLES = 20
/** Market time between two ticks: Coinbase gathers trades for 50 to 250 ms. */
const TICK_MS = 50

type Viewers = Child<ViewerRequest>
const subscribe = JSON.stringify({ op: 'subscribe', channels: [`candles.${PRODUCT}.*`] })

let ticks = 0

/** One trade; resolves when every reading viewer has all eight candles of it. Gives its price and when it was sent. */
async function sendTick(server: BenchServer, viewers: Viewers): Promise<{ close: string; at: bigint }> {
  const close = (100 + ++ticks / 100).toFixed(2).replace(/\.?0+$/, '')
  const at = process.hrtime.bigint()
  server.exchange.trade(PRODUCT, { price: close, size: '0.5' })
  await viewers.ask({ do: 'await', group: 'live', close, candles: GRANULARITIES.length })
  return { close, at }
}

async function openDeadViewers(
  viewers: Viewers,
  server: BenchServer,
  group: string,
  count: number,
  acks: boolean,
): Promise<void> {
  await viewers.ask({ do: 'open', group, url: server.socketUrl, count, subscribe, acks })
  await viewers.ask({ do: 'pause', group })
}

/** Milliseconds from the exchange's send to each receipt at the viewers that read; the dead stand around them. */
async function runRound(server: BenchServer, viewers: Viewers, scale: Scale, withDead: boolean): Promise<number[]> {
  const { live, dead, ticks: measured } = scale
  if (withDead) await openDeadViewers(viewers, server, 'dead', dead / 2, true)
  await viewers.ask({ do: 'open', group: 'live', url: server.socketUrl, count: live, subscribe, timed: true })
  if (withDead) await openDeadViewers(viewers, server, 'mute', dead / 2, false)
  for (let i = 0; i < WARM_UP; i++) await sendTick(server, viewers)
  await viewers.ask({ do: 'take', group: 'live' })
  const sent = new Map<string, bigint>()
  for (let i = 0; i < measured; i++) {
    const [{ close, at }] = await Promise.all([sendTick(server, viewers), pause(PAUSE_MS)])
    sent.set(close, at)
  }
  const { arrivals } = await viewers.ask<ReceivedCounts>({ do: 'take', group: 'live' })
  for (const group of withDead ? ['dead', 'live', 'mute'] : ['live']) await viewers.ask({ do: 'end', group })
  const delays = arrivals.flatMap(([close, at]) => {
    const start = sent.get(close)
    return start === undefined ? [] : [Number(BigInt(at) - start) / 1e6]
  })
  if (delays.length < live * measured) throw new Error(`${delays.length} messages came of ${live * measured}`)
  return delays
}

async function measureLatencies(scale: Scale): Promise<{ with: number[]; without: number[] }> {
  const server = await startServer()
  const viewers = startChild<ViewerRequest>('viewers.ts')
  const medians = { with: [] as number[], without: [] as number[] }
  try {
    for (let turn = 0; turn < scale.rounds; turn++) {
      medians.without.push(median(await runRound(server, viewers, scale, false)))
      medians.with.push(median(await runRound(server, viewers, scale, true)))
    }
    return medians
  } finally {
    await viewers.stop()
    await server.stop()
  }
}

/** Resident memory of workerd, megabytes, at even times of the market; the dead are there from the start. */
async function measureMemory(
  { dead, memoryLive, minutes }: Scale,
  withDead: boolean,
): Promise<{ megabytes: number[]; ticks: number }> {
  const server = await startServer({ speed: SPEED })
  const viewers = startChild<ViewerRequest>('viewers.ts')
  try {
    if (withDead) await openDeadViewers(viewers, server, 'dead', dead / 2, true)
    if (withDead) await openDeadViewers(viewers, server, 'mute', dead / 2, false)
    await viewers.ask({ do: 'open', group: 'live', url: server.socketUrl, count: memoryLive, subscribe })
    const began = server.exchange.now()
    const first = ticks
    const megabytes: number[] = []
    while (megabytes.length < SAMPLES) {
      const next = server.exchange.now() + TICK_MS
      await sendTick(server, viewers)
      if (server.exchange.now() - began >= ((megabytes.length + 1) * minutes * 60_000) / SAMPLES) {
        megabytes.push(Math.round(residentBytes(server.pid) / 2 ** 20))
        await viewers.ask({ do: 'take', group: 'live' })
      }
      await pause(Math.max(0, next - server.exchange.now()) / SPEED)
    }
    return { megabytes, ticks: ticks - first }
  } finally {
    await viewers.stop()
    await server.stop()
  }
}

/**
 * The effect of viewers that never read on the others: latency of 900 with 100 of them over that without, medians of rounds
 * in turn; and what they do to memory over ten minutes of market time: its end over that without them, and its end over
 * its middle, since a server that has just started grows for some minutes in any case.
 */
export async function slowReaders(size: Size): Promise<Figures> {
  const scale = SIZES[size]
  const medians = await measureLatencies(scale)
  const without = await measureMemory(scale, false)
  const held = await measureMemory(scale, true)
  const end = (megabytes: number[]) => median(megabytes.slice(-4))
  return {
    ratios: {
      vs_without_dead: rounded(median(medians.with) / median(medians.without)),
      memory_vs_without_dead: rounded(end(held.megabytes) / end(without.megabytes)),
      memory_growth: rounded(end(held.megabytes) / median(held.megabytes.slice(8, 12))),
    },
    live: scale.live,
    dead: scale.dead,
    rounds: scale.rounds,
    ticks_a_round: scale.ticks,
    median_ms: { with_dead: rounded(median(medians.with)), without: rounded(median(medians.without)) },
    worst_round_ms: { with_dead: rounded(quantile(medians.with, 1)), without: rounded(quantile(medians.without, 1)) },
    memory_minutes: scale.minutes,
    memory_ticks: { with_dead: held.ticks, without: without.ticks },
    memory_mb: { with_dead: held.megabytes, without: without.megabytes },
  }
}
