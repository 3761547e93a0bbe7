import { z } from 'zod'
import type { CandleAmount, Exact } from './exact-json.ts'
import { GRANULARITIES } from './granularity.ts'

/** `full`: no trade is missing. `partial`: the record starts inside and is not filled yet. `gap`: trades are missing. */
const COVERAGES = ['full', 'partial', 'gap'] as const
export type Coverage = (typeof COVERAGES)[number]

/** `trades`: aggregated from trades alone. `exchange`: has the exchange's own candles, from its REST API. */
const CANDLE_ORIGINS = ['trades', 'exchange'] as const
export type CandleOrigin = (typeof CANDLE_ORIGINS)[number]

/** A range of time in which trades are missing: unix seconds, the end exclusive. */
export type Gap = [from: number, to: number]

/** The JSON text of a candle, its numbers with the exchange's own digits. */
export function formatCandle(c: Candle): string {
  return `{"exchange":"${c.exchange}","product_id":"${c.product_id}","granularity":"${c.granularity}","timestamp":${c.timestamp},"open":${c.open},"high":${c.high},"low":${c.low},"close":${c.close},"volume":${c.volume},"is_complete":${c.is_complete},"coverage":"${c.coverage}","rev":${c.rev},"last_update":"${c.last_update}","source":"${c.source}"}`
}

/** A candle as a client receives it, its numbers parsed. */
export const wireCandleSchema = z.object({
  exchange: z.string(),
  product_id: z.string(),
  granularity: z.enum(GRANULARITIES),
  /** Start of the interval, unix seconds; the interval is [timestamp, timestamp + length). */
  timestamp: z.int(),
  open: z.number(),
  high: z.number(),
  low: z.number(),
  close: z.number(),
  volume: z.number(),
  is_complete: z.boolean(),
  coverage: z.enum(COVERAGES),
  /** 0 up to the first complete state, then one more for each change (C6). */
  rev: z.int().min(0),
  /** RFC 3339 time of the last trade, or of the reconciliation that replaced the numbers. */
  last_update: z.string(),
  source: z.enum(CANDLE_ORIGINS),
})
export type WireCandle = z.infer<typeof wireCandleSchema>

/** A candle inside Kerb. Prices and volume are plain decimal text, so no digit passes through a float (C3). */
export type Candle = Exact<WireCandle, CandleAmount>
