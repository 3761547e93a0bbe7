import type { Candidate } from '../../src/protocol/asset.ts'
import { parseChannel } from '../../src/protocol/channel.ts'
import { type ChannelResult, symbolFault } from '../sockets/source.ts'

/** What a symbol means to a user. `unread`: the assets cannot be read at the moment. */
export type AssetMatch =
  | { kind: 'asset'; asset_id: number; symbol: string }
  | { kind: 'ambiguous'; candidates: Candidate[] }
  | { kind: 'unknown' }
  | { kind: 'unread' }

/** The portfolio, and single assets by id. Equal subscriptions have the same `key`; that of an empty one is empty. */
export type PortfolioSubscription = { portfolio: boolean; assets: ReadonlyMap<number, AssetChannel>; key: string }

/** The channel as the client named it, and the asset's own symbol. */
export type AssetChannel = { channel: string; symbol: string }

export const newSubscription = (
  portfolio: boolean,
  assets: ReadonlyMap<number, AssetChannel>,
): PortfolioSubscription => ({
  portfolio,
  assets,
  key: [portfolio ? ['p'] : [], [...assets.keys()].sort((a, b) => a - b)].flat().join(),
})

export const NO_SUBSCRIPTION = newSubscription(false, new Map())

export const mergeSubscriptions = (a: PortfolioSubscription, b: PortfolioSubscription): PortfolioSubscription =>
  newSubscription(a.portfolio || b.portfolio, new Map([...a.assets, ...b.assets]))

/**
 * The subscription that channels name. The first that cannot be had is the error.
 * @param before what the connection subscribes to already
 * @param matches what the symbols of these channels mean
 * @param maxChannels see MAX_CHANNELS
 */
export function parsePortfolioChannels(
  channels: readonly string[],
  before: PortfolioSubscription,
  matches: ReadonlyMap<string, AssetMatch>,
  maxChannels: number,
): ChannelResult<PortfolioSubscription> {
  const assets = new Map<number, AssetChannel>()
  let portfolio = false
  for (const [index, name] of channels.entries()) {
    const field = `channels/${index}`
    const channel = parseChannel(name)
    if (!('kind' in channel)) return { error: { ...channel, field } }
    if (channel.kind === 'portfolio') portfolio = true
    else if (channel.kind !== 'asset')
      return { error: { code: 'unknown_channel', message: 'must be of the form portfolio or asset.<symbol>', field } }
    else {
      const match = matches.get(channel.symbol) ?? { kind: 'unread' }
      if (match.kind !== 'asset') return { error: { ...symbolFault(channel.symbol, match), field } }
      assets.set(match.asset_id, { channel: name, symbol: match.symbol })
    }
  }
  const subscription = newSubscription(portfolio, assets)
  if (mergeSubscriptions(before, subscription).assets.size > maxChannels) {
    const message = `a connection has at most ${maxChannels} channels`
    return { error: { code: 'too_many_channels', message, field: 'channels' } }
  }
  return { subscription }
}
