import { env } from 'cloudflare:workers'
import { type ActivitiesChange, changeActivities, type NewActivity } from '../../../src/db/activities.ts'
import { withLiveDatabase, withUserDatabase } from '../../../src/db/client.ts'
import { readValuedPortfolio } from '../../../src/db/portfolio-views.ts'
import { writePrices } from '../../../src/db/prices.ts'
import { type PortfolioChange, type UserPortfolioObject, userPortfolio } from '../../../src/objects.ts'
import { DEFAULT_REFRESH_SETTINGS } from '../../../src/pricing/refresh-settings.ts'
import type { LotView, PortfolioMessage, PortfolioPrice, Position, Totals } from '../../../src/protocol/portfolio.ts'
import { waitFor } from './wire.ts'

/** Numbers and currencies of assets that the database begins with, by symbol. */
export async function assetIds<S extends string>(
  ...symbols: S[]
): Promise<Record<S, { id: number; currency: string }>> {
  const rows = await withLiveDatabase(
    env,
    (sql) => sql<{ symbol: S; id: number; currency: string }[]>`
      SELECT symbol, asset_id AS id, currency FROM assets WHERE symbol = ANY (${`{${symbols.join()}}`}::text::text[])`,
  )
  const found = Object.fromEntries(rows.map(({ symbol, ...asset }) => [symbol, asset]))
  for (const symbol of symbols) if (!found[symbol]) throw new Error(`no asset ${symbol}`)
  return found as Record<S, { id: number; currency: string }>
}

/** A price as a board sends it. */
export const portfolioPrice = (
  asset: { id: number; currency: string; symbol: string },
  price: string,
  more: Partial<PortfolioPrice> = {},
): PortfolioPrice => ({
  asset_id: asset.id,
  symbol: asset.symbol,
  price,
  currency: asset.currency,
  previous_close: null,
  change24h: null,
  eps: null,
  pe_ratio: null,
  pe_as_of: null,
  market_state: 'open',
  as_of: new Date().toISOString(),
  updated_at: new Date().toISOString(),
  stale: null,
  ...more,
})

/** Stores prices in Postgres as boards do. */
export const storePrices = (prices: readonly PortfolioPrice[]) =>
  withLiveDatabase(env, (sql) =>
    writePrices(
      sql,
      prices.map(({ stale: _, ...price }) => ({
        ...price,
        provider: 'simulated',
        market: null,
        open: null,
        high: null,
        low: null,
        volume: null,
      })),
      DEFAULT_REFRESH_SETTINGS,
    ),
  )

export const buyActivity = (
  asset: { id: number; currency: string } | null,
  given: Partial<NewActivity>,
): NewActivity => ({
  id: crypto.randomUUID(),
  kind: 'buy',
  asset_id: asset?.id ?? null,
  quantity: '1',
  price: '1',
  fees: '0',
  currency: asset?.currency ?? 'USD',
  traded_at: '2026-01-05T15:00:00Z',
  split: null,
  lots: null,
  note: null,
  short: false,
  fingerprint: null,
  ...given,
})

/** Somebody with a profile and nothing else, in the database and as an object. */
export async function createUser(currency = 'USD') {
  const id = crypto.randomUUID()
  await withLiveDatabase(
    env,
    (sql) => sql`INSERT INTO profiles (user_id, name, currency) VALUES (${id}, 'Somebody', ${currency})`,
  )
  const object = userPortfolio(env, id) as UserPortfolioObject & DurableObjectStub<undefined>
  /** Writes as the routes do, without telling the object. */
  const write = async (change: ActivitiesChange): Promise<PortfolioChange> => {
    const written = await withUserDatabase(env, { id }, (sql) => changeActivities(sql, id, new Date(), change))
    if (!written.ok) throw new Error(JSON.stringify(written.refused))
    return written.change
  }
  return {
    id,
    object,
    write,
    change: async (change: ActivitiesChange) => object.applyChange(await write(change)),
    valued: () => withUserDatabase(env, { id }, (sql) => readValuedPortfolio(sql, id)),
    open: (more: { until?: number } = {}) => openPortfolioSocket(object, more.until ?? Date.now() + 3_600_000),
  }
}
export type User = Awaited<ReturnType<typeof createUser>>

export type Frame = PortfolioMessage | { type: 'subscribed'; position: string; recovered: boolean; channels: string[] }

/** A client's state from its messages, written independently of the clients. */
export class ClientState {
  portfolio: Totals | null = null
  positions = new Map<number, Position>()
  prices = new Map<number, PortfolioPrice>()
  lots = new Map<string, LotView>()
  position = ''

  apply(frame: Frame): void {
    if (frame.type === 'subscribed') return
    this.position = frame.position
    if (frame.type === 'snapshot') {
      if (frame.portfolio) {
        this.portfolio = frame.portfolio
        this.positions.clear()
      }
      for (const one of frame.positions) this.positions.set(one.asset_id, one)
      for (const one of frame.prices ?? []) this.prices.set(one.asset_id, one)
      if (frame.lots) this.lots = new Map(frame.lots.map((lot) => [lot.id, lot]))
    } else if (frame.type === 'price_update') for (const one of frame.prices) this.prices.set(one.asset_id, one)
    else if (frame.type === 'lot_update') {
      for (const lot of frame.lots) this.lots.set(lot.id, lot)
      for (const id of frame.removed) this.lots.delete(id)
    } else {
      for (const one of frame.positions)
        this.positions.set(one.asset_id, { ...this.positions.get(one.asset_id), ...one } as Position)
      for (const id of frame.removed) this.positions.delete(id)
      if (this.portfolio) this.portfolio = { ...this.portfolio, ...frame.portfolio }
    }
  }

  /** Positions and totals, to be compared. */
  get state() {
    const positions = [...this.positions.values()].sort((a, b) => a.asset_id - b.asset_id)
    return { portfolio: this.portfolio, positions }
  }
}

export async function openPortfolioSocket(object: UserPortfolioObject, untilMs: number) {
  const headers = { upgrade: 'websocket', 'kerb-until': String(untilMs) }
  const response = await object.fetch(new Request('http://kerb.test/ws/portfolio', { headers }))
  const socket = response.webSocket
  if (!socket) throw new Error(`no socket: ${response.status}`)
  const frames: (Frame & { req_id?: number; code?: string; field?: string })[] = []
  let closed: { code: number; reason: string } | null = null
  const texts: string[] = []
  socket.addEventListener('message', ({ data }) => {
    texts.push(data as string)
    frames.push(JSON.parse(data as string))
  })
  socket.addEventListener('close', ({ code, reason }) => {
    closed = { code, reason }
  })
  socket.accept()
  let asked = 0
  const send = (message: object) => socket.send(JSON.stringify(message))
  const of = (reqId: number) => frames.find(({ req_id }) => req_id === reqId)
  const self = {
    frames,
    texts,
    send,
    closed: () => closed,
    close: () => socket.close(1000),
    types: () => frames.map(({ type }) => type),
    /** All that was sent before this is there when it is done. */
    async flushed(): Promise<void> {
      const req_id = ++asked
      send({ op: 'ping', req_id })
      await waitFor(`pong ${req_id}`, () => of(req_id))
    },
    /** Subscribes, and gives the answer; its frames have come then. One that acks is never slowed down. */
    async subscribe(channels: string[], since?: string) {
      send({ op: 'ack', position: '' })
      const req_id = ++asked
      send({ op: 'subscribe', channels, since, req_id })
      await self.flushed()
      return of(req_id)
    },
    /** Acks all, waits for all, and gives what it knows then. */
    async clientState(): Promise<ClientState> {
      await self.flushed()
      const told = new ClientState()
      for (const frame of frames) if (frame.type in STATE_MESSAGES) told.apply(frame)
      if (told.position !== '') send({ op: 'ack', position: told.position })
      return told
    },
  }
  return self
}
const STATE_MESSAGES = { snapshot: 1, price_update: 1, position_update: 1, lot_update: 1 }
