import type { Gap } from '../protocol/candle.ts'
import type { HistoryInterval, HistoryRange, PriceBar, PriceBasis } from '../protocol/price-history.ts'

/** Bars of one asset, ascending, all of one interval and on one basis. */
export type PriceHistory = {
  range: HistoryRange
  interval: HistoryInterval
  basis: PriceBasis
  currency: string
  bars: readonly PriceBar[]
  /** Who told them, or `simulated`; null where there are none. */
  provider: string | null
  /** Stands for the splits and dividends that were applied. */
  actionsVersion: string
  /** Where trades of a streamed product are missing. */
  gaps: readonly Gap[]
  /** False while the days of the asset have not been loaded yet: bars may be lacking. */
  loaded: boolean
  /** The last day that is stored for good; null where there is none, and of intraday bars. */
  lastDate: string | null
}
