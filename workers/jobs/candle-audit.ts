import { log } from '../../src/api/http/context.ts'
import { settings } from '../../src/config.ts'
import {
  type AuditDay,
  claimAudits,
  type DayComparison,
  failAudit,
  finishAudit,
  recordComparison,
  repairCandles,
} from '../../src/db/audits.ts'
import { ensurePartitions, readCandles, replaceGaps } from '../../src/db/candles.ts'
import { type LiveSql, withLiveDatabase } from '../../src/db/client.ts'
import { compareCandles, repairs } from '../../src/market/audit.ts'
import { productCandles } from '../../src/objects.ts'
import type { Candle } from '../../src/protocol/candle.ts'
import { GRANULARITIES, type Granularity } from '../../src/protocol/granularity.ts'
import { fetchCandles, type RestCandle } from '../../src/providers/coinbase.ts'
import type { Result } from '../../src/providers/result.ts'

const DAY_MS = 86_400_000
const DAY = 86_400

/** A day is audited from so long after its end on: the exchange's last candles are written by then. */
const SETTLED_MS = 7 * 60_000

/** Days of products that one run audits: about a dozen requests to the exchange each. */
const DAYS_A_RUN = 4

/** More minutes than a day has. */
const DAY_ROWS = 2_000

type DayCandles = Readonly<Record<Granularity, RestCandle[]>>

const dateText = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/**
 * Audits finished days that were not (C13), a few a run, the newest first: compares their closed candles with the
 * exchange's own, records what it found, and repairs. Every step may be the last one of a run: the next goes on.
 */
export async function audit(env: Env, now: number): Promise<Record<string, unknown>> {
  const { EXCHANGE, PRODUCTS, ALWAYS_ON, AUDIT_DAYS } = settings(env)
  const today = now - SETTLED_MS
  const plan = {
    exchange: EXCHANGE,
    products: PRODUCTS,
    alwaysOn: ALWAYS_ON,
    from: dateText(today - AUDIT_DAYS * DAY_MS),
    to: dateText(today - DAY_MS),
    limit: DAYS_A_RUN,
  }
  const due = await withLiveDatabase(env, (sql) => claimAudits(sql, plan, now))
  let done = 0
  for (const day of due) if (await auditDay(env, day, now)) done++
  return { due: due.length, done }
}

/** @returns whether the day is done. */
async function auditDay(env: Env, day: AuditDay, now: number): Promise<boolean> {
  const { EXCHANGE, COINBASE_REST_URL } = settings(env)
  const start = Date.parse(`${day.day}T00:00:00Z`) / 1000
  const theirs = await exchangeDay(COINBASE_REST_URL, day.product, start)
  if (!theirs.ok) {
    log('audit_refused', { ...day, reason: theirs.reason, status: theirs.status, detail: theirs.detail })
    const error = theirs.status === null ? theirs.reason : `${theirs.reason}, status ${theirs.status}`
    await withLiveDatabase(env, (sql) => failAudit(sql, EXCHANGE, day, error))
    return false
  }
  const minutes = theirs.value.ONE_MINUTE
  const ours = await ownDay(env, day.product, start)
  await withLiveDatabase(env, (sql) => recordComparison(sql, EXCHANGE, day, compareDay(ours, theirs.value)))
  const wrong = repairs(ours, minutes)
  const revised = wrong.length > 0 && minutes.length > 0
  const after = revised ? await repairDay(env, day.product, start, minutes, now) : ours
  await withLiveDatabase(env, (sql) => finishAudit(sql, EXCHANGE, day, compareDay(after, theirs.value), now))
  if (revised) log('audit_repaired', { ...day, candles: wrong.length })
  return true
}

/** The exchange's candles of one day in all granularities. */
async function exchangeDay(restUrl: string, product: string, start: number): Promise<Result<DayCandles>> {
  const day: Partial<Record<Granularity, RestCandle[]>> = {}
  for (const granularity of GRANULARITIES) {
    const range = { granularity, start, end: start + DAY }
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

/** Our candles of one day: the object's while it holds them, since it is their only writer, otherwise those stored. */
async function ownDay(env: Env, product: string, start: number): Promise<Candle[]> {
  const held = await productCandles(env, product).heldDay(start)
  return held ?? withLiveDatabase(env, (sql) => storedDay(sql, settings(env).EXCHANGE, product, start))
}

async function storedDay(sql: LiveSql, exchange: string, product: string, start: number): Promise<Candle[]> {
  const range = { exchange, product, start, end: start + DAY, limit: DAY_ROWS }
  const candles = await Promise.all(GRANULARITIES.map((granularity) => readCandles(sql, { ...range, granularity })))
  return candles.flat()
}

/** Makes a day hold the exchange's minutes; gives the day's candles as they are then. */
async function repairDay(
  env: Env,
  product: string,
  start: number,
  minutes: RestCandle[],
  now: number,
): Promise<Candle[]> {
  const { EXCHANGE } = settings(env)
  if (await productCandles(env, product).repair(start, minutes)) return ownDay(env, product, start)
  return withLiveDatabase(env, async (sql) => {
    const stored = await storedDay(sql, EXCHANGE, product, start)
    await ensurePartitions(sql, start, start)
    await repairCandles(sql, EXCHANGE, product, repairs(stored, minutes), now)
    await replaceGaps(sql, EXCHANGE, product, [start, start + DAY], [])
    return storedDay(sql, EXCHANGE, product, start)
  })
}
