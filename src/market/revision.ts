import type { Coverage } from '../protocol/candle.ts'
import type { Granularity } from '../protocol/granularity.ts'
import type { Bar, Ohlcv, RevisionReason } from './bar.ts'
import { formatUnits } from './decimal.ts'

/** The numbers and coverage of a candle at one revision. */
export type CandleValues = Ohlcv & { coverage: Coverage }

/** One change of a complete candle (C6): `timestamp` in unix seconds, `recorded_at` RFC 3339. */
export type Revision = {
  granularity: Granularity
  timestamp: number
  rev: number
  reason: RevisionReason
  /** Null if there was no candle before. */
  before: CandleValues | null
  after: CandleValues
  recorded_at: string
}

const toValues = ({ open, high, low, close, volume, coverage }: Bar): CandleValues => ({
  open,
  high,
  low,
  close,
  volume: formatUnits(volume),
  coverage,
})

/**
 * The latest revision of a complete bar, recorded at `now` (unix milliseconds). `before` is the bar as last published.
 * Null for the first complete state and for a state that was published already.
 */
export function createRevision(bar: Bar, before: Bar | null, now: number): Revision | null {
  if (!bar.complete || bar.rev === 0 || bar.reason === null || before?.rev === bar.rev) return null
  return {
    granularity: bar.granularity,
    timestamp: bar.start,
    rev: bar.rev,
    reason: bar.reason,
    before: before === null ? null : toValues(before),
    after: toValues(bar),
    recorded_at: new Date(now).toISOString(),
  }
}
