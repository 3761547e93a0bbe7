import { Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { type Audit, readAudits } from '../../db/audits.ts'
import { withLiveDatabase } from '../../db/client.ts'
import { matchRate } from '../../market/audit.ts'
import { GRANULARITIES } from '../../protocol/granularity.ts'
import { DAY_MS, formatDate } from '../../time.ts'
import type { AppEnv } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { orUnavailable } from '../http/problems.ts'
import { type AuditInput, auditSchema, parseAuditInput } from './input.ts'

/** Days in the response to a request without a day. */
const DEFAULT_DAYS = 30
/** Most rows in one response: more than 30 days of 40 products have. */
const MAX_ROWS = 10_000

/**
 * The audits of one product or of all, for one day or the last `days`, newest first.
 * @param now Unix milliseconds
 * @throws CodedError `unavailable` while the database cannot be read
 */
export async function findAudits(env: Env, { product, day }: AuditInput, days: number, now: number): Promise<Audit[]> {
  const range = {
    exchange: readSettings(env).EXCHANGE,
    product,
    from: day ?? formatDate(now - days * DAY_MS),
    to: day ?? formatDate(now),
    limit: MAX_ROWS,
  }
  const read = () => withLiveDatabase(env, (sql) => readAudits(sql, range))
  return orUnavailable(read, 'audits_read_failed', 'Audits cannot be read')
}

/** `GET /api/v1/audit`: how finished days compare with the exchange's own candles (C13). */
export const candleAuditRoutes = new Hono<AppEnv>().get('/api/v1/audit', async (c) => {
  const input = parseAuditInput(new URL(c.req.url).searchParams, readSettings(c.env))
  const audits = (await findAudits(c.env, input, DEFAULT_DAYS, Date.now())).map((row) => ({
    ...row,
    match_rate: row.compared === null ? null : matchRate(row.equal ?? 0, row.compared),
  }))
  return c.json({ audits }, 200, { 'cache-control': 'no-cache' })
})

const auditResponseSchema = z
  .object({
    exchange: z.string(),
    product_id: z.string(),
    day: z.string(),
    granularity: z.enum(GRANULARITIES),
    status: z.enum(['pending', 'compared', 'done']),
    compared: z.int().nullable(),
    equal: z.int().nullable(),
    repaired: z.int().nullable(),
    missing_here: z.int().nullable(),
    missing_there: z.int().nullable(),
    attempts: z.int(),
    attempted_at: z.string(),
    done_at: z.string().nullable(),
    error: z.string().nullable(),
    match_rate: z
      .string()
      .nullable()
      .meta({ description: 'Percentage of compared candles that are equal, decimal text' }),
  })
  .meta({ id: 'Audit', description: 'One finished day of a product compared with the exchange’s own candles' })

export const CANDLE_AUDIT_OPERATIONS: Operations = {
  'get /api/v1/audit': operation('Candles', 'getAudits', {
    summary: 'How finished days compare with the exchange’s own candles',
    query: auditSchema,
    responses: response(200, 'The audits, newest first', z.object({ audits: z.array(auditResponseSchema) })),
    errors: ['invalid_request', 'unknown_product', 'unavailable'],
  }),
}
