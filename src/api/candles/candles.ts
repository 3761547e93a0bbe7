import { Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { productCandles } from '../../objects.ts'
import { type Candle, formatCandle, wireCandleSchema } from '../../protocol/candle.ts'
import { GRANULARITY_SECONDS } from '../../protocol/granularity.ts'
import type { AppEnv } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { temporarilyUnavailable } from '../http/problems.ts'
import { type CandleHistory, readCandleHistory } from './candle-history.ts'
import { fillFlat } from './fill.ts'
import { type CandlesInput, candlesSchema, checkProduct, parseCandlesInput } from './input.ts'
import { productIdPath } from './products.ts'

/** `GET /api/v1/products/:id/candles`: the last `limit` candles of the range. */
export const candleRoutes = new Hono<AppEnv>().get('/api/v1/products/:id/candles', async (c) => {
  const product = c.req.param('id')
  checkProduct(product, readSettings(c.env), 'id')
  const input = parseCandlesInput(new URL(c.req.url).searchParams)
  const now = Math.floor(Date.now() / 1_000)
  const history = await readCandleHistory(c.env, product, input, now)
  if (!history.isComplete) throw temporarilyUnavailable('Older candles cannot be read')
  const candles = input.fill === 'flat' ? await fillHistory(c.env, product, input, history, now) : history.candles
  const body = `{"candles":[${candles.map(formatCandle).join(',')}],"gaps":${JSON.stringify(history.gaps)}}`
  return c.body(body, 200, { 'content-type': 'application/json', 'cache-control': 'no-cache' })
})

/** The history with flat candles in its empty intervals (C10), again the last `limit`. `now` in Unix seconds. */
async function fillHistory(env: Env, product: string, input: CandlesInput, history: CandleHistory, now: number) {
  const { granularity, start, end, limit } = input
  const known: Candle[] = [...history.candles]
  // An empty interval at the start repeats the last price before it.
  if (start !== undefined && known.length < limit && (known[0]?.timestamp ?? now) > start) {
    const before = await readCandleHistory(env, product, { granularity, end: start, limit: 1 }, now)
    known.unshift(...before.candles)
  }
  const { feed } = await productCandles(env, product).status()
  const last = known.at(-1)
  const knownUntil = Math.max(
    (feed.lastMessageAt ?? 0) / 1_000,
    last ? last.timestamp + GRANULARITY_SECONDS[granularity] : 0,
  )
  const to = Math.min(end ?? now, now)
  // Fills only the last `limit` intervals, however long the market has been quiet.
  const earliest = (Math.ceil(to / GRANULARITY_SECONDS[granularity]) - limit) * GRANULARITY_SECONDS[granularity]
  return fillFlat(known, {
    granularity,
    from: Math.max(start ?? 0, earliest),
    to,
    now,
    graceS: readSettings(env).CLOSE_GRACE_MS / 1_000,
    gaps: history.gaps,
    knownUntil: feed.state === 'live' ? now : knownUntil,
  }).slice(-limit)
}

export const gapsSchema = z
  .array(z.tuple([z.int(), z.int()]))
  .meta({ description: 'Ranges with missing trades: Unix seconds, the end exclusive' })

const candleSchema = wireCandleSchema.meta({
  id: 'Candle',
  description: 'A candle; its numbers have the digits of the exchange',
})

const candlesResponseSchema = z.object({ candles: z.array(candleSchema), gaps: gapsSchema })

export const CANDLE_OPERATIONS: Operations = {
  'get /api/v1/products/{id}/candles': operation('Candles', 'getCandles', {
    summary: 'Candles of one product, ascending, the forming one last',
    path: productIdPath,
    query: candlesSchema,
    responses: response(200, 'The last `limit` candles of the range', candlesResponseSchema),
    errors: ['invalid_request', 'unknown_granularity', 'unknown_product', 'unavailable'],
  }),
}
