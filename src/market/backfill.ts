import type { MissingTrades } from './coverage.ts'

const MINUTE_S = 60

/** Trades that one page of the exchange's REST holds. */
export const TRADES_PER_PAGE = 1_000

/** Minutes of candles that are asked for in one step: what was healed so far stays healed if the next step fails. */
const MAX_CANDLE_MINUTES = 1_440

/** Milliseconds and pages: see TRADE_WINDOW_MS, BACKFILL_PAGES, BACKFILL_DELAY_MS and RECONCILE_SETTLE_MS. */
export type BackfillLimits = { tradeWindowMs: number; maxPages: number; delayMs: number; settleMs: number }

/** What REST has refused for a hole in this round. Another hole may lie where REST has something. */
export type RefusedRequests = { trades: boolean; candles: boolean }

export const NOTHING_REFUSED: RefusedRequests = { trades: false, candles: false }

/** What to do next about the holes. Minutes are unix seconds, `until` is unix milliseconds. */
export type BackfillStep =
  /** Ask for `limit` trades with ids below `hole.before`; those before the minute `floor` are not needed. */
  | { kind: 'trades'; missing: MissingTrades; limit: number; floor: number }
  /** Ask for the exchange's candles of [from, to], both inclusive. */
  | { kind: 'candles'; missing: MissingTrades; from: number; to: number }
  | { kind: 'wait'; until: number }

/**
 * The next step to heal the holes (C9): missing trades while they are few and young, otherwise the exchange's minutes
 * as far as it has written them, and the trades of the minutes that it has not.
 * @returns null when there is nothing to heal.
 */
export function nextBackfillStep(
  holes: readonly MissingTrades[],
  now: number,
  limits: BackfillLimits,
  refused: (hole: MissingTrades) => RefusedRequests,
): BackfillStep | null {
  let until = Number.POSITIVE_INFINITY
  for (const hole of holes) {
    // A hole that has no upper end is the past before a product's first trade.
    if (hole.before === Number.MAX_SAFE_INTEGER) continue
    const due = Math.max(hole.seenAt + limits.delayMs, hole.pausedUntil)
    if (now < due) {
      until = Math.min(until, due)
      continue
    }
    const step = getStep(hole, now, limits, refused(hole))
    if (step.kind !== 'wait') return step
    until = Math.min(until, step.until)
  }
  return until === Number.POSITIVE_INFINITY ? null : { kind: 'wait', until }
}

function getStep(hole: MissingTrades, now: number, limits: BackfillLimits, refused: RefusedRequests): BackfillStep {
  const missing = hole.before - hole.after - 1
  const pages = refused.trades ? 0 : limits.maxPages - hole.pages
  const foldable = Math.ceil((now - limits.tradeWindowMs) / 60_000) * MINUTE_S
  if (!hole.start && hole.from >= foldable && missing <= pages * TRADES_PER_PAGE)
    return { kind: 'trades', missing: hole, limit: Math.min(missing, TRADES_PER_PAGE), floor: 0 }
  /** The last minute whose candle the exchange has surely written. */
  const written = Math.floor((now - limits.settleMs) / 60_000) * MINUTE_S - MINUTE_S
  if (hole.from <= written && !refused.candles)
    return {
      kind: 'candles',
      missing: hole,
      from: hole.from,
      to: Math.min(hole.to, written, hole.from + MAX_CANDLE_MINUTES * MINUTE_S),
    }
  const floor = Math.max(hole.from, written + MINUTE_S, foldable)
  // Below id 1 there is nothing, but only the exchange can say that its ids begin there.
  if (floor <= hole.to && pages > 0)
    return { kind: 'trades', missing: hole, limit: Math.max(1, Math.min(missing, TRADES_PER_PAGE)), floor }
  return { kind: 'wait', until: (Math.max(hole.from, written + MINUTE_S) + MINUTE_S) * 1000 + limits.settleMs }
}
