import { describe, expect, test } from 'vitest'
import { CandleChannels } from '../../../durable-objects/candles/channels.ts'
import { loadAttachment } from '../../../durable-objects/sockets/connection.ts'
import { Hub } from '../../../durable-objects/sockets/hub.ts'
import { seededRandom } from '../../../simulators/exchange/random.ts'
import { SLOW_SEND_INTERVAL_MS, SLOWDOWN_AFTER_FRAMES } from '../../../src/delivery/delivery-state.ts'
import type { Candle } from '../../../src/protocol/candle.ts'
import { PING_TEXT } from '../../../src/protocol/client-messages.ts'
import { CLOSE_CODES } from '../../../src/protocol/errors.ts'
import { GRANULARITIES, GRANULARITY_SECONDS, type Granularity } from '../../../src/protocol/granularity.ts'
import { feedFrame } from '../../../src/protocol/messages.ts'

const PRODUCT = 'BTC-USD'
const LIMITS = {
  MAX_UNACKED_FRAMES: 8,
  UNACKED_SEND_INTERVAL_MS: 100,
  CONNECTION_IDLE_TIMEOUT_MS: 600_000,
  ACK_TIMEOUT_MS: 60_000,
}

type Frame = { type: string; position: string; recovered?: boolean; candles: Candle[]; channels?: string[] }

/** The object's end of a socket: records what it is sent, and has an attachment. */
function fakeSocket() {
  const self = {
    texts: [] as string[],
    closed: null as { code: number; reason: string } | null,
    attachment: null as unknown,
    pingedAt: null as Date | null,
    broken: false,
    send(text: string) {
      if (self.broken) throw new TypeError('Can’t call WebSocket send() after close().')
      self.texts.push(text)
    },
    close(code: number, reason: string) {
      self.closed = { code, reason }
    },
    serializeAttachment(value: unknown) {
      self.attachment = structuredClone(value)
    },
    deserializeAttachment: () => structuredClone(self.attachment),
    frames: (type: string) =>
      self.texts.map((text) => JSON.parse(text) as Frame).filter((frame) => frame.type === type),
  }
  return self
}
type FakeSocket = ReturnType<typeof fakeSocket>
const real = (socket: FakeSocket) => socket as unknown as WebSocket

/** The hub of one product on a clock of its own; its snapshots give the candles of `truth`. */
function stage(limits: Partial<typeof LIMITS> = {}, resumeFrames = 50) {
  let now = 1_700_000_000_000
  let lives = 0
  const sockets: FakeSocket[] = []
  const truth = new Map<string, Candle>()
  /** The truth at each position. */
  const past = new Map<string, ReadonlyMap<string, Candle>>()
  const left: number[] = []
  const keyOf = (candle: Pick<Candle, 'granularity' | 'timestamp'>) => `${candle.granularity}/${candle.timestamp}`
  const ctx = {
    acceptWebSocket: (socket: FakeSocket) => sockets.push(socket),
    getWebSockets: () => sockets,
    setWebSocketAutoResponse: () => {},
    getWebSocketAutoResponseTimestamp: (socket: FakeSocket) => socket.pingedAt,
  } as unknown as DurableObjectState
  let channels: CandleChannels
  const live = () => {
    channels = new CandleChannels({
      product: PRODUCT,
      epoch: `life${++lives}`,
      resumeFrames,
      snapshot: (granularities) => ({
        candles: [...truth.values()].filter(({ granularity }) => granularities.includes(granularity)),
        gaps: [],
      }),
      feedFrame: () =>
        feedFrame({
          product_id: PRODUCT,
          exchange: 'simulated',
          state: 'live',
          since: '2024-01-06T19:00:00Z',
          gaps_from: 0,
          gaps: [],
        }),
    })
    const made = new Hub(ctx, channels, {
      settings: { ...LIMITS, ...limits },
      now: () => now,
      track: () => {},
      log: () => {},
      onRemove: () => left.push(now),
    })
    past.set(made.position, new Map(truth))
    return made
  }
  let hub = live()
  const pass = (ms: number) => {
    const end = now + ms
    // The object's alarm comes when something is due.
    while (hub.dueAt <= end) {
      now = Math.max(now, hub.dueAt)
      hub.tick()
    }
    now = end
  }
  const say = (socket: FakeSocket, message: object) => void hub.onMessage(real(socket), JSON.stringify(message))
  return {
    truth,
    past,
    left,
    keyOf,
    pass,
    say,
    get hub() {
      return hub
    },
    now: () => now,
    open(since?: string, channels = [`candles.${PRODUCT}.*`]) {
      const socket = fakeSocket()
      hub.accept(real(socket), { client: '', passive: false, authorizedUntil: Number.POSITIVE_INFINITY })
      say(socket, { op: 'subscribe', channels, since })
      return socket
    },
    ack: (socket: FakeSocket) =>
      say(socket, { op: 'ack', position: (JSON.parse(socket.texts.at(-1) as string) as Frame).position }),
    /** A trade at `price`: the candles of `sizes` change. */
    trade(price: number, sizes: readonly Granularity[] = GRANULARITIES) {
      const candles = sizes.map((granularity): Candle => {
        const second = Math.floor(now / 1000)
        return {
          exchange: 'simulated',
          product_id: PRODUCT,
          granularity,
          timestamp: second - (second % GRANULARITY_SECONDS[granularity]),
          open: '1',
          high: '1',
          low: '1',
          close: String(price),
          volume: '1',
          is_complete: false,
          coverage: 'full',
          rev: 0,
          last_update: new Date(now).toISOString(),
          source: 'trades',
        }
      })
      for (const candle of candles) truth.set(keyOf(candle), candle)
      channels.append(candles)
      hub.broadcast()
      past.set(hub.position, new Map(truth))
    },
    /** The object dies, and with it its sockets. */
    die() {
      sockets.splice(0)
      hub = live()
    },
    /** The object sleeps and wakes: sockets and their attachments stay. */
    sleep() {
      hub = live()
    },
  }
}

const closes = (frames: Frame[]) => frames.map(({ candles }) => Number(candles.at(-1)?.close))

describe('D1 broadcast', () => {
  test('D1 a broadcast is one text for all current connections, whether they ack or not', () => {
    const world = stage()
    const sockets = [world.open(), world.open(), world.open()]
    world.ack(sockets[0] as FakeSocket)
    world.pass(1_000)
    world.trade(5)
    const texts = sockets.map(({ texts }) => texts.at(-1))
    expect(new Set(texts).size).toBe(1)
    expect(texts[0]).toContain('"close":5')
  })
})

describe('D3 a connection that acks and then lags', () => {
  test('D3 a lagging connection gets a window of frames, then the latest state in one; others get every frame', () => {
    const world = stage()
    const lags = world.open()
    const reads = world.open()
    for (const socket of [lags, reads]) world.ack(socket)
    for (let price = 1; price <= 1_000; price++) {
      world.trade(price)
      world.ack(reads)
    }
    expect(closes(lags.frames('update'))).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(reads.frames('update')).toHaveLength(1_000)
    world.ack(lags)
    const last = lags.frames('update').at(-1) as Frame
    expect(lags.frames('update')).toHaveLength(9)
    expect([last.position, last.candles.length, closes([last])]).toEqual([world.hub.position, 8, [1_000]])
    expect(world.hub.conflations).toBe(1)
    world.trade(1_001)
    expect(lags.texts.at(-1)).toBe(reads.texts.at(-1))
  })

  test('D3 a connection that stays behind is closed with slow_reader, and no other is', () => {
    const world = stage()
    const [dead, reads] = [world.open(), world.open()]
    world.ack(dead)
    world.ack(reads)
    for (let second = 0; second < 100; second++) {
      world.trade(second)
      world.ack(reads)
      world.pass(1_000)
    }
    expect(dead.closed).toEqual({ code: CLOSE_CODES.slow_reader, reason: expect.stringContaining('acked') })
    expect(dead.frames('update')).toHaveLength(8)
    expect(reads.closed).toBeNull()
    expect(world.hub.closedConnections).toEqual({ slow: 1, silent: 0 })
    expect([world.hub.connections.viewers, world.left.length]).toEqual([1, 1])
    // Its messages are ignored from then on.
    const before = dead.texts.length
    world.say(dead, { op: 'ping' })
    expect(dead.texts).toHaveLength(before)
  })

  test('D3 a connection that lacks more candles than are stored gets a snapshot that says so', () => {
    const world = stage({ ACK_TIMEOUT_MS: 10_000_000_000 })
    const lags = world.open(undefined, [`candles.${PRODUCT}.ONE_MINUTE`])
    world.ack(lags)
    for (let price = 1; price <= 800; price++) {
      world.trade(price, ['ONE_MINUTE'])
      world.pass(60_000)
    }
    const before = lags.texts.length
    world.ack(lags)
    const since = lags.texts.slice(before).map((text) => JSON.parse(text) as Frame)
    expect(since.map(({ type }) => type)).toEqual(['subscribed', 'feed', 'snapshot'])
    expect(since[0]).toMatchObject({
      recovered: false,
      position: world.hub.position,
      channels: [`candles.${PRODUCT}.ONE_MINUTE`],
    })
    expect(since[0]).not.toHaveProperty('req_id')
    expect(since[2]?.candles).toHaveLength(800)
  })

  test('D2 a new subscription first brings what the old one lacks, so that its position covers both', () => {
    const world = stage()
    const lags = world.open(undefined, [`candles.${PRODUCT}.ONE_MINUTE`])
    world.ack(lags)
    for (let price = 1; price <= 20; price++) world.trade(price)
    const before = lags.texts.length
    world.say(lags, { op: 'subscribe', channels: [`candles.${PRODUCT}.ONE_DAY`] })
    const since = lags.texts.slice(before).map((text) => JSON.parse(text) as Frame)
    expect(since.map(({ type }) => type)).toEqual(['update', 'subscribed', 'feed', 'snapshot'])
    expect(since[0]?.candles.map(({ granularity }) => granularity)).toEqual(['ONE_MINUTE'])
    expect(new Set([since[0], since[1], since[3]].map((frame) => frame?.position))).toEqual(
      new Set([world.hub.position]),
    )
  })
})

describe('D3 a connection that never acks', () => {
  test('D3 a connection that never acks gets the first change at once, and those within an interval as one frame at its end', () => {
    const world = stage()
    const socket = world.open()
    world.pass(1_000)
    for (let price = 1; price <= 1_000; price++) {
      world.trade(price)
      if (price === 1) expect(closes(socket.frames('update'))).toEqual([1])
      world.pass(10)
    }
    expect(closes(socket.frames('update')).slice(0, 4)).toEqual([1, 10, 20, 30])
    expect(socket.frames('update').length).toBeLessThanOrEqual(101)
    world.pass(100)
    expect(closes(socket.frames('update')).at(-1)).toBe(1_000)
    expect(world.hub.dueAt).toBeGreaterThan(world.now() + 1_000)
  })

  test('D3 connections that never ack share their interval, and so text and alarm', () => {
    const world = stage()
    const sockets: FakeSocket[] = []
    let alarms = 0
    for (let price = 1; price <= 500; price++) {
      if (price % 7 === 0 && sockets.length < 40) sockets.push(world.open())
      world.trade(price)
      const { dueAt: due } = world.hub
      world.pass(3)
      if (due <= world.now()) alarms++
    }
    expect(alarms).toBeLessThanOrEqual((500 * 3) / LIMITS.UNACKED_SEND_INTERVAL_MS + 1)
    world.pass(LIMITS.UNACKED_SEND_INTERVAL_MS)
    expect(new Set(sockets.map(({ texts }) => texts.at(-1))).size).toBe(1)
  })

  test('D3 a connection that never acks is closed after ten minutes without a ping or any other message', () => {
    const world = stage()
    const [silent, pings, asleep, stays] = [world.open(), world.open(), world.open(), world.open()]
    for (let minute = 0; minute < 10; minute++) {
      for (const socket of [silent, pings, asleep, stays]) expect(socket.closed).toBeNull()
      world.pass(60_000)
      world.say(pings, { op: 'ping', req_id: minute })
      // The runtime answers it: the object only sees the timestamp.
      asleep.pingedAt = new Date(world.now())
      world.say(stays, { op: 'unsubscribe', channels: ['candles.*.ONE_DAY'] })
    }
    expect(silent.closed).toEqual({ code: CLOSE_CODES.silent_reader, reason: expect.stringContaining('ping') })
    for (const socket of [pings, asleep, stays]) expect(socket.closed).toBeNull()
    world.pass(600_000)
    for (const socket of [pings, asleep, stays]) expect(socket.closed?.code).toBe(CLOSE_CODES.silent_reader)
    expect(world.hub.closedConnections).toEqual({ slow: 0, silent: 4 })
    expect(world.hub.dueAt).toBe(Number.POSITIVE_INFINITY)
  })

  test('D3 a ping counts even if the runtime’s clock differs from the object’s', () => {
    const world = stage()
    const socket = world.open()
    for (let ping = 1; ping <= 10; ping++) {
      socket.pingedAt = new Date(ping)
      world.pass(600_000)
      expect(socket.closed).toBeNull()
    }
    world.pass(600_000)
    expect(socket.closed?.code).toBe(CLOSE_CODES.silent_reader)
  })

  test('D3 a connection that says nothing gets a bounded number of frames until it is closed', () => {
    const world = stage()
    const [silent, pings] = [world.open(), world.open()]
    for (let i = 0; i < 6_000; i++) {
      world.trade(i)
      pings.pingedAt = new Date(Math.floor(i / 150))
      world.pass(100)
    }
    expect(silent.frames('update').length).toBeLessThan(
      SLOWDOWN_AFTER_FRAMES + LIMITS.CONNECTION_IDLE_TIMEOUT_MS / SLOW_SEND_INTERVAL_MS + 10,
    )
    expect(pings.frames('update').length).toBeGreaterThan(5_900)
  })

  test('D3 a connection that was slowed down gets a frame each interval again once it sends a message', () => {
    const world = stage()
    const socket = world.open()
    for (let i = 0; i < 1_000; i++) {
      world.trade(i)
      world.pass(100)
    }
    world.trade(7_777)
    expect(closes(socket.frames('update'))).not.toContain(7_777)
    world.say(socket, { op: 'ping' })
    world.pass(LIMITS.UNACKED_SEND_INTERVAL_MS)
    expect(closes(socket.frames('update')).at(-1)).toBe(7_777)
  })
})

describe('D5 sleep and death', () => {
  test('D2 a connection that outlives a sleep gets an unasked snapshot in the new epoch', () => {
    const world = stage()
    const socket = world.open(undefined, [`candles.${PRODUCT}.ONE_MINUTE`])
    world.ack(socket)
    world.trade(1)
    world.sleep()
    const before = socket.texts.length
    world.trade(2)
    const since = socket.texts.slice(before).map((text) => JSON.parse(text) as Frame)
    expect(since.map(({ type }) => type)).toEqual(['subscribed', 'feed', 'snapshot'])
    expect(since[0]).toMatchObject({ recovered: false, channels: [`candles.${PRODUCT}.ONE_MINUTE`] })
    expect(since[2]?.position).toBe('life2-1')
    // The attachment says that it acks: it has a window, not an interval.
    for (let price = 3; price <= 5; price++) world.trade(price)
    expect(closes(socket.frames('update').slice(-3))).toEqual([3, 4, 5])
  })

  test('D5 an attachment written by an earlier version loads', () => {
    const channels = new CandleChannels({
      product: PRODUCT,
      epoch: 'life',
      resumeFrames: 0,
      snapshot: () => ({ candles: [], gaps: [] }),
      feedFrame: () => '',
    })
    const socket = fakeSocket()
    socket.attachment = { mask: 3, passive: true, client: 'me', acks: true, heardAt: 7_000, pingedAt: 9 }
    expect(loadAttachment(real(socket), channels)).toMatchObject({
      subscription: 3,
      passive: true,
      client: 'me',
      unackedOffsets: [],
      lastMessageAt: 7_000,
      pingedAt: 9,
      authorizedUntil: Number.POSITIVE_INFINITY,
      progress: { kind: 'owes_snapshot', since: null },
    })
  })

  test('D3 the idle timeout goes on in sleep, and a closed connection does not return after it', () => {
    const world = stage()
    const socket = world.open()
    world.pass(550_000)
    world.sleep()
    expect(socket.closed).toBeNull()
    world.pass(50_000)
    expect(socket.closed?.code).toBe(CLOSE_CODES.silent_reader)
    world.sleep()
    expect(world.hub.connections.viewers).toBe(0)
  })

  test('D3 a socket that breaks while a frame is sent is removed', () => {
    const world = stage()
    const [broken, fine] = [world.open(), world.open()]
    broken.broken = true
    world.pass(1_000)
    world.trade(1)
    expect([world.hub.connections.viewers, world.left.length]).toEqual([1, 1])
    expect(closes(fine.frames('update'))).toEqual([1])
  })

  test('D5 the ping that does not wake the object is the text that the Worker sends', () => {
    expect(PING_TEXT).toBe('{"op":"ping"}')
  })
})

/** A client: applies frames, acks or not, comes and goes. */
type Client = {
  socket: FakeSocket | null
  channels: string[]
  sizes: Granularity[]
  acks: boolean
  read: number
  state: Map<string, Candle>
  position: string | undefined
}

describe('D2 D3 random runs', () => {
  test.each(Array.from({ length: 40 }, (_, i) => i + 1))(
    'D2 D3 every position names the state a client has, and no client ends behind (seed %i)',
    (seed) => {
      const random = seededRandom(seed)
      const world = stage({ ACK_TIMEOUT_MS: 1e12, CONNECTION_IDLE_TIMEOUT_MS: 1e12 }, 30)
      const clients: Client[] = Array.from({ length: 6 }, (_, i) => {
        const sizes = GRANULARITIES.filter(() => random() < 0.4 || i === 0)
        if (sizes.length === 0) sizes.push('ONE_MINUTE')
        const channels = sizes.map((size) => `candles.${PRODUCT}.${size}`)
        return { socket: null, channels, sizes, acks: i % 2 === 0, read: 0, state: new Map(), position: undefined }
      })
      let recovered = 0
      let snapshots = 0

      const wanted = (client: Client, candles: ReadonlyMap<string, Candle>) =>
        [...candles].filter(([, candle]) => client.sizes.includes(candle.granularity)).sort()

      /** Reads some frames in order, and checks the state at each one's position. */
      const read = (client: Client, most: number) => {
        const { socket } = client
        if (!socket) return
        for (let i = 0; i < most && client.read < socket.texts.length; i++) {
          const frame = JSON.parse(socket.texts[client.read++] as string) as Frame
          if (frame.type === 'subscribed' && frame.recovered) recovered++
          if (frame.type !== 'update' && frame.type !== 'snapshot') continue
          if (frame.type === 'snapshot') {
            snapshots++
            client.state.clear()
          }
          for (const candle of frame.candles) {
            const received: Candle = { ...candle }
            for (const name of ['open', 'high', 'low', 'close', 'volume'] as const)
              received[name] = String(candle[name])
            client.state.set(world.keyOf(candle), received)
          }
          client.position = frame.position
          const then = world.past.get(frame.position)
          expect(then, frame.position).toBeDefined()
          expect(wanted(client, client.state)).toEqual(wanted(client, then as ReadonlyMap<string, Candle>))
          if (client.acks && random() < 0.5) world.say(socket, { op: 'ack', position: frame.position })
        }
      }
      const leave = (client: Client) => {
        if (client.socket) world.hub.remove(real(client.socket))
        client.socket = null
      }
      const come = (client: Client) => {
        client.socket = world.open(client.position, client.channels)
        client.read = 0
      }

      let price = 0
      for (let step = 0; step < 800; step++) {
        const client = clients[Math.floor(random() * clients.length)] as Client
        const what = random()
        if (what < 0.6)
          world.trade(
            ++price,
            GRANULARITIES.filter(() => random() < 0.7),
          )
        else if (what < 0.8) read(client, Math.floor(random() * 20))
        else if (what < 0.9) {
          if (client.socket) leave(client)
          else come(client)
        } else if (what < 0.992) world.pass(Math.floor(random() * (random() < 0.1 ? 100_000 : 200)))
        else if (what < 0.996) {
          for (const each of clients) each.socket = null
          world.die()
        } else world.sleep()
      }
      for (const client of clients) {
        leave(client)
        come(client)
      }
      world.trade(++price)
      world.pass(SLOW_SEND_INTERVAL_MS * 3)
      for (const client of clients) {
        read(client, Number.POSITIVE_INFINITY)
        if (client.acks && client.socket) {
          world.say(client.socket, { op: 'ack', position: client.position })
          read(client, Number.POSITIVE_INFINITY)
        }
        expect(client.position).toBe(world.hub.position)
        expect(wanted(client, client.state)).toEqual(wanted(client, world.truth))
      }
      expect(recovered).toBeGreaterThan(0)
      expect(snapshots).toBeGreaterThan(0)
    },
  )
})
