import { app } from '../src/api/app.ts'
import { type RefreshJob, refreshPortfolios } from './refresh-queue.ts'
import { scheduled } from './scheduled.ts'

export { FeedSlots } from '../durable-objects/feed-slots.ts'
export { Meter } from '../durable-objects/meter.ts'
export { ProductCandles } from '../durable-objects/product-candles.ts'
export { ProviderGate } from '../durable-objects/provider-gate.ts'
export { QuoteBoard } from '../durable-objects/quote-board.ts'
export { UserPortfolio } from '../durable-objects/user-portfolio.ts'

export default { fetch: app.fetch, scheduled, queue: refreshPortfolios } satisfies ExportedHandler<Env, RefreshJob>
