// What the published package exports: see docs/client.md.
export type { StreamSocket } from '../../delivery/client-connection.ts'
export type { Gap } from '../../protocol/candle.ts'
export type { Granularity } from '../../protocol/granularity.ts'
export type {
  LotView,
  PortfolioMessage,
  PortfolioPrice,
  Position,
  Totals,
} from '../../protocol/portfolio.ts'
export { type CandleOptions, connectCandles, type LiveCandle, type LiveFeed } from './candles.ts'
export {
  connectPortfolio,
  type Portfolio,
  type PortfolioConnection,
  type PortfolioMode,
  type PortfolioOptions,
} from './portfolio.ts'
export type { PortfolioState } from './portfolio-state.ts'
export { connectQuotes, type LiveQuote, type QuoteOptions } from './quotes.ts'
export {
  browserDeps,
  type ClientDeps,
  type Stream,
  type StreamDeps,
  type StreamState,
  socketsOf,
} from './stream.ts'
