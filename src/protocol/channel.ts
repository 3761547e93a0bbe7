import { SYMBOL_PATTERN } from './asset.ts'
import { type Granularity, isGranularity } from './granularity.ts'

/** `candles.<product>.<granularity>`; `*` stands for every product or every granularity. */
export type CandleChannel = { kind: 'candles'; product: string | '*'; granularity: Granularity | '*' }

/** `quotes.<symbol>`; `*` stands for every asset. A symbol may hold dots: `quotes.LDO.MI`. */
export type QuoteChannel = { kind: 'quotes'; symbol: string | '*' }

/** `portfolio`: all that a user holds; `asset.<symbol>`: one asset, as far as it concerns that user. */
export type PortfolioChannel = { kind: 'portfolio' } | { kind: 'asset'; symbol: string }

export type Channel = CandleChannel | QuoteChannel | PortfolioChannel

/** Product ids as Coinbase writes them: `BTC-USD`, `BIP-20DEC30-CDE`. */
export const PRODUCT_ID_PATTERN = /^[A-Z0-9]{1,20}(?:-[A-Z0-9]{1,20}){1,3}$/

/** Parses a channel's name; a name of another form gives null. */
export function parseChannel(name: string): Channel | null {
  if (name === 'portfolio') return { kind: 'portfolio' }
  const [kind, ...rest] = name.split('.')
  // An asset of a user's own may be called anything.
  if (kind === 'asset') return rest.join('.') === '' ? null : { kind, symbol: rest.join('.') }
  if (kind === 'quotes') {
    const symbol = rest.join('.')
    return symbol === '*' || SYMBOL_PATTERN.test(symbol) ? { kind, symbol } : null
  }
  const [product, granularity, ...more] = rest
  if (kind !== 'candles' || product === undefined || granularity === undefined || more.length > 0) return null
  if (product !== '*' && !PRODUCT_ID_PATTERN.test(product)) return null
  if (granularity !== '*' && !isGranularity(granularity)) return null
  return { kind, product, granularity }
}

export const formatCandleChannel = (channel: { product: string; granularity: Granularity | '*' }): string =>
  `candles.${channel.product}.${channel.granularity}`
