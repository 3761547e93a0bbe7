import type { ClientDeps } from '../../src/client/sdk/stream.ts'
import { totalsOf } from '../../src/portfolio/totals.ts'
import { changedKeys, changedTotals } from '../../src/portfolio/updates.ts'
import { portfolioSnapshotFrame, positionUpdateFrame, subscribedFrame } from '../../src/protocol/messages.ts'
import {
  type EnrichedPortfolio,
  type LotView,
  type PortfolioPrice,
  type Position,
  portfolioMessageSchema,
} from '../../src/protocol/portfolio.ts'
import { fakeClientDeps } from './fake-client-deps.ts'

/** An open position with consistent figures. */
export const position = (more: Partial<Position> = {}): Position => ({
  asset_id: 1,
  symbol: 'AAPL',
  name: 'Apple',
  type: 'stock',
  quantity: '2',
  lots: 1,
  currency: 'USD',
  cmp: '100.5',
  cmp_currency: 'USD',
  rate: '1',
  average_cost: '90',
  invested: '180',
  present_value: '201',
  gain_loss: '21',
  gain_loss_percent: '11.6667',
  day_change: '1',
  day_change_percent: '0.5',
  realised_gain: '0',
  income: '0',
  expenses: '0',
  pe_ratio: null,
  pe_as_of: null,
  market_state: 'open',
  as_of: '2026-03-04T10:00:00Z',
  updated_at: '2026-03-04T10:00:01Z',
  stale: null,
  ...more,
})

export const bitcoin = (more: Partial<Position> = {}): Position =>
  position({ asset_id: 7, symbol: 'BTC', name: 'Bitcoin', type: 'crypto', ...more })

export const lot = (more: Partial<LotView> = {}): LotView => ({
  id: '00000000-0000-4000-8000-000000000001',
  asset_id: 1,
  symbol: 'AAPL',
  quantity: '2',
  opened_quantity: '2',
  price: '90',
  fees: '0',
  currency: 'USD',
  traded_at: '2026-01-05T10:00:00Z',
  cost: '180',
  note: null,
  version: 1,
  invested: '180',
  present_value: '201',
  gain_loss: '21',
  gain_loss_percent: '11.6667',
  day_change: '1',
  ...more,
})

export const price = (more: Partial<PortfolioPrice> = {}): PortfolioPrice => ({
  asset_id: 1,
  symbol: 'AAPL',
  price: '100.5',
  currency: 'USD',
  previous_close: '100',
  change24h: '0.5',
  eps: null,
  pe_ratio: null,
  pe_as_of: null,
  market_state: 'open',
  as_of: '2026-03-04T10:00:00Z',
  updated_at: '2026-03-04T10:00:01Z',
  stale: null,
  ...more,
})

const PRODUCTS = [
  { product_id: 'BTC-USD', active: true, status: 'online' },
  { product_id: 'ETH-USD', active: false, status: 'online' },
  { product_id: 'SOL-USD', active: true, status: 'delisted' },
]

type Reply = { status: number; body?: unknown; headers?: Record<string, string> }

/**
 * A fake server with one user, for a client with fake dependencies: REST responds from `replies`, and the socket of the
 * portfolio checks each frame against the protocol.
 */
export function fakePortfolioServer(positions: Position[] = [position()]) {
  const world = fakeClientDeps()
  const asked: { path: string; method: string; headers: Headers; credentials: string | undefined }[] = []
  let tickets = 0
  let offset = 0
  let version = 1
  let held = positions
  const enriched = (): EnrichedPortfolio => ({
    portfolio: totalsOf(held, { currency: 'USD', version }),
    positions: held,
    refreshed_at: '2026-03-04T10:00:02Z',
    age_seconds: 1,
  })
  const replies: Record<string, () => Reply | Promise<Reply>> = {
    '/api/v1/auth/ticket': () => ({ status: 200, body: { ticket: `u.t/${++tickets}`, expires_in: 30 } }),
    '/api/v1/products': () => ({ status: 200, body: { products: PRODUCTS } }),
    '/api/v1/stocks/portfolio-cache': () => ({ status: 200, body: enriched() }),
  }
  const deps: ClientDeps = {
    ...world.deps,
    async fetch(input, init) {
      const { pathname } = new URL(String(input))
      asked.push({
        path: pathname,
        method: init?.method ?? 'GET',
        headers: new Headers(init?.headers),
        credentials: init?.credentials,
      })
      const { status, body = null, headers } = (await replies[pathname]?.()) ?? { status: 404 }
      return new Response(JSON.stringify(body), { status, headers })
    },
  }
  const sockets = (path: string) => world.sockets.filter(({ url }) => new URL(url).pathname === path)
  const socket = () => sockets('/ws/portfolio').at(-1)!
  const tell = (frame: string) => {
    portfolioMessageSchema.parse(JSON.parse(frame))
    socket().onmessage?.(frame)
  }
  const nextPosition = () => `p-${++offset}`
  return {
    ...world,
    deps,
    asked,
    replies,
    enriched,
    portfolioSockets: () => sockets('/ws/portfolio'),
    candleSockets: () => world.sockets.filter(({ url }) => !new URL(url).pathname.startsWith('/ws/portfolio')),
    socket,
    tell,
    nextPosition,
    /** Waits until all pending requests have a response. */
    settle: () => new Promise<void>((resolve) => setImmediate(resolve)),
    /** Opens the newest socket and confirms its subscription. */
    acceptSocket(recovered = false) {
      socket().onopen?.()
      const { channels, req_id } = socket().sent[0] as { channels: string[]; req_id: number }
      socket().onmessage?.(subscribedFrame(channels, `p-${offset}`, recovered, req_id))
      if (recovered) return
      const { portfolio, positions } = enriched()
      if (channels.includes('portfolio'))
        tell(portfolioSnapshotFrame(`p-${offset}`, 'portfolio', { portfolio, positions }))
    },
    /** Replaces the positions and sends the changes. */
    setPositions(next: Position[]) {
      const before = { held, totals: enriched().portfolio }
      held = next
      version++
      const of = (id: number) => before.held.find(({ asset_id }) => asset_id === id) ?? null
      const changes = next.map((after) => changedKeys(of(after.asset_id), after)).filter((change) => change !== null)
      const removed = before.held.map(({ asset_id }) => asset_id).filter((id) => !next.some((p) => p.asset_id === id))
      const portfolio = changedTotals(before.totals, enriched().portfolio)
      tell(positionUpdateFrame(nextPosition(), { positions: changes, removed, portfolio }))
    },
    /** Replaces the positions without an update. */
    setPositionsSilently(next: Position[]) {
      held = next
    },
  }
}
