import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  connectPortfolio,
  type PortfolioConnection,
  type PortfolioOptions,
} from '../../../../src/client/sdk/portfolio.ts'
import type { PortfolioState } from '../../../../src/client/sdk/portfolio-state.ts'
import { totalsOf } from '../../../../src/portfolio/totals.ts'
import {
  candleUpdateFrame,
  lotUpdateFrame,
  portfolioSnapshotFrame,
  positionUpdateFrame,
  priceUpdateFrame,
} from '../../../../src/protocol/messages.ts'
import type { PortfolioMessage, Position } from '../../../../src/protocol/portfolio.ts'
import { bitcoin, fakePortfolioServer, lot, position, price } from '../../../support/portfolio-server.ts'

type Server = ReturnType<typeof fakePortfolioServer>

/** A connected client of this server, after the responses to its first requests. */
async function open(server: Server, options: Partial<PortfolioOptions> = {}) {
  const states: PortfolioState[] = []
  const messages: (PortfolioMessage | null)[] = []
  const connections: PortfolioConnection[] = []
  const client = connectPortfolio(
    {
      url: 'https://kerb.test',
      onChange(state, message) {
        states.push(state)
        messages.push(message)
      },
      onState: (state) => connections.push(state),
      ...options,
    },
    server.deps,
  )
  await server.settle()
  return { client, states, messages, connections, connection: () => connections.at(-1), state: () => client.state }
}

/** A client whose socket was let in. */
async function connected(server: Server, options: Partial<PortfolioOptions> = {}) {
  const opened = await open(server, options)
  server.acceptSocket()
  await server.settle()
  return opened
}

/** Fails the socket until the client polls instead. */
async function block(server: Server) {
  for (const ms of [1_000, 2_000, 4_000]) {
    server.socket().onclose?.(1006, '')
    server.advance(ms)
    await server.settle()
  }
}

/** Lets time pass until the client tries another socket; how long that took, milliseconds. */
async function untilTried(server: Server): Promise<number> {
  const tried = server.portfolioSockets().length
  for (let ms = 0; ms <= 120_000; ms += 5_000) {
    if (server.portfolioSockets().length > tried) return ms
    server.advance(5_000)
    await server.settle()
  }
  throw new Error('no socket was tried')
}

const CACHE = '/api/v1/stocks/portfolio-cache'
const polls = (server: Server) => server.asked.filter(({ path }) => path === CACHE).length

test('P7 the state is the snapshot with each update applied, and unchanged items stay the same objects', async () => {
  const server = fakePortfolioServer([position(), bitcoin({ type: 'stock' })])
  const { states, messages, connections, state } = await connected(server)
  expect(server.socket().url).toBe('wss://kerb.test/ws/portfolio?ticket=u.t%2F1')
  expect(server.socket().sent[0]).toEqual({ op: 'subscribe', channels: ['portfolio'], req_id: 1 })
  expect(connections).toEqual([{ name: 'live' }])
  expect(states).toHaveLength(1)
  const [first, second] = state().positions
  server.setPositions([position({ cmp: '101', present_value: '202', gain_loss: '22' }), second!])
  expect(states).toHaveLength(2)
  expect(messages.map((message) => message?.type)).toEqual(['snapshot', 'position_update'])
  expect(state().positions[0]).toEqual({ ...first, cmp: '101', present_value: '202', gain_loss: '22' })
  expect(state().positions[1]).toBe(second)
  expect(state().portfolio).toEqual(server.enriched().portfolio)
  server.setPositions([second!])
  expect(state().positions).toEqual([second])
  expect(state().portfolio?.version).toBe(3)
})

test('P7 for any changes, snapshot and updates give the state of the server', async () => {
  const some = fc.uniqueArray(
    fc.record({ asset_id: fc.nat(5), quantity: fc.constantFrom('1', '2'), cmp: fc.constantFrom('1', '2', null) }),
    { selector: ({ asset_id }) => asset_id },
  )
  const server = fakePortfolioServer([])
  const { state } = await connected(server)
  fc.assert(
    fc.property(fc.array(some), (steps) => {
      for (const step of steps) server.setPositions(step.map((one) => position(one)))
      const byId = (list: readonly Position[]) => [...list].sort((a, b) => a.asset_id - b.asset_id)
      expect(byId(state().positions)).toEqual(byId(server.enriched().positions))
      expect(state().portfolio).toEqual(server.enriched().portfolio)
    }),
  )
})

test('P7 an asset channel gives lots and prices, and its snapshot replaces everything known of the asset', async () => {
  const server = fakePortfolioServer([])
  const { state, messages } = await connected(server, { channels: ['asset.AAPL'] })
  const other = lot({ id: '00000000-0000-4000-8000-000000000002' })
  const snapshot = { positions: [position()], prices: [price()], lots: [lot(), other] }
  server.tell(portfolioSnapshotFrame(server.nextPosition(), 'asset.AAPL', snapshot))
  expect(state()).toEqual({ portfolio: null, ...snapshot })
  const dearer = price({ price: '101' })
  server.tell(priceUpdateFrame(server.nextPosition(), [dearer]))
  server.tell(lotUpdateFrame(server.nextPosition(), [lot({ note: 'first' })], [other.id]))
  expect(state()).toEqual({ ...snapshot, portfolio: null, prices: [dearer], lots: [lot({ note: 'first' })] })
  expect(messages.at(-1)).toMatchObject({ type: 'lot_update', removed: [other.id] })
  const update = { positions: [{ asset_id: 1, cmp: '101' }], removed: [], portfolio: {} }
  server.tell(positionUpdateFrame(server.nextPosition(), update))
  expect(state()).toMatchObject({ portfolio: null, positions: [position({ cmp: '101' })] })
  server.tell(
    portfolioSnapshotFrame(server.nextPosition(), 'asset.AAPL', { positions: [], prices: [dearer], lots: [] }),
  )
  expect(state()).toEqual({ portfolio: null, positions: [], prices: [dearer], lots: [] })
})

test('D2 D3 a portfolio reconnects with a new ticket, resumes from the last position, and acks', async () => {
  const server = fakePortfolioServer()
  const { connections, state } = await connected(server)
  expect(server.socket().sent.at(-1)).toEqual({ op: 'ack', position: 'p-0' })
  server.setPositions([position({ cmp: '101' })])
  server.socket().onclose?.(4201, 'session over')
  server.advance(100)
  await server.settle()
  expect(server.socket().url).toBe('wss://kerb.test/ws/portfolio?ticket=u.t%2F2')
  server.acceptSocket(true)
  expect(server.socket().sent[0]).toMatchObject({ op: 'subscribe', since: 'p-1' })
  server.setPositions([position({ cmp: '102' })])
  expect(state().positions[0]?.cmp).toBe('102')
  expect(connections.map(({ name }) => name)).toEqual(['live', 'reconnecting', 'live'])
})

test('D4 a portfolio ignores unknown messages and does not move its position past them', async () => {
  const server = fakePortfolioServer()
  const { states, state } = await connected(server)
  const before = state()
  server.socket().onmessage?.('{"type":"news","position":"p-9"}')
  server.socket().onmessage?.('{"type":"position_update","positions":[]}')
  expect(states).toHaveLength(1)
  server.socket().onmessage?.('{"type":"price_update","position":"p-1","prices":[],"more":1}')
  expect(state()).toEqual(before)
})

test('requests use the token, or without one the browser’s session', async () => {
  const tokens = ['one', 'two']
  const server = fakePortfolioServer()
  await connected(server, { token: () => tokens.shift() ?? '' })
  server.socket().onclose?.(4200, '')
  server.advance(100)
  await server.settle()
  const [first, second] = server.asked
  expect(first).toMatchObject({ path: '/api/v1/auth/ticket', method: 'POST', credentials: 'omit' })
  expect(first!.headers.get('authorization')).toBe('Bearer one')
  expect(second!.headers.get('authorization')).toBe('Bearer two')

  const browser = fakePortfolioServer()
  await open(browser)
  expect(browser.asked[0]).toMatchObject({ method: 'POST', credentials: 'same-origin' })
  expect(browser.asked[0]!.headers.has('authorization')).toBe(false)

  const own = fakePortfolioServer()
  await open(own, { ticket: async () => 'mine' })
  expect(own.asked).toEqual([])
  expect(own.socket().url).toContain('?ticket=mine')
})

test('a portfolio polls where sockets are blocked, until a socket opens', async () => {
  const server = fakePortfolioServer()
  const { connection, connections, state, messages } = await open(server)
  await block(server)
  expect(connection()).toEqual({ name: 'polling', error: null })
  expect(connections.map(({ name }) => name)).toEqual(['reconnecting', 'reconnecting', 'polling'])
  expect(state().positions).toEqual([position()])
  const blocked = server.portfolioSockets().length
  const before = polls(server)
  server.setPositionsSilently([position({ cmp: '101' })])
  for (let i = 0; i < 4; i++) {
    server.advance(15_000)
    await server.settle()
  }
  expect(polls(server) - before).toBe(4)
  expect(state().positions[0]?.cmp).toBe('101')
  expect(messages.every((message) => message === null)).toBe(true)
  expect(server.portfolioSockets()).toHaveLength(blocked)
  await untilTried(server)
  // It fails again: polls go on, and another try follows.
  server.socket().onclose?.(1006, '')
  expect(connection()?.name).toBe('polling')
  const again = polls(server)
  expect(await untilTried(server)).toBe(90_000)
  expect(polls(server) - again).toBe(6)
  server.acceptSocket()
  expect(server.socket().sent[0]).not.toHaveProperty('since')
  expect(connection()).toEqual({ name: 'live' })
  const after = polls(server)
  server.advance(10_000)
  await server.settle()
  expect(polls(server)).toBe(after)
})

test('a portfolio tries a socket at once when the network or the server is back', async () => {
  const server = fakePortfolioServer()
  await open(server)
  await block(server)
  const blocked = server.portfolioSockets().length
  server.restoreNetwork()
  await server.settle()
  expect(server.portfolioSockets()).toHaveLength(blocked + 1)
  server.socket().onclose?.(1006, '')
  const well = server.replies[CACHE]!
  server.replies[CACHE] = () => ({ status: 503 })
  server.advance(15_000)
  await server.settle()
  server.replies[CACHE] = well
  expect(server.portfolioSockets()).toHaveLength(blocked + 1)
  server.advance(15_000)
  await server.settle()
  expect(server.portfolioSockets()).toHaveLength(blocked + 2)
  server.advance(14_000)
  await server.settle()
  expect(server.portfolioSockets()).toHaveLength(blocked + 2)
})

test('a portfolio that is closed while it polls leaves no timer or socket', async () => {
  const server = fakePortfolioServer()
  const { client } = await open(server)
  await block(server)
  client.close()
  expect(server.pendingCount()).toBe(0)
})

test('a poll that is answered after the socket has opened changes nothing', async () => {
  const server = fakePortfolioServer()
  const { state } = await open(server)
  const late = Promise.withResolvers<{ status: number; body: unknown }>()
  server.replies[CACHE] = () => late.promise
  await block(server)
  const old = server.enriched()
  await untilTried(server)
  server.setPositionsSilently([position({ cmp: '101' })])
  server.acceptSocket()
  late.resolve({ status: 200, body: old })
  await server.settle()
  expect(state().positions[0]?.cmp).toBe('101')
})

test('a failed poll reports its error, and the next poll respects Retry-After', async () => {
  const server = fakePortfolioServer()
  server.replies[CACHE] = () => ({ status: 503, headers: { 'retry-after': '40' } })
  const { connection } = await open(server, { mode: 'poll' })
  expect(connection()).toEqual({ name: 'polling', error: 'the portfolio request failed with status 503' })
  server.advance(39_000)
  expect(polls(server)).toBe(1)
  server.replies[CACHE] = () => Promise.reject(new TypeError('no network'))
  server.advance(1_000)
  await server.settle()
  expect(connection()).toEqual({ name: 'polling', error: 'TypeError: no network' })
  server.replies[CACHE] = () => ({ status: 200, body: server.enriched() })
  server.restoreNetwork()
  await server.settle()
  expect(polls(server)).toBe(3)
  expect(connection()).toEqual({ name: 'polling', error: null })
})

test('a poll without a response times out and is repeated', async () => {
  const server = fakePortfolioServer()
  const fetch = server.deps.fetch
  server.deps.fetch = (_input, init) =>
    new Promise((_resolve, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)))
  const { connection } = await open(server, { mode: 'poll' })
  server.advance(10_000)
  await server.settle()
  expect(connection()).toMatchObject({ name: 'polling', error: expect.stringContaining('timeout') })
  server.deps.fetch = fetch
})

test('mode poll opens no socket, polls at its interval, and sooner while the server computes the portfolio', async () => {
  const server = fakePortfolioServer([bitcoin()])
  const made = server.replies[CACHE]!
  server.replies[CACHE] = () => ({ status: 202, headers: { 'retry-after': '1' } })
  const { client, connection, state } = await open(server, { mode: 'poll', intervalMs: 60_000 })
  expect(connection()).toEqual({ name: 'polling', error: null })
  expect(state().portfolio).toBeNull()
  server.advance(1_000)
  await server.settle()
  server.replies[CACHE] = made
  server.advance(1_999)
  expect(polls(server)).toBe(2)
  server.advance(1)
  await server.settle()
  expect(state().positions).toEqual([bitcoin()])
  const known = state()
  server.advance(59_999)
  await server.settle()
  expect(polls(server)).toBe(3)
  server.advance(1)
  await server.settle()
  expect(polls(server)).toBe(4)
  expect(state()).toBe(known)
  client.check()
  await server.settle()
  expect(polls(server)).toBe(5)
  client.close()
  expect(server.sockets).toEqual([])
  expect(server.pendingCount()).toBe(0)
})

const signedOut: [string, (server: Server) => Promise<() => PortfolioConnection | undefined>][] = [
  [
    'a ticket that is refused with 401',
    async (server) => {
      server.replies['/api/v1/auth/ticket'] = () => ({ status: 401 })
      return (await open(server)).connection
    },
  ],
  ['a ticket source that has none', async (server) => (await open(server, { ticket: async () => null })).connection],
  [
    'a poll that is refused with 401',
    async (server) => {
      server.replies[CACHE] = () => ({ status: 401 })
      return (await open(server, { mode: 'poll' })).connection
    },
  ],
  [
    'a socket that is let go with 4001',
    async (server) => {
      const { connection } = await connected(server)
      server.socket().onclose?.(4001, 'signed out')
      return connection
    },
  ],
]

test.each(signedOut)('%s ends the portfolio as signed_out without another attempt', async (_by, run) => {
  const server = fakePortfolioServer([bitcoin()])
  const connection = await run(server)
  expect(connection()).toEqual({ name: 'signed_out' })
  expect(server.pendingCount()).toBe(0)
})

test('D4 a portfolio stops when the server says stop', async () => {
  const server = fakePortfolioServer()
  const { connection } = await connected(server)
  server.socket().onclose?.(4000, 'no such thing')
  expect(connection()).toEqual({ name: 'stopped', reason: 'no such thing', code: 4000 })
  expect(server.pendingCount()).toBe(0)
})

test('a ticket request that fails without status 401 is a failed attempt', async () => {
  const server = fakePortfolioServer()
  server.replies['/api/v1/auth/ticket'] = () => ({ status: 503 })
  const { connection } = await open(server)
  expect(connection()).toMatchObject({ name: 'reconnecting', attempt: 1 })
})

test('a closed portfolio leaves no timer or socket', async () => {
  const server = fakePortfolioServer([bitcoin()])
  const { client, states } = await connected(server)
  expect(server.candleSockets()).toHaveLength(1)
  client.close()
  expect(server.sockets.every(({ closed }) => closed)).toBe(true)
  expect(server.pendingCount()).toBe(0)
  const told = states.length
  server.setPositions([bitcoin({ cmp: '5' })])
  expect(states).toHaveLength(told)
})

/** A frame of the candle of the forming minute, or of one that is complete. */
const candle = (close: string, last_update: string, more: { complete?: boolean; product?: string } = {}) =>
  candleUpdateFrame('c-1', [
    `{"exchange":"simulated","product_id":"${more.product ?? 'BTC-USD'}","granularity":"ONE_MINUTE","timestamp":1772618400,"open":1,"high":1,"low":1,"close":${close},"volume":1,"is_complete":${more.complete ?? false},"coverage":"full","rev":0,"last_update":"${last_update}","source":"trades"}`,
  ])

/** A portfolio with a share and bitcoin, whose candles are followed. */
async function streaming() {
  const server = fakePortfolioServer([position(), bitcoin({ quantity: '0.3', rate: '0.9', invested: '50' })])
  const opened = await connected(server)
  const candles = server.candleSockets()[0]!
  candles.onopen?.()
  candles.onmessage?.('{"type":"subscribed","channels":[],"position":"c-0","recovered":true}')
  return { server, ...opened, candles, tick: (frame: string) => candles.onmessage?.(frame) }
}

test('P1 a streamed price moves its position and the totals, to the last digit, and nothing else', async () => {
  const { state, candles, tick, messages } = await streaming()
  expect(candles.url).toBe('wss://kerb.test/ws/products/BTC-USD')
  expect(candles.sent[0]).toMatchObject({ channels: ['candles.BTC-USD.ONE_MINUTE'] })
  const [share, before] = state().positions
  tick(candle('100.700000000000000001', '2026-03-04T10:00:00.5Z'))
  expect(state().positions[0]).toBe(share)
  expect(state().positions[1]).toEqual({
    ...before,
    cmp: '100.700000000000000001',
    as_of: '2026-03-04T10:00:00.5Z',
    updated_at: '2026-03-04T10:00:00.5Z',
    // 0.3 × 0.9 × 100.700000000000000001, less the 50 that were paid; and 1 + 0.27 × 0.200000000000000001
    present_value: '27.18900000000000000027',
    gain_loss: '-22.81099999999999999973',
    gain_loss_percent: '-45.622',
    day_change: '1.05400000000000000027',
    day_change_percent: '4.0329',
  })
  expect(state().portfolio).toEqual(totalsOf(state().positions, { currency: 'USD', version: 1 }))
  expect(messages.at(-1)).toBeNull()
})

test('P1 a server’s price of the same instant or later wins over a streamed price; an older one does not', async () => {
  const { server, state, tick } = await streaming()
  const held = state().positions
  tick(candle('200', '2026-03-04T10:00:02Z'))
  server.setPositions([held[0]!, { ...held[1]!, cmp: '150', as_of: '2026-03-04T10:00:01Z', expenses: '3' }])
  expect(state().positions[1]).toMatchObject({ cmp: '200', expenses: '3' })
  const confirmed = { ...held[1]!, cmp: '201', present_value: '54.27', as_of: '2026-03-04T10:00:02.000Z' }
  server.setPositions([held[0]!, confirmed])
  expect(state().positions[1]).toEqual(confirmed)
  expect(state().portfolio).toEqual(server.enriched().portfolio)
  tick(candle('190', '2026-03-04T10:00:01.9Z'))
  tick(candle('180', '2026-03-04T10:05:00Z', { complete: true }))
  tick(candle('170', '2026-03-04T10:05:00Z', { product: 'ETH-USD' }))
  expect(state().positions[1]).toEqual(confirmed)
})

test('P2 the lots of a position move with its streamed price', async () => {
  const { server, state, tick } = await streaming()
  const own = lot({
    id: '00000000-0000-4000-8000-000000000007',
    asset_id: 7,
    symbol: 'BTC',
    quantity: '0.3',
    invested: '50',
    day_change: '1',
  })
  server.tell(lotUpdateFrame(server.nextPosition(), [lot(), own], []))
  tick(candle('200', '2026-03-04T10:00:02Z'))
  const { present_value, gain_loss, gain_loss_percent, day_change } = state().positions[1]!
  expect(state().lots).toEqual([lot(), { ...own, present_value, gain_loss, gain_loss_percent, day_change }])
})

test('only candles of held products that are traded here are streamed, until the holding is sold', async () => {
  const asset = (asset_id: number, symbol: string) => bitcoin({ asset_id, symbol })
  const server = fakePortfolioServer([asset(1, 'ETH'), asset(2, 'SOL'), asset(3, 'XYZ'), position({ asset_id: 4 })])
  const { state } = await connected(server)
  expect(server.candleSockets()).toEqual([])
  const before = state().positions
  server.setPositions([...before, bitcoin()])
  expect(server.candleSockets().map(({ url }) => url)).toEqual(['wss://kerb.test/ws/products/BTC-USD'])
  server.setPositions([...before, bitcoin({ cmp: '7' })])
  expect(server.candleSockets()).toHaveLength(1)
  server.setPositions([...before, bitcoin({ quantity: '0', lots: 0 })])
  expect(server.candleSockets().map(({ closed }) => closed)).toEqual([true])
  expect(server.asked.filter(({ path }) => path === '/api/v1/products')).toHaveLength(1)
})

test('P7 a subscriber of one asset gets streamed prices without totals', async () => {
  const server = fakePortfolioServer([])
  const { state } = await connected(server, { channels: ['asset.BTC'] })
  const told = { positions: [bitcoin()], prices: [], lots: [] }
  server.tell(portfolioSnapshotFrame(server.nextPosition(), 'asset.BTC', told))
  await server.settle()
  server.candleSockets()[0]!.onmessage?.(candle('101.5', '2026-03-04T10:00:02Z'))
  expect(state()).toMatchObject({ portfolio: null, positions: [{ cmp: '101.5', present_value: '203' }] })
})
