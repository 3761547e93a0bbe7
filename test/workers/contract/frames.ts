import { type Message, openEventStream, openSocket, type ServerSentEvent, sendTrade, waitFor } from '../support/wire.ts'
import { keysOf, normaliser, shapeOf } from './normal.ts'
import { ask, here, movePrice, user } from './world.ts'

type Frame = Message & { [key: string]: unknown }
type Socket = Awaited<ReturnType<typeof openSocket>>
type Stream = Awaited<ReturnType<typeof openEventStream>>

const framesOf = ({ texts }: Socket): Frame[] => texts.map((text) => JSON.parse(text) as Frame)

/** Waits for a frame that fits and returns its text. Frames of several objects arrive in any order. */
const frame = (socket: Socket, what: string, fits: (frame: Frame) => boolean): Promise<string> =>
  waitFor(`${what} among ${socket.texts.join('\n')}`, () => socket.texts[framesOf(socket).findIndex(fits)])

const is =
  (type: string, more: Record<string, unknown> = {}) =>
  (frame: Frame) =>
    frame.type === type &&
    Object.entries(more).every(([key, value]) => JSON.stringify(frame[key]) === JSON.stringify(value))

type Items = Record<string, unknown>[]
const has = (type: string, list: string, fits: Record<string, unknown>) => (frame: Frame) =>
  frame.type === type &&
  ((frame[list] ?? []) as Items).some((item) => Object.entries(fits).every(([key, value]) => item[key] === value))

/** Depends on the second in which the feed opened. */
const OF_THE_MINUTE = { coverage: '<coverage>', rev: '<number>' }

/** A frame with its last candle only, and without the keys that change only while the market is open. */
function steady(value: unknown): unknown {
  const frame = value as { type: string; candles?: Items; positions?: Items }
  if (frame.candles) frame.candles = frame.candles.slice(-1).map((candle) => ({ ...candle, ...OF_THE_MINUTE }))
  if (frame.type === 'position_update')
    frame.positions = frame.positions?.map(({ as_of: _, market_state: __, ...position }) => position)
  return frame
}

/** Collects frames by name, with placeholders. */
function frames() {
  const observed: Record<string, unknown> = {}
  const add = (name: string, value: unknown) => {
    if (name in observed) throw new Error(`twice: ${name}`)
    observed[name] = value
  }
  return {
    observed,
    add,
    async note(socket: Socket, name: string, fits: (frame: Frame) => boolean): Promise<string> {
      const text = await frame(socket, name, fits)
      add(name, steady(normaliser().json(text)))
      return text
    },
  }
}

const errors: [string, string | ArrayBuffer | object][] = [
  ['invalid JSON', 'not JSON'],
  ['a message that is too large', 'x'.repeat(1_048_576)],
  ['a binary message', new ArrayBuffer(8)],
  ['null', 'null'],
  ['an unknown op', { op: 'dance', req_id: 'd' }],
  ['no channels', { op: 'subscribe', req_id: 7 }],
  ['an empty list of channels', { op: 'subscribe', channels: [] }],
  ['a channel that is not text', { op: 'subscribe', channels: [7] }],
  ['an unknown product', { op: 'subscribe', channels: ['candles.ONE-USD.ONE_DAY', 'candles.NO-USD.ONE_DAY'] }],
  ['an unknown granularity', { op: 'subscribe', channels: ['candles.ONE-USD.ONE'] }],
  ['an unknown kind of channel', { op: 'subscribe', channels: ['trades.ONE-USD'] }],
  ['an offline product', { op: 'subscribe', channels: ['candles.NU-USD.ONE_DAY'] }],
  ['an unknown symbol', { op: 'subscribe', channels: ['quotes.NOSUCHNAME'] }],
  ['an ambiguous symbol', { op: 'subscribe', channels: ['quotes.KRBC'] }],
  ['a portfolio without a session', { op: 'subscribe', channels: ['portfolio'] }],
]

/** Sends each message and adds the error frame that answers it. */
async function noteErrors({ add }: ReturnType<typeof frames>, socket: Socket, where: string, messages: typeof errors) {
  for (const [name, message] of messages) {
    const before = socket.texts.length
    socket.socket.send(
      typeof message === 'string' || message instanceof ArrayBuffer ? message : JSON.stringify(message),
    )
    const text = await waitFor(`the error of ${name}`, () =>
      socket.texts.slice(before).find((each) => each.startsWith('{"type":"error"')),
    )
    add(`${where}: error: ${name}`, normaliser().json(text))
  }
}

/** Frames of `/ws` and `/ws/products/:id`. */
export async function marketFrames(): Promise<Record<string, unknown>> {
  const scene = frames()
  const { observed, note, add } = scene
  const client = await openSocket('/ws', here)
  const [quotes, candles] = ['quotes.KRBA', 'candles.ONE-USD.ONE_MINUTE']
  // One after the other: a position names the objects that have sent frames so far.
  client.send({ op: 'subscribe', channels: [quotes], req_id: 1 })
  await note(client, '/ws: subscribed: quotes', is('subscribed', { channels: [quotes] }))
  await note(client, '/ws: snapshot: quotes', (each) => each.type === 'snapshot' && each.quotes !== undefined)
  client.send({ op: 'subscribe', channels: [candles], req_id: 2 })
  await note(client, '/ws: subscribed: candles', is('subscribed', { channels: [candles] }))
  await note(client, '/ws: snapshot: no candles yet', (each) => each.type === 'snapshot' && each.candles !== undefined)
  await note(client, '/ws: feed', is('feed', { state: 'live' }))
  await sendTrade('ONE-USD', '100.10', '0.50')
  await note(client, '/ws: update: candles', has('update', 'candles', { close: 100.1 }))
  await movePrice('KRBA', '101.25')
  const update = await note(client, '/ws: update: quotes', has('update', 'quotes', { price: 101.25 }))
  client.send({ op: 'ping', req_id: 'p' })
  await note(client, '/ws: pong', is('pong', { req_id: 'p' }))
  client.socket.send('{"op":"ping"}')
  add('/ws: pong: without req_id', await frame(client, 'pong', (each) => each.type === 'pong' && !('req_id' in each)))
  client.send({ op: 'ack', position: (JSON.parse(update) as Message).position })
  client.send({ op: 'unsubscribe', channels: [quotes], req_id: 3 })
  await note(client, '/ws: unsubscribed', is('unsubscribed', { channels: [quotes] }))
  await noteErrors(scene, client, '/ws', errors)

  const other = await openSocket('/ws', here)
  other.send({ op: 'subscribe', channels: [candles] })
  await note(other, '/ws: subscribed: without req_id', is('subscribed'))
  const snapshot = await note(other, '/ws: snapshot: candles', is('snapshot'))
  const { position } = JSON.parse(snapshot) as Message
  other.close()
  await sendTrade('ONE-USD', '100.20')
  await frame(client, 'the second trade', has('update', 'candles', { close: 100.2 }))
  const back = await openSocket('/ws', here)
  back.send({ op: 'subscribe', channels: [candles], since: position, req_id: 3 })
  await note(back, '/ws: subscribed: resumed', is('subscribed', { recovered: true }))
  add('/ws: update: after resuming', shapeOf(JSON.parse(await frame(back, 'the missed update', is('update')))))
  const health = (await (await ask('/health?verbose')).json()) as { products: { product_id: string }[] }
  add('/health?verbose: a product', keysOf(health.products.find(({ product_id }) => product_id === 'ONE-USD')))
  const few = await openSocket('/ws', { ...here, MAX_CHANNELS: '2' } as Env)
  const three = { op: 'subscribe', channels: [candles, quotes, 'quotes.KRBB'] }
  await noteErrors(scene, few, '/ws', [['too many channels', three]])

  const product = await openSocket('/ws/products/TWO-USD', here)
  const channel = 'candles.TWO-USD.ONE_DAY'
  const where = '/ws/products/:id'
  product.send({ op: 'subscribe', channels: [channel], req_id: 1 })
  await note(product, `${where}: subscribed`, is('subscribed'))
  await note(product, `${where}: snapshot`, is('snapshot'))
  await note(product, `${where}: feed`, is('feed', { state: 'live' }))
  await sendTrade('TWO-USD', '7.5')
  await note(product, `${where}: update`, has('update', 'candles', { close: 7.5 }))
  product.send({ op: 'ping' })
  await note(product, `${where}: pong`, is('pong'))
  product.send({ op: 'unsubscribe', channels: [channel], req_id: 2 })
  await note(product, `${where}: unsubscribed`, is('unsubscribed'))
  await noteErrors(scene, product, where, [
    ...errors.filter(([name]) => name.startsWith('a ') || name === 'invalid JSON' || name === 'an unknown op'),
    ['another product', { op: 'subscribe', channels: ['candles.ONE-USD.ONE_DAY'], req_id: 3 }],
    ['quotes', { op: 'subscribe', channels: [quotes] }],
  ])
  return observed
}

/** Frames of `/ws/portfolio`, and of a portfolio on `/ws`. */
export async function portfolioFrames(): Promise<Record<string, unknown>> {
  const scene = frames()
  const { observed, note, add } = scene
  const me = await user()
  const bearer = { authorization: `Bearer ${me.token}` }
  const purchase = { symbol: 'KRBB', quantity: '2', price: '90.50', traded_at: '2020-03-02' }
  await movePrice('KRBB', '100.5')
  const buy = async () => ((await (await me.send('POST', '/api/v1/stocks', purchase)).json()) as { id: string }).id
  await buy()

  const { ticket } = (await (await me.send('POST', '/api/v1/auth/ticket')).json()) as { ticket: string }
  const where = '/ws/portfolio'
  const client = await openSocket(`/ws/portfolio?ticket=${ticket}`, here)
  const channels = ['portfolio', 'asset.KRBB', 'asset.KRBA']
  client.send({ op: 'subscribe', channels, req_id: 1 })
  await note(client, `${where}: subscribed`, is('subscribed'))
  for (const channel of channels) await note(client, `${where}: snapshot: ${channel}`, is('snapshot', { channel }))
  const bought = await buy()
  await note(client, `${where}: lot_update: a purchase`, has('lot_update', 'lots', { id: bought }))
  await note(client, `${where}: position_update: a purchase`, has('position_update', 'positions', { quantity: '4' }))
  await movePrice('KRBB', '102.75')
  await note(client, `${where}: price_update`, has('price_update', 'prices', { price: '102.75' }))
  await note(client, `${where}: position_update: a price`, has('position_update', 'positions', { cmp: '102.75' }))
  await me.send('DELETE', `/api/v1/stocks/${bought}`)
  const gone = (each: Frame) => each.type === 'lot_update' && (each.removed as string[]).includes(bought)
  await note(client, `${where}: lot_update: a deletion`, gone)
  client.send({ op: 'ping', req_id: 'p' })
  await note(client, `${where}: pong`, is('pong'))
  client.send({ op: 'unsubscribe', channels: ['asset.KRBA'], req_id: 2 })
  await note(client, `${where}: unsubscribed`, is('unsubscribed'))
  await noteErrors(
    scene,
    client,
    where,
    [
      ...errors.filter(([name]) => name.startsWith('a ') || name === 'invalid JSON' || name === 'an unknown op'),
      ['an unknown asset', { op: 'subscribe', channels: ['portfolio', 'asset.NO-SUCH'], req_id: 3 }],
      ['quotes', { op: 'subscribe', channels: ['quotes.KRBA'] }],
    ].filter(([name]) => name !== 'a portfolio without a session') as typeof errors,
  )

  const joined = await openSocket('/ws', here, bearer)
  joined.send({ op: 'subscribe', channels: ['portfolio'], req_id: 1 })
  await note(joined, '/ws: subscribed: portfolio', is('subscribed', { channels: ['portfolio'] }))
  await note(joined, '/ws: snapshot: portfolio', is('snapshot', { channel: 'portfolio' }))
  await me.who.post('/api/v1/auth/sign-out', {})
  await note(joined, '/ws: error: signed out', is('error'))
  const closed = await waitFor('the socket to be closed', () => client.closed())
  add(`${where}: closed: signed out`, closed.code)
  return observed
}

/** The fields of an event, its data read. */
function eventOf({ event, id, data }: ServerSentEvent): Record<string, unknown> {
  const normal = normaliser()
  const read = normal.json(data) as object
  return {
    event,
    id: id === null ? null : normal.position(id),
    data: event === 'candle' ? { ...read, ...OF_THE_MINUTE } : read,
  }
}

/** The lines of an event, with only the keys of a chart's candles. */
const linesOf = ({ raw }: ServerSentEvent): string[] =>
  normaliser()
    .text(raw)
    .replace(/data-candles='\[(.*?)\]'/, (_, candles) => {
      const [first] = JSON.parse(`[${candles.replaceAll('<seconds>', '0')}]`) as object[]
      return `data-candles=${JSON.stringify(Object.keys(first ?? {}))}`
    })
    .split('\n')

/** Events of `/api/v1/stream` and of the Datastar streams. */
export async function streamEvents(): Promise<Record<string, unknown>> {
  const { observed, add } = frames()
  const note = async (
    stream: Stream,
    name: string,
    fits: (event: ServerSentEvent) => boolean,
  ): Promise<ServerSentEvent> => {
    const event = await waitFor(`${name} among ${stream.events.map(({ raw }) => raw).join('\n')}`, () =>
      stream.events.find(fits),
    )
    add(name, eventOf(event))
    return event
  }
  const data = ({ data: text }: ServerSentEvent) => JSON.parse(text) as Record<string, unknown>

  const path = '/api/v1/stream?symbol=KRBA&product=THREE-USD&granularity=ONE_MINUTE'
  const stream = await openEventStream(path)
  await note(stream, 'stream: position', ({ event }) => event === 'position')
  add('stream: first line', stream.lines[0])
  await note(stream, 'stream: feed', (each) => each.event === 'feed' && data(each).state === 'live')
  await sendTrade('THREE-USD', '3.250', '2')
  const { id } = await note(stream, 'stream: candle', (each) => each.event === 'candle' && data(each).close === 3.25)
  await movePrice('KRBA', '104.5')
  await note(stream, 'stream: quote', (each) => each.event === 'quote' && data(each).price === 104.5)
  const stays = await openEventStream('/api/v1/stream?product=THREE-USD&granularity=ONE_MINUTE')
  await waitFor('the other stream', () => stays.events.find(({ event }) => event === 'position'))
  await stream.close()
  const back = await openEventStream(path, { 'last-event-id': id as string })
  await note(back, 'stream: position: resumed', ({ event }) => event === 'position')

  const query = 'product=FOUR-USD&granularity=ONE_MINUTE'
  const feed = await openEventStream(`/api/v1/stream?${query}`)
  await waitFor('the feed', () => feed.events.find((each) => each.event === 'feed' && data(each).state === 'live'))
  const elements = await openEventStream(`/api/v1/datastar?${query}`)
  await sendTrade('FOUR-USD', '12.50', '0.5')
  const element = await waitFor('the element', () =>
    elements.events.find(({ raw }) => raw.includes('data-close="12.5')),
  )
  add('datastar', linesOf(element))
  const chart = await openEventStream(`/api/v1/datastar/chart?${query}&bars=50`)
  const drawn = await waitFor('the chart', () => chart.events.find(({ raw }) => raw.includes('12.5')))
  add('datastar/chart', linesOf(drawn))
  return observed
}
