import type { Quote, StaleReason } from '../protocol/quote.ts'
import type { RefreshSettings } from './refresh-settings.ts'

/** Ticks beyond an interval before a value is stale: one until it is due, one for the response. */
const GRACE_TICKS = 2

/**
 * The refresh interval of an asset (Q2), in seconds: the shortest of its users' intervals, between the minimum and the
 * maximum; an asset without users has the maximum.
 */
export function effectiveIntervalS(
  userIntervals: readonly number[],
  { refresh_min_seconds, refresh_max_seconds }: Pick<RefreshSettings, 'refresh_min_seconds' | 'refresh_max_seconds'>,
): number {
  return Math.max(refresh_min_seconds, Math.min(refresh_max_seconds, ...userIntervals))
}

/**
 * The end of a quote's time to live, unix milliseconds (Q1). In a closed market an asset is refreshed rarely.
 * @param interval seconds, see `effectiveIntervalS`
 * @param tickMs see QUOTE_REFRESH_TICK_MS
 */
export function freshUntil(
  { updated_at, market_state }: Pick<Quote, 'updated_at' | 'market_state'>,
  interval: number,
  { closed_refresh_seconds }: Pick<RefreshSettings, 'closed_refresh_seconds'>,
  tickMs: number,
): number {
  const intervalS = market_state === 'closed' ? Math.max(interval, closed_refresh_seconds) : interval
  return Date.parse(updated_at) + intervalS * 1_000 + GRACE_TICKS * tickMs
}

/** Why a value is stale at `now` (unix milliseconds); null while it is within its time to live. */
export const staleReason = (
  { freshUntil, trouble }: { freshUntil: number; trouble: StaleReason | null },
  now: number,
): StaleReason | null => (now <= freshUntil ? null : (trouble ?? 'expired'))
