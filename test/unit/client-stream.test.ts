import { expect, test } from 'vitest'
import { openStream, type StreamSocket, type StreamState } from '../../src/client/stream.ts'

/** A stream in a world of its own: sockets that a test answers for, a clock that it moves, and a fixed die. */
function open(since: string | null = 'e-7', random = 0.5) {
  let now = 0
  let timers: { at: number; run: () => void }[] = []
  const sockets: (StreamSocket & { sent: Record<string, unknown>[]; closed: boolean })[] = []
  const states: StreamState[] = []
  const candles: unknown[] = []
  const snapshots: unknown[] = []
  const feeds: string[] = []
  const stream = openStream(
    { url: 'ws://kerb.test', channels: ['candles.BTC-USD.ONE_MINUTE'], since },
    {
      state: (state) => states.push(state),
      update: (update) => candles.push(...update),
      snapshot: (...snapshot) => snapshots.push(snapshot),
      feed: (state) => feeds.push(state),
    },
    {
      connect() {
        const socket = {
          sent: [] as Record<string, unknown>[],
          closed: false,
          send: (text: string) => void socket.sent.push(JSON.parse(text)),
          close: () => {
            socket.closed = true
          },
          onopen: null,
          onmessage: null,
          onclose: null,
        }
        sockets.push(socket)
        return socket
      },
      now: () => now,
      later(run, ms) {
        const timer = { at: now + ms, run }
        timers.push(timer)
        return () => {
          timers = timers.filter((other) => other !== timer)
        }
      },
      random: () => random,
    },
  )
  const socket = () => sockets.at(-1)!
  return {
    stream,
    sockets,
    states,
    candles,
    snapshots,
    feeds,
    socket,
    state: () => states.at(-1)?.name,
    hear: (message: unknown) => socket().onmessage?.(JSON.stringify(message)),
    subscribed() {
      socket().onopen?.()
      socket().onmessage?.('{"type":"subscribed","channels":[],"position":"e-9","recovered":true}')
    },
    advance(ms: number) {
      const end = now + ms
      for (;;) {
        const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
        if (!next) break
        timers = timers.filter((timer) => timer !== next)
        now = next.at
        next.run()
      }
      now = end
    },
  }
}

const update = (position: string) => ({ type: 'update', position, candles: [{ timestamp: 60 }] })

test('C11 it subscribes from the position of the first paint', () => {
  const world = open('e-7')
  world.subscribed()
  expect(world.socket().sent).toEqual([
    { op: 'subscribe', channels: ['candles.BTC-USD.ONE_MINUTE'], since: 'e-7', req_id: 1 },
  ])
  expect(world.states).toEqual([{ name: 'live' }])
})

test('D2 after a loss it comes back from the last frame it saw, not from the position of the answer', () => {
  const world = open('e-7')
  world.subscribed()
  world.socket().onclose?.(1006, '')
  expect(world.states.at(-1)).toEqual({ name: 'reconnecting', attempt: 1, delayMs: 250 })
  world.advance(250)
  world.subscribed()
  expect(world.socket().sent[0]).toMatchObject({ since: 'e-7' })
  world.hear(update('e-12'))
  world.socket().onclose?.(1006, '')
  world.advance(1_000)
  world.subscribed()
  expect(world.socket().sent[0]).toMatchObject({ since: 'e-12' })
  expect(world.candles).toEqual([{ timestamp: 60 }])
})

test('D2 a snapshot is handed on with its gaps, and moves the position', () => {
  const world = open(null)
  world.subscribed()
  expect(world.socket().sent[0]).not.toHaveProperty('since')
  world.hear({ type: 'snapshot', position: 'f-1', candles: [{ timestamp: 60 }], gaps: [[0, 60]] })
  expect(world.snapshots).toEqual([[[{ timestamp: 60 }], [[0, 60]]]])
  world.socket().onclose?.(1006, '')
  world.advance(250)
  world.subscribed()
  expect(world.socket().sent[0]).toMatchObject({ since: 'f-1' })
})

test('D3 it acks its first frame, then some of them, and the first of a new connection again', () => {
  const world = open('e-7')
  const acks = () =>
    world
      .socket()
      .sent.filter(({ op }) => op === 'ack')
      .map(({ position }) => position)
  world.subscribed()
  expect(acks()).toEqual([])
  for (let i = 8; i < 48; i++) world.hear(update(`e-${i}`))
  expect(acks()).toEqual(['e-8', 'e-24', 'e-40'])
  world.socket().onclose?.(1006, '')
  world.advance(250)
  world.subscribed()
  world.hear({ type: 'snapshot', position: 'f-1', candles: [], gaps: [] })
  expect(acks()).toEqual(['f-1'])
})

test('D3 a snapshot that nobody asked for is taken: the server could not keep what came meanwhile', () => {
  const world = open('e-7')
  world.subscribed()
  world.hear(update('e-8'))
  world.hear({ type: 'subscribed', channels: [], position: 'e-900', recovered: false })
  world.hear({ type: 'snapshot', position: 'e-900', candles: [{ timestamp: 60 }], gaps: [] })
  expect(world.snapshots).toHaveLength(1)
  expect(world.state()).toBe('live')
})

test('pauses double up to half a minute under full jitter, and start over after a connection that held', () => {
  const world = open('e-7', 0.999_999)
  const delays: number[] = []
  for (let i = 0; i < 9; i++) {
    world.socket().onclose?.(1006, '')
    const state = world.states.at(-1)
    if (state?.name !== 'reconnecting') break
    delays.push(Math.round(state.delayMs))
    world.advance(state.delayMs)
  }
  expect(delays).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  world.subscribed()
  world.advance(12_000)
  world.socket().onclose?.(1006, '')
  expect(world.states.at(-1)).toMatchObject({ delayMs: expect.closeTo(500, 0) })
})

test('close codes are obeyed: stop, pause, at once', () => {
  const stopped = open()
  stopped.subscribed()
  stopped.socket().onclose?.(4000, 'no such thing')
  stopped.advance(600_000)
  expect(stopped.states.at(-1)).toEqual({ name: 'stopped', reason: 'no such thing' })
  expect(stopped.sockets).toHaveLength(1)

  const paused = open()
  paused.subscribed()
  paused.socket().onclose?.(4100, '')
  paused.advance(4_999)
  expect(paused.sockets).toHaveLength(1)
  paused.advance(1_000)
  expect(paused.sockets).toHaveLength(2)

  const atOnce = open()
  atOnce.subscribed()
  atOnce.socket().onclose?.(4200, '')
  atOnce.advance(100)
  expect(atOnce.sockets).toHaveLength(2)
})

test('a refused subscription stops it if another attempt cannot help, else it waits', () => {
  const wrong = open()
  wrong.socket().onopen?.()
  wrong.hear({ type: 'error', code: 'unknown_product', message: 'no such product', field: 'channels/0' })
  expect(wrong.states.at(-1)).toEqual({ name: 'stopped', reason: 'no such product' })
  expect(wrong.socket().closed).toBe(true)

  const full = open()
  full.socket().onopen?.()
  full.hear({ type: 'error', code: 'unavailable', message: 'later', field: null })
  expect(full.state()).toBe('reconnecting')
  full.advance(6_000)
  expect(full.sockets).toHaveLength(2)
})

test('a dead connection shows and is left within half a minute; an answered ping keeps it', () => {
  const world = open()
  world.subscribed()
  world.advance(15_000)
  expect(world.socket().sent.at(-1)).toMatchObject({ op: 'ping' })
  world.hear({ type: 'pong', req_id: 2 })
  world.advance(15_000)
  expect(world.state()).toBe('live')
  world.advance(5_000)
  expect(world.state()).toBe('stale')
  world.advance(5_000)
  expect(world.state()).toBe('reconnecting')
  expect(world.sockets[0]!.closed).toBe(true)
})

test('a late answer makes a stale connection live again', () => {
  const world = open()
  world.subscribed()
  world.advance(21_000)
  expect(world.state()).toBe('stale')
  world.hear(update('e-8'))
  expect(world.state()).toBe('live')
})

test('a connection that never answers the subscription is left', () => {
  const world = open()
  world.socket().onopen?.()
  world.advance(15_000)
  expect(world.state()).toBe('reconnecting')
})

test('D4 what it does not know it ignores, and text that is no frame too', () => {
  const world = open()
  world.subscribed()
  world.hear({ type: 'news', text: 'x' })
  world.socket().onmessage?.('{')
  world.socket().onmessage?.('null')
  world.hear({ type: 'update', position: 5, candles: 'x' })
  expect(world.state()).toBe('live')
  expect(world.candles).toEqual([])
})

test('C8 the feed’s own state is handed on', () => {
  const world = open()
  world.subscribed()
  world.hear({ type: 'feed', product_id: 'BTC-USD', exchange: 'simulated', state: 'silent', since: '' })
  expect(world.feeds).toEqual(['silent'])
})

test('a network that is back is used at once, and a closed stream stays closed', () => {
  const world = open('e-7', 0.999)
  world.socket().onclose?.(1006, '')
  world.stream.check()
  expect(world.sockets).toHaveLength(2)
  world.advance(10_000)
  expect(world.sockets).toHaveLength(2)
  world.stream.close()
  world.socket().onclose?.(1006, '')
  world.advance(600_000)
  expect(world.sockets).toHaveLength(2)
})
