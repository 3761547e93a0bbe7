import { app } from './app.ts'
import { type RefreshJob, refreshPortfolios } from './refresh-queue.ts'
import { scheduled } from './scheduled.ts'

export { FeedSlots } from '../durable-objects/candles/feed-slots.ts'
export { ProductCandles } from '../durable-objects/candles/product-candles.ts'
export { Meter } from '../durable-objects/meter.ts'
export { UserPortfolio } from '../durable-objects/portfolio/user-portfolio.ts'
export { ProviderGate } from '../durable-objects/providers/provider-gate.ts'
export { QuoteBoard } from '../durable-objects/quotes/quote-board.ts'

export default { fetch: app.fetch, scheduled, queue: refreshPortfolios } satisfies ExportedHandler<Env, RefreshJob>
