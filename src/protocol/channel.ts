import { SYMBOL_PATTERN } from './asset.ts'
import type { ErrorCode } from './errors.ts'
import { GRANULARITIES, type Granularity, isGranularity } from './granularity.ts'

/** `candles.<product>.<granularity>`; `*` stands for every product or every granularity. */
export type CandleChannel = { kind: 'candles'; product: string | '*'; granularity: Granularity | '*' }

/** `quotes.<symbol>`; `*` stands for every asset. A symbol may hold dots: `quotes.LDO.MI`. */
type QuoteChannel = { kind: 'quotes'; symbol: string | '*' }

/** `portfolio`: all holdings of a user; `asset.<symbol>`: one asset, as far as it concerns that user. */
type PortfolioChannel = { kind: 'portfolio' } | { kind: 'asset'; symbol: string }

export type Channel = CandleChannel | QuoteChannel | PortfolioChannel

/** Why a channel cannot be subscribed to. */
export type ChannelFault = { code: ErrorCode; message: string }

/** The same, with the channel's place in the message: `channels/0`. */
export type ChannelError = ChannelFault & { field: string }

/** Product ids as Coinbase writes them: `BTC-USD`, `BIP-20DEC30-CDE`. */
export const PRODUCT_ID_PATTERN = /^[A-Z0-9]{1,20}(?:-[A-Z0-9]{1,20}){1,3}$/

const ANY_CASE_SYMBOL = new RegExp(SYMBOL_PATTERN.source, 'i')

const UNKNOWN_CHANNEL: ChannelFault = {
  code: 'unknown_channel',
  message: 'must be of the form candles.BTC-USD.ONE_MINUTE, quotes.AAPL, portfolio or asset.AAPL',
}
const UNKNOWN_GRANULARITY: ChannelFault = {
  code: 'unknown_granularity',
  message: `must end with one of ${GRANULARITIES.join(', ')}, or *`,
}

/** Parses a channel's name. Symbols stay as they are written, in any case. */
export function parseChannel(name: string): Channel | ChannelFault {
  if (name === 'portfolio') return { kind: 'portfolio' }
  const [kind, ...rest] = name.split('.')
  const symbol = rest.join('.')
  // A custom asset may have any name.
  if (kind === 'asset') return symbol === '' ? UNKNOWN_CHANNEL : { kind, symbol }
  if (kind === 'quotes')
    return symbol === '*' || ANY_CASE_SYMBOL.test(symbol.trim()) ? { kind, symbol } : UNKNOWN_CHANNEL
  const [product, granularity, ...more] = rest
  if (kind !== 'candles' || product === undefined || granularity === undefined || more.length > 0)
    return UNKNOWN_CHANNEL
  if (granularity !== '*' && !isGranularity(granularity)) return UNKNOWN_GRANULARITY
  if (product !== '*' && !PRODUCT_ID_PATTERN.test(product)) return UNKNOWN_CHANNEL
  return { kind, product, granularity }
}

/** The symbols of these channels, as they are written. */
export const channelSymbols = (names: readonly string[], kind: 'quotes' | 'asset'): string[] => [
  ...new Set(
    names.flatMap((name) => {
      const channel = parseChannel(name)
      return 'kind' in channel && channel.kind === kind && channel.symbol !== '*' ? [channel.symbol] : []
    }),
  ),
]

export const formatCandleChannel = (channel: { product: string; granularity: Granularity | '*' }): string =>
  `candles.${channel.product}.${channel.granularity}`
