import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import { feedSlots, productCandles, productObjectName } from '../../durable-objects/stubs.ts'
import { readCandles } from '../../src/db/candles.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import type { Candle, WireCandle } from '../../src/protocol/candle.ts'
import { closeAll, gate, type Message, openSocket, until } from './wire.ts'

// Before the first object reads them: what takes a minute in life takes moments here.
Object.assign(env, {
  FEED_LINGER_MS: '300',
  FEED_SILENCE_MS: '3000',
  REDIAL_MIN_MS: '20',
  REDIAL_MAX_MS: '50',
  CHECKPOINT_MS: '100',
  FLUSH_FORMING_MS: '200',
  BACKFILL_DELAY_MS: '50',
  MAX_SOCKETS_PER_CLIENT: '3',
  // Not a key: market data needs none, so that all of this goes on without a token.
  COINBASE_API_KEY: 'organizations/o/apiKeys/k',
  COINBASE_PRIVATE_KEY: 'not a key',
})

const exchange = async (path: string, body?: unknown): Promise<Record<string, unknown>> => {
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const response = await fetch(`${env.COINBASE_REST_URL}${path}`, init)
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as Record<string, unknown>
}
/** One message of the exchange with these trades: price, size and, unless it is now, unix milliseconds. */
const trades = (product: string, ...list: [price: string, size: string, time?: number][]) =>
  exchange(
    '/_trades',
    list.map(([price, size, time]) => ({ product, price, size, time })),
  )
const fault = (body: object) => exchange('/_faults', body)

type Subscription = { channel: string; product_ids: string[]; jwt: string | null }
const subscriptions = async (product: string): Promise<Subscription[]> =>
  ((await exchange('/_subscriptions')).subscriptions as Subscription[]).filter((one) =>
    one.product_ids.includes(product),
  )

const status = (product: string) => productCandles(env, product).status()
const inState = (product: string, state: string) =>
  until(`the feed of ${product} to be ${state}`, async () => {
    const found = await status(product)
    return found.feed.state === state ? found : null
  })

const viewer = async (product: string, more: object = {}) => {
  const client = await openSocket(`/ws/products/${product}`)
  client.send({ op: 'subscribe', channels: [`candles.${product}.*`], ...more })
  return client
}
type Client = Awaited<ReturnType<typeof viewer>>
const candlesOf = (message: Message) => message.candles as WireCandle[]
/** The next update that brings a candle of one minute with this price as its last. */
const minuteWith = async (client: Client, close: number): Promise<WireCandle> => {
  const fits = (one: WireCandle) => one.granularity === 'ONE_MINUTE' && one.close === close
  const message = await client.next('update', (frame) => candlesOf(frame).some(fits))
  return candlesOf(message).find(fits) as WireCandle
}

const held = (product: string, start: number) =>
  productCandles(env, product)
    .candles({ granularity: 'ONE_MINUTE', start, end: start + 60, limit: 1 })
    .then(({ candles }) => candles[0])

const inPostgres = (product: string, start: number): Promise<Candle | undefined> =>
  withLiveDatabase(env, (sql) =>
    readCandles(sql, {
      exchange: 'simulated',
      product,
      granularity: 'ONE_MINUTE',
      start,
      end: start + 60,
      limit: 1,
    }),
  ).then(([candle]) => candle)

/** A minute that is over, so many minutes ago; unix seconds. */
const minuteAgo = (minutes: number): number => {
  const now = Math.floor(Date.now() / 1000)
  return now - (now % 60) - minutes * 60
}

afterEach(async () => {
  await gate(true)
  await fetch(`${env.COINBASE_REST_URL}/_faults`, { method: 'DELETE' })
  await closeAll()
})

describe('the feed', () => {
  test('opens with the first viewer, without a token for want of a good key, and closes after the last has left', async () => {
    expect((await status('ONE-USD')).feed.state).toBe('closed')
    expect(await subscriptions('ONE-USD')).toEqual([])
    const [first, second] = [await viewer('ONE-USD'), await viewer('ONE-USD')]
    await inState('ONE-USD', 'live')
    expect((await subscriptions('ONE-USD')).map(({ channel, jwt }) => [channel, jwt])).toEqual([
      ['market_trades', null],
      ['heartbeats', null],
    ])
    expect((await feedSlots(env).open(Date.now())).map(({ product }) => product)).toContain('ONE-USD')
    first.close()
    await until('one viewer to be left', async () => ((await status('ONE-USD')).viewers === 1 ? true : null))
    second.close()
    const { feed } = await inState('ONE-USD', 'closed')
    expect(feed.reason).toBe('no viewers')
    await until('the lease to be given back', async () =>
      (await feedSlots(env).open(Date.now())).some(({ product }) => product === 'ONE-USD') ? null : true,
    )
  })

  test('is not opened by a passive socket, which gets everything all the same', async () => {
    const response = await productCandles(env, 'TWO-USD').fetch(
      new Request('http://kerb.test/?passive=true', { headers: { upgrade: 'websocket' } }),
    )
    const socket = response.webSocket as WebSocket
    const types: string[] = []
    socket.addEventListener('message', ({ data }) => types.push((JSON.parse(data as string) as Message).type))
    socket.accept()
    socket.send(JSON.stringify({ op: 'subscribe', channels: ['candles.TWO-USD.*'] }))
    await until('the snapshot', () => (types.includes('snapshot') ? true : null))
    // An open feed would have begun with the socket, long before its snapshot.
    expect((await status('TWO-USD')).feed.state).toBe('closed')
    expect(await subscriptions('TWO-USD')).toEqual([])
    const active = await viewer('TWO-USD')
    await inState('TWO-USD', 'live')
    await trades('TWO-USD', ['3', '1'])
    await minuteWith(active, 3)
    await until('the update', () => (types.includes('update') ? true : null))
    socket.close(1000)
  })

  test('of an always-on pair opens by the guard, and closes when the exchange does not trade it', async () => {
    const object = productCandles(env, 'FOUR-USD')
    await object.guard(true)
    await inState('FOUR-USD', 'live')
    await object.guard(false)
    expect((await inState('FOUR-USD', 'closed')).feed.reason).toBe('not traded')
    // Nor does a viewer open it.
    const client = await viewer('FOUR-USD')
    await client.next('snapshot')
    expect((await status('FOUR-USD')).feed.state).toBe('closed')
    await object.guard(true)
    await inState('FOUR-USD', 'live')
  })

  test('that is closed from the other side is dialled again, and its viewers are told', async () => {
    const client = await viewer('ONE-USD')
    await inState('ONE-USD', 'live')
    await client.next('feed', (frame) => frame.state === 'live')
    const { reconnects } = (await status('ONE-USD')).feed
    await fault({ kind: 'close', product: 'ONE-USD' })
    await client.next('feed', (frame) => frame.state !== 'live')
    await client.next('feed', (frame) => frame.state === 'live')
    expect((await status('ONE-USD')).feed.reconnects).toBeGreaterThan(reconnects)
    await trades('ONE-USD', ['11', '1'])
    expect(await minuteWith(client, 11)).toMatchObject({ volume: expect.any(Number) })
  })

  test('that says nothing is given up by the watchdog, and dialled again', async () => {
    const client = await viewer('ONE-USD')
    await inState('ONE-USD', 'live')
    await fault({ kind: 'silent', ms: 60_000, product: 'ONE-USD' })
    // What is traded meanwhile is lost on the silent connection.
    await trades('ONE-USD', ['12', '1'])
    const { reconnects } = (await status('ONE-USD')).feed
    await until('another connection', async () =>
      (await status('ONE-USD')).feed.reconnects > reconnects ? true : null,
    )
    await inState('ONE-USD', 'live')
    expect(await minuteWith(client, 12)).toMatchObject({ coverage: expect.any(String) })
  })
})

describe('C12 nothing closed is lost', () => {
  test('a complete candle is in SQLite before it is announced, and after a death nothing is lost or twice', async () => {
    const client = await viewer('THREE-USD')
    await inState('THREE-USD', 'live')
    const start = minuteAgo(5)
    await trades(
      'THREE-USD',
      ['20', '0.25', start * 1000],
      ['22', '0.5', start * 1000 + 900],
      ['21', '0.125', start * 1000 + 59_999],
    )
    const told = await minuteWith(client, 21)
    expect(told).toMatchObject({
      timestamp: start,
      is_complete: true,
      rev: 0,
      volume: 0.875,
      open: 20,
      high: 22,
      low: 20,
    })
    await abortAllDurableObjects()
    const stub = env.PRODUCT_CANDLES.getByName(productObjectName('simulated', 'THREE-USD'))
    const bodies = await runInDurableObject(stub, (_, state) =>
      state.storage.sql.exec<{ body: string }>('SELECT body FROM bars WHERE size = 0 AND start = ?', start).toArray(),
    )
    expect(bodies.map(({ body }) => JSON.parse(body))).toMatchObject([
      { complete: true, rev: 0, close: '21', volume: '0.875' },
    ])
    // The exchange's snapshot tells the same three trades again.
    const next = await viewer('THREE-USD')
    await inState('THREE-USD', 'live')
    await trades('THREE-USD', ['19', '1', start * 1000 + 59_999])
    const revised = await minuteWith(next, 19)
    expect(revised).toMatchObject({ timestamp: start, volume: 1.875, open: 20, high: 22, low: 19, is_complete: true })
    expect(revised.rev).toBeGreaterThan(0)
    expect(await held('THREE-USD', start)).toMatchObject({ volume: '1.875', open: '20', close: '19' })
  })

  test('a forming candle that was not checkpointed comes back with the trades of the exchange', async () => {
    const client = await viewer('THREE-USD')
    await inState('THREE-USD', 'live')
    await trades('THREE-USD', ['31', '2'])
    const told = await minuteWith(client, 31)
    await abortAllDurableObjects()
    await viewer('THREE-USD')
    const again = await until('the candle', () => held('THREE-USD', told.timestamp))
    await until('its trades', async () =>
      Number((await held('THREE-USD', told.timestamp))?.volume) === told.volume ? true : null,
    )
    expect(again.timestamp).toBe(told.timestamp)
  })

  test('it reaches Postgres in a moment, forming ones a little later', async () => {
    const client = await viewer('ONE-USD')
    await inState('ONE-USD', 'live')
    const start = minuteAgo(20)
    await trades('ONE-USD', ['41', '1.5', start * 1000])
    await minuteWith(client, 41)
    const stored = await until('the row', () => inPostgres('ONE-USD', start))
    expect(stored).toMatchObject({ open: '41', volume: '1.5', is_complete: true })
    await until('all to be flushed', async () => ((await status('ONE-USD')).unflushed === 0 ? true : null))
    await trades('ONE-USD', ['42', '1'])
    const forming = await minuteWith(client, 42)
    await until('the forming row', async () =>
      (await inPostgres('ONE-USD', forming.timestamp))?.close === '42' ? true : null,
    )
  })

  test('while Postgres refuses, the stream goes on; then everything is there, although the object has died', async () => {
    const client = await viewer('TWO-USD')
    await inState('TWO-USD', 'live')
    await until('all to be flushed', async () => ((await status('TWO-USD')).unflushed === 0 ? true : null))
    await gate(false)
    const [first, second] = [minuteAgo(9), minuteAgo(8)]
    await trades('TWO-USD', ['51', '1', first * 1000])
    await minuteWith(client, 51)
    await until('a failed flush', async () => ((await status('TWO-USD')).flushFailures > 0 ? true : null))
    await trades('TWO-USD', ['52', '2', second * 1000])
    await minuteWith(client, 52)
    expect((await status('TWO-USD')).unflushed).toBeGreaterThanOrEqual(2)
    await abortAllDurableObjects()
    await gate(true)
    await viewer('TWO-USD')
    for (const [start, close] of [
      [first, '51'],
      [second, '52'],
    ] as const) {
      const row = await until(`${close} in Postgres`, () => inPostgres('TWO-USD', start))
      expect(row).toMatchObject({ close, is_complete: true })
    }
    await until('all to be flushed', async () => ((await status('TWO-USD')).unflushed === 0 ? true : null))
  })
})

test('C9 a hole is fetched by REST, and told as gap until it is healed', async () => {
  const client = await viewer('THREE-USD')
  await inState('THREE-USD', 'live')
  // A socket that an object has left behind when it died would take the fault that is meant for this one.
  const { reconnects } = (await status('THREE-USD')).feed
  await fault({ kind: 'close', product: 'THREE-USD' })
  await until('a new connection', async () => ((await status('THREE-USD')).feed.reconnects > reconnects ? true : null))
  await inState('THREE-USD', 'live')
  await trades('THREE-USD', ['60', '1'])
  await minuteWith(client, 60)
  const { rest } = (await status('THREE-USD')).trades
  await fault({ kind: 'rest', answer: 'late', ms: 600, path: 'THREE-USD/trades' })
  await fault({ kind: 'skip', product: 'THREE-USD' })
  await trades('THREE-USD', ['61', '4'])
  await trades('THREE-USD', ['62', '1'])
  const doubtful = await minuteWith(client, 62)
  expect(doubtful.coverage).toBe('gap')
  await client.next('update', (frame) =>
    candlesOf(frame).some(
      (one) =>
        one.granularity === 'ONE_MINUTE' &&
        one.timestamp === doubtful.timestamp &&
        one.coverage !== 'gap' &&
        one.volume >= doubtful.volume + 4,
    ),
  )
  expect((await status('THREE-USD')).trades.rest).toBe(rest + 1)
  const asked = ((await exchange('/_requests')).requests as { path: string }[]).map(({ path }) => path)
  expect(asked.some((path) => path.startsWith('/products/THREE-USD/trades?after='))).toBe(true)
})

describe("D4 a product's own socket", () => {
  test('answers each message, and each that is wrong with a code and its field', async () => {
    const client = await openSocket('/ws/products/ONE-USD')
    client.send({ op: 'ping', req_id: 7 })
    expect(await client.next('pong')).toMatchObject({ req_id: 7 })
    client.send({ op: 'subscribe', channels: ['candles.ONE-USD.ONE_MINUTE'], req_id: 'a', more: 1 })
    expect(await client.next('subscribed')).toMatchObject({
      channels: ['candles.ONE-USD.ONE_MINUTE'],
      recovered: false,
      req_id: 'a',
    })
    const snapshot = await client.next('snapshot')
    expect(new Set(candlesOf(snapshot).map(({ granularity }) => granularity))).toEqual(new Set(['ONE_MINUTE']))
    client.send({ op: 'ack', position: snapshot.position })
    for (const [message, error] of [
      ['{', { code: 'invalid_message', field: null }],
      ['[]', { code: 'invalid_message' }],
      [`"${'x'.repeat(1_000_000)}"`, { code: 'message_too_large', field: null }],
      [
        { op: 'fly', req_id: 3 },
        { code: 'invalid_message', field: 'op', req_id: 3 },
      ],
      [
        { op: 'subscribe', channels: [], req_id: 4 },
        { code: 'invalid_message', field: 'channels', req_id: 4 },
      ],
      [
        { op: 'subscribe', channels: ['trades.ONE-USD'] },
        { code: 'unknown_channel', field: 'channels/0' },
      ],
      [
        { op: 'subscribe', channels: ['candles.ONE-USD.*', 'candles.TWO-USD.*'] },
        { code: 'unknown_product', field: 'channels/1' },
      ],
      [
        { op: 'unsubscribe', channels: ['candles.ONE-USD.TWO'] },
        { code: 'unknown_granularity', field: 'channels/0' },
      ],
    ] as const) {
      client.send(message)
      expect(await client.next('error')).toMatchObject(error)
    }
    client.send({ op: 'unsubscribe', channels: ['candles.ONE-USD.*'], req_id: 5 })
    expect(await client.next('unsubscribed')).toMatchObject({ req_id: 5 })
    const other = await viewer('ONE-USD')
    await inState('ONE-USD', 'live')
    await trades('ONE-USD', ['71', '1'])
    await minuteWith(other, 71)
    client.send({ op: 'ping', req_id: 8 })
    await client.next('pong', (frame) => frame.req_id === 8)
    expect(client.texts.some((text) => text.includes('"close":71,'))).toBe(false)
  })

  test('one client has a limited number of sockets on one product, another has its own', async () => {
    const open = (client: string) =>
      productCandles(env, 'ONE-USD').fetch(
        new Request('http://kerb.test/', { headers: { upgrade: 'websocket', 'kerb-client': client } }),
      )
    const sockets: WebSocket[] = []
    for (let n = 0; n < 3; n++) {
      const { status, webSocket } = await open('198.51.100.7')
      expect(status).toBe(101)
      webSocket?.accept()
      sockets.push(webSocket as WebSocket)
    }
    const refused = await open('198.51.100.7')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10'])
    const other = await open('198.51.100.8')
    expect(other.status).toBe(101)
    other.webSocket?.accept()
    sockets[0]?.close(1000)
    await until('a place', async () => {
      const again = await open('198.51.100.7')
      again.webSocket?.accept()
      if (again.webSocket) sockets.push(again.webSocket)
      return again.status === 101 ? true : null
    })
    for (const socket of [...sockets, other.webSocket]) socket?.close(1000)
  })
})
