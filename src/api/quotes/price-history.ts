import { Hono } from 'hono'
import { etag } from 'hono/etag'
import { z } from 'zod'
import { sha256 } from '../../auth/digest.ts'
import { addDays } from '../../pricing/history-range.ts'
import type { PriceHistory } from '../../pricing/price-history.ts'
import { CodedError } from '../../protocol/errors.ts'
import {
  formatPriceBar,
  HISTORY_INTERVALS,
  HISTORY_RANGES,
  PRICE_BASES,
  wirePriceBarSchema,
} from '../../protocol/price-history.ts'
import { formatDate } from '../../time.ts'
import { gapsSchema } from '../candles/candles.ts'
import { type AppEnv, lookupScope } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { findAsset } from './assets.ts'
import { historySchema, parseHistoryInput } from './input.ts'
import { SYMBOL_ERRORS } from './prices.ts'
import { readPriceHistory } from './read-price-history.ts'

/** Finished bars are not corrected any more after this many days. */
const SETTLED_DAYS = 7
/** `Retry-After` while a history is being loaded, in seconds: cron loads every minute. */
const LOADING_RETRY_S = 60

/** How long caches may store a response: finished raw bars never change, the last bar does. */
function cacheControl({ interval, basis, lastDate }: PriceHistory, until: string | null, today: string): string {
  if (interval === 'FIVE_MINUTES' || interval === 'THIRTY_MINUTES') return 'no-cache'
  if (until === null) return 'public, max-age=15'
  if (basis !== 'raw') return 'public, max-age=300'
  const settled = until <= addDays(today, -SETTLED_DAYS) && lastDate !== null && lastDate >= until
  return settled ? 'public, max-age=31536000, immutable' : 'public, max-age=15'
}

/** `GET /get-history`. */
export const priceHistoryRoutes = new Hono<AppEnv>().get('/get-history', etag(), async (c) => {
  const now = Date.now()
  const today = formatDate(now)
  const { symbol, ...query } = parseHistoryInput(new URL(c.req.url).searchParams, today)
  const asset = await findAsset(lookupScope(c), symbol)
  const history = await readPriceHistory(c.env, asset, symbol, query, now)
  if (!history.loaded)
    throw new CodedError('unavailable', `The history of ${asset.symbol} is being loaded. Try again in a minute.`, {
      retryAfter: LOADING_RETRY_S,
    })
  const { range, interval, basis, currency, bars } = history
  const head = { symbol: asset.symbol, range, interval, basis, currency }
  const tail = {
    count: bars.length,
    provider: history.provider,
    actions_version: history.actionsVersion,
    gaps: history.gaps,
  }
  const text = `${JSON.stringify(head).slice(0, -1)},"data":[${bars.map(formatPriceBar).join(',')}],${JSON.stringify(tail).slice(1)}`
  return c.body(text, 200, {
    'content-type': 'application/json',
    etag: `"${history.actionsVersion}-${(await sha256(text)).slice(0, 24)}"`,
    'cache-control': cacheControl(history, query.until, today),
  })
})

const priceHistoryResponseSchema = z.object({
  symbol: z.string(),
  range: z.enum(HISTORY_RANGES),
  interval: z.enum(HISTORY_INTERVALS),
  basis: z.enum(PRICE_BASES),
  currency: z.string(),
  data: z.array(
    wirePriceBarSchema.meta({
      id: 'Bar',
      description: 'A bar of price history; `date` is an RFC 3339 time for intraday bars',
    }),
  ),
  count: z.int(),
  provider: z.string().nullable(),
  actions_version: z.string().meta({ description: 'Changes with the splits and dividends that were applied' }),
  gaps: gapsSchema,
})

const etagHeader = z.string().meta({ description: 'Send it as If-None-Match: 304 means nothing has changed' })

export const PRICE_HISTORY_OPERATIONS: Operations = {
  'get /get-history': operation('Prices', 'getHistory', {
    summary: 'Price history of one asset, in bars of one interval',
    description:
      '1d has bars of five minutes, 7d of thirty; up to 1y of a day, 3y of a week, longer ranges of a month. Where bars that old are no longer stored, the response has the next longer ones: see `interval`.',
    query: historySchema,
    responses: {
      ...response(200, 'The bars, ascending; the last may be incomplete', priceHistoryResponseSchema, {
        etag: etagHeader,
      }),
      ...response(304, 'The client’s copy is current'),
    },
    errors: ['invalid_request', 'unknown_range', ...SYMBOL_ERRORS],
  }),
}
