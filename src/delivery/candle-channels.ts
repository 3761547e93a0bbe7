import { formatCandleChannel, parseChannel } from '../protocol/channel.ts'
import type { ErrorCode } from '../protocol/errors.ts'
import { GRANULARITIES, type Granularity, isGranularity } from '../protocol/granularity.ts'

const ALL_GRANULARITIES = (1 << GRANULARITIES.length) - 1

export type ChannelError = { code: ErrorCode; message: string; field: string }

/**
 * The granularities that channels of one product name, as a mask: bit n for the one of index n. A name that is none,
 * or of another product, gives an error that names it.
 */
export function parseCandleChannels(
  product: string,
  channels: readonly string[],
): { mask: number } | { error: ChannelError } {
  let mask = 0
  for (const [index, name] of channels.entries()) {
    const field = `channels/${index}`
    const channel = parseChannel(name)
    if (channel?.kind !== 'candles') {
      const granularity = channel === null ? name.split('.')[2] : undefined
      const unknown = granularity !== undefined && granularity !== '*' && !isGranularity(granularity)
      return unknown
        ? { error: { code: 'unknown_granularity', message: `no granularity ${granularity.slice(0, 40)}`, field } }
        : { error: { code: 'unknown_channel', message: 'a channel is candles.<product>.<granularity>', field } }
    }
    if (channel.product !== '*' && channel.product !== product)
      return { error: { code: 'unknown_product', message: `this socket is of ${product}`, field } }
    mask |= channel.granularity === '*' ? ALL_GRANULARITIES : 1 << GRANULARITIES.indexOf(channel.granularity)
  }
  return { mask }
}

/** The granularities of a mask, smallest first. */
export const getGranularities = (mask: number): Granularity[] =>
  GRANULARITIES.filter((_, index) => (mask & (1 << index)) !== 0)

/** The channels of a mask, each by its own name. */
export const getChannelNames = (product: string, mask: number): string[] =>
  getGranularities(mask).map((granularity) => formatCandleChannel({ product, granularity }))
