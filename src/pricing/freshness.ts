import type { Quote, StaleReason } from '../protocol/quote.ts'
import type { RefreshSettings } from './refresh-settings.ts'

/** Beats that may pass beyond an interval before a value counts as stale: one until it is due, one for the answer. */
const GRACE_TICKS = 2

/**
 * How often an asset is refreshed (Q2), in seconds: the smallest of its users' intervals, not above the maximum and not
 * below the minimum; one that nobody watches has the maximum.
 */
export function effectiveIntervalS(
  userIntervals: readonly number[],
  { refresh_min_seconds, refresh_max_seconds }: Pick<RefreshSettings, 'refresh_min_seconds' | 'refresh_max_seconds'>,
): number {
  return Math.max(refresh_min_seconds, Math.min(refresh_max_seconds, ...userIntervals))
}

/** The interval with the state of the market: while it is closed, an asset is refreshed seldom. Seconds. */
export const marketIntervalS = (
  interval: number,
  market_state: Quote['market_state'],
  { closed_refresh_seconds }: Pick<RefreshSettings, 'closed_refresh_seconds'>,
): number => (market_state === 'closed' ? Math.max(interval, closed_refresh_seconds) : interval)

/**
 * Until when a quote is within its time to live, unix milliseconds (Q1).
 * @param interval seconds, as `effectiveInterval` gives it
 * @param beatMs see QUOTE_REFRESH_TICK_MS
 */
export const freshUntil = (
  quote: Pick<Quote, 'updated_at' | 'market_state'>,
  interval: number,
  settings: Pick<RefreshSettings, 'closed_refresh_seconds'>,
  beatMs: number,
): number =>
  Date.parse(quote.updated_at) + marketIntervalS(interval, quote.market_state, settings) * 1_000 + GRACE_TICKS * beatMs

/** Why a value is stale at `now` (unix milliseconds); null while it is within its time to live. */
export const staleReason = (
  { freshUntil, trouble }: { freshUntil: number; trouble: StaleReason | null },
  now: number,
): StaleReason | null => (now <= freshUntil ? null : (trouble ?? 'expired'))
