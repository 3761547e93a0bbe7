import benchWorker from './bench.ts'

export { FeedSlots, Meter, ProductCandles, ProviderGate, QuoteBoard, UserPortfolio } from './fast.ts'

/** What benches serve, on a clock that runs faster. */
export default benchWorker
