import type { Candidate } from '../../src/protocol/asset.ts'
import { parseChannel } from '../../src/protocol/channel.ts'
import type { ErrorCode } from '../../src/protocol/errors.ts'
import type { ChannelError } from '../quotes/subscription.ts'

/** An asset to be followed. The symbol says which board has it; null: any may. */
export type Followed = { asset_id: number; symbol: string }

/** What a symbol means to a user. `unread`: who knows it cannot be asked at the moment. */
export type AssetMatch =
  | ({ kind: 'asset' } & Followed)
  | { kind: 'ambiguous'; candidates: Candidate[] }
  | { kind: 'unknown' }
  | { kind: 'unread' }

/** What a socket has subscribed to: the portfolio, and single assets, by number. `key` is the same for the same. */
export type PortfolioSubscription = { portfolio: boolean; assets: ReadonlyMap<number, AssetChannel>; key: string }

/** As the client has called it, and the symbol of the asset itself. */
export type AssetChannel = { channel: string; symbol: string }

const subscriptionKey = (portfolio: boolean, ids: Iterable<number>): string =>
  [portfolio ? ['p'] : [], [...ids].sort((a, b) => a - b)].flat().join()

export const newSubscription = (
  portfolio: boolean,
  assets: ReadonlyMap<number, AssetChannel>,
): PortfolioSubscription => ({
  portfolio,
  assets,
  key: subscriptionKey(portfolio, assets.keys()),
})

export const NO_SUBSCRIPTION = newSubscription(false, new Map())

export const mergeSubscriptions = (a: PortfolioSubscription, b: PortfolioSubscription): PortfolioSubscription =>
  newSubscription(a.portfolio || b.portfolio, new Map([...a.assets, ...b.assets]))

/** The names of its channels. */
export const getChannelNames = ({ portfolio, assets }: PortfolioSubscription): string[] => [
  ...(portfolio ? ['portfolio'] : []),
  ...[...assets.values()].map(({ channel }) => channel),
]

/** What is left when these channels are given up; what was never had is no matter. */
export function removeChannels(before: PortfolioSubscription, channels: readonly string[]): PortfolioSubscription {
  const gone = new Set(channels)
  const left = [...before.assets].filter(
    ([, { channel, symbol }]) => !gone.has(channel) && !gone.has(`asset.${symbol}`),
  )
  return newSubscription(before.portfolio && !gone.has('portfolio'), new Map(left))
}

/** The symbols of the channels among these that are of one asset. */
export const getChannelSymbols = (channels: readonly string[]): string[] =>
  channels.flatMap((name) => {
    const channel = parseChannel(name)
    return channel?.kind === 'asset' ? [channel.symbol] : []
  })

/**
 * What channels mean. One that cannot be had fails them all, and is named.
 * @param before what the socket has already
 * @param named what the symbols of `symbolsOf` mean
 * @param most see MAX_CHANNELS
 */
export function parsePortfolioChannels(
  channels: readonly string[],
  before: PortfolioSubscription,
  named: ReadonlyMap<string, AssetMatch>,
  most: number,
): PortfolioSubscription | { error: ChannelError } {
  const assets = new Map<number, AssetChannel>()
  let portfolio = false
  for (const [index, name] of channels.entries()) {
    const field = `channels/${index}`
    const channel = parseChannel(name)
    if (channel?.kind === 'portfolio') portfolio = true
    else if (channel?.kind !== 'asset')
      return { error: { code: 'unknown_channel', message: 'a channel is portfolio or asset.<symbol>', field } }
    else {
      const found = named.get(channel.symbol) ?? { kind: 'unread' }
      if (found.kind !== 'asset') return { error: { ...toChannelError(channel.symbol, found), field } }
      assets.set(found.asset_id, { channel: name, symbol: found.symbol })
    }
  }
  const asked = newSubscription(portfolio, assets)
  if (mergeSubscriptions(before, asked).assets.size > most)
    return { error: { code: 'too_many_channels', message: `a socket has at most ${most} channels`, field: 'channels' } }
  return asked
}

function toChannelError(
  symbol: string,
  found: Exclude<AssetMatch, { kind: 'asset' }>,
): { code: ErrorCode; message: string } {
  switch (found.kind) {
    case 'ambiguous': {
      const meant = found.candidates.map(({ name_for_it }) => name_for_it).join(', ')
      return { code: 'ambiguous_symbol', message: `${symbol} means several assets: ask for one of ${meant}` }
    }
    case 'unread':
      return { code: 'unavailable', message: `whether there is an asset ${symbol} cannot be told at the moment` }
    default:
      return { code: 'unknown_symbol', message: `no asset is called ${symbol}` }
  }
}
