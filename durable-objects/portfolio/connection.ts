import type { ClientMessage } from '../../src/protocol/messages.ts'
import type { LotView } from '../../src/protocol/portfolio.ts'
import { keep, kept, newSocketReader, type SocketReader } from '../sockets/connection.ts'
import { type AssetChannel, type NamedAsset, type PortfolioSubscription, subscription } from './subscription.ts'

/** What is kept with a socket beside what is kept with each: 16 KiB in all. */
type Own = { portfolio: boolean; assets: [number, AssetChannel][]; until: number; sent: number | null }

/** Open lots by asset, as they were read when lots had changed at `lotsAt` last. */
export type Lots = { lotsAt: number; of: ReadonlyMap<number, readonly LotView[]> }

/** What was found out for a message before it can be handled; null: it could not be. */
export type Prepared = { named: ReadonlyMap<string, NamedAsset>; lots: Lots } | null

/**
 * One socket of a user. `until`: when what has let it in is over, unix milliseconds. `waiting`: messages that are to be
 * handled yet. `restoring`: lots are read for the snapshot that it is owed.
 */
export type PortfolioListener = SocketReader & {
  what: PortfolioSubscription
  until: number
  waiting: ClientMessage[] | null
  prepared: Prepared
  restoring: boolean
}

const listenerOf = (reader: SocketReader, { portfolio, assets, until, sent }: Own): PortfolioListener => ({
  ...reader,
  what: subscription(portfolio, new Map(assets)),
  until,
  sent,
  waiting: null,
  prepared: null,
  restoring: false,
})

/** @param until is said when it is accepted: see `PortfolioAudience.open` */
export const newListener = (now: number, client: string, passive: boolean): PortfolioListener =>
  listenerOf(newSocketReader(now, client, passive), { portfolio: false, assets: [], until: now, sent: null })

/** Keeps with a socket what is to be known of it after a sleep. */
export function note(socket: WebSocket, listener: PortfolioListener): void {
  const { what, until, sent } = listener
  const own: Own = { portfolio: what.portfolio, assets: [...what.assets], until, sent }
  keep(socket, listener, own)
}

/** What was kept with a socket; null for one that was let go, and whose other side has not answered yet. */
export function restored(socket: WebSocket): PortfolioListener | null {
  const was = kept<Own>(socket)
  return was && listenerOf(was.reader, was.own)
}
