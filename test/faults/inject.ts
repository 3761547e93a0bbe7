import { connect } from 'node:net'
import type { FaultEffect } from '../../simulators/exchange/faults.ts'
import type { TestEnvironment } from './environment.ts'
import type { FaultEvent } from './events.ts'
import { waitWhileProgressing } from './progress.ts'
import { openViewer, type Viewer } from './viewer.ts'

/** Results of events: further viewers to compare, and connections to close. */
export type Crowd = { viewers: Viewer[]; cleanups: (() => void)[] }

/** Real milliseconds between two checks for the effect of a fault, and without progress until it counts as without effect. */
const POLL_INTERVAL_MS = 10
const EFFECT_STALL_TIMEOUT_MS = 5_000
/** The same for a crowd, whose viewers connect one after the other. */
const CROWD_STALL_TIMEOUT_MS = 15_000
/** Viewers of a crowd that stay connected. */
const REMAINING_VIEWERS = 30

const waitFor = (what: () => boolean | Promise<boolean>): Promise<boolean> =>
  waitWhileProgressing(async () => ((await what()) ? 0 : 1), {
    pauseMs: POLL_INTERVAL_MS,
    stallMs: EFFECT_STALL_TIMEOUT_MS,
  })

/** Performs an event from its time to its end. @returns a check that returns true if the fault took effect */
export async function inject(stage: TestEnvironment, event: FaultEvent, crowd: Crowd): Promise<() => boolean> {
  const { exchange, worker, database, lane } = stage
  const hit = (...effects: FaultEffect[]) => {
    return () => effects.some((effect) => effect.hits > 0)
  }
  await stage.until(event.at)
  switch (event.fault) {
    case 'socket-closed': {
      const { code, product, ms } = event
      if (ms > 0) exchange.fault({ kind: 'refuse', ms })
      return hit(exchange.fault({ kind: 'close', code, product }))
    }
    case 'half-open':
      return hit(exchange.fault({ kind: 'silent', ms: event.ms, product: event.product }))
    case 'frames-lost':
    case 'frames-repeated': {
      const { frames, channel, product } = event
      return hit(exchange.fault({ kind: event.fault === 'frames-lost' ? 'skip' : 'repeat', frames, channel, product }))
    }
    case 'frames-disordered': {
      const { how, frames, product, ms } = event
      return hit(exchange.fault(how === 'delay' ? { kind: how, frames, product, ms } : { kind: how, frames, product }))
    }
    case 'late-trade': {
      const { how, product, ms } = event
      if (how === 'frame') return hit(exchange.fault({ kind: 'delay', frames: 1, product, ms }))
      exchange.trade(product, { price: '123.45678901', size: '0.00000001', time: Math.floor(exchange.now()) - ms })
      return () => true
    }
    case 'malformed': {
      const { frames, product } = event
      const texts = ['x'.repeat(1_000_000), '{"channel":'.repeat(1_000), '\u0000']
      for (const text of texts) exchange.fault({ kind: 'text', text, product })
      return hit(exchange.fault({ kind: 'malformed', frames, product }))
    }
    case 'rest-429':
    case 'rest-500':
    case 'rest-timeout':
    case 'rest-wrong': {
      const answer = ({ 'rest-429': '429', 'rest-500': '500', 'rest-timeout': 'hang', 'rest-wrong': 'wrong' } as const)[
        event.fault
      ]
      const effect = exchange.fault({ kind: 'rest', answer, forMs: event.ms })
      exchange.fault({ kind: 'skip', frames: event.frames })
      return hit(effect)
    }
    case 'rest-refused': {
      const effect = exchange.fault({ kind: 'rest', answer: event.answer, forMs: 1e12 })
      for (const at of event.frames) {
        await stage.until(at)
        exchange.fault({ kind: 'skip', frames: 3 })
      }
      return hit(effect)
    }
    case 'object-killed': {
      const deaths = async () => Number(await (await stage.call(`${event.product}/deaths`)).text())
      const before = await deaths().catch(() => 0)
      await stage.call(`${event.product}/doom?step=${event.step}&times=${event.times}`).catch(() => {})
      // If the Worker is unavailable, another fault may be the reason: then this one does not count.
      const dead = () =>
        deaths()
          .then((now) => now > before)
          .catch(() => false)
      const died = await waitFor(dead)
      return () => died
    }
    case 'process-killed':
    case 'deploy': {
      const pid = worker.pid
      await stage.runExclusive(() =>
        event.fault === 'deploy' ? worker.restart('SIGTERM', 500) : worker.restart('SIGKILL'),
      )
      return () => worker.pid !== pid
    }
    case 'postgres-stopped':
      await stage.runExclusive(async () => {
        await lane.server.stop()
        await stage.until(event.at + event.ms)
        await lane.server.start()
      })
      return () => true
    case 'postgres-slow': {
      let locked = false
      const lock = database.admin.begin(async (sql) => {
        await sql`LOCK TABLE live_candles IN ACCESS EXCLUSIVE MODE`
        locked = true
        await stage.until(event.at + event.ms)
      })
      // A server that is stopped meanwhile releases its locks.
      await lock.catch(() => {})
      return () => locked
    }
    case 'postgres-full': {
      const limit = (connections: number) =>
        stage.runExclusive(() => lane.admin.unsafe(`ALTER DATABASE ${database.name} CONNECTION LIMIT ${connections}`))
      try {
        await limit(0)
        await stage.until(event.at + event.ms)
      } finally {
        await limit(-1)
      }
      return () => true
    }
    case 'clock-step':
      return hit(exchange.fault({ kind: 'clock', ms: event.ms }))
    case 'never-read': {
      const readers = Array.from({ length: event.viewers }, () => openNeverReading(worker.url, event.product))
      crowd.cleanups.push(...readers.map(({ end }) => end))
      const up = await waitFor(() => readers.some(({ connected }) => connected()))
      return () => up
    }
    case 'crowd': {
      const viewers = Array.from({ length: event.viewers }, (_, i) =>
        openViewer({
          name: `one of ${event.viewers}`,
          url: `${worker.url.replace('http', 'ws')}/ws/products/${event.product}`,
          products: [event.product],
          granularity: 'FIVE_MINUTES',
          acks: true,
          client: `10.1.${i >> 8}.${i & 255}`,
          random: Math.random,
        }),
      )
      crowd.cleanups.push(...viewers.map((viewer) => viewer.close))
      // A busy server accepts all connections before it sends the first snapshot: both count as progress.
      const stepsLeft = (viewer: Viewer) => (viewer.connected() ? 0 : 1) + (viewer.ready() ? 0 : 1)
      const allReady = () =>
        waitWhileProgressing(() => viewers.reduce((sum, viewer) => sum + stepsLeft(viewer), 0), {
          pauseMs: POLL_INTERVAL_MS,
          stallMs: CROWD_STALL_TIMEOUT_MS,
        })
      await allReady()
      for (const viewer of viewers) viewer.drop()
      const back = await allReady()
      // Viewers that stay are compared like any other; more of them would add load, not another fault.
      for (const viewer of viewers.slice(REMAINING_VIEWERS)) viewer.close()
      crowd.viewers.push(...viewers.slice(0, REMAINING_VIEWERS))
      return () => back
    }
  }
}

/** A socket that subscribes to everything and never reads, so that frames back up to the server. */
function openNeverReading(url: string, product: string): { connected(): boolean; end(): void } {
  const { hostname, port } = new URL(url)
  let connected = false
  const socket = connect(Number(port), hostname, () => {
    connected = true
    socket.write(
      [
        `GET /ws/products/${product} HTTP/1.1`,
        `Host: ${hostname}:${port}`,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'CF-Connecting-IP: 10.2.0.1',
        '\r\n',
      ].join('\r\n'),
    )
    socket.write(maskedText(JSON.stringify({ op: 'subscribe', channels: [`candles.${product}.*`] })))
    socket.pause()
  })
  // The server may close the connection.
  socket.on('error', () => {})
  return { connected: () => connected, end: () => socket.destroy() }
}

/** One text frame as a client sends it, its mask all zeros; at most 65,535 bytes. */
function maskedText(text: string): Buffer {
  const body = Buffer.from(text)
  const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0x80 | 126, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), body])
}
