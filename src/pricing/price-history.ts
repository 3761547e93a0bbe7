import type { Gap } from '../protocol/candle.ts'
import type { HistoryInterval, HistoryRange, PriceBar, PriceBasis } from '../protocol/price-history.ts'

/** Bars of one asset, ascending, all of one interval and on one basis. */
export type PriceHistory = {
  range: HistoryRange
  interval: HistoryInterval
  basis: PriceBasis
  currency: string
  bars: readonly PriceBar[]
  /** The provider of the bars, or `simulated`; null where there are none. */
  provider: string | null
  /** The hash of the splits and dividends that were applied. */
  actionsVersion: string
  /** Where trades of a streamed product are missing. */
  gaps: readonly Gap[]
  /** False while the days of the asset have not been loaded yet: bars may be lacking. */
  loaded: boolean
  /** The last complete day that is stored; null where there is none, and for intraday bars. */
  lastDate: string | null
}
