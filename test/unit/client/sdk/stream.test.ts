import { expect, test } from 'vitest'
import { connectCandles } from '../../../../src/client/sdk/candles.ts'
import { openStream, type StreamState, socketUrl } from '../../../../src/client/sdk/stream.ts'
import { PING_TEXT } from '../../../../src/protocol/client-messages.ts'
import { fakeClientDeps } from '../../../support/fake-client-deps.ts'

/** A stream of one product’s candles with fake dependencies. */
function open(since: string | null = 'e-7', random = 0.5) {
  const world = fakeClientDeps(random)
  const states: StreamState[] = []
  const candles: unknown[] = []
  const snapshots: unknown[] = []
  const feeds: string[] = []
  const stream = connectCandles(
    {
      url: 'http://kerb.test',
      products: ['BTC-USD'],
      granularities: ['ONE_MINUTE'],
      since,
      onState: (state) => states.push(state),
      onCandles: (update) => candles.push(...update),
      onSnapshot: (...snapshot) => snapshots.push(snapshot),
      onFeed: ({ state }) => feeds.push(state),
    },
    world.deps,
  )
  return {
    ...world,
    stream,
    states,
    candles,
    snapshots,
    feeds,
    state: () => states.at(-1)?.name,
    subscribed() {
      world.socket().onopen?.()
      world.receive({ type: 'subscribed', channels: [], position: 'e-9', recovered: true })
    },
  }
}

const update = (position: string) => ({ type: 'update', position, candles: [{ timestamp: 60 }] })

test('C11 a stream subscribes from the position of the rendered history', () => {
  const world = open('e-7')
  world.subscribed()
  expect(world.socket().sent).toEqual([
    { op: 'subscribe', channels: ['candles.BTC-USD.ONE_MINUTE'], since: 'e-7', req_id: 1 },
  ])
  expect(world.states).toEqual([{ name: 'live' }])
})

test('D2 after a loss a stream resumes from its last frame, not from the position in `subscribed`', () => {
  const world = open('e-7')
  world.subscribed()
  world.socket().onclose?.(1006, '')
  expect(world.states.at(-1)).toEqual({ name: 'reconnecting', attempt: 1, delayMs: 250 })
  world.advance(250)
  world.subscribed()
  expect(world.socket().sent[0]).toMatchObject({ since: 'e-7' })
  world.receive(update('e-12'))
  world.socket().onclose?.(1006, '')
  world.advance(1_000)
  world.subscribed()
  expect(world.socket().sent[0]).toMatchObject({ since: 'e-12' })
  expect(world.candles).toEqual([{ timestamp: 60 }])
})

test('D2 a snapshot is passed on with its gaps and sets the position', () => {
  const world = open(null)
  world.subscribed()
  expect(world.socket().sent[0]).not.toHaveProperty('since')
  world.receive({ type: 'snapshot', position: 'f-1', candles: [{ timestamp: 60 }], gaps: [[0, 60]] })
  expect(world.snapshots).toEqual([[[{ timestamp: 60 }], [[0, 60]]]])
  world.socket().onclose?.(1006, '')
  world.advance(250)
  world.subscribed()
  expect(world.socket().sent[0]).toMatchObject({ since: 'f-1' })
})

test('D3 a stream acks the first frame of each connection, then every sixteenth', () => {
  const world = open('e-7')
  const acks = () =>
    world
      .socket()
      .sent.filter(({ op }) => op === 'ack')
      .map(({ position }) => position)
  world.subscribed()
  expect(acks()).toEqual([])
  for (let i = 8; i < 48; i++) world.receive(update(`e-${i}`))
  expect(acks()).toEqual(['e-8', 'e-24', 'e-40'])
  world.socket().onclose?.(1006, '')
  world.advance(250)
  world.subscribed()
  world.receive({ type: 'snapshot', position: 'f-1', candles: [], gaps: [] })
  expect(acks()).toEqual(['f-1'])
})

test('D3 a stream accepts an unrequested snapshot, which replaces updates that the server dropped', () => {
  const world = open('e-7')
  world.subscribed()
  world.receive(update('e-8'))
  world.receive({ type: 'subscribed', channels: [], position: 'e-900', recovered: false })
  world.receive({ type: 'snapshot', position: 'e-900', candles: [{ timestamp: 60 }], gaps: [] })
  expect(world.snapshots).toHaveLength(1)
  expect(world.state()).toBe('live')
})

test('pauses double up to half a minute with full jitter, and start again after a connection that lasted', () => {
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

test('D4 a stream obeys close codes: it stops, waits, or reconnects at once', () => {
  const stopped = open()
  stopped.subscribed()
  stopped.socket().onclose?.(4000, 'no such thing')
  stopped.advance(600_000)
  expect(stopped.states.at(-1)).toEqual({ name: 'stopped', reason: 'no such thing', code: 4000 })
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

test('D4 a refused subscription stops the stream if the refusal is final, otherwise the stream waits', () => {
  const wrong = open()
  wrong.socket().onopen?.()
  wrong.receive({ type: 'error', code: 'unknown_product', message: 'no such product', field: 'channels/0' })
  expect(wrong.states.at(-1)).toEqual({ name: 'stopped', reason: 'no such product', code: null })
  expect(wrong.socket().closed).toBe(true)

  const full = open()
  full.socket().onopen?.()
  full.receive({ type: 'error', code: 'unavailable', message: 'later', field: null })
  expect(full.state()).toBe('reconnecting')
  full.advance(6_000)
  expect(full.sockets).toHaveLength(2)
})

test('a dead connection becomes stale and is dropped within half a minute; an answered ping prevents that', () => {
  const world = open()
  world.subscribed()
  world.advance(15_000)
  // The text that the server answers without waking the object.
  expect(JSON.stringify(world.socket().sent.at(-1))).toBe(PING_TEXT)
  world.receive({ type: 'pong' })
  world.advance(15_000)
  expect(world.state()).toBe('live')
  world.advance(5_000)
  expect(world.state()).toBe('stale')
  world.advance(5_000)
  expect(world.state()).toBe('reconnecting')
  expect(world.sockets[0]!.closed).toBe(true)
})

test('a late response makes a stale connection live again', () => {
  const world = open()
  world.subscribed()
  world.advance(21_000)
  expect(world.state()).toBe('stale')
  world.receive(update('e-8'))
  expect(world.state()).toBe('live')
})

test('a connection that never answers the subscription is dropped', () => {
  const world = open()
  world.socket().onopen?.()
  world.advance(15_000)
  expect(world.state()).toBe('reconnecting')
})

test('D4 a stream ignores unknown frames and text that is not a frame', () => {
  const world = open()
  world.subscribed()
  world.receive({ type: 'news', text: 'x' })
  world.socket().onmessage?.('{')
  world.socket().onmessage?.('null')
  world.receive({ type: 'update', position: 5, candles: 'x' })
  expect(world.state()).toBe('live')
  expect(world.candles).toEqual([])
})

test('C8 the state of the feed is passed on', () => {
  const world = open()
  world.subscribed()
  world.receive({ type: 'feed', product_id: 'BTC-USD', exchange: 'simulated', state: 'silent', since: '' })
  expect(world.feeds).toEqual(['silent'])
})

test('a stream reconnects at once when the network is back, unless it is closed', () => {
  const world = open('e-7', 0.999)
  world.socket().onclose?.(1006, '')
  world.restoreNetwork()
  expect(world.sockets).toHaveLength(2)
  world.advance(10_000)
  expect(world.sockets).toHaveLength(2)
  world.stream.close()
  world.socket().onclose?.(1006, '')
  world.advance(600_000)
  expect(world.sockets).toHaveLength(2)
  expect(world.pendingCount()).toBe(0)
})

test('one product uses its own socket, several share `/ws`, and an https base gives a wss socket', () => {
  expect(open().socket().url).toBe('ws://kerb.test/ws/products/BTC-USD')
  const world = fakeClientDeps()
  connectCandles(
    {
      url: 'https://kerb.test',
      products: ['BTC-USD', 'ETH-USD'],
      granularities: ['ONE_MINUTE', 'ONE_HOUR'],
      onCandles() {},
      onSnapshot() {},
    },
    world.deps,
  )
  world.socket().onopen?.()
  expect(world.socket().url).toBe('wss://kerb.test/ws')
  expect(world.socket().sent[0]).toMatchObject({
    channels: [
      'candles.BTC-USD.ONE_MINUTE',
      'candles.BTC-USD.ONE_HOUR',
      'candles.ETH-USD.ONE_MINUTE',
      'candles.ETH-USD.ONE_HOUR',
    ],
  })
  expect(() => socketUrl(undefined, '/ws')).toThrow(TypeError)
})

test('C3 prices and volume keep every digit; times and revisions are numbers', () => {
  const world = open()
  world.subscribed()
  world
    .socket()
    .onmessage?.(
      '{"type":"update","position":"e-8","candles":[{"timestamp":60,"close":42000.50000000000000000001,"volume":1e-7,"rev":2}]}',
    )
  expect(world.candles).toEqual([{ timestamp: 60, close: '42000.50000000000000000001', volume: '1e-7', rev: 2 }])
})

/** A stream with a URL function that gives these results. */
function openFound(answers: (string | null | Error)[]) {
  const world = fakeClientDeps()
  const states: StreamState[] = []
  let asked = 0
  const url = async () => {
    const answer = answers[asked++] ?? null
    if (answer instanceof Error) throw answer
    return answer
  }
  const handlers = { state: (state: StreamState) => void states.push(state), frame: () => null }
  const stream = openStream({ url, channels: ['portfolio'], since: null }, handlers, world.deps)
  return { ...world, stream, states, asked: () => asked, found: () => new Promise((resolve) => setImmediate(resolve)) }
}

test('a URL function is called before each attempt, and its rejection is a failed attempt', async () => {
  const world = openFound(['ws://kerb.test/a', new Error('no answer'), 'ws://kerb.test/b', null])
  await world.found()
  world.socket().onclose?.(1006, '')
  world.advance(250)
  await world.found()
  expect(world.states.at(-1)).toMatchObject({ name: 'reconnecting', attempt: 2 })
  world.advance(500)
  await world.found()
  expect(world.sockets.map(({ url }) => url)).toEqual(['ws://kerb.test/a', 'ws://kerb.test/b'])
  world.socket().onclose?.(1006, '')
  world.advance(1_000)
  await world.found()
  expect(world.states.at(-1)?.name).toBe('stopped')
  world.advance(600_000)
  expect(world.asked()).toBe(4)
})

test('a URL that is found after the stream was closed opens no socket', async () => {
  const world = openFound(['ws://kerb.test/a'])
  world.stream.close()
  await world.found()
  expect(world.sockets).toHaveLength(0)
  expect(world.pendingCount()).toBe(0)
})
