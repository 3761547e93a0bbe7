import { z } from 'zod'
import type { Fault, FaultEffect } from './faults.ts'
import type { SubscriptionRecord } from './socket.ts'
import type { WireTrade } from './wire.ts'

/** A trade for a manual product: decimal text, `time` in RFC 3339 or unix ms (the market's clock unless given). */
export const manualTradeSchema = z.object({
  product: z.string(),
  price: z.string(),
  size: z.string(),
  time: z.union([z.number(), z.iso.datetime()]).optional(),
  side: z.enum(['BUY', 'SELL']).default('BUY'),
})
export type ManualTrade = z.input<typeof manualTradeSchema>

/** One REST call that was answered, for tests; `status` 0 was never answered. */
export type RequestRecord = { at: number; path: string; status: number }

export type Exchange = {
  port: number
  /** Base of both REST styles. */
  url: string
  wsUrl: string
  /** The market's clock, unix milliseconds, and what it is made of. */
  now(): number
  speed: number
  anchor: number
  /** Appends to a manual product and sends at once; gives the trade as it was sent. @throws RangeError on bad input. */
  trade(product: string, trade: Omit<ManualTrade, 'product'>): WireTrade
  /** Appends several and sends those of a product in one message. */
  tick(trades: readonly ManualTrade[]): WireTrade[]
  /** Does what is due by the clock at once; it is done by a timer too. */
  step(): void
  fault(fault: Fault): FaultEffect
  clearFaults(): void
  /** The faults that still wait for their frames and requests. */
  faults(): object
  /** Every trade that the market really had with a time in [from, to), unix ms, ascending by id. */
  sent(product: string, from: number, to: number): WireTrade[]
  subscriptions: readonly SubscriptionRecord[]
  requests: readonly RequestRecord[]
  connections(): number
  close(): Promise<void>
}
