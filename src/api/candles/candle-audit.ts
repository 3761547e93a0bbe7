import { Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { type Audit, readAudits } from '../../db/audits.ts'
import { withLiveDatabase } from '../../db/client.ts'
import { log } from '../../log.ts'
import { matchRate } from '../../market/audit.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { AppEnv } from '../http/context.ts'
import { type AuditInput, parseAuditInput } from '../http/input.ts'

/** Days that are told when none is asked for. */
const DEFAULT_DAYS = 30
/** Rows of one answer: 30 days of 40 products. */
const MAX_ROWS = 10_000

const DAY_MS = 86_400_000

/**
 * The audits of one product or of all, of one day or of the last `days`, the newest first.
 * @param now unix milliseconds
 * @throws CodedError `unavailable` while the database cannot be read
 */
export async function findAudits(env: Env, { product, day }: AuditInput, days: number, now: number): Promise<Audit[]> {
  const date = (ms: number) => new Date(ms).toISOString().slice(0, 10)
  const range = {
    exchange: readSettings(env).EXCHANGE,
    product,
    from: day ?? date(now - days * DAY_MS),
    to: day ?? date(now),
    limit: MAX_ROWS,
  }
  try {
    return await withLiveDatabase(env, (sql) => readAudits(sql, range))
  } catch (error) {
    log('audits_read_failed', { error: String(error) })
    throw new CodedError('unavailable', 'audits cannot be read at the moment', { retryAfter: 5 })
  }
}

/** `GET /api/v1/audit`: what the comparison of finished days with the exchange's own candles has found (C13). */
export const candleAuditRoutes = new Hono<AppEnv>().get('/api/v1/audit', async (c) => {
  const input = parseAuditInput(new URL(c.req.url).searchParams, readSettings(c.env))
  const audits = (await findAudits(c.env, input, DEFAULT_DAYS, Date.now())).map((row) => ({
    ...row,
    match_rate: row.compared === null ? null : matchRate(row.equal ?? 0, row.compared),
  }))
  return c.json({ audits }, 200, { 'cache-control': 'no-cache' })
})
