import { Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { quoteBoard, type RefreshReport } from '../../objects.ts'
import { normalizeName } from '../../pricing/symbol.ts'
import { readJson } from '../http/body.ts'
import type { AppEnv } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { requireServiceKey } from '../http/service-key.ts'
import { lookupQuotes, namesByShard } from './cache.ts'
import { parseRefreshInput, refreshSchema } from './input.ts'

const addReports = (a: RefreshReport, b: RefreshReport): RefreshReport => ({
  refreshed: a.refreshed + b.refreshed,
  failed: a.failed + b.failed,
  waiting: a.waiting + b.waiting,
})

/** Refreshes these symbols; null means every asset. Unknown and ambiguous ones count as failed. */
async function refresh(env: Env, symbols: readonly string[] | null): Promise<RefreshReport> {
  const names = [...new Set(symbols?.map((symbol) => normalizeName(symbol) ?? ''))]
  const results = await lookupQuotes(
    env,
    names.filter((name) => name !== ''),
  )
  const known = results.filter(({ kind }) => kind === 'quote' || kind === 'unpriced').map(({ name }) => name)
  const shards = Array.from({ length: readSettings(env).QUOTE_SHARDS }, (_, shard) => [shard, null] as const)
  const groups = symbols === null ? shards : [...namesByShard(env, known)]
  const reports = await Promise.all(groups.map(([shard, group]) => quoteBoard(env, shard).refresh(group)))
  return reports.reduce(addReports, { refreshed: 0, failed: names.length - known.length, waiting: 0 })
}

/** `POST /refresh-prices`, with the service key; the body may be left out. */
export const refreshPricesRoutes = new Hono<AppEnv>().post('/refresh-prices', requireServiceKey(), async (c) => {
  const symbols = parseRefreshInput((await readJson(c)) ?? {}, readSettings(c.env))
  return c.json(await refresh(c.env, symbols), 200, { 'cache-control': 'no-store' })
})

const refreshResponseSchema = z.object({
  refreshed: z.int(),
  failed: z.int(),
  waiting: z.int().meta({ description: 'Delayed by the providers’ rate limits' }),
})

export const REFRESH_PRICES_OPERATIONS: Operations = {
  'post /refresh-prices': operation('Prices', 'refreshPrices', {
    summary: 'Refresh prices now, within the providers’ rate limits',
    security: [{ serviceKey: [] }],
    requestBody: { required: false, content: { 'application/json': { schema: refreshSchema } } },
    responses: response(200, 'How many assets were refreshed', refreshResponseSchema),
    errors: ['unauthorized', 'invalid_request', 'too_many_symbols', 'message_too_large'],
  }),
}
