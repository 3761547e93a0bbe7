import { type Context, Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { CodedError, type ErrorCode } from '../../protocol/errors.ts'
import { MAX_STREAM_POSITION_CHARS, splitStreamPositions } from '../../protocol/stream-position.ts'
import { barsSchema, candleStreamSchema } from '../candles/input.ts'
import type { AppEnv } from '../http/context.ts'
import { invalidField, listParam } from '../http/input.ts'
import { eventStreamResponse, type Operations, operation } from '../http/operation.ts'
import { rateLimit } from '../http/rate-limits.ts'
import { allQuoteRoutes, resolveQuoteRoutes } from '../quotes/channels.ts'
import type { QuoteRoute } from '../quotes/quote-route.ts'
import { candleKey, candleTexts, framePosition, quoteKey, quoteTexts } from './frames.ts'
import type { StreamEvent } from './sse-response.ts'
import { multiplexedStream, resolveCandleStream, type StreamAdapter, type StreamSelection } from './stream-session.ts'

/** Sends candles as `event: candle` and quotes as `event: quote`, each with the text that its object wrote. */
const sseAdapter: StreamAdapter = {
  onStart(sink, { recovered, position }) {
    // Without an id: a client that is cut off before the snapshot must not resume as if it had it.
    const at = position.length > MAX_STREAM_POSITION_CHARS ? '' : position
    sink.push([{ key: 'position', text: `event: position\ndata: ${JSON.stringify({ recovered, position: at })}\n` }])
  },
  onFrame(sink, { text }) {
    const events = [
      ...candleTexts(text).map((candle): StreamEvent => toStreamEvent('candle', candleKey(candle), candle)),
      ...quoteTexts(text).map((quote): StreamEvent => toStreamEvent('quote', quoteKey(quote), quote)),
    ]
    if (events.length > 0) sink.push(events, framePosition(text) ?? undefined)
  },
  onFeed(sink, text, product) {
    sink.push([toStreamEvent('feed', product, text)])
  },
  onEnd() {},
}

const toStreamEvent = (name: string, id: string, data: string): StreamEvent => ({
  key: `${name} ${id}`,
  text: `event: ${name}\ndata: ${data}\n`,
})

/** The channels of a query: quotes of its symbols, candles of its products, or both. @throws CodedError for an invalid query */
async function resolveStream(c: Context<AppEnv>): Promise<StreamSelection> {
  const query = new URL(c.req.url).searchParams
  const symbols = listParam(query, 'symbol', 'symbols')
  const hasCandles = ['product', 'products', 'granularity', 'granularities'].some((name) => query.has(name))
  if (symbols.length === 0) return resolveCandleStream(c)
  const boards = await resolveQuoteChannels(c.env, symbols)
  if (hasCandles) {
    const candles = await resolveCandleStream(c)
    return { channels: new Map([...candles.channels, ...boards]), passive: candles.passive }
  }
  const passive = query.get('passive') ?? 'false'
  if (passive !== 'true' && passive !== 'false') throw invalidField('passive', 'must be true or false')
  return { channels: boards, passive: passive === 'true' }
}

/** The quote channels of these symbols by quote board. @throws CodedError with the code of the first that is not available */
async function resolveQuoteChannels(env: Env, symbols: readonly string[]): Promise<Map<string, string[]>> {
  const { MAX_CHANNELS } = readSettings(env)
  if (symbols.length > MAX_CHANNELS)
    throw invalidField('symbol', `must be at most ${MAX_CHANNELS} symbols, or * for every asset`, 'too_many_symbols')
  if (symbols.includes('*')) return groupByBoard(allQuoteRoutes(env))
  const routes = [...(await resolveQuoteRoutes(env, symbols)).values()]
  const faults = routes.filter((route) => 'code' in route)
  const [first] = faults
  if (first)
    throw new CodedError(first.code, faults.map(({ message }) => `symbol: ${message}`).join('; '), {
      errors: faults.map(({ message }) => ({ field: 'symbol', message })),
      ...(first.candidates && { candidates: first.candidates }),
    })
  return groupByBoard(routes.filter((route) => 'key' in route))
}

const groupByBoard = (routes: readonly QuoteRoute[]): Map<string, string[]> =>
  new Map(
    [...Map.groupBy(routes, ({ key }) => key)].map(([key, group]) => [
      key,
      [...new Set(group.map(({ channel }) => channel))],
    ]),
  )

/** `GET /api/v1/stream`: candles and quotes as events; resumes from `Last-Event-ID` or `since`. */
export const streamRoutes = new Hono<AppEnv>().get('/api/v1/stream', rateLimit('SOCKET_LIMIT'), async (c) => {
  const selection = await resolveStream(c)
  const since = c.req.header('last-event-id') ?? c.req.query('since') ?? c.req.query('last_event_id') ?? ''
  return multiplexedStream(c, selection, splitStreamPositions(since), sseAdapter)
})

const streamQuery = z.object({
  ...candleStreamSchema.shape,
  symbol: z.string().optional().meta({ description: 'Symbols, in the same way; * means all. Also `symbols`' }),
  since: z.string().optional().meta({ description: 'The position to resume from, as the header Last-Event-ID' }),
})

const STREAM_ERRORS: readonly ErrorCode[] = [
  'invalid_request',
  'unknown_product',
  'unknown_granularity',
  'product_offline',
  'too_many_sockets',
]

/** Includes the Datastar endpoints, which `src/pages` serves: the API does not import pages. */
export const STREAM_OPERATIONS: Operations = {
  'get /api/v1/stream': operation('Live', 'stream', {
    summary: 'Candles and quotes as server-sent events',
    description:
      'Needs products and granularities, or symbols, or both. Events: `position`, `candle`, `quote`, `feed`.',
    query: streamQuery,
    responses: eventStreamResponse(
      '`event: candle` with a Candle, `event: quote` with a Quote; `id` is the position to resume from',
    ),
    errors: [...STREAM_ERRORS, 'unknown_symbol', 'ambiguous_symbol', 'too_many_symbols'],
  }),
  'get /api/v1/datastar': operation('Live', 'streamElements', {
    summary: 'Candles as `<spot-candle>` elements for Datastar',
    query: candleStreamSchema,
    responses: eventStreamResponse('`event: datastar-patch-elements`'),
    errors: STREAM_ERRORS,
  }),
  'get /api/v1/datastar/chart': operation('Live', 'streamCharts', {
    summary: 'Charts as `<spot-chart>` elements for Datastar',
    query: z.object({ ...candleStreamSchema.shape, ...barsSchema.shape }),
    responses: eventStreamResponse('`event: datastar-patch-elements`'),
    errors: STREAM_ERRORS,
  }),
}
