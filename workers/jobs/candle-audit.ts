import { readSettings } from '../../src/config.ts'
import {
  type AuditDay,
  claimAudits,
  type DayComparison,
  finishAudit,
  recordAuditFailure,
  recordComparison,
  repairCandles,
} from '../../src/db/audits.ts'
import { ensureCandlePartitions, readCandles, replaceGaps } from '../../src/db/candles.ts'
import { type LiveSql, withLiveDatabase } from '../../src/db/client.ts'
import { log } from '../../src/log.ts'
import { compareCandles, findRepairs } from '../../src/market/audit.ts'
import { productCandles } from '../../src/objects.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../../src/protocol/granularity.ts'
import { fetchCandles, type RestCandle } from '../../src/providers/coinbase.ts'
import type { Result } from '../../src/providers/result.ts'
import { DAY_MS, DAY_S, formatDate, MINUTE_MS } from '../../src/time.ts'

/** A day is audited this long after its end, when the exchange's last candles are complete. */
const SETTLE_MS = 7 * MINUTE_MS
/** Most days of products that one run audits: each takes about a dozen requests to the exchange. */
const MAX_DAYS_PER_RUN = 4
/** More minutes than a day has. */
const MAX_DAY_ROWS = 2_000

type DayCandles = Readonly<Record<Granularity, RestCandle[]>>

/**
 * Audits finished days, newest first (C13): compares their closed candles with the exchange's own, records the comparison
 * and repairs the differences. A run that stops after any step is continued by the next.
 */
export async function auditCandles(env: Env, now: number): Promise<Record<string, unknown>> {
  const { EXCHANGE, PRODUCTS, ALWAYS_ON, AUDIT_DAYS } = readSettings(env)
  const today = now - SETTLE_MS
  const plan = {
    exchange: EXCHANGE,
    products: PRODUCTS,
    alwaysOn: ALWAYS_ON,
    from: formatDate(today - AUDIT_DAYS * DAY_MS),
    to: formatDate(today - DAY_MS),
    limit: MAX_DAYS_PER_RUN,
  }
  const due = await withLiveDatabase(env, (sql) => claimAudits(sql, plan, now))
  let done = 0
  for (const day of due) if (await auditDay(env, day, now)) done++
  return { due: due.length, done }
}

/** Audits one day. Returns true when it is done, false to try again later. */
async function auditDay(env: Env, day: AuditDay, now: number): Promise<boolean> {
  const { EXCHANGE, COINBASE_REST_URL } = readSettings(env)
  const start = Date.parse(`${day.day}T00:00:00Z`) / 1000
  const theirs = await fetchExchangeDay(COINBASE_REST_URL, day.product, start)
  if (!theirs.ok) {
    log('audit_fetch_failed', { ...day, reason: theirs.reason, status: theirs.status, detail: theirs.detail })
    const error = theirs.status === null ? theirs.reason : `${theirs.reason}, status ${theirs.status}`
    await withLiveDatabase(env, (sql) => recordAuditFailure(sql, EXCHANGE, day, error))
    return false
  }
  const minutes = theirs.value.ONE_MINUTE
  const ours = await readOwnDay(env, day.product, start)
  await withLiveDatabase(env, (sql) => recordComparison(sql, EXCHANGE, day, compareDay(ours, theirs.value)))
  const wrong = findRepairs(ours, minutes)
  const revised = wrong.length > 0 && minutes.length > 0
  const after = revised ? await repairDay(env, day.product, start, minutes, now) : ours
  await withLiveDatabase(env, (sql) => finishAudit(sql, EXCHANGE, day, compareDay(after, theirs.value), now))
  if (revised) log('audit_repaired', { ...day, candles: wrong.length })
  return true
}

/** The exchange's candles of one day in all granularities. */
async function fetchExchangeDay(restUrl: string, product: string, start: number): Promise<Result<DayCandles>> {
  const day: Partial<Record<Granularity, RestCandle[]>> = {}
  for (const granularity of GRANULARITIES) {
    const range = { granularity, start, end: start + DAY_S }
    const answer = await fetchCandles((url, init) => fetch(url, init), restUrl, product, range)
    if (!answer.ok) return answer
    day[granularity] = answer.value
  }
  return { ok: true, value: day as DayCandles }
}

function compareDay(ours: readonly Candle[], theirs: DayCandles): DayComparison {
  const compared = GRANULARITIES.map((granularity) => {
    const own = ours.filter((candle) => candle.granularity === granularity)
    return [granularity, compareCandles(own, theirs[granularity])] as const
  })
  return Object.fromEntries(compared) as DayComparison
}

/** Our candles of one day: from the object while it has them, because it is their only writer, or else from Postgres. */
async function readOwnDay(env: Env, product: string, start: number): Promise<Candle[]> {
  const live = await productCandles(env, product).dayCandles(start)
  return live ?? withLiveDatabase(env, (sql) => readStoredDay(sql, readSettings(env).EXCHANGE, product, start))
}

async function readStoredDay(sql: LiveSql, exchange: string, product: string, start: number): Promise<Candle[]> {
  const range = { exchange, product, start, end: start + DAY_S, limit: MAX_DAY_ROWS }
  const candles = await Promise.all(GRANULARITIES.map((granularity) => readCandles(sql, { ...range, granularity })))
  return candles.flat()
}

/** Replaces a day's minutes by the exchange's, and returns the day's candles after that. */
async function repairDay(
  env: Env,
  product: string,
  start: number,
  minutes: RestCandle[],
  now: number,
): Promise<Candle[]> {
  const { EXCHANGE } = readSettings(env)
  if (await productCandles(env, product).repair(start, minutes)) return readOwnDay(env, product, start)
  return withLiveDatabase(env, async (sql) => {
    const stored = await readStoredDay(sql, EXCHANGE, product, start)
    await ensureCandlePartitions(sql, start, start)
    await repairCandles(sql, EXCHANGE, product, findRepairs(stored, minutes), now)
    await replaceGaps(sql, EXCHANGE, product, [start, start + DAY_S], [])
    return readStoredDay(sql, EXCHANGE, product, start)
  })
}
