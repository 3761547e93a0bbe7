import { MINUTE_MS, MINUTE_S } from '../time.ts'
import type { MissingTrades } from './coverage.ts'

/** The most trades in one page of the exchange's REST. */
export const TRADES_PER_PAGE = 1_000

/** The most minutes of candles in one step: if the next step fails, the ones before it stay done. */
const MAX_CANDLE_MINUTES = 1_440

/** See TRADE_WINDOW_MS, BACKFILL_PAGES, BACKFILL_DELAY_MS and RECONCILE_SETTLE_MS. */
export type BackfillLimits = { tradeWindowMs: number; maxPages: number; delayMs: number; settleMs: number }

/** The kinds of request that failed in this round for some missing trades. REST may still answer for others. */
export type RefusedRequests = { trades: boolean; candles: boolean }

export const NOTHING_REFUSED: RefusedRequests = { trades: false, candles: false }

/** The next step of a backfill. Minutes are unix seconds, `until` is unix milliseconds. */
export type BackfillStep =
  /** Request `limit` trades with ids below `missing.before`; those before the minute `floor` are not needed. */
  | { kind: 'trades'; missing: MissingTrades; limit: number; floor: number }
  /** Request the exchange's candles of [from, to], both inclusive. */
  | { kind: 'candles'; missing: MissingTrades; from: number; to: number }
  | { kind: 'wait'; until: number }

/**
 * The next step to complete the record (C9): the missing trades while they are few and recent, otherwise the exchange's
 * minutes as far as it has written them, and the trades of the minutes that it has not.
 * @returns null if nothing is missing
 */
export function nextBackfillStep(
  allMissing: readonly MissingTrades[],
  now: number,
  limits: BackfillLimits,
  refused: (missing: MissingTrades) => RefusedRequests,
): BackfillStep | null {
  let until = Number.POSITIVE_INFINITY
  for (const missing of allMissing) {
    // Without an upper end it is the past of a product that had no trade yet.
    if (missing.before === Number.MAX_SAFE_INTEGER) continue
    const due = Math.max(missing.seenAt + limits.delayMs, missing.pausedUntil)
    if (now < due) {
      until = Math.min(until, due)
      continue
    }
    const step = getStep(missing, now, limits, refused(missing))
    if (step.kind !== 'wait') return step
    until = Math.min(until, step.until)
  }
  return until === Number.POSITIVE_INFINITY ? null : { kind: 'wait', until }
}

function getStep(missing: MissingTrades, now: number, limits: BackfillLimits, refused: RefusedRequests): BackfillStep {
  const count = missing.before - missing.after - 1
  const pages = refused.trades ? 0 : limits.maxPages - missing.pages
  const foldable = Math.ceil((now - limits.tradeWindowMs) / MINUTE_MS) * MINUTE_S
  if (!missing.start && missing.from >= foldable && count <= pages * TRADES_PER_PAGE)
    return { kind: 'trades', missing, limit: Math.min(count, TRADES_PER_PAGE), floor: 0 }
  /** The last minute whose candle the exchange has certainly written. */
  const written = Math.floor((now - limits.settleMs) / MINUTE_MS) * MINUTE_S - MINUTE_S
  if (missing.from <= written && !refused.candles)
    return {
      kind: 'candles',
      missing,
      from: missing.from,
      to: Math.min(missing.to, written, missing.from + MAX_CANDLE_MINUTES * MINUTE_S),
    }
  const floor = Math.max(missing.from, written + MINUTE_S, foldable)
  // Only the exchange knows where its ids begin, so request at least one trade.
  if (floor <= missing.to && pages > 0)
    return { kind: 'trades', missing, limit: Math.max(1, Math.min(count, TRADES_PER_PAGE)), floor }
  return { kind: 'wait', until: (Math.max(missing.from, written + MINUTE_S) + MINUTE_S) * 1000 + limits.settleMs }
}
