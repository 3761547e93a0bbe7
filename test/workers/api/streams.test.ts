import { abortAllDurableObjects } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import { feedSlots, productCandles } from '../../../src/objects.ts'
import { formatCandle } from '../../../src/protocol/candle.ts'
import { GRANULARITIES } from '../../../src/protocol/granularity.ts'
import {
  closeAll,
  type Message,
  openEventStream,
  openSocket,
  type ServerSentEvent,
  sendTrade,
  waitFor,
} from '../support/wire.ts'

afterEach(closeAll)

type Candles = { product_id: string; granularity: string; timestamp: number; close: number }[]
const candlesOf = (message: Message) => message.candles as Candles
/** The price of the newest candle of a frame: one that closes in the same moment may stand beside it, in any order. */
const close = (message: Message) => [...candlesOf(message)].sort((a, b) => a.timestamp - b.timestamp).at(-1)?.close

const channel = (product: string, granularity = 'ONE_MINUTE') => `candles.${product}.${granularity}`
const viewers = async (product: string) => (await productCandles(env, product).status()).viewers
const noViewer = (product: string) =>
  waitFor(`the last viewer of ${product} to leave`, async () => ((await viewers(product)) === 0 ? true : null))

/** Subscribes and waits until the product's feed is live, so that a trade reaches the socket. */
async function joined(channels: string[], products: string[], more: object = {}) {
  const client = await openSocket('/ws')
  client.send({ op: 'subscribe', channels, req_id: 'first', ...more })
  for (const product of products)
    await waitFor(`the feed of ${product}`, async () =>
      (await productCandles(env, product).status()).feed.state === 'live' ? true : null,
    )
  return client
}

describe('/ws', () => {
  test('D4 joins objects: subscribed and a snapshot of each, then updates of both on one socket', async () => {
    const client = await joined([channel('ONE-USD'), channel('TWO-USD')], ['ONE-USD', 'TWO-USD'])
    const answers = [await client.next('subscribed'), await client.next('subscribed')]
    expect(answers.map(({ channels }) => channels).sort()).toEqual([[channel('ONE-USD')], [channel('TWO-USD')]])
    expect(answers.every(({ req_id, recovered }) => req_id === 'first' && recovered === false)).toBe(true)
    expect(client.texts.filter((text) => text.includes('"type":"snapshot"'))).toHaveLength(2)
    await sendTrade('ONE-USD', '100.10')
    const one = await client.next('update')
    await sendTrade('TWO-USD', '7.5')
    const two = await client.next('update')
    expect([close(one), close(two)]).toEqual([100.1, 7.5])
    expect(two.position).toMatch(/^ONE-USD:[a-z0-9]+-\d+,TWO-USD:[a-z0-9]+-\d+$/)
    client.close()
    await noViewer('ONE-USD')
    await noViewer('TWO-USD')
  })

  test('D2 a client that resumes gets what it missed of each object, and no snapshot', async () => {
    const channels = [channel('ONE-USD'), channel('TWO-USD')]
    const stays = await joined(channels, ['ONE-USD', 'TWO-USD'])
    const leaves = await joined(channels, ['ONE-USD', 'TWO-USD'])
    await sendTrade('ONE-USD', '101')
    await sendTrade('TWO-USD', '8')
    await leaves.next('update', (m) => close(m) === 101)
    const { position } = await leaves.next('update', (m) => close(m) === 8)
    leaves.close()
    await sendTrade('ONE-USD', '102')
    await sendTrade('TWO-USD', '9')
    await stays.next('update', (m) => close(m) === 9)
    const back = await joined(channels, [], { since: position })
    expect((await back.next('subscribed')).recovered).toBe(true)
    expect((await back.next('subscribed')).recovered).toBe(true)
    await sendTrade('ONE-USD', '103')
    await back.next('update', (m) => close(m) === 103)
    const seen = (product: string) =>
      back.texts
        .map((text) => JSON.parse(text) as Message)
        .filter((m) => m.type === 'update' && candlesOf(m)[0]?.product_id === product)
        .map(close)
        // A minute that closes meanwhile is one frame more with the same price.
        .filter((price, i, prices) => price !== prices[i - 1])
    expect(seen('ONE-USD')).toEqual([102, 103])
    expect(seen('TWO-USD')).toEqual([9])
    expect(back.texts.some((text) => text.includes('"snapshot"'))).toBe(false)
    for (const client of [stays, back]) client.close()
  })

  test('* stands for every traded product and every granularity; unsubscribe ends what no other channel covers', async () => {
    const client = await openSocket('/ws?passive=true')
    client.send({ op: 'subscribe', channels: ['candles.*.ONE_DAY', 'candles.ONE-USD.*'], req_id: 1 })
    const products = env.PRODUCTS.split(',').length
    const answers = await Promise.all(Array.from({ length: products }, () => client.next('subscribed')))
    const one = answers
      .map(({ channels }) => channels as string[])
      .find(([name]) => name?.startsWith('candles.ONE-USD'))
    expect(new Set(one)).toEqual(new Set(GRANULARITIES.map((size) => channel('ONE-USD', size))))
    client.send({ op: 'unsubscribe', channels: ['candles.ONE-USD.*'], req_id: 2 })
    expect(await client.next('unsubscribed')).toMatchObject({ channels: ['candles.ONE-USD.*'], req_id: 2 })
    const other = await joined([channel('ONE-USD')], ['ONE-USD'])
    await other.next('snapshot')
    await sendTrade('ONE-USD', '104')
    await other.next('update', (m) => close(m) === 104)
    const day = await client.next('update', (m) => close(m) === 104)
    expect(candlesOf(day).map(({ granularity }) => granularity)).toEqual(['ONE_DAY'])
    for (const each of [client, other]) each.close()
  })

  test('D4 a subscribe with one invalid channel changes nothing, and the error names the channel', async () => {
    const client = await openSocket('/ws')
    const refusals: [string[], string, string][] = [
      [[channel('ONE-USD'), channel('NO-USD')], 'unknown_product', 'channels/1'],
      [[channel('ONE-USD', 'ONE')], 'unknown_granularity', 'channels/0'],
      [['trades.ONE-USD'], 'unknown_channel', 'channels/0'],
    ]
    for (const [channels, code, field] of refusals) {
      client.send({ op: 'subscribe', channels, req_id: 3 })
      expect(await client.next('error')).toMatchObject({ code, field, req_id: 3 })
    }
    expect(await viewers('ONE-USD')).toBe(0)
    client.close()
  })

  test('D4 a message that is not JSON, too long, binary or unknown gets an error frame, and the socket stays open', async () => {
    const client = await openSocket('/ws')
    const wrong: [string | ArrayBuffer, string, string | null][] = [
      ['not JSON', 'invalid_message', null],
      ['x'.repeat(1_048_576), 'message_too_large', null],
      [new ArrayBuffer(8), 'invalid_message', null],
      ['null', 'invalid_message', null],
      ['{"op":"dance"}', 'invalid_message', 'op'],
      ['{"op":"subscribe"}', 'invalid_message', 'channels'],
      ['{"op":"subscribe","channels":[]}', 'invalid_message', 'channels'],
      ['{"op":"subscribe","channels":[7]}', 'invalid_message', 'channels/0'],
    ]
    for (const [message, code, field] of wrong) {
      client.socket.send(message)
      expect(await client.next('error')).toMatchObject({ code, field })
    }
    client.send({ op: 'ping', req_id: 9 })
    expect(await client.next('pong')).toMatchObject({ req_id: 9 })
    expect(client.closed()).toBeNull()
    client.close()
  })

  test('a subscribe with more channels than a connection may have is refused as a whole', async () => {
    const client = await openSocket('/ws', { ...env, MAX_CHANNELS: '2' } as Env)
    client.send({ op: 'subscribe', channels: [channel('ONE-USD'), channel('ONE-USD'), channel('ONE-USD', '*')] })
    await client.next('subscribed')
    client.send({ op: 'subscribe', channels: [channel('TWO-USD')], req_id: 4 })
    expect(await client.next('error')).toMatchObject({ code: 'too_many_channels', field: 'channels', req_id: 4 })
    client.send({ op: 'unsubscribe', channels: [channel('ONE-USD')] })
    await client.next('unsubscribed')
    client.send({ op: 'subscribe', channels: [channel('TWO-USD')], req_id: 5 })
    expect(await client.next('subscribed')).toMatchObject({ channels: [channel('TWO-USD')], req_id: 5 })
    client.close()
  })
})

describe('/ws/products/:id', () => {
  test('D1 serves the socket of the product’s object', async () => {
    const client = await openSocket('/ws/products/ONE-USD')
    client.send({ op: 'subscribe', channels: [channel('ONE-USD')], req_id: 1 })
    expect((await client.next('subscribed')).position).toMatch(/^[a-z0-9]+-\d+$/)
    client.socket.send('x'.repeat(1_048_576))
    expect(await client.next('error')).toMatchObject({ code: 'message_too_large' })
    client.close()
    await noViewer('ONE-USD')
  })
})

const url = (path: string, products: string, granularities = 'ONE_MINUTE', more = '') =>
  `/api/v1/${path}?product=${products}&granularity=${granularities}${more}`
const data = (event: ServerSentEvent) => JSON.parse(event.data)

describe('GET /api/v1/stream', () => {
  test('begins with a position, then sends candles, the last of a frame with the id', async () => {
    const stream = await openEventStream(url('stream', 'ONE-USD,TWO-USD', 'ONE_MINUTE,ONE_DAY'))
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream')
    expect(stream.response.headers.get('cache-control')).toBe('no-cache')
    expect(stream.response.headers.get('access-control-allow-origin')).toBe('*')
    const first = await stream.next('position')
    expect(stream.events[0]).toBe(first)
    expect(first.id).toBeNull()
    expect(data(first)).toEqual({
      recovered: false,
      position: expect.stringMatching(/^(ONE|TWO)-USD:.*,(ONE|TWO)-USD:/),
    })
    await stream.next('feed', (event) => data(event).state === 'live' && data(event).product_id === 'ONE-USD')
    const before = stream.events.length
    await sendTrade('ONE-USD', '105.5')
    const last = await stream.next('candle', (event) => event.id !== null && data(event).close === 105.5)
    const candles = stream.events.slice(before).filter(({ event }) => event === 'candle')
    const frame = candles.slice(candles.indexOf(last) - 1, candles.indexOf(last) + 1)
    expect(frame.map((event) => [data(event).granularity, event.id])).toEqual([
      ['ONE_MINUTE', null],
      ['ONE_DAY', last.id],
    ])
    expect(Object.keys(data(last))).toEqual(
      Object.keys(JSON.parse(formatCandle({} as never).replaceAll('undefined', '0'))),
    )
    expect(stream.lines.filter((line) => line.startsWith('retry:'))).toHaveLength(1)
    await stream.close()
    await noViewer('ONE-USD')
    await noViewer('TWO-USD')
  })

  test('D2 resumes from Last-Event-ID, or from since in the query', async () => {
    const stream = await openEventStream(url('stream', 'ONE-USD'))
    await stream.next('feed', (event) => data(event).state === 'live')
    await sendTrade('ONE-USD', '106')
    const { id } = await stream.next('candle', (event) => data(event).close === 106)
    const stays = await openSocket('/ws/products/ONE-USD')
    stays.send({ op: 'subscribe', channels: [channel('ONE-USD')] })
    await stays.next('snapshot')
    await stream.close()
    await sendTrade('ONE-USD', '107')
    await stays.next('update', (m) => close(m) === 107)
    const since = encodeURIComponent(id as string)
    for (const back of [
      await openEventStream(url('stream', 'ONE-USD'), { 'last-event-id': id as string }),
      await openEventStream(url('stream', 'ONE-USD', 'ONE_MINUTE', `&since=${since}`)),
      await openEventStream(url('stream', 'ONE-USD', 'ONE_MINUTE', `&last_event_id=${since}`)),
    ]) {
      expect(data(await back.next('position'))).toEqual({ recovered: true, position: id })
      const candle = await back.next('candle')
      expect(data(candle).close).toBe(107)
      await back.close()
    }
    const stranger = await openEventStream(url('stream', 'ONE-USD'), { 'last-event-id': 'ONE-USD:0000-1' })
    expect(data(await stranger.next('position')).recovered).toBe(false)
    await stranger.close()
    stays.close()
  })

  test('passive=true does not count as a viewer', async () => {
    await noViewer('TWO-USD')
    const stream = await openEventStream(url('stream', '*', 'ONE_DAY', '&passive=true'))
    await stream.next('position')
    expect(await viewers('TWO-USD')).toBe(0)
    await stream.close()
  })

  test('D2 an object that restarts is joined again, and the client learns that a snapshot follows', async () => {
    const stream = await openEventStream(url('stream', 'THREE-USD'))
    await stream.next('feed', (event) => data(event).state === 'live')
    await sendTrade('THREE-USD', '3.25')
    await stream.next('candle', (event) => data(event).close === 3.25)
    await abortAllDurableObjects()
    expect(data(await stream.next('position')).recovered).toBe(false)
    await waitFor('the feed', async () =>
      (await productCandles(env, 'THREE-USD').status()).feed.state === 'live' ? true : null,
    )
    await sendTrade('THREE-USD', '3.75')
    await stream.next('candle', (event) => data(event).close === 3.75)
    await stream.close()
  })
})

describe('Datastar', () => {
  test('D7 <spot-candle> is sent with its attributes one a line', async () => {
    const stream = await openEventStream(url('datastar', 'ONE-USD'))
    await waitFor('the feed', async () =>
      (await productCandles(env, 'ONE-USD').status()).feed.state === 'live' ? true : null,
    )
    await sendTrade('ONE-USD', '108.75', '0.5')
    const event = await stream.next('datastar-patch-elements', ({ raw }) => raw.includes('data-close="108.7500000000"'))
    expect(event.raw.replaceAll(/="\d+(\.\d+)?"/g, '="…"')).toBe(`event: datastar-patch-elements
data: elements <spot-candle id="ONE-USD-ONE_MINUTE"
data: elements     data-product="ONE-USD"
data: elements     data-granularity="ONE_MINUTE"
data: elements     data-timestamp="…"
data: elements     data-open="…"
data: elements     data-high="…"
data: elements     data-low="…"
data: elements     data-close="…"
data: elements     data-volume="…"
data: elements     data-complete="false"
data: elements ></spot-candle>`)
    await stream.close()
    await noViewer('ONE-USD')
  })

  test('<spot-chart> is sent whole, and again when it changes, at most once a second', async () => {
    const stream = await openEventStream(url('datastar/chart', 'ONE-USD', 'ONE_MINUTE', '&bars=50'))
    const bars = (event: ServerSentEvent) => {
      const found = /data-candles='([^']*)'/.exec(event.raw)?.[1]
      return JSON.parse(found ?? 'null') as { t: number; c: number }[]
    }
    const first = await stream.next('datastar-patch-elements')
    expect(first.raw).toContain('data: elements <spot-chart id="chart-ONE-USD-ONE_MINUTE"')
    expect(bars(first).length).toBeGreaterThan(0)
    await waitFor('the feed', async () =>
      (await productCandles(env, 'ONE-USD').status()).feed.state === 'live' ? true : null,
    )
    const began = Date.now()
    for (let i = 1; i <= 20; i++) await sendTrade('ONE-USD', `109.${i}`)
    const last = await stream.next('datastar-patch-elements', (event) => bars(event).at(-1)?.c === 109.2)
    expect(bars(last).map(({ t }) => t)).toEqual([...new Set(bars(last).map(({ t }) => t))].sort((a, b) => a - b))
    const charts = stream.events.filter(({ event }) => event === 'datastar-patch-elements').length
    expect(charts).toBeLessThanOrEqual(2 + Math.ceil((Date.now() - began) / 1_000))
    await stream.close()
    await noViewer('ONE-USD')
  })
})

describe('leases of feeds', () => {
  test('a lease is granted to a bounded number of products, expires after two minutes, and can be released', async () => {
    const slots = env.FEED_SLOTS.getByName('a test of its own')
    const products = Array.from({ length: 50 }, (_, i) => `P${i}-USD`)
    for (const product of products) expect(await slots.acquire(product, 1_000)).toBe(true)
    expect(await slots.acquire('MORE-USD', 1_000)).toBe(false)
    expect(await slots.acquire('P0-USD', 60_000)).toBe(true)
    await slots.release('P1-USD')
    expect(await slots.acquire('MORE-USD', 60_000)).toBe(true)
    expect(await slots.open(121_000)).toEqual([
      { product: 'MORE-USD', until: 180_000 },
      { product: 'P0-USD', until: 180_000 },
    ])
    expect(await slots.acquire('LATE-USD', 121_000)).toBe(true)
  })

  test('leases are counted for the configured exchange', async () => {
    const open = await feedSlots(env).open(Date.now())
    expect(open.every(({ until: end }) => end > Date.now())).toBe(true)
  })
})
