// What the published package has to offer: see docs/client.md.
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
  type StreamSocket,
  type StreamState,
  socketsOf,
} from './stream.ts'
