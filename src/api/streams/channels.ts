import { normalizeName } from '../../pricing/symbol.ts'
import { type CandleChannel, formatCandleChannel, parseChannel } from '../../protocol/channel.ts'
import type { ErrorCode } from '../../protocol/errors.ts'
import { GRANULARITIES, isGranularity } from '../../protocol/granularity.ts'
import { productError } from '../http/input.ts'
import type { QuoteRoute, QuoteRoutes } from '../quotes/quote-route.ts'

/** What is wrong with a subscribe: the first channel that cannot be had. */
export type SubscribeError = { code: ErrorCode; message: string; field: string }

/**
 * Which products there are: the active ones, and those among them that are not traded now; every board of quotes, and
 * where the symbols are that `symbolsOf` finds among the channels; and whether there is a portfolio to be had.
 */
export type ChannelCatalog = {
  active: readonly string[]
  offline: ReadonlySet<string>
  boards: readonly QuoteRoute[]
  quotes: QuoteRoutes
  signedIn: boolean
}

/** The key of the user's own object in joined positions. No product's id looks so. */
export const PORTFOLIO_KEY = 'portfolio'

const QUOTES_PREFIX = 'quotes.'
const ASSET_PREFIX = 'asset.'

/** The symbols of the quote channels among these names, as they are written there. */
export const quoteSymbols = (names: readonly string[]): string[] => [
  ...new Set(names.filter((name) => name.startsWith(QUOTES_PREFIX)).map((name) => name.slice(QUOTES_PREFIX.length))),
]

/**
 * The channels of a subscribe by the key of the object that has them, each with its product and granularity, or with the
 * asset's own symbol: `*` becomes every active product that is traded, every granularity, every board. One channel that
 * cannot be had fails them all.
 */
export function expandChannels(
  names: readonly string[],
  market: ChannelCatalog,
): Map<string, string[]> | SubscribeError {
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

type RouteError = Omit<SubscribeError, 'field'>
/** Channels by the keys of their objects. */
type ChannelsByObject = [string, string[]][]

function routeChannel(name: string, market: ChannelCatalog): ChannelsByObject | RouteError {
  if (name.startsWith(QUOTES_PREFIX)) return routeQuoteChannel(name.slice(QUOTES_PREFIX.length), market)
  return name === 'portfolio' || name.startsWith(ASSET_PREFIX)
    ? routeUserChannel(name, market)
    : routeCandleChannel(name, market)
}

/** Which assets there are, the user's object knows: some are the user's own. */
function routeUserChannel(name: string, { signedIn }: ChannelCatalog): ChannelsByObject | RouteError {
  if (!signedIn) return { code: 'unauthorized', message: 'is for who is signed in: bring a ticket or a token' }
  return [[PORTFOLIO_KEY, [name]]]
}

function routeQuoteChannel(symbol: string, { boards, quotes }: ChannelCatalog): ChannelsByObject | RouteError {
  if (symbol === '*') return boards.map(({ key, channel }) => [key, [channel]])
  if (normalizeName(symbol) === null) return malformedChannel(`${QUOTES_PREFIX}${symbol}`)
  const place = quotes.get(symbol) ?? { code: 'unknown_symbol', message: `no asset is called ${symbol}` }
  return 'code' in place ? place : [[place.key, [place.channel]]]
}

function routeCandleChannel(name: string, market: ChannelCatalog): ChannelsByObject | RouteError {
  const channel = parseChannel(name)
  if (channel?.kind !== 'candles') return malformedChannel(name)
  return checkCandleProduct(channel, market) ?? expandCandleChannel(channel, market)
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

function checkCandleProduct({ product }: CandleChannel, market: ChannelCatalog): RouteError | null {
  if (product === '*') return null
  const fault = productError(product, market.active)
  if (fault) return { code: 'unknown_product', message: fault }
  if (market.offline.has(product)) return { code: 'product_offline', message: `${product} is not traded now` }
  return null
}

function malformedChannel(name: string): RouteError {
  const [kind, , granularity, ...rest] = name.split('.')
  const onlySize = kind === 'candles' && granularity !== undefined && rest.length === 0
  if (onlySize && granularity !== '*' && !isGranularity(granularity))
    return { code: 'unknown_granularity', message: `must end with one of ${GRANULARITIES.join(', ')}, or *` }
  return {
    code: 'unknown_channel',
    message: 'must be of the form candles.BTC-USD.ONE_MINUTE, quotes.AAPL, portfolio or asset.AAPL',
  }
}
