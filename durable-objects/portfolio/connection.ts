import type { ClientMessage } from '../../src/protocol/messages.ts'
import type { LotView } from '../../src/protocol/portfolio.ts'
import { type Connection, loadAttachment, newConnection, saveAttachment } from '../sockets/connection.ts'
import { type AssetChannel, type AssetMatch, newSubscription, type PortfolioSubscription } from './subscription.ts'

/** What is kept with a socket beside what is kept with each: 16 KiB in all. */
type StoredFields = { portfolio: boolean; assets: [number, AssetChannel][]; until: number; sent: number | null }

/** Open lots by asset, as they were read when lots had changed at `lotsAt` last. */
export type OpenLots = { lotsAt: number; byAsset: ReadonlyMap<number, readonly LotView[]> }

/** What was found out for a message before it can be handled; null: it could not be. */
export type Prepared = { matches: ReadonlyMap<string, AssetMatch>; lots: OpenLots } | null

/**
 * One socket of a user. `until`: when what has let it in is over, unix milliseconds. `waiting`: messages that are to be
 * handled yet. `restoring`: lots are read for the snapshot that it is owed.
 */
export type PortfolioConnection = Connection & {
  subscription: PortfolioSubscription
  authorizedUntil: number
  queuedMessages: ClientMessage[] | null
  prepared: Prepared
  isLoadingLots: boolean
}

const toConnection = (reader: Connection, { portfolio, assets, until, sent }: StoredFields): PortfolioConnection => ({
  ...reader,
  subscription: newSubscription(portfolio, new Map(assets)),
  authorizedUntil: until,
  sentOffset: sent,
  queuedMessages: null,
  prepared: null,
  isLoadingLots: false,
})

/** @param until is said when it is accepted: see `PortfolioAudience.open` */
export const newPortfolioConnection = (now: number, client: string, passive: boolean): PortfolioConnection =>
  toConnection(newConnection(now, client, passive), { portfolio: false, assets: [], until: now, sent: null })

/** Keeps with a socket what is to be known of it after a sleep. */
export function savePortfolioConnection(socket: WebSocket, listener: PortfolioConnection): void {
  const { subscription: what, authorizedUntil: until, sentOffset: sent } = listener
  const own: StoredFields = { portfolio: what.portfolio, assets: [...what.assets], until, sent }
  saveAttachment(socket, listener, own)
}

/** What was kept with a socket; null for one that was let go, and whose other side has not answered yet. */
export function loadPortfolioConnection(socket: WebSocket): PortfolioConnection | null {
  const was = loadAttachment<StoredFields>(socket)
  return was && toConnection(was.reader, was.own)
}
