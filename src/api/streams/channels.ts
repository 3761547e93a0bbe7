import {
  type CandleChannel,
  type ChannelError,
  type ChannelFault,
  formatCandleChannel,
  parseChannel,
} from '../../protocol/channel.ts'
import { GRANULARITIES } from '../../protocol/granularity.ts'
import { productError } from '../candles/input.ts'
import type { QuoteRoute, QuoteRoutes } from '../quotes/quote-route.ts'

/** The channels that a client can subscribe to. */
export type ChannelCatalog = {
  /** Ids of the active products. */
  active: readonly string[]
  /** Those of them that are not traded now. */
  offline: ReadonlySet<string>
  /** `quotes.*` of every quote board. */
  boards: readonly QuoteRoute[]
  /** Routes of the symbols among the channels of the subscribe. */
  quotes: QuoteRoutes
  signedIn: boolean
}

/** The key of the user's object in joined positions. Product ids are upper case, so that none is equal to it. */
export const PORTFOLIO_KEY = 'portfolio'

/**
 * Groups the channels of a subscribe by the key of their object. `*` becomes every traded product, every granularity and
 * every quote board; a symbol becomes the asset's own. Returns an error if any channel is not available.
 */
export function expandChannels(names: readonly string[], market: ChannelCatalog): Map<string, string[]> | ChannelError {
  const byKey = new Map<string, Set<string>>()
  for (const [i, name] of names.entries()) {
    const parts = routeChannel(name, market)
    if ('code' in parts) return { ...parts, field: `channels/${i}` }
    for (const [key, channels] of parts) {
      const known = byKey.get(key) ?? new Set()
      for (const each of channels) known.add(each)
      byKey.set(key, known)
    }
  }
  return new Map([...byKey].map(([key, channels]) => [key, [...channels]]))
}

/** Channels by the keys of their objects. */
type ChannelsByObject = [string, string[]][]

function routeChannel(name: string, market: ChannelCatalog): ChannelsByObject | ChannelFault {
  const channel = parseChannel(name)
  if (!('kind' in channel)) return channel
  switch (channel.kind) {
    case 'candles':
      return checkCandleProduct(channel, market) ?? expandCandleChannel(channel, market)
    case 'quotes':
      return routeQuoteChannel(channel.symbol, market)
    case 'portfolio':
    case 'asset':
      // Only the user's object knows the user's own assets.
      if (market.signedIn) return [[PORTFOLIO_KEY, [name]]]
      return { code: 'unauthorized', message: 'needs a signed-in user: send a ticket or a token' }
  }
}

function routeQuoteChannel(symbol: string, { boards, quotes }: ChannelCatalog): ChannelsByObject | ChannelFault {
  if (symbol === '*') return boards.map(({ key, channel }) => [key, [channel]])
  const route = quotes.get(symbol) ?? { code: 'unknown_symbol', message: `We couldn't find an asset called ${symbol}.` }
  return 'code' in route ? route : [[route.key, [route.channel]]]
}

function expandCandleChannel(
  { product, granularity }: CandleChannel,
  { active, offline }: ChannelCatalog,
): ChannelsByObject {
  const products = product === '*' ? active.filter((id) => !offline.has(id)) : [product]
  const granularities = granularity === '*' ? GRANULARITIES : [granularity]
  return products.map((id) => [
    id,
    granularities.map((size) => formatCandleChannel({ product: id, granularity: size })),
  ])
}

function checkCandleProduct({ product }: CandleChannel, market: ChannelCatalog): ChannelFault | null {
  if (product === '*') return null
  const fault = productError(product, market.active)
  if (fault) return { code: 'unknown_product', message: fault }
  if (market.offline.has(product)) return { code: 'product_offline', message: `${product} is not traded now` }
  return null
}
