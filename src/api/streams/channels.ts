import { normalizeName } from '../../pricing/symbol.ts'
import { type CandleChannel, formatCandleChannel, parseChannel } from '../../protocol/channel.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { GRANULARITIES, isGranularity } from '../../protocol/granularity.ts'
import { productError } from '../http/input.ts'
import type { QuoteRoute, QuoteRoutes } from '../quotes/quote-route.ts'

/** Why a subscribe is refused: the first channel that is not available. */
export type SubscribeError = { code: ErrorCode; message: string; field: string }

/** The channels that a client can subscribe to. */
export type ChannelCatalog = {
  /** Ids of the active products. */
  active: readonly string[]
  /** Those of them that are not traded now. */
  offline: ReadonlySet<string>
  /** `quotes.*` of every quote board. */
  boards: readonly QuoteRoute[]
  /** Routes of the symbols that `quoteSymbols` finds in the subscribe. */
  quotes: QuoteRoutes
  signedIn: boolean
}

/** The key of the user's object in joined positions. Product ids are upper case, so that none is equal to it. */
export const PORTFOLIO_KEY = 'portfolio'

const QUOTES_PREFIX = 'quotes.'
const ASSET_PREFIX = 'asset.'

/** The symbols of the quote channels among these names, as the client writes them. */
export const quoteSymbols = (names: readonly string[]): string[] => [
  ...new Set(names.filter((name) => name.startsWith(QUOTES_PREFIX)).map((name) => name.slice(QUOTES_PREFIX.length))),
]

/**
 * Groups the channels of a subscribe by the key of their object. `*` becomes every traded product, every granularity and
 * every quote board; a symbol becomes the asset's own. Returns an error if any channel is not available.
 */
export function expandChannels(
  names: readonly string[],
  catalog: ChannelCatalog,
): Map<string, string[]> | SubscribeError {
  const byKey = new Map<string, Set<string>>()
  for (const [i, name] of names.entries()) {
    const routed = routeChannel(name, catalog)
    if ('code' in routed) return { ...routed, field: `channels/${i}` }
    for (const [key, channels] of routed) {
      const known = byKey.get(key) ?? new Set()
      for (const channel of channels) known.add(channel)
      byKey.set(key, known)
    }
  }
  return new Map([...byKey].map(([key, channels]) => [key, [...channels]]))
}

type RouteError = Omit<SubscribeError, 'field'>
/** Channels by the keys of their objects. */
type ChannelsByObject = [string, string[]][]

function routeChannel(name: string, catalog: ChannelCatalog): ChannelsByObject | RouteError {
  if (name.startsWith(QUOTES_PREFIX)) return routeQuoteChannel(name.slice(QUOTES_PREFIX.length), catalog)
  return name === 'portfolio' || name.startsWith(ASSET_PREFIX)
    ? routeUserChannel(name, catalog)
    : routeCandleChannel(name, catalog)
}

/** The user's object checks the symbol: it may be a custom asset of that user. */
function routeUserChannel(name: string, { signedIn }: ChannelCatalog): ChannelsByObject | RouteError {
  if (!signedIn) return { code: 'unauthorized', message: 'needs a signed-in user: send a ticket or a token' }
  return [[PORTFOLIO_KEY, [name]]]
}

function routeQuoteChannel(symbol: string, { boards, quotes }: ChannelCatalog): ChannelsByObject | RouteError {
  if (symbol === '*') return boards.map(({ key, channel }) => [key, [channel]])
  if (normalizeName(symbol) === null) return malformedChannel(`${QUOTES_PREFIX}${symbol}`)
  const route = quotes.get(symbol) ?? { code: 'unknown_symbol', message: `no asset has the symbol ${symbol}` }
  return 'code' in route ? route : [[route.key, [route.channel]]]
}

function routeCandleChannel(name: string, catalog: ChannelCatalog): ChannelsByObject | RouteError {
  const channel = parseChannel(name)
  if (channel?.kind !== 'candles') return malformedChannel(name)
  return checkCandleProduct(channel, catalog) ?? expandCandleChannel(channel, catalog)
}

function expandCandleChannel(
  { product, granularity }: CandleChannel,
  { active, offline }: ChannelCatalog,
): ChannelsByObject {
  const products = product === '*' ? active.filter((id) => !offline.has(id)) : [product]
  const granularities = granularity === '*' ? GRANULARITIES : [granularity]
  return products.map((id) => [
    id,
    granularities.map((each) => formatCandleChannel({ product: id, granularity: each })),
  ])
}

function checkCandleProduct({ product }: CandleChannel, catalog: ChannelCatalog): RouteError | null {
  if (product === '*') return null
  const fault = productError(product, catalog.active)
  if (fault) return { code: 'unknown_product', message: fault }
  if (catalog.offline.has(product)) return { code: 'product_offline', message: `${product} is not traded now` }
  return null
}

function malformedChannel(name: string): RouteError {
  const [kind, , granularity, ...rest] = name.split('.')
  const isCandleChannel = kind === 'candles' && granularity !== undefined && rest.length === 0
  if (isCandleChannel && granularity !== '*' && !isGranularity(granularity))
    return { code: 'unknown_granularity', message: `must end with one of ${GRANULARITIES.join(', ')}, or *` }
  return {
    code: 'unknown_channel',
    message: 'must be of the form candles.BTC-USD.ONE_MINUTE, quotes.AAPL, portfolio or asset.AAPL',
  }
}
