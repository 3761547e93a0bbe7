import benchWorker from './bench.ts'

export { FeedSlots, Meter, ProductCandles, ProviderGate, QuoteBoard, UserPortfolio } from './fast.ts'

/** The Worker of the benches, on a clock that runs faster. */
export default benchWorker
