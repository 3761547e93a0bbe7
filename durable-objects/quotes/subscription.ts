import { parseChannel } from '../../src/protocol/channel.ts'
import type { ErrorCode } from '../../src/protocol/errors.ts'
import type { SymbolMatch } from './symbol-resolver.ts'

/** The most assets that one socket subscribes to by name: their numbers have to fit into its attachment of 16 KiB. */
export const MAX_NAMED_ASSETS = 2_000

/** What a socket has subscribed to: everything, or these assets. `key` is the same for the same. */
export type QuoteSubscription = { all: boolean; ids: ReadonlySet<number>; key: string }

export const subscriptionKey = (all: boolean, ids: Iterable<number>): string =>
  all ? '*' : [...ids].sort((a, b) => a - b).join()

export const union = (a: Iterable<number>, b: Iterable<number>): Set<number> => new Set([...a, ...b])

export const difference = (a: Iterable<number>, b: ReadonlySet<number>): Set<number> =>
  new Set([...a].filter((id) => !b.has(id)))

/** What is needed to read channels. */
export type ChannelResolver = {
  /** See MAX_CHANNELS. */
  maxChannels: number
  /** Finds what the names of these channels mean, where that is not at hand; null: all of it is. */
  loadSymbols(channels: readonly string[]): Promise<unknown> | null
  /** What a name means, after `find`. */
  resolve(symbol: string): SymbolMatch
}

export type ChannelError = { code: ErrorCode; message: string; field: string }

/** The symbols of the channels among these that are of one asset. */
export const getChannelSymbols = (channels: readonly string[]): string[] =>
  channels.flatMap((name) => {
    const channel = parseChannel(name)
    return channel?.kind === 'quotes' && channel.symbol !== '*' ? [channel.symbol] : []
  })

/**
 * What channels mean. One that cannot be had fails them all, and is named; what cannot be had is no matter when it is
 * given up.
 * @param before what the socket has already
 */
export function parseQuoteChannels(
  channels: readonly string[],
  op: 'subscribe' | 'unsubscribe',
  before: QuoteSubscription,
  { maxChannels, resolve: named }: ChannelResolver,
): QuoteSubscription | { error: ChannelError } {
  const ids = new Set<number>()
  let all = false
  for (const [index, name] of channels.entries()) {
    const field = `channels/${index}`
    const channel = parseChannel(name)
    if (channel?.kind !== 'quotes')
      return { error: { code: 'unknown_channel', message: 'a channel is quotes.<symbol> or quotes.*', field } }
    if (channel.symbol === '*') {
      all = true
      continue
    }
    const found = named(channel.symbol)
    if (found.kind === 'asset') ids.add(found.asset.asset_id)
    else if (op === 'subscribe') return { error: { ...toChannelError(channel.symbol, found), field } }
  }
  const most = Math.min(maxChannels, MAX_NAMED_ASSETS)
  if (op === 'subscribe' && union(before.ids, ids).size > most) {
    const message = `a socket has at most ${most} channels; quotes.* is one`
    return { error: { code: 'too_many_channels', message, field: 'channels' } }
  }
  return { all, ids, key: subscriptionKey(all, ids) }
}

function toChannelError(symbol: string, found: Exclude<SymbolMatch, { kind: 'asset' }>): Omit<ChannelError, 'field'> {
  switch (found.kind) {
    case 'ambiguous': {
      const meant = found.candidates.map(({ name_for_it }) => name_for_it).join(', ')
      return { code: 'ambiguous_symbol', message: `${symbol} means several assets: ask for one of ${meant}` }
    }
    case 'unread':
      return { code: 'unavailable', message: `whether there is an asset ${symbol} cannot be told at the moment` }
    default:
      return { code: 'unknown_symbol', message: `no asset here is called ${symbol}` }
  }
}
