import { describe, expect, test } from 'vitest'
import { QuoteChannels } from '../../../durable-objects/quotes/channels.ts'
import { PublishedQuotes } from '../../../durable-objects/quotes/published.ts'
import { MAX_NAMED_ASSETS, newQuoteSubscription } from '../../../durable-objects/quotes/subscription.ts'
import type { SymbolMatch } from '../../../durable-objects/quotes/symbol-resolver.ts'
import { WatchCounts } from '../../../durable-objects/quotes/watch-counts.ts'
import { loadAttachment, newConnection, saveAttachment } from '../../../durable-objects/sockets/connection.ts'
import { Hub } from '../../../durable-objects/sockets/hub.ts'
import { seededRandom } from '../../../simulators/exchange/random.ts'
import { SLOW_SEND_INTERVAL_MS } from '../../../src/delivery/delivery-state.ts'
import type { CachedQuote } from '../../../src/pricing/quote.ts'
import { QuoteCache } from '../../../src/pricing/quote-cache.ts'
import type { Asset } from '../../../src/protocol/asset.ts'
import { CLOSE_CODES } from '../../../src/protocol/errors.ts'
import type { WireQuote } from '../../../src/protocol/quote.ts'

const LIMITS = {
  MAX_UNACKED_FRAMES: 4,
  UNACKED_SEND_INTERVAL_MS: 100,
  CONNECTION_IDLE_TIMEOUT_MS: 600_000,
  ACK_TIMEOUT_MS: 60_000,
}
const TTL = 60_000

type Frame = {
  type: string
  position: string
  recovered?: boolean
  quotes: WireQuote[]
  channels?: string[]
  code?: string
  field?: string
  req_id?: number
}

/** The object's end of a socket: records what it is sent, and has an attachment. */
function fakeSocket() {
  const self = {
    texts: [] as string[],
    closed: null as { code: number; reason: string } | null,
    attachment: null as unknown,
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
    all: () => self.texts.map((text) => JSON.parse(text) as Frame),
    frames: (type: string) => self.all().filter((frame) => frame.type === type),
    last: () => JSON.parse(self.texts.at(-1) as string) as Frame,
  }
  return self
}
type FakeSocket = ReturnType<typeof fakeSocket>
const real = (socket: FakeSocket) => socket as unknown as WebSocket

const NAMES = ['AAA', 'BBB', 'CCC', 'DDD', 'EEE', 'FFF']

/** A board's hub and cache on a clock of their own. Asset ids are places in NAMES. */
function stage(limits: Partial<typeof LIMITS> = {}) {
  let now = 1_700_000_000_000
  const sockets: FakeSocket[] = []
  const active = new Set(NAMES.map((_, id) => id))
  const ctx = {
    acceptWebSocket: (socket: FakeSocket) => sockets.push(socket),
    getWebSockets: () => sockets.filter(({ closed }) => closed === null),
    setWebSocketAutoResponse: () => {},
    getWebSocketAutoResponseTimestamp: () => null,
  } as unknown as DurableObjectState
  const cache = new QuoteCache((quote) => Date.parse(quote.updated_at) + TTL)
  let loading: Promise<void> | undefined
  const resolveName = (symbol: string): SymbolMatch => {
    const id = NAMES.indexOf(symbol)
    if (symbol === 'BOTH') {
      const meant = ['yahoo:AAA', 'yahoo:BBB']
      const rest = { symbol: 'BOTH', name: '', type: 'stock', currency: 'USD' }
      return { kind: 'ambiguous', candidates: meant.map((name_for_it) => ({ name_for_it, ...rest })) }
    }
    if (!active.has(id)) return { kind: 'unknown', asked: false }
    return { kind: 'asset', asset: { asset_id: id, symbol } as never }
  }
  /** The published text of each quote, by position. */
  const past = new Map<string, ReadonlyMap<number, string>>()
  const published = new PublishedQuotes(cache)
  const commit = () => {
    const made = cache.commit(now)
    if (!made) return
    past.set(
      `life-${cache.lastBatch}`,
      new Map([...cache.ids()].flatMap((id) => (published.get(id) ? [[id, published.get(id)!.text]] : []))),
    )
    const gone = new Set(made.batch.dropped)
    channels.advance(made.changed, made.batch.n - 1)
    if (gone.size > 0) hub.reviseSubscriptions((subscription) => channels.withoutAssets(subscription, gone))
    hub.broadcast()
  }
  const live = () => {
    watches = new WatchCounts()
    const symbols = {
      asset: (id: number) => ({ symbol: NAMES[id] }) as Asset,
      resolveCached: (symbol: string) => (loading ? null : resolveName(symbol)),
      resolveLocally: resolveName,
      resolve: async () => {
        await loading
        return new Map<string, SymbolMatch>()
      },
    }
    channels = new QuoteChannels({ epoch: 'life', cache, symbols }, published, {
      maxChannels: 5,
      watches,
      publishStale: () => {
        cache.markStale(now)
        commit()
      },
    })
    return new Hub(ctx, channels, {
      settings: { ...LIMITS, ...limits },
      now: () => now,
      track: () => {},
      log: () => {},
    })
  }
  let watches: WatchCounts
  let channels: QuoteChannels
  let hub = live()
  past.set('life-0', new Map())
  const say = (socket: FakeSocket, message: object) => hub.onMessage(real(socket), JSON.stringify(message))
  return {
    cache,
    past,
    commit,
    say,
    active,
    get hub() {
      return hub
    },
    get channels() {
      return channels
    },
    get watches() {
      return watches
    },
    now: () => now,
    waitFor: (work: Promise<void> | undefined) => {
      loading = work
    },
    pass(ms: number) {
      const end = now + ms
      while (hub.dueAt <= end) {
        now = Math.max(now, hub.dueAt)
        hub.tick()
      }
      now = end
    },
    /** The object sleeps and wakes: sockets stay. */
    sleep() {
      hub = live()
    },
    open(channels = ['quotes.*'], since?: string, passive = false) {
      const socket = fakeSocket()
      hub.accept(real(socket), { client: 'me', passive, authorizedUntil: Number.POSITIVE_INFINITY })
      void say(socket, { op: 'subscribe', channels, since, req_id: 1 })
      return socket
    },
    leave(socket: FakeSocket) {
      socket.closed ??= { code: 1000, reason: '' }
      hub.remove(real(socket))
    },
    ack: (socket: FakeSocket) => {
      const position = socket.all().findLast((frame) => frame.position !== undefined)?.position
      void say(socket, { op: 'ack', position })
    },
    /** Prices of some assets, in one batch. */
    prices(...prices: [id: number, price: string][]) {
      for (const [id, price] of prices) cache.put(quote(id, price, now))
      commit()
    },
    drop(id: number) {
      active.delete(id)
      cache.remove(id)
      commit()
    },
  }
}

const quote = (asset_id: number, price: string, at: number): CachedQuote => ({
  asset_id,
  symbol: NAMES[asset_id] as string,
  price,
  currency: 'USD',
  previous_close: null,
  change24h: null,
  market_state: 'open',
  open: null,
  high: null,
  low: null,
  volume: null,
  eps: null,
  pe_ratio: null,
  pe_as_of: null,
  provider: 'simulated',
  as_of: new Date(at).toISOString(),
  updated_at: new Date(at).toISOString(),
  market: null,
})

const pricesOf = (frame: Frame) => frame.quotes.map(({ symbol, price }) => [symbol, price])

describe('D4 subscribe', () => {
  test('D4 a subscribe is answered, then comes a snapshot of the assets with a price, then their updates', () => {
    const world = stage()
    world.prices([0, '1.50'], [1, '2'])
    const socket = world.open(['quotes.AAA', 'quotes.CCC'])
    expect(socket.all().map(({ type }) => type)).toEqual(['subscribed', 'snapshot'])
    expect(socket.all()[0]).toEqual({
      type: 'subscribed',
      channels: ['quotes.AAA', 'quotes.CCC'],
      position: 'life-1',
      recovered: false,
      req_id: 1,
    })
    expect(pricesOf(socket.last())).toEqual([['AAA', 1.5]])
    expect(socket.texts.at(-1)).toContain('"price":1.50,')
    world.pass(1_000)
    world.prices([1, '3'])
    expect(socket.texts).toHaveLength(2)
    world.prices([1, '4'], [2, '7'])
    expect(pricesOf(socket.last())).toEqual([['CCC', 7]])
    expect(socket.last()).toMatchObject({ type: 'update', position: 'life-3' })
  })

  test('D4 a channel that cannot be had fails the whole subscribe with its code, field and req_id', async () => {
    const world = stage()
    const socket = world.open()
    const refused = async (channels: string[]) => {
      await world.say(socket, { op: 'subscribe', channels, req_id: 9 })
      const { type, code, field, req_id } = socket.last()
      expect([type, req_id]).toEqual(['error', 9])
      return [code, field]
    }
    expect(await refused(['quotes.AAA', 'quotes.NONE'])).toEqual(['unknown_symbol', 'channels/1'])
    expect(await refused(['quotes.BOTH'])).toEqual(['ambiguous_symbol', 'channels/0'])
    expect(await refused(['candles.BTC-USD.ONE_DAY'])).toEqual(['unknown_channel', 'channels/0'])
    expect(await refused(['quotes.'])).toEqual(['unknown_channel', 'channels/0'])
    expect(await refused(NAMES.map((name) => `quotes.${name}`))).toEqual(['too_many_channels', 'channels'])
    expect([...world.watches.ids()]).toEqual([])
    await world.hub.onMessage(real(socket), 'not JSON')
    expect(socket.last()).toMatchObject({ type: 'error', code: 'invalid_message' })
    await world.hub.onMessage(real(socket), new ArrayBuffer(1))
    expect(socket.last()).toMatchObject({ type: 'error', code: 'invalid_message' })
    await world.say(socket, { op: 'ping', req_id: 3 })
    expect(socket.last()).toEqual({ type: 'pong', req_id: 3 })
  })

  test('D4 an unsubscribed channel sends no more, and the others go on', async () => {
    const world = stage()
    const socket = world.open(['quotes.AAA', 'quotes.BBB'])
    await world.say(socket, { op: 'unsubscribe', channels: ['quotes.AAA', 'quotes.NONE'], req_id: 2 })
    expect(socket.last()).toEqual({ type: 'unsubscribed', channels: ['quotes.AAA', 'quotes.NONE'], req_id: 2 })
    expect([...world.watches.ids()]).toEqual([1])
    world.prices([0, '1'])
    expect(socket.frames('update')).toHaveLength(0)
    world.prices([1, '1'])
    expect(pricesOf(socket.last())).toEqual([['BBB', 1]])
  })

  test('D4 a subscribe waits for the database to resolve its symbols, and later messages wait for it', async () => {
    const world = stage()
    const { promise, resolve } = Promise.withResolvers<void>()
    world.waitFor(promise)
    const socket = world.open(['quotes.AAA'])
    const more = world.say(socket, { op: 'ping', req_id: 2 })
    await more
    expect(socket.texts).toEqual([])
    world.waitFor(undefined)
    resolve()
    await new Promise((done) => setTimeout(done))
    expect(socket.all().map(({ type }) => type)).toEqual(['subscribed', 'snapshot', 'pong'])
  })
})

describe('D1 broadcast', () => {
  test('D1 connections with the same subscription get the same text', () => {
    const world = stage()
    world.prices([0, '1'], [1, '2'], [2, '3'])
    const same = [world.open(['quotes.AAA', 'quotes.BBB']), world.open(['quotes.BBB', 'quotes.AAA'])]
    const everything = [world.open(), world.open()]
    world.pass(1_000)
    world.prices([0, '1.1'], [2, '3.1'])
    for (const [one, other] of [same, everything]) {
      expect(one?.frames('update')).toHaveLength(1)
      expect(one?.texts.at(-1)).toBe(other?.texts.at(-1))
    }
    expect(pricesOf(everything[0]!.last())).toEqual([
      ['AAA', 1.1],
      ['CCC', 3.1],
    ])
  })
})

describe('Q1 a quote that becomes stale', () => {
  test('Q1 a quote that becomes stale is sent with its reason, and sent again when it is renewed', () => {
    const world = stage()
    world.prices([0, '1'], [1, '2'])
    const socket = world.open()
    world.cache.recordAttempt(0, { at: world.now(), trouble: 'unavailable', retryAt: null })
    world.pass(TTL)
    world.cache.markStale(world.now())
    world.commit()
    expect(socket.frames('update')).toHaveLength(0)
    world.pass(1)
    world.cache.markStale(world.now())
    world.commit()
    const stale = socket.last().quotes.map((quote) => [quote.symbol, quote.price, quote.stale])
    expect(stale).toEqual([
      ['AAA', 1, 'unavailable'],
      ['BBB', 2, 'expired'],
    ])
    // A new connection gets the same at once.
    expect(world.open().last().quotes[0]?.stale).toBe('unavailable')
    world.pass(1_000)
    world.cache.recordAttempt(0, { at: world.now(), trouble: null, retryAt: null })
    world.prices([0, '1'])
    expect(socket.last().quotes.map(({ symbol, stale }) => [symbol, stale])).toEqual([['AAA', null]])
  })

  test('Q1 a new connection gets a quote as stale even if nobody has checked it since', () => {
    const world = stage()
    world.prices([0, '1'])
    world.pass(TTL + 1)
    expect(world.open().last().quotes[0]?.stale).toBe('expired')
  })
})

describe('D2 resume', () => {
  test('D2 a client that returns with a position gets the latest state of what has changed since, or nothing', () => {
    const world = stage()
    world.prices([0, '1'], [1, '2'])
    world.prices([0, '1.1'])
    world.prices([0, '1.2'])
    const socket = world.open(['quotes.AAA', 'quotes.BBB'], 'life-1')
    expect(socket.all()[0]).toMatchObject({ type: 'subscribed', recovered: true, position: 'life-1' })
    expect(socket.all()[1]).toMatchObject({ type: 'update', position: 'life-3' })
    expect(pricesOf(socket.last())).toEqual([['AAA', 1.2]])
    expect(world.open(['quotes.BBB'], 'life-1').texts).toHaveLength(1)
    expect(world.open(['quotes.*'], 'life-3').texts).toHaveLength(1)
  })

  test.each(['life-4', 'other-1', 'nonsense', ''])(
    'D2 a client that returns with %j gets a snapshot that says so',
    (since) => {
      const world = stage()
      world.prices([0, '1'])
      const socket = world.open(['quotes.AAA'], since)
      expect(socket.all()[0]).toMatchObject({ recovered: false, position: 'life-1' })
      expect(socket.last().type).toBe('snapshot')
    },
  )

  test('D2 connections continue after a sleep of the object without another snapshot', () => {
    const world = stage()
    world.prices([0, '1'], [1, '2'])
    const sockets = [world.open(), world.open(['quotes.BBB'])]
    world.pass(1_000)
    world.prices([0, '1.1'])
    world.sleep()
    world.prices([1, '2.2'])
    for (const socket of sockets) expect(socket.frames('snapshot')).toHaveLength(1)
    expect(sockets.map((socket) => pricesOf(socket.last()))).toEqual([[['BBB', 2.2]], [['BBB', 2.2]]])
    expect([...world.watches.ids()]).toEqual([1])
  })
})

describe('D2 an asset that is gone', () => {
  test('D2 connections that named the asset get an error, and those subscribed to everything a snapshot without it', () => {
    const world = stage()
    world.prices([0, '1'], [1, '2'])
    const [one, all, back] = [world.open(['quotes.AAA', 'quotes.BBB']), world.open(), 'life-1']
    world.pass(1_000)
    world.drop(0)
    expect(one.all().slice(-2)).toEqual([
      expect.objectContaining({ type: 'error', code: 'unknown_symbol', field: 'quotes.AAA' }),
      { type: 'unsubscribed', channels: ['quotes.AAA'] },
    ])
    expect(
      all
        .all()
        .slice(-2)
        .map(({ type }) => type),
    ).toEqual(['subscribed', 'snapshot'])
    expect(all.last().quotes.map(({ symbol }) => symbol)).toEqual(['BBB'])
    expect(world.open(['quotes.*'], back).all()[0]).toMatchObject({ recovered: false })
    expect(world.open(['quotes.BBB'], back).all()[0]).toMatchObject({ recovered: true })
    expect([...world.watches.ids()]).toEqual([1])
  })

  test('D2 a connection that was behind when the object fell asleep gets that snapshot too', () => {
    const world = stage()
    world.prices([0, '1'], [1, '2'])
    const all = world.open()
    world.prices([1, '3'])
    world.drop(0)
    world.sleep()
    world.pass(1_000)
    world.prices([1, '4'])
    expect(all.last().type).toBe('snapshot')
    expect(pricesOf(all.last())).toEqual([['BBB', 4]])
  })
})

describe('D3 slow connections', () => {
  test('D3 a lagging connection that acks gets its window, then the latest state in one frame', () => {
    const world = stage()
    const [lags, reads] = [world.open(), world.open()]
    world.ack(lags)
    world.ack(reads)
    for (let price = 1; price <= 100; price++) {
      world.prices([price % 3, String(price)])
      world.ack(reads)
    }
    expect(reads.frames('update')).toHaveLength(100)
    expect(lags.frames('update').length).toBeLessThanOrEqual(LIMITS.MAX_UNACKED_FRAMES)
    world.ack(lags)
    expect(new Set(pricesOf(lags.last()).map(([, price]) => price))).toEqual(new Set([98, 99, 100]))
    expect(lags.last().position).toBe(world.hub.position)
    expect(world.hub.conflations).toBe(1)
  })

  test('D3 a connection that stays behind is closed as slow, one that says nothing as silent', () => {
    const world = stage()
    const [dead, reads, silent] = [world.open(), world.open(), world.open()]
    world.ack(dead)
    world.ack(reads)
    for (let second = 0; second < 100; second++) {
      world.prices([0, String(second + 1)])
      world.ack(reads)
      world.pass(1_000)
    }
    expect([dead.closed?.code, reads.closed, silent.closed]).toEqual([CLOSE_CODES.slow_reader, null, null])
    world.pass(LIMITS.CONNECTION_IDLE_TIMEOUT_MS)
    expect(silent.closed?.code).toBe(CLOSE_CODES.silent_reader)
    expect([world.hub.connections.viewers, world.hub.closedConnections]).toEqual([1, { slow: 1, silent: 1 }])
  })

  test('D3 a connection that never acks gets one frame per interval', () => {
    const world = stage()
    const socket = world.open()
    world.pass(1_000)
    for (let price = 1; price <= 100; price++) {
      world.prices([0, String(price)])
      world.pass(10)
    }
    expect(socket.frames('update').length).toBeLessThanOrEqual(11)
    world.pass(LIMITS.UNACKED_SEND_INTERVAL_MS)
    expect(pricesOf(socket.last())).toEqual([['AAA', 100]])
  })
})

describe('Q2 watched assets', () => {
  test('Q2 an asset is watched while a viewer subscribes to it by name, since the first did', () => {
    const world = stage()
    const began = world.now()
    const first = world.open(['quotes.AAA'])
    world.pass(5_000)
    const second = world.open(['quotes.AAA', 'quotes.BBB'])
    world.open(['quotes.*'])
    world.open(['quotes.CCC'], undefined, true)
    expect([0, 1, 2].map((id) => world.watches.since(id))).toEqual([began, began + 5_000, null])
    world.leave(first)
    expect(world.watches.since(0)).not.toBeNull()
    world.leave(second)
    expect([...world.watches.ids()]).toEqual([])
    expect([world.hub.connections.viewers, world.watches.allViewers, world.hub.countSockets('me')]).toEqual([1, 1, 2])
  })

  test('D3 a socket that breaks while a frame is sent is removed', () => {
    const world = stage()
    const [broken, fine] = [world.open(['quotes.AAA']), world.open(['quotes.AAA'])]
    broken.broken = true
    world.pass(1_000)
    world.prices([0, '1'])
    expect([world.hub.connections.viewers, fine.frames('update').length]).toEqual([1, 1])
  })

  test('D5 an attachment written by an earlier version loads', () => {
    const socket = fakeSocket()
    const common = { passive: false, client: 'me', acks: false, heardAt: 7_000, pingedAt: 0 }
    socket.attachment = { all: false, ids: [2, 1], since: 5_000, sent: 4, ...common }
    const { channels } = stage()
    expect(loadAttachment(real(socket), channels)).toMatchObject({
      subscription: { all: false, ids: new Set([1, 2]), key: '1,2' },
      subscribedAt: 5_000,
      unackedOffsets: null,
      progress: { kind: 'current', offset: 4 },
    })
  })

  test('D5 the attachment of a connection with the most channels fits into 16 KiB', () => {
    const [socket] = Object.values(new WebSocketPair()) as [WebSocket]
    const { channels } = stage()
    const ids = new Set(Array.from({ length: MAX_NAMED_ASSETS }, (_, i) => 1_000_000_000 - i))
    const options = { client: 'f'.repeat(45), passive: false, authorizedUntil: Number.POSITIVE_INFINITY }
    const connection = newConnection(options, newQuoteSubscription(true, ids), 1.7e12)
    connection.progress = { kind: 'current', offset: 1e15 }
    saveAttachment(socket, connection, channels)
    expect(loadAttachment(socket, channels)?.subscription.ids).toEqual(ids)
    // The runtime itself refuses what is too large.
    expect(() => saveAttachment(socket, { ...connection, client: 'f'.repeat(16_384) }, channels)).toThrow()
  })
})

/** A client: applies frames, acks or not, comes and goes. */
type Client = {
  socket: FakeSocket | null
  channels: string[]
  ids: number[]
  acks: boolean
  read: number
  state: Map<number, string>
  position: string | undefined
}

describe('D2 D3 random runs', () => {
  test.each(Array.from({ length: 30 }, (_, i) => i + 1))(
    'D2 D3 a client that returns ends with what a fresh snapshot gives, and every position names its state (seed %i)',
    (seed) => {
      const random = seededRandom(seed)
      const world = stage({ ACK_TIMEOUT_MS: 1e12, CONNECTION_IDLE_TIMEOUT_MS: 1e12 })
      const clients: Client[] = Array.from({ length: 6 }, (_, i) => {
        const ids = NAMES.map((_, id) => id).filter((id) => id > 0 && random() < 0.5)
        if (ids.length === 0) ids.push(1)
        const all = i % 3 === 0
        const channels = all ? ['quotes.*'] : ids.map((id) => `quotes.${NAMES[id]}`)
        const wants = all ? NAMES.map((_, id) => id) : ids
        return { socket: null, channels, ids: wants, acks: i % 2 === 0, read: 0, state: new Map(), position: undefined }
      })
      const wanted = (client: Client, texts: ReadonlyMap<number, string>) =>
        [...texts].filter(([id]) => client.ids.includes(id)).sort(([a], [b]) => a - b)
      let recovered = 0

      const read = (client: Client, most: number) => {
        const { socket } = client
        if (!socket) return
        for (let i = 0; i < most && client.read < socket.texts.length; i++) {
          const text = socket.texts[client.read++] as string
          const frame = JSON.parse(text) as Frame
          if (frame.type === 'subscribed' && frame.recovered) recovered++
          if (frame.type !== 'update' && frame.type !== 'snapshot') continue
          if (frame.type === 'snapshot') client.state.clear()
          const texts = text.slice(text.indexOf('[') + 1, -2).split(/(?<=\}),(?=\{)/)
          for (const [at, one] of frame.quotes.entries()) client.state.set(one.asset_id, texts[at] as string)
          client.position = frame.position
          expect(wanted(client, client.state)).toEqual(wanted(client, world.past.get(frame.position) as never))
          if (client.acks && random() < 0.5) void world.say(socket, { op: 'ack', position: frame.position })
        }
      }
      const leave = (client: Client) => {
        if (client.socket) world.leave(client.socket)
        client.socket = null
      }
      const come = (client: Client) => {
        client.socket = world.open(client.channels, client.position)
        client.read = 0
      }

      let price = 0
      for (let step = 0; step < 600; step++) {
        const client = clients[Math.floor(random() * clients.length)] as Client
        const what = random()
        if (what < 0.5) {
          const moved = [...world.active].filter(() => random() < 0.4)
          world.prices(...moved.map((id): [number, string] => [id, `${++price}.10`]))
        } else if (what < 0.75) read(client, Math.floor(random() * 10))
        else if (what < 0.85) {
          if (client.socket) leave(client)
          else come(client)
        } else if (what < 0.98) {
          world.pass(Math.floor(random() * (random() < 0.1 ? 100_000 : 200)))
          world.cache.markStale(world.now())
          world.commit()
        } else if (what < 0.985) world.drop(0)
        else world.sleep()
      }
      for (const client of clients) {
        leave(client)
        come(client)
      }
      world.prices([1, String(++price)])
      world.pass(SLOW_SEND_INTERVAL_MS * 3)
      const fresh = world.past.get(world.hub.position) as ReadonlyMap<number, string>
      for (const client of clients) {
        read(client, Number.POSITIVE_INFINITY)
        if (client.acks && client.socket) {
          void world.say(client.socket, { op: 'ack', position: client.position })
          read(client, Number.POSITIVE_INFINITY)
        }
        expect(wanted(client, client.state)).toEqual(wanted(client, fresh))
      }
      expect(recovered).toBeGreaterThan(0)
    },
  )
})
