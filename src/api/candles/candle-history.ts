import { readSettings } from '../../config.ts'
import { readCandles, readClosedCandles, readGaps } from '../../db/candles.ts'
import { withCachedDatabase, withLiveDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { unionGaps } from '../../market/gaps.ts'
import { type CandleQuery, type CandleQueryResult, productCandles } from '../../objects.ts'
import type { Candle, Gap } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS } from '../../protocol/granularity.ts'
import { DAY_S } from '../../time.ts'

/** A range that ended this long ago gets no more late trades: the cached database may answer, up to 75 s old. */
const SETTLED_S = DAY_S

/** The candles of a range, ascending, with the gaps where trades are missing. */
export type CandleHistory = {
  candles: Candle[]
  gaps: Gap[]
  /** False if older candles are missing because the database could not be read. */
  isComplete: boolean
  /** The object's stream position at the time of the read, `<epoch>-<offset>`. */
  position: string
}

/**
 * The last `limit` candles of a range: recent ones from the product's object, older ones from Postgres. Where both have a
 * candle the object wins, because it is the only writer (C11).
 * @param now Unix seconds
 */
export async function readCandleHistory(
  env: Env,
  product: string,
  query: CandleQuery,
  now: number,
): Promise<CandleHistory> {
  const live = await productCandles(env, product).candles(query)
  const older = olderRange(live, query, now)
  let stored: { candles: Candle[]; gaps: Gap[] } = { candles: [], gaps: [] }
  let isComplete = true
  if (older) {
    try {
      stored = await readStoredCandles(env, product, { ...query, ...older }, now)
    } catch (error) {
      log('candles_read_failed', { product, error: String(error) })
      isComplete = false
    }
  }
  const byStart = new Map([...stored.candles, ...live.candles].map((candle) => [candle.timestamp, candle]))
  const candles = [...byStart.values()].sort((a, b) => a.timestamp - b.timestamp).slice(-query.limit)
  const from = query.start ?? candles[0]?.timestamp ?? now
  const gaps = unionGaps([...stored.gaps, ...live.gaps], from, Math.min(query.end ?? now, now))
  return { candles, gaps, isComplete, position: live.position }
}

/** The part of the range that must come from Postgres, or null if the object has all of it. */
function olderRange(live: CandleQueryResult, query: CandleQuery, now: number): { start: number; end: number } | null {
  const { since } = live
  const start = query.start ?? 0
  // One interval more than now: the exchange's clock may be ahead of ours.
  const end = Math.min(query.end ?? now + GRANULARITY_SECONDS[query.granularity], since ?? Number.POSITIVE_INFINITY)
  const answered = since === null ? 0 : live.candles.filter((candle) => candle.timestamp >= since).length
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
