import { compareDecimals } from '../market/decimal.ts'
import type { PriceBar } from '../protocol/price-history.ts'

/** A price at a time, unix seconds. */
export type PricePoint = { at: number; price: string }

/** RFC 3339 of unix seconds, without parts of a second. */
export const formatTime = (seconds: number): string => `${new Date(seconds * 1_000).toISOString().slice(0, 19)}Z`

/**
 * Bars of `size` seconds from prices, starting on multiples of `size`. Without a price there is no bar (C10). Their volume is
 * not known.
 * @param points ascending
 * @param now unix seconds: a bar that ends later is incomplete
 */
export function barsFromSnapshots(points: readonly PricePoint[], size: number, now: number): PriceBar[] {
  const bars: PriceBar[] = []
  for (const { at, price } of points) {
    const start = Math.floor(at / size) * size
    const date = formatTime(start)
    const bar = bars.at(-1)
    if (bar?.date === date) {
      if (compareDecimals(price, bar.high) > 0) bar.high = price
      if (compareDecimals(price, bar.low) < 0) bar.low = price
      bar.close = price
      continue
    }
    const is_complete = start + size <= now
    bars.push({ date, open: price, high: price, low: price, close: price, volume: null, is_complete })
  }
  return bars
}
