import { Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { productCandles } from '../../objects.ts'
import { type Candle, formatCandle } from '../../protocol/candle.ts'
import { CodedError } from '../../protocol/errors.ts'
import { GRANULARITY_SECONDS } from '../../protocol/granularity.ts'
import type { AppEnv } from '../http/context.ts'
import { type CandlesInput, checkProduct, parseCandlesInput } from '../http/input.ts'
import { type CandleHistory, readCandleHistory } from './candle-history.ts'
import { fillFlat } from './fill.ts'

/** `GET /api/v1/products/:id/candles`: of more than `limit` candles in the range, the last. */
export const candleRoutes = new Hono<AppEnv>().get('/api/v1/products/:id/candles', async (c) => {
  const product = c.req.param('id')
  checkProduct(product, readSettings(c.env), 'id')
  const input = parseCandlesInput(new URL(c.req.url).searchParams)
  const now = Math.floor(Date.now() / 1_000)
  const history = await readCandleHistory(c.env, product, input, now)
  if (!history.isComplete)
    throw new CodedError('unavailable', 'older candles cannot be read at the moment', { retryAfter: 5 })
  const answer = input.fill === 'flat' ? await fillHistory(c.env, product, input, history, now) : history.candles
  const body = `{"candles":[${answer.map(formatCandle).join(',')}],"gaps":${JSON.stringify(history.gaps)}}`
  return c.body(body, 200, { 'content-type': 'application/json', 'cache-control': 'no-cache' })
})

/** The history with flat candles in its empty intervals (C10), again the last `limit`. */
async function fillHistory(env: Env, product: string, input: CandlesInput, history: CandleHistory, now: number) {
  const { granularity, start, end, limit } = input
  const known: Candle[] = [...history.candles]
  // An interval that is empty at the start goes on from the last price before it.
  if (start !== undefined && known.length < limit && (known[0]?.timestamp ?? now) > start) {
    const before = await readCandleHistory(env, product, { granularity, end: start, limit: 1 }, now)
    known.unshift(...before.candles)
  }
  const { feed } = await productCandles(env, product).status()
  const last = known.at(-1)
  const heard = Math.max(
    (feed.lastMessageAt ?? 0) / 1_000,
    last ? last.timestamp + GRANULARITY_SECONDS[granularity] : 0,
  )
  const to = Math.min(end ?? now, now)
  // Only the last `limit` intervals are filled, however long the market has been still.
  const earliest = (Math.ceil(to / GRANULARITY_SECONDS[granularity]) - limit) * GRANULARITY_SECONDS[granularity]
  return fillFlat(known, {
    granularity,
    from: Math.max(start ?? 0, earliest),
    to,
    now,
    graceS: readSettings(env).CLOSE_GRACE_MS / 1_000,
    gaps: history.gaps,
    knownUntil: feed.state === 'live' ? now : heard,
  }).slice(-limit)
}
