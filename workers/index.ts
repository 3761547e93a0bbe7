import { app } from '../src/api/app.ts'
import { scheduled } from './scheduled.ts'

export { FeedSlots } from '../durable-objects/feed-slots.ts'
export { ProductCandles } from '../durable-objects/product-candles.ts'

export default { fetch: app.fetch, scheduled } satisfies ExportedHandler<Env>
