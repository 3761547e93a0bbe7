import { readSettings } from '../../config.ts'
import { readCandles, readClosedCandles, readGaps } from '../../db/candles.ts'
import { withCachedDatabase, withLiveDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { type CandleQuery, type CandleQueryResult, productCandles } from '../../objects.ts'
import type { Candle, Gap } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS } from '../../protocol/granularity.ts'
import { clipGaps } from './gaps.ts'

/** A range that ended this long ago (seconds) has no late trade coming; its answers may be up to 75 s old. */
const SETTLED_S = 86_400

/** A stretch of candles, ascending, and where trades are missing in it. */
export type CandleHistory = {
  candles: Candle[]
  gaps: Gap[]
  /** False if older candles were needed and the database could not be read: what the object holds is all there is. */
  isComplete: boolean
  /** What the object had sent when it was asked, `<epoch>-<offset>`. */
  position: string
}

/**
 * The last `limit` candles of a stretch: from the product's object what it holds, from Postgres what is older. The
 * object wins where both have a candle, since it is the only writer (C11).
 * @param now unix seconds
 */
export async function readCandleHistory(
  env: Env,
  product: string,
  query: CandleQuery,
  now: number,
): Promise<CandleHistory> {
  const held = await productCandles(env, product).candles(query)
  const older = olderRange(held, query, now)
  let stored: { candles: Candle[]; gaps: Gap[] } = { candles: [], gaps: [] }
  let whole = true
  if (older) {
    try {
      stored = await readStoredCandles(env, product, { ...query, ...older }, now)
    } catch (error) {
      log('candles_read_failed', { product, error: String(error) })
      whole = false
    }
  }
  const byStart = new Map([...stored.candles, ...held.candles].map((candle) => [candle.timestamp, candle]))
  const candles = [...byStart.values()].sort((a, b) => a.timestamp - b.timestamp).slice(-query.limit)
  const from = query.start ?? candles[0]?.timestamp ?? now
  const gaps = clipGaps([...stored.gaps, ...held.gaps], from, Math.min(query.end ?? now, now))
  return { candles, gaps, isComplete: whole, position: held.position }
}

/** The part of the stretch that must come from Postgres, or null if the object alone answers. */
function olderRange(held: CandleQueryResult, query: CandleQuery, now: number): { start: number; end: number } | null {
  const { since } = held
  const start = query.start ?? 0
  // One interval more than now: the exchange's clock may be ahead of ours.
  const end = Math.min(query.end ?? now + GRANULARITY_SECONDS[query.granularity], since ?? Number.POSITIVE_INFINITY)
  const answered = since === null ? 0 : held.candles.filter((candle) => candle.timestamp >= since).length
  return end <= start || answered >= query.limit ? null : { start, end }
}

type StoredQuery = CandleQuery & { start: number; end: number }

async function readStoredCandles(env: Env, product: string, query: StoredQuery, now: number) {
  const { EXCHANGE } = readSettings(env)
  const range = { exchange: EXCHANGE, product, ...query }
  const gapsFrom = async (sql: Parameters<typeof readGaps>[0], candles: readonly Candle[]) =>
    readGaps(sql, EXCHANGE, product, [query.start || (candles[0]?.timestamp ?? query.end), query.end])
  if (query.end <= now - SETTLED_S) {
    const candles = await withCachedDatabase(env, (sql) => readClosedCandles(sql, range))
    return { candles, gaps: await withLiveDatabase(env, (sql) => gapsFrom(sql, candles)) }
  }
  return withLiveDatabase(env, async (sql) => {
    const candles = await readCandles(sql, range)
    return { candles, gaps: await gapsFrom(sql, candles) }
  })
}
