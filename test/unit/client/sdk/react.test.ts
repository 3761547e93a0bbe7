import { createRequire } from 'node:module'
import { act, createElement, type ReactNode, StrictMode } from 'react'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import {
  type PortfolioUpdates,
  type PortfolioUpdatesOptions,
  usePortfolioWithUpdates,
} from '../../../../src/client/sdk/react.ts'
import { candleUpdateFrame } from '../../../../src/protocol/messages.ts'
import { bitcoin, fakePortfolioServer, position } from '../../../support/portfolio-server.ts'

type Root = { render(node: ReactNode): void; unmount(): void }
const require = createRequire(import.meta.url)
const { createRoot } = require('react-dom/client') as { createRoot(container: object): Root }
const { renderToString } = require('react-dom/server') as { renderToString(node: ReactNode): string }

/** As much of a page as React asks for to draw a component that draws nothing. */
function container(): object {
  const listens = { addEventListener() {}, removeEventListener() {} }
  const document = { nodeType: 9, ownerDocument: null, activeElement: null, ...listens }
  return { nodeType: 1, nodeName: 'DIV', tagName: 'DIV', ownerDocument: document, firstChild: null, ...listens }
}

type Server = ReturnType<typeof fakePortfolioServer>
let roots: Root[] = []

beforeEach(() => {
  vi.stubGlobal('window', { event: undefined, HTMLIFrameElement: class {} })
  vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true)
})

afterEach(async () => {
  for (const root of roots) await act(async () => root.unmount())
  roots = []
  vi.unstubAllGlobals()
})

type Used = { server: Server; given: PortfolioUpdates[]; options: PortfolioUpdatesOptions }

/** Tells what the hook gives, and shows a little of it. */
function Component({ server, given, options }: Used): string {
  const updates = usePortfolioWithUpdates({ url: 'https://kerb.test', ...options }, server.deps)
  given.push(updates)
  return `${updates.positions[0]?.cmp} ${updates.status}`
}

/** The same, and shows nothing: there is no page to draw on. */
function Silent(props: Used): null {
  Component(props)
  return null
}

/** Draws a component that uses the hook; what it was given, in order. */
async function use(server: Server, options: PortfolioUpdatesOptions = {}, strict = false) {
  const given: PortfolioUpdates[] = []
  const root = createRoot(container())
  roots.push(root)
  const draw = (options: PortfolioUpdatesOptions) =>
    act(async () => {
      const node = createElement(Silent, { server, given, options })
      root.render(strict ? createElement(StrictMode, null, node) : node)
    })
  const later = (run: () => void) =>
    act(async () => {
      run()
      await server.settle()
    })
  await draw(options)
  await later(() => {})
  return { given, now: () => given.at(-1)!, draw, later, unmount: () => act(async () => root.unmount()) }
}

test('the hook is live by default; an unchanged position stays the same object and does not render', async () => {
  const server = fakePortfolioServer([position(), bitcoin({ type: 'stock' })])
  const { given, now, later, unmount } = await use(server)
  expect(given[0]).toMatchObject({ portfolio: null, positions: [], status: 'connecting', error: null })
  await later(() => server.acceptSocket())
  const { portfolio, positions } = server.enriched()
  expect(now()).toMatchObject({ portfolio, positions, status: 'live' })
  const [first, second] = now().positions
  const { refresh } = now()
  await later(() => server.setPositions([position({ cmp: '101' }), second!]))
  expect(now().positions[0]).toEqual({ ...first, cmp: '101' })
  expect(now().positions[1]).toBe(second)
  expect(now().refresh).toBe(refresh)
  const drawn = given.length
  await later(() => server.socket().onmessage?.('{"type":"price_update","position":"p-9","prices":[]}'))
  expect(given).toHaveLength(drawn)
  await unmount()
  expect(server.sockets.every(({ closed }) => closed)).toBe(true)
  expect(server.pendingCount()).toBe(0)
})

test('in mode poll the hook polls every 15 s, or at once on refresh', async () => {
  const server = fakePortfolioServer()
  const { now, later } = await use(server, { mode: 'poll' })
  expect(now()).toMatchObject({ status: 'polling', positions: [position()] })
  await later(() => server.advance(14_999))
  expect(server.asked).toHaveLength(1)
  await later(() => server.advance(1))
  expect(server.asked.map(({ path }) => path)).toEqual(Array(2).fill('/api/v1/stocks/portfolio-cache'))
  server.replies['/api/v1/stocks/portfolio-cache'] = () => ({ status: 500 })
  await later(() => now().refresh())
  expect(now()).toMatchObject({
    status: 'polling',
    error: 'the portfolio request failed with status 500',
    positions: [position()],
  })
  expect(server.sockets).toEqual([])
})

test('the initial portfolio is returned at once, on the server and in the browser', async () => {
  const server = fakePortfolioServer()
  const initial = server.enriched()
  const node = createElement(Component, { server, given: [], options: { initial } })
  expect(renderToString(node)).toBe('100.5 connecting')
  expect(server.asked).toEqual([])
  const { given, later } = await use(server, { initial })
  expect(given[0]?.positions).toBe(initial.positions)
  await later(() => server.acceptSocket())
  expect(given.at(-1)?.positions).toBe(initial.positions)
})

test('a token function that changes with each render opens no new connection, and the newest is used', async () => {
  const server = fakePortfolioServer()
  const { draw, later } = await use(server, { token: () => 'one' })
  await later(() => server.acceptSocket())
  await draw({ token: () => 'two' })
  expect(server.portfolioSockets()).toHaveLength(1)
  await later(() => {
    server.socket().onclose?.(4200, '')
    server.advance(100)
  })
  expect(server.asked.map(({ headers }) => headers.get('authorization'))).toEqual(['Bearer one', 'Bearer two'])
  await draw({ token: () => 'two', mode: 'poll' })
  expect(server.socket().closed).toBe(true)
})

test('strict mode, which mounts twice, leaves one socket', async () => {
  const server = fakePortfolioServer()
  const { now, later } = await use(server, {}, true)
  await later(() => server.acceptSocket())
  expect(server.portfolioSockets().filter(({ closed }) => !closed)).toHaveLength(1)
  expect(now().status).toBe('live')
})

test('the status of a user who is not signed in is signed_out', async () => {
  const server = fakePortfolioServer()
  server.replies['/api/v1/auth/ticket'] = () => ({ status: 401 })
  expect((await use(server)).now()).toMatchObject({ status: 'signed_out', error: null, portfolio: null })
})

test('P1 a streamed price changes the returned portfolio', async () => {
  const server = fakePortfolioServer([bitcoin()])
  const { now, later } = await use(server)
  await later(() => server.acceptSocket())
  await later(() => {
    const candle = `{"product_id":"BTC-USD","close":101.5,"is_complete":false,"last_update":"2026-03-04T10:00:02Z"}`
    server.candleSockets()[0]!.onmessage?.(candleUpdateFrame('c-1', [candle]))
  })
  expect(now().positions[0]).toMatchObject({ cmp: '101.5', present_value: '203', gain_loss: '23', day_change: '3' })
  expect(now().portfolio).toMatchObject({ present_value: '203', day_change: '3' })
})
