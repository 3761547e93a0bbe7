import { parseChannel } from '../../src/protocol/channel.ts'
import { type ChannelResult, symbolFault } from '../sockets/source.ts'
import type { SymbolMatch } from './symbol-resolver.ts'

/** The most assets that one connection subscribes to by name: their ids have to fit into its attachment of 16 KiB. */
export const MAX_NAMED_ASSETS = 2_000

/** Everything, or these assets. Equal subscriptions have the same `key`; that of an empty one is empty. */
export type QuoteSubscription = { all: boolean; ids: ReadonlySet<number>; key: string }

export const newQuoteSubscription = (all: boolean, ids: Iterable<number>): QuoteSubscription => ({
  all,
  ids: new Set(ids),
  key: all ? '*' : [...ids].sort((a, b) => a - b).join(),
})

export const union = (a: Iterable<number>, b: Iterable<number>): Set<number> => new Set([...a, ...b])

export const difference = (a: Iterable<number>, b: ReadonlySet<number>): Set<number> =>
  new Set([...a].filter((id) => !b.has(id)))

/**
 * The subscription that channels name. The first that cannot be had is the error; to unsubscribe from an unknown symbol
 * is none.
 * @param before what the connection subscribes to already
 * @param resolve gives what a symbol means
 */
export function parseQuoteChannels(
  channels: readonly string[],
  op: 'subscribe' | 'unsubscribe',
  before: QuoteSubscription,
  maxChannels: number,
  resolve: (symbol: string) => SymbolMatch,
): ChannelResult<QuoteSubscription> {
  const ids = new Set<number>()
  let all = false
  for (const [index, name] of channels.entries()) {
    const field = `channels/${index}`
    const channel = parseChannel(name)
    if (!('kind' in channel)) return { error: { ...channel, field } }
    if (channel.kind !== 'quotes')
      return { error: { code: 'unknown_channel', message: 'must be of the form quotes.<symbol> or quotes.*', field } }
    if (channel.symbol === '*') {
      all = true
      continue
    }
    const match = resolve(channel.symbol)
    if (match.kind === 'asset') ids.add(match.asset.asset_id)
    else if (op === 'subscribe') return { error: { ...symbolFault(channel.symbol, match), field } }
  }
  const most = Math.min(maxChannels, MAX_NAMED_ASSETS)
  if (op === 'subscribe' && union(before.ids, ids).size > most) {
    const message = `a connection has at most ${most} channels; quotes.* is one`
    return { error: { code: 'too_many_channels', message, field: 'channels' } }
  }
  return { subscription: newQuoteSubscription(all, ids) }
}
