import { type Granularity, isGranularity } from './granularity.ts'

/** `candles.<product>.<granularity>`; `*` stands for every product or every granularity. */
export type CandleChannel = { product: string | '*'; granularity: Granularity | '*' }

/** Product ids as Coinbase writes them: `BTC-USD`, `BIP-20DEC30-CDE`. */
export const PRODUCT_ID = /^[A-Z0-9]{1,20}(?:-[A-Z0-9]{1,20}){1,3}$/

/** Parses a channel's name; a name of another form gives null. */
export function parseChannel(name: string): CandleChannel | null {
  const [kind, product, granularity, ...rest] = name.split('.')
  if (kind !== 'candles' || product === undefined || granularity === undefined || rest.length > 0) return null
  if (product !== '*' && !PRODUCT_ID.test(product)) return null
  if (granularity !== '*' && !isGranularity(granularity)) return null
  return { product, granularity }
}

export const channelName = (channel: CandleChannel): string => `candles.${channel.product}.${channel.granularity}`
