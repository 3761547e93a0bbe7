import { type ChannelError, formatCandleChannel, parseChannel } from '../protocol/channel.ts'
import { GRANULARITIES, type Granularity } from '../protocol/granularity.ts'

const ALL_GRANULARITIES = (1 << GRANULARITIES.length) - 1

/**
 * The granularities that channels of one product name, as a mask: bit n for the one of index n. The first channel of
 * another form or product is an error.
 */
export function parseCandleChannels(
  product: string,
  channels: readonly string[],
): { mask: number } | { error: ChannelError } {
  let mask = 0
  for (const [index, name] of channels.entries()) {
    const field = `channels/${index}`
    const channel = parseChannel(name)
    if (!('kind' in channel)) return { error: { ...channel, field } }
    if (channel.kind !== 'candles')
      return {
        error: { code: 'unknown_channel', message: `must be of the form candles.${product}.<granularity>`, field },
      }
    if (channel.product !== '*' && channel.product !== product)
      return { error: { code: 'unknown_product', message: `this connection is for ${product} only`, field } }
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
