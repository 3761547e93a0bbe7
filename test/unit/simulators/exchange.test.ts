import { once } from 'node:events'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { Exchange } from '../../../simulators/exchange/exchange.ts'
import type { Fault } from '../../../simulators/exchange/faults.ts'
import { MALFORMED_MESSAGES } from '../../../simulators/exchange/malformed.ts'
import { manualProduct, PRODUCTS } from '../../../simulators/exchange/products.ts'
import { type ExchangeOptions, startExchange } from '../../../simulators/exchange/server.ts'
import { parseUnits, type WireTrade } from '../../../simulators/exchange/wire.ts'
import { recordedFrames } from '../../support/recordings.ts'

const MINUTE = 60_000
/** How long a test waits for what must come, in milliseconds. */
const PATIENCE_MS = 20_000
const START = Date.UTC(2026, 7, 9, 21, 5, 48)

type Frame = {
  channel: string
  timestamp: string
  sequence_num: number
  // biome-ignore lint/suspicious/noExplicitAny: tests read single fields of received messages
  events: any[]
}

const ending: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end()
})

/** An exchange on a clock that stands still until `clock.ms` is moved and `step` is called. */
async function start(options: ExchangeOptions = {}) {
  const clock = { ms: START }
  const exchange = await startExchange({ now: () => clock.ms, ...options })
  ending.push(() => exchange.close())
  return { exchange, clock }
}

/** A socket, what it received, and a bounded wait for more. */
async function dial(exchange: Exchange) {
  const socket = new WebSocket(exchange.wsUrl)
  const texts: string[] = []
  let closed: number | null = null
  socket.on('message', (data) => texts.push(data.toString()))
  socket.on('close', (code) => {
    closed = code
  })
  ending.push(() => socket.terminate())
  await once(socket, 'open')
  const until = async (what: string, done: () => boolean) => {
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end && !done(); )
      await new Promise((resolve) => setTimeout(resolve, 5))
    if (!done())
      throw new Error(
        `no ${what} within ${PATIENCE_MS} ms; got ${texts.length} messages: ${texts.join('\n').slice(0, 2_000)}`,
      )
  }
  const frames = (): Frame[] => texts.map((text) => JSON.parse(text))
  const of = (channel: string): Frame[] => frames().filter((frame) => frame.channel === channel)
  const updates = (): WireTrade[][] =>
    of('market_trades').flatMap((frame) => frame.events.filter((e) => e.type === 'update').map((e) => e.trades))
  return {
    socket,
    texts,
    frames,
    of,
    updates,
    until,
    closed: () => closed,
    send: (message: object) => socket.send(JSON.stringify(message)),
    async subscribe(channel: string, product_ids?: string[], jwt?: string) {
      const acks = of('subscriptions').length
      socket.send(JSON.stringify({ type: 'subscribe', product_ids, channel, jwt }))
      await until('ack', () => of('subscriptions').length > acks)
    },
    /** Everything that was sent before this call has arrived when it ends. */
    async settled() {
      const pong = once(socket, 'pong')
      socket.ping()
      await pong
    },
  }
}

const get = async (exchange: Exchange, path: string) => {
  const response = await fetch(exchange.url + path)
  // biome-ignore lint/suspicious/noExplicitAny: bodies are looked at field by field
  return { status: response.status, headers: response.headers, body: (await response.json()) as any }
}

const post = (exchange: Exchange, path: string, body: unknown) =>
  fetch(exchange.url + path, { method: 'POST', body: JSON.stringify(body) })

const ADVANCED = '/api/v3/brokerage/market/products'
const MANUAL = { products: [manualProduct('ONE-USD'), manualProduct('TWO-USD')] }

describe('market', () => {
  test('the same seed gives the same market, also after a restart; another seed gives another one', async () => {
    const first = await start({ seed: 'a' })
    const second = await start({ seed: 'a' })
    const other = await start({ seed: 'b' })
    second.clock.ms = START + 5 * MINUTE
    const range = ['BTC-USD', START - 30 * MINUTE, START] as const
    expect(first.exchange.sent(...range)).toEqual(second.exchange.sent(...range))
    expect(first.exchange.sent(...range)).not.toEqual(other.exchange.sent(...range))
    const seen = first.exchange.sent('BTC-USD', START - MINUTE, START).at(-1)
    const next = second.exchange.sent('BTC-USD', START, START + MINUTE)[0]
    expect(Number(next?.trade_id)).toBe(Number(seen?.trade_id) + 1)
  })

  test('trade ids are dense, times never fall, and no trade is in the future', async () => {
    const { exchange } = await start()
    for (const { id, trades } of PRODUCTS) {
      const sent = exchange.sent(id, START - 60 * MINUTE, START + 60 * MINUTE)
      if (trades.kind === 'none') expect(sent).toEqual([])
      else expect(sent.length).toBeGreaterThan(5)
      for (const [i, trade] of sent.entries()) {
        const before = sent[i - 1]
        if (before) expect(Number(trade.trade_id)).toBe(Number(before.trade_id) + 1)
        if (before) expect(Date.parse(trade.time)).toBeGreaterThanOrEqual(Date.parse(before.time))
        expect(Date.parse(trade.time)).toBeLessThanOrEqual(START)
        expect(trade.price).toMatch(/^\d+(\.\d*[1-9])?$/)
        expect(trade.size).toMatch(/^\d+(\.\d*[1-9])?$/)
        expect(Number(trade.size)).toBeGreaterThan(0)
      }
    }
  })

  test('C10 a quiet product has empty minutes, and a busy one has few', async () => {
    const { exchange } = await start()
    const minutes = async (id: string) => {
      const path = `${ADVANCED}/${id}/candles?granularity=ONE_MINUTE&start=${START / 1000 - 18_000}&end=${START / 1000 - 60}`
      return (await get(exchange, path)).body.candles.length
    }
    expect(await minutes('BTC-EUR')).toBeLessThan(200)
    expect(await minutes('BTC-EUR')).toBeGreaterThan(20)
    expect(await minutes('BTC-USD')).toBeGreaterThan(290)
  })

  test('a faster clock passes more of the market', async () => {
    const { exchange, clock } = await start({ speed: 60 })
    clock.ms += 1_000
    expect(exchange.now()).toBe(START + MINUTE)
    expect(exchange.sent('BTC-USD', START, START + 2 * MINUTE).length).toBeGreaterThan(30)
  })
})

describe('socket', () => {
  test('snapshots come before their ack, one message a product, and one sequence counts everything', async () => {
    const { exchange, clock } = await start()
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['BTC-USD', 'ETH-USD'])
    await client.subscribe('heartbeats')
    clock.ms += 5_000
    exchange.step()
    await client.until('heartbeat', () => client.of('heartbeats').length > 0)
    const frames = client.frames()
    expect(frames.map((f) => f.sequence_num)).toEqual(frames.map((_, i) => i))
    expect(frames.slice(0, 4).map((f) => f.channel)).toEqual([
      'market_trades',
      'market_trades',
      'subscriptions',
      'subscriptions',
    ])
    expect(frames[2]?.events).toEqual([{ subscriptions: { market_trades: ['BTC-USD', 'ETH-USD'] } }])
    expect(frames[3]?.events).toEqual([
      { subscriptions: { heartbeats: ['heartbeats'], market_trades: ['BTC-USD', 'ETH-USD'] } },
    ])
    for (const [i, product] of ['BTC-USD', 'ETH-USD'].entries()) {
      const snapshot: WireTrade[] = frames[i]?.events[0].trades
      expect(frames[i]?.events[0].type).toBe('snapshot')
      expect(snapshot).toHaveLength(100)
      const later = client.updates().filter((trades) => trades[0]?.product_id === product)
      const ids = [...snapshot.toReversed(), ...later.flatMap((trades) => trades.toReversed())].map((t) =>
        Number(t.trade_id),
      )
      expect(ids).toEqual(ids.map((_, k) => (ids[0] as number) + k))
      expect(ids.length).toBeGreaterThan(100)
      expect(ids.at(-1)).toBe(Number(exchange.sent(product, START - MINUTE, clock.ms).at(-1)?.trade_id))
    }
  })

  test('messages have the keys and forms of the recorded ones', async () => {
    const { exchange, clock } = await start()
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['BTC-USD'])
    await client.subscribe('heartbeats')
    clock.ms += 10_000
    exchange.step()
    await client.until('heartbeat', () => client.of('heartbeats').length > 0)
    const recorded: Frame[] = recordedFrames('coinbase-ws/advanced-trade-BTC-ETH-2026-08-09-seq0-559.no-l2.jsonl')
      .map((text) => JSON.parse(text))
      .filter((frame: Frame) => ['market_trades', 'heartbeats', 'subscriptions'].includes(frame.channel))
    /** Keys in order, and the kind of each value. */
    const shape = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.slice(0, 1).map(shape)
        : typeof value === 'object' && value !== null
          ? Object.entries(value).map(([key, inner]) => [key, shape(inner)])
          : typeof value
    const shapes = (frames: Frame[], channel: string, type?: string) => [
      ...new Set(
        frames
          .filter((f) => f.channel === channel && (type === undefined || f.events[0].type === type))
          .map((f) => JSON.stringify(shape(f))),
      ),
    ]
    for (const [channel, type] of [['market_trades', 'snapshot'], ['market_trades', 'update'], ['heartbeats']])
      expect(shapes(client.frames(), channel as string, type)).toEqual(shapes(recorded, channel as string, type))
    const forms = {
      timestamp: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z$/,
      beat: /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})? \+0000 UTC m=\+\d+\.\d+$/,
      time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z$/,
    }
    for (const frames of [recorded, client.frames()])
      for (const frame of frames) {
        expect(frame.timestamp).toMatch(forms.timestamp)
        if (frame.channel === 'heartbeats') expect(frame.events[0].current_time).toMatch(forms.beat)
        for (const trade of frame.events[0].trades ?? []) expect(trade.time).toMatch(forms.time)
      }
  })

  test('heartbeats are sent once a second and count up', async () => {
    const { exchange, clock } = await start()
    const client = await dial(exchange)
    await client.subscribe('heartbeats')
    for (let i = 0; i < 30; i++) {
      clock.ms += 100
      exchange.step()
    }
    await client.settled()
    expect(client.of('heartbeats').map((f) => f.events[0].heartbeat_counter)).toEqual([1, 2, 3])
  })

  test('a socket that subscribes to nothing is closed after five seconds', async () => {
    const { exchange, clock } = await start()
    const idle = await dial(exchange)
    const busy = await dial(exchange)
    await busy.subscribe('heartbeats')
    clock.ms += 4_999
    exchange.step()
    await idle.settled()
    expect(idle.closed()).toBeNull()
    clock.ms += 1
    exchange.step()
    await idle.until('close', () => idle.closed() !== null)
    expect(busy.closed()).toBeNull()
  })

  test('an unknown product, an unknown channel and an invalid message get an error', async () => {
    const { exchange } = await start()
    const client = await dial(exchange)
    client.send({ type: 'subscribe', channel: 'market_trades', product_ids: ['NO-SUCH'] })
    client.send({ type: 'subscribe', channel: 'level9', product_ids: ['BTC-USD'] })
    client.send({ channel: 'market_trades' })
    client.socket.send('{')
    await client.until('errors', () => client.texts.length === 4)
    for (const frame of client.frames()) expect(frame).toEqual({ type: 'error', message: expect.stringMatching(/./) })
    await client.subscribe('market_trades', ['BTC-USD'])
    expect(client.frames()[4]?.sequence_num).toBe(0)
  })

  test('nothing is sent after unsubscribing', async () => {
    const { exchange } = await start(MANUAL)
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['ONE-USD', 'TWO-USD'])
    client.send({ type: 'unsubscribe', channel: 'market_trades', product_ids: ['ONE-USD'] })
    await client.until('ack', () => client.of('subscriptions').length === 2)
    expect(client.of('subscriptions')[1]?.events).toEqual([{ subscriptions: { market_trades: ['TWO-USD'] } }])
    exchange.trade('ONE-USD', { price: '1', size: '1' })
    exchange.trade('TWO-USD', { price: '2', size: '1' })
    await client.until('trade', () => client.updates().length > 0)
    expect(
      client
        .updates()
        .flat()
        .map((t) => t.product_id),
    ).toEqual(['TWO-USD'])
  })

  test('each subscription is recorded with its token', async () => {
    const { exchange } = await start()
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['BTC-USD'], 'a.b.c')
    expect(exchange.subscriptions).toEqual([
      { at: START, connection: 1, type: 'subscribe', channel: 'market_trades', product_ids: ['BTC-USD'], jwt: 'a.b.c' },
    ])
    expect((await get(exchange, '/_subscriptions')).body.subscriptions).toEqual(exchange.subscriptions)
  })

  test('manual trades are sent at once, the trades of a tick in one message, newest first', async () => {
    const { exchange } = await start(MANUAL)
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['ONE-USD'])
    expect(client.frames()[0]?.events).toEqual([{ type: 'snapshot', trades: [] }])
    exchange.trade('ONE-USD', { price: '1.50', size: '0.25', time: START - 10, side: 'SELL' })
    exchange.tick([
      { product: 'ONE-USD', price: '2', size: '1', time: '2026-08-09T21:05:47.123456Z' },
      { product: 'ONE-USD', price: '3', size: '1', time: START },
    ])
    await client.until('trades', () => client.updates().length === 2)
    const trade = { product_id: 'ONE-USD', side: 'BUY', size: '1' }
    expect(client.updates()).toEqual([
      [{ ...trade, trade_id: '1', price: '1.5', size: '0.25', time: '2026-08-09T21:05:47.99Z', side: 'SELL' }],
      [
        { ...trade, trade_id: '3', price: '3', time: '2026-08-09T21:05:48Z' },
        { ...trade, trade_id: '2', price: '2', time: '2026-08-09T21:05:47.123456Z' },
      ],
    ])
    expect(() => exchange.trade('BTC-USD', { price: '1', size: '1' })).toThrow('BTC-USD')
    expect(() => exchange.trade('ONE-USD', { price: '1e5', size: '1' })).toThrow('1e5')
    expect((await post(exchange, '/_trades', [{ product: 'ONE-USD', price: '4', size: '1' }])).status).toBe(200)
    await client.until('the posted trade', () => client.updates().length === 3)
  })
})

describe('REST', () => {
  test('C9 pages of trades go backwards without a gap or repeat, and equal the trades of the socket', async () => {
    const { exchange, clock } = await start()
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['BTC-USD'])
    clock.ms += 3 * MINUTE
    exchange.step()
    await client.until('update', () => client.updates().length > 0)
    const sent = [...client.of('market_trades').flatMap((f) => f.events[0].trades.toReversed())] as WireTrade[]
    const read: { trade_id: number; price: string; size: string; time: string; side: string }[] = []
    for (let after = ''; read.length < sent.length; after = `&after=${read.at(-1)?.trade_id}`) {
      const page = await get(exchange, `/products/BTC-USD/trades?limit=70${after}`)
      expect(page.body).toHaveLength(70)
      expect(page.headers.get('cb-before')).toBe(String(page.body[0].trade_id))
      expect(page.headers.get('cb-after')).toBe(String(page.body[69].trade_id))
      read.push(...page.body)
    }
    for (const [i, trade] of sent.toReversed().entries()) {
      const other = read[i]
      expect(other?.trade_id).toBe(Number(trade.trade_id))
      expect(other?.price).toMatch(/^\d+\.\d{8}$/)
      expect(other?.side).toBe(trade.side.toLowerCase())
      expect(parseUnits(other?.price as string, 8)).toBe(parseUnits(trade.price, 8))
      expect(parseUnits(other?.size as string, 8)).toBe(parseUnits(trade.size, 8))
      expect(Date.parse(other?.time as string)).toBe(Date.parse(trade.time))
    }
  })

  test('a page has at most 1,000 trades, with ids below `after` or above `before`', async () => {
    const { exchange } = await start()
    const ids = async (query: string): Promise<number[]> =>
      (await get(exchange, `/products/BTC-USD/trades?${query}`)).body.map((t: { trade_id: number }) => t.trade_id)
    const newest = (await ids('limit=1'))[0] as number
    expect(await ids(`after=${newest}&limit=3`)).toEqual([newest - 1, newest - 2, newest - 3])
    expect(await ids(`before=${newest - 2}`)).toEqual([newest, newest - 1])
    expect(await ids(`before=${newest - 5}&after=${newest - 2}`)).toEqual([newest - 3, newest - 4])
    expect(await ids(`before=${newest}`)).toEqual([])
    expect(await ids('limit=5000')).toHaveLength(1_000)
    expect((await get(exchange, '/products/BTC-USD/trades?limit=many')).status).toBe(400)
  })

  test('C7 candles of every granularity are the fold of the trades of half-open intervals, newest first', async () => {
    const { exchange } = await start()
    const second = START / 1000
    const from = second - 40_000
    for (const product of ['ETH-USD', 'BTC-EUR']) {
      const trades = exchange.sent(product, (from - 86_400) * 1000, START + 1)
      for (const [granularity, seconds] of [
        ['ONE_MINUTE', 60],
        ['FIVE_MINUTE', 300],
        ['TWO_HOUR', 7_200],
      ] as const) {
        const begin = Math.max(from, second - 300 * seconds)
        const buckets = Map.groupBy(trades, (t) => Math.floor(Date.parse(t.time) / 1000 / seconds) * seconds)
        const wanted = [...buckets]
          .filter(([start]) => start >= begin - (begin % seconds))
          .toReversed()
          .map(([start, inside]) => {
            const prices = inside.map((t) => t.price)
            const volume = inside.reduce((sum, t) => sum + parseUnits(t.size, 8), 0n)
            return {
              start: String(start),
              low: String(Math.min(...prices.map(Number))),
              high: String(Math.max(...prices.map(Number))),
              open: prices[0],
              close: prices.at(-1),
              volume: volume
                .toString()
                .padStart(9, '0')
                .replace(/(\d{8})$/, '.$1')
                .replace(/\.?0+$/, ''),
            }
          })
        expect(wanted.length).toBeGreaterThan(5)
        const path = `${ADVANCED}/${product}/candles?granularity=${granularity}&start=${begin}&end=${second}`
        expect((await get(exchange, path)).body.candles).toEqual(wanted)
      }
    }
  })

  test('more than 350 candles are refused; the bucket that starts at end is counted', async () => {
    const { exchange } = await start()
    const end = START / 1000 - ((START / 1000) % 60)
    const ask = (minutes: number) =>
      get(exchange, `${ADVANCED}/BTC-USD/candles?granularity=ONE_MINUTE&start=${end - minutes * 60}&end=${end}`)
    expect((await ask(349)).body.candles).toHaveLength(350)
    const refused = await ask(350)
    expect(refused.status).toBe(400)
    expect(refused.body.error).toBe('INVALID_ARGUMENT')
    expect((await get(exchange, `${ADVANCED}/BTC-USD/candles?granularity=TWO&start=1&end=2`)).status).toBe(400)
  })

  test('products have the price and the last 24 hours of their own trades', async () => {
    const { exchange } = await start()
    const { body } = await get(exchange, `${ADVANCED}?product_ids=LTC-USD&product_ids=NU-USD&product_ids=DAI-USD`)
    expect(body.products.map((p: { product_id: string; status: string }) => [p.product_id, p.status])).toEqual([
      ['LTC-USD', 'online'],
      ['NU-USD', 'offline'],
      ['DAI-USD', 'delisted'],
    ])
    const trades = exchange.sent('LTC-USD', START - 86_400_000, START + 1)
    const ltc = body.products[0]
    expect(ltc.price).toBe(trades.at(-1)?.price)
    const first = Number(trades[0]?.price)
    expect(Number(ltc.price_percentage_change_24h)).toBeCloseTo(((Number(ltc.price) - first) / first) * 100, 1)
    expect(Number(ltc.volume_24h)).toBeCloseTo(
      trades.reduce((sum, t) => sum + Number(t.size), 0),
      -1,
    )
    expect((await get(exchange, `${ADVANCED}/LTC-USD`)).body).toEqual(ltc)
    expect((await get(exchange, `${ADVANCED}?limit=3&offset=1`)).body.products[0].product_id).toBe('ETH-USD')
    expect((await get(exchange, ADVANCED)).body.num_products).toBe(PRODUCTS.length)
  })

  test('the ticker has the newest trades with the ids of the socket', async () => {
    const { exchange } = await start()
    const { body } = await get(exchange, `${ADVANCED}/BTC-USD/ticker?limit=2`)
    const newest = exchange
      .sent('BTC-USD', START - MINUTE, START + 1)
      .slice(-2)
      .reverse()
    expect(body.trades).toEqual(newest.map((t) => ({ ...t, bid: '', ask: '', exchange: 'coinbase' })))
  })

  test('unknown products and paths are 404 in the style of each API', async () => {
    const { exchange } = await start()
    expect((await get(exchange, `${ADVANCED}/NO-SUCH`)).body.error).toBe('NOT_FOUND')
    const missing = await get(exchange, '/products/NO-SUCH/trades')
    expect([missing.status, missing.body]).toEqual([404, { message: 'NotFound' }])
    expect((await get(exchange, '/elsewhere')).status).toBe(404)
  })
})

describe('misbehaviour', () => {
  /** A client of two manual products, and a way to make trades whose price is their number. */
  async function faulty() {
    const { exchange, clock } = await start(MANUAL)
    const client = await dial(exchange)
    await client.subscribe('market_trades', ['ONE-USD'])
    await client.subscribe('heartbeats')
    let count = 0
    const trade = (times = 1) => {
      for (let i = 0; i < times; i++) exchange.trade('ONE-USD', { price: String(++count), size: '1' })
    }
    const prices = () => client.updates().map((trades) => Number(trades[0]?.price))
    const sequences = () => client.frames().map((f) => f.sequence_num)
    return { exchange, clock, client, trade, prices, sequences }
  }

  test('the fault close closes sockets with its code, 1006 without a close frame, and accepts new ones', async () => {
    const { exchange, client } = await faulty()
    const other = await dial(exchange)
    await other.subscribe('market_trades', ['TWO-USD'])
    exchange.fault({ kind: 'close', code: 1012, product: 'ONE-USD' })
    await client.until('close', () => client.closed() !== null)
    expect(client.closed()).toBe(1012)
    expect(other.closed()).toBeNull()
    exchange.fault({ kind: 'close' })
    await other.until('close', () => other.closed() !== null)
    expect(other.closed()).toBe(1006)
    expect(exchange.connections()).toBe(0)
    await (await dial(exchange)).subscribe('heartbeats')
  })

  test('the fault refuse rejects new sockets for its duration', async () => {
    const { exchange, clock } = await faulty()
    exchange.fault({ kind: 'refuse', ms: 1_000 })
    await expect(dial(exchange)).rejects.toThrow('503')
    clock.ms += 1_000
    await dial(exchange)
  })

  test('a step of the clock moves the market but not the heartbeats, and a fault counts its hits', async () => {
    const { exchange, clock, client, trade } = await faulty()
    expect(exchange.fault({ kind: 'clock', ms: -20_000 }).hits).toBe(1)
    expect(exchange.now()).toBe(START - 20_000)
    clock.ms += 1_000
    exchange.step()
    await client.until('heartbeat', () => client.of('heartbeats').length === 1)
    const skipped = exchange.fault({ kind: 'skip', frames: 3 })
    expect(skipped.hits).toBe(0)
    trade(2)
    expect(skipped.hits).toBe(2)
    exchange.clearFaults()
    expect(exchange.now()).toBe(START + 1_000)
    trade()
    expect(skipped.hits).toBe(2)
  })

  test('C8 with the fault silent, open sockets receive nothing and stay open, and lost messages leave a gap', async () => {
    const { exchange, clock, client, trade, prices, sequences } = await faulty()
    exchange.fault({ kind: 'silent', ms: 1_500 })
    trade(2)
    clock.ms += 1_000
    exchange.step()
    const fresh = await dial(exchange)
    await fresh.subscribe('market_trades', ['ONE-USD'])
    await client.settled()
    expect([prices(), client.closed()]).toEqual([[], null])
    clock.ms += 500
    trade()
    await client.until('trade', () => prices().length === 1)
    expect(prices()).toEqual([3])
    expect(sequences()).toEqual([0, 1, 2, 6])
  })

  test('the fault skip loses frames with their sequence numbers, and heartbeats if set', async () => {
    const { exchange, clock, client, trade, prices, sequences } = await faulty()
    exchange.fault({ kind: 'skip', frames: 2 })
    trade(3)
    exchange.fault({ kind: 'skip', channel: 'heartbeats' })
    clock.ms += 1_000
    exchange.step()
    trade()
    await client.until('trades', () => prices().length === 2)
    expect(prices()).toEqual([3, 4])
    expect(sequences()).toEqual([0, 1, 2, 5, 7])
  })

  test('the faults repeat, swap and delay change the order and number of frames, not their content', async () => {
    const { exchange, clock, client, trade, prices } = await faulty()
    exchange.fault({ kind: 'repeat' })
    trade(2)
    exchange.fault({ kind: 'swap' })
    trade(2)
    exchange.fault({ kind: 'delay', ms: 5_000 })
    trade(2)
    await client.settled()
    expect(prices()).toEqual([1, 1, 2, 4, 3, 6])
    clock.ms += 5_000
    exchange.step()
    await client.until('the late frame', () => prices().length === 7)
    expect(prices().at(-1)).toBe(5)
  })

  test('the fault shuffle changes the order of the trades of a message and repeats one', async () => {
    const { exchange, client } = await faulty()
    exchange.fault({ kind: 'shuffle' })
    exchange.tick(Array.from({ length: 20 }, (_, i) => ({ product: 'ONE-USD', price: String(i + 1), size: '1' })))
    await client.until('trades', () => client.updates().length === 1)
    const ids = client.updates()[0]?.map((t) => Number(t.trade_id)) ?? []
    expect(ids).toHaveLength(21)
    expect(new Set(ids).size).toBe(20)
    expect(ids).not.toEqual(ids.toSorted((a, b) => b - a))
  })

  test('C4 malformed messages are sent beside the valid ones, which continue their numbers', async () => {
    const { exchange, client, trade } = await faulty()
    const names = Object.keys(MALFORMED_MESSAGES)
    exchange.fault({ kind: 'malformed', frames: names.length })
    exchange.fault({ kind: 'malformed', name: 'nan_price' })
    exchange.fault({ kind: 'text', text: 'as you like' })
    trade()
    await client.until('all', () => client.texts.length === 3 + names.length + 3)
    expect(new Set(client.texts.slice(3, 3 + names.length)).size).toBe(names.length)
    expect(client.texts.at(-3)).toContain('"price":"NaN"')
    expect(client.texts.at(-2)).toBe('as you like')
    expect(JSON.parse(client.texts.at(-1) as string).sequence_num).toBe(3)
    expect(() => exchange.fault({ kind: 'malformed', name: 'nonsense' })).toThrow('nonsense')
  })

  test('a fault for one product leaves the others alone', async () => {
    const { exchange, client, trade, prices } = await faulty()
    exchange.fault({ kind: 'skip', product: 'TWO-USD' })
    trade()
    await client.until('trade', () => prices().length === 1)
  })

  test('a REST fault responds with 429 and Retry-After, 500, another body, late or never, as often as set', async () => {
    const { exchange } = await start({ ...MANUAL, speed: 100 })
    const path = '/products/ONE-USD/trades'
    exchange.fault({ kind: 'rest', answer: '429', retryAfter: 7, times: 2 })
    const limited = await get(exchange, path)
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '7'])
    expect(limited.body).toEqual({ message: 'Public rate limit exceeded' })
    expect((await get(exchange, `${ADVANCED}/ONE-USD`)).status).toBe(429)
    expect((await get(exchange, path)).status).toBe(200)
    exchange.fault({ kind: 'rest', answer: '500', path: '/trades' })
    expect((await get(exchange, `${ADVANCED}/ONE-USD`)).status).toBe(200)
    expect((await get(exchange, path)).status).toBe(500)
    exchange.fault({ kind: 'rest', answer: 'wrong', product: 'ONE-USD' })
    expect((await get(exchange, path)).body).toHaveProperty('surprise')
    exchange.fault({ kind: 'rest', answer: 'late', ms: 5_000 })
    const began = performance.now()
    expect((await get(exchange, path)).body).toEqual([])
    expect(performance.now() - began).toBeGreaterThan(45)
    exchange.fault({ kind: 'rest', answer: 'hang' })
    const caller = new AbortController()
    const hanging = expect(fetch(exchange.url + path, { signal: caller.signal })).rejects.toThrow()
    await vi.waitUntil(() => exchange.requests.length === 8, { timeout: PATIENCE_MS })
    caller.abort()
    await hanging
    expect(exchange.requests.map((r) => r.status)).toEqual([429, 429, 200, 200, 500, 200, 200, 0])
  })

  test('a REST fault with a duration ends after it', async () => {
    const { exchange, clock } = await start(MANUAL)
    exchange.fault({ kind: 'rest', answer: '500', forMs: 1_000 })
    for (let i = 0; i < 3; i++) expect((await get(exchange, '/products/ONE-USD/trades')).status).toBe(500)
    clock.ms += 1_000
    expect((await get(exchange, '/products/ONE-USD/trades')).status).toBe(200)
  })

  test('faults can be set, read and cleared over HTTP, one or several; invalid ones are refused', async () => {
    const { exchange, client, trade, prices } = await faulty()
    const faults: Fault[] = [
      { kind: 'skip', frames: 5 },
      { kind: 'rest', answer: '500' },
    ]
    expect((await post(exchange, '/_faults', faults)).status).toBe(200)
    expect((await get(exchange, '/_faults')).body.frames).toHaveLength(1)
    trade()
    await fetch(`${exchange.url}/_faults`, { method: 'DELETE' })
    trade()
    await client.until('trade', () => prices().length > 0)
    expect(prices()).toEqual([2])
    expect((await get(exchange, '/products/ONE-USD/trades')).status).toBe(200)
    for (const wrong of [{ kind: 'skip', frames: -1 }, { kind: 'nonsense' }, null])
      expect((await post(exchange, '/_faults', wrong)).status).toBe(400)
  })

  test('/_sent returns the trades of the market, also the trades lost on the way', async () => {
    const { exchange, trade } = await faulty()
    exchange.fault({ kind: 'skip', frames: 3 })
    trade(3)
    const { body } = await get(exchange, `/_sent?product=ONE-USD&from=${START}&to=${START + 1}`)
    expect(body.trades.map((t: WireTrade) => t.price)).toEqual(['1', '2', '3'])
    expect((await get(exchange, '/_sent?product=NO-SUCH')).status).toBe(400)
  })
})

test('a closed exchange leaves no timer, no socket and no port behind', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const exchange = await startExchange({ speed: 0.001 })
  const client = await dial(exchange)
  await client.subscribe('market_trades', ['BTC-USD'])
  exchange.fault([{ kind: 'rest', answer: 'late', ms: 60_000 }][0] as Fault)
  const late = fetch(`${exchange.url}/products/BTC-USD/trades`)
  await client.until('request', () => exchange.requests.length === 1)
  expect(timers()).toBeGreaterThan(before)
  const failed = expect(late).rejects.toThrow()
  await exchange.close()
  await failed
  await client.until('close', () => client.closed() !== null)
  await expect(fetch(exchange.url)).rejects.toThrow()
  expect(timers()).toBeLessThanOrEqual(before)
})
