import { FeedSlots } from '../../durable-objects/feed-slots.ts'
import { Meter } from '../../durable-objects/meter.ts'
import { ProductCandles as RealProductCandles } from '../../durable-objects/product-candles.ts'
import { ProviderGate } from '../../durable-objects/provider-gate.ts'
import { QuoteBoard } from '../../durable-objects/quote-board.ts'
import { app } from '../../src/api/app.ts'

export { FeedSlots, Meter, ProviderGate, QuoteBoard }

/** The market's clock: see `ExchangeOptions`. */
type Clock = { CLOCK_SPEED: string; CLOCK_ANCHOR: string }

const clockOf = (env: Env): { speed: number; anchor: number } => {
  const { CLOCK_SPEED, CLOCK_ANCHOR } = env as unknown as Clock
  return { speed: Number(CLOCK_SPEED), anchor: Number(CLOCK_ANCHOR) }
}

/** The very object, on a clock that runs faster. */
export class ProductCandles extends RealProductCandles {
  protected override now(): number {
    const { speed, anchor } = clockOf(this.env)
    return anchor + (Date.now() - anchor) * speed
  }

  protected override wakeAt(at: number): void {
    const { speed, anchor } = clockOf(this.env)
    super.wakeAt(Math.ceil(anchor + (at - anchor) / speed))
  }
}

export default { fetch: app.fetch } satisfies ExportedHandler<Env>
