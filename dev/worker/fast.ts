import { ProductCandles as RealProductCandles } from '../../durable-objects/candles/product-candles.ts'
import { UserPortfolio as RealUserPortfolio } from '../../durable-objects/portfolio/user-portfolio.ts'
import { ProviderGate as RealProviderGate } from '../../durable-objects/providers/provider-gate.ts'
import { QuoteBoard as RealQuoteBoard } from '../../durable-objects/quotes/quote-board.ts'
import type { RealtimeObject } from '../../durable-objects/realtime-object.ts'
import worker from '../../workers/index.ts'

export { FeedSlots, Meter } from '../../workers/index.ts'

/** The market's clock: see `ExchangeOptions`. */
type Clock = { CLOCK_SPEED: string; CLOCK_ANCHOR: string }

const clockOf = (env: Env): { speed: number; anchor: number } => {
  const { CLOCK_SPEED, CLOCK_ANCHOR } = env as unknown as Clock
  return { speed: Number(CLOCK_SPEED), anchor: Number(CLOCK_ANCHOR) }
}

/** The market's time of this moment, unix milliseconds. */
export function marketNow(env: Env): number {
  const { speed, anchor } = clockOf(env)
  return anchor + (Date.now() - anchor) * speed
}

/** The moment that is `at` on the market's clock. */
function realTimeOf(env: Env, at: number): number {
  const { speed, anchor } = clockOf(env)
  return Math.ceil(anchor + (at - anchor) / speed)
}

type RealtimeClass = new (ctx: DurableObjectState, env: Env) => RealtimeObject

/** The same class, on a clock that runs faster. */
function onMarketClock(Base: RealtimeClass) {
  abstract class OnMarketClock extends Base {
    protected override now(): number {
      return marketNow(this.env)
    }

    protected override wakeAt(at: number): void {
      super.wakeAt(realTimeOf(this.env, at))
    }
  }
  return OnMarketClock
}

export const ProductCandles = onMarketClock(RealProductCandles)
export const QuoteBoard = onMarketClock(RealQuoteBoard)
export const UserPortfolio = onMarketClock(RealUserPortfolio)

export class ProviderGate extends RealProviderGate {
  protected override now(): number {
    return marketNow(this.env)
  }
}

export default worker
