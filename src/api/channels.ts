import { type CandleChannel, channelName, parseChannel } from '../protocol/channel.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { GRANULARITIES, isGranularity } from '../protocol/granularity.ts'
import { productFault } from './input.ts'

/** What is wrong with a subscribe: the first channel that cannot be had. */
export type ChannelFault = { code: ErrorCode; message: string; field: string }

/** Which products there are: the active ones, and those among them that are not traded now. */
export type Market = { active: readonly string[]; offline: ReadonlySet<string> }

/**
 * The channels of a subscribe by product, each with its product and granularity named: `*` becomes every active product
 * that is traded, every granularity. One channel that cannot be had fails them all.
 */
export function expandChannels(names: readonly string[], market: Market): Map<string, string[]> | ChannelFault {
  const byProduct = new Map<string, Set<string>>()
  for (const [i, name] of names.entries()) {
    const channel = parseChannel(name)
    const fault = channel?.kind === 'candles' ? productOf(channel, market) : malformed(name)
    if (fault) return { ...fault, field: `channels/${i}` }
    for (const [product, channels] of concrete(channel as CandleChannel, market)) {
      const known = byProduct.get(product) ?? new Set()
      for (const each of channels) known.add(each)
      byProduct.set(product, known)
    }
  }
  return new Map([...byProduct].map(([product, channels]) => [product, [...channels]]))
}

function concrete({ product, granularity }: CandleChannel, { active, offline }: Market): [string, string[]][] {
  const products = product === '*' ? active.filter((id) => !offline.has(id)) : [product]
  const granularities = granularity === '*' ? GRANULARITIES : [granularity]
  return products.map((id) => [id, granularities.map((size) => channelName({ product: id, granularity: size }))])
}

function productOf({ product }: CandleChannel, market: Market): Omit<ChannelFault, 'field'> | null {
  if (product === '*') return null
  const fault = productFault(product, market.active)
  if (fault) return { code: 'unknown_product', message: fault }
  if (market.offline.has(product)) return { code: 'product_offline', message: `${product} is not traded now` }
  return null
}

function malformed(name: string): Omit<ChannelFault, 'field'> {
  const [kind, , granularity, ...rest] = name.split('.')
  const onlySize = kind === 'candles' && granularity !== undefined && rest.length === 0
  if (onlySize && granularity !== '*' && !isGranularity(granularity))
    return { code: 'unknown_granularity', message: `must end with one of ${GRANULARITIES.join(', ')}, or *` }
  return { code: 'unknown_channel', message: 'must be of the form candles.BTC-USD.ONE_MINUTE' }
}
