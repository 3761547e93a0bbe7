import { type Context, Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { CodedError } from '../../protocol/errors.ts'
import { MAX_STREAM_POSITION_CHARS, splitStreamPositions } from '../../protocol/stream-position.ts'
import type { AppEnv } from '../http/context.ts'
import { invalidField, listParam } from '../http/input.ts'
import { socketLimit } from '../http/rate-limits.ts'
import { allQuoteRoutes, resolveQuoteRoutes } from '../quotes/channels.ts'
import type { QuoteRoute } from '../quotes/quote-route.ts'
import type { StreamEvent } from './event-stream.ts'
import { candleKey, candleTexts, framePosition, quoteKey, quoteTexts } from './frames.ts'
import { multiplexedStream, resolveCandleStream, type StreamAdapter, type StreamSelection } from './sse.ts'

/** Candles as `event: candle` and quotes as `event: quote`, each written as its object wrote it. */
const sseAdapter: StreamAdapter = {
  onStart(sink, { recovered, position }) {
    // Without an id: who is cut off before the snapshot must not come back as if it had it.
    const at = position.length > MAX_STREAM_POSITION_CHARS ? '' : position
    sink.push([{ key: 'position', text: `event: position\ndata: ${JSON.stringify({ recovered, position: at })}\n` }])
  },
  onFrame(sink, { text }) {
    const made = [
      ...candleTexts(text).map((candle): StreamEvent => toStreamEvent('candle', candleKey(candle), candle)),
      ...quoteTexts(text).map((quote): StreamEvent => toStreamEvent('quote', quoteKey(quote), quote)),
    ]
    if (made.length > 0) sink.push(made, framePosition(text) ?? undefined)
  },
  onFeed(sink, text, product) {
    sink.push([toStreamEvent('feed', product, text)])
  },
  onEnd() {},
}

const toStreamEvent = (name: string, of: string, data: string): StreamEvent => ({
  key: `${name} ${of}`,
  text: `event: ${name}\ndata: ${data}\n`,
})

/** What the query asks for: quotes of its symbols, candles of its products, or both. @throws CodedError naming what is wrong */
async function resolveStream(c: Context<AppEnv>): Promise<StreamSelection> {
  const query = new URL(c.req.url).searchParams
  const symbols = listParam(query, 'symbol', 'symbols')
  const ofCandles = ['product', 'products', 'granularity', 'granularities'].some((name) => query.has(name))
  if (symbols.length === 0) return resolveCandleStream(c)
  const boards = await resolveQuoteChannels(c.env, symbols)
  if (ofCandles) {
    const candles = await resolveCandleStream(c)
    return { channels: new Map([...candles.channels, ...boards]), passive: candles.passive }
  }
  const passive = query.get('passive') ?? 'false'
  if (passive !== 'true' && passive !== 'false') throw invalidField('passive', 'must be true or false')
  return { channels: boards, passive: passive === 'true' }
}

/** The quotes' channels of these symbols by board. @throws CodedError with the code of the first that cannot be had */
async function resolveQuoteChannels(env: Env, symbols: readonly string[]): Promise<Map<string, string[]>> {
  const { MAX_CHANNELS } = readSettings(env)
  if (symbols.length > MAX_CHANNELS) {
    const message = `must be ${MAX_CHANNELS} symbols at most, or * for every asset`
    throw new CodedError('too_many_symbols', `symbol: ${message}`, { errors: [{ field: 'symbol', message }] })
  }
  if (symbols.includes('*')) return groupByBoard(allQuoteRoutes(env))
  const places = [...(await resolveQuoteRoutes(env, symbols)).values()]
  const faults = places.filter((place) => 'code' in place)
  const [first] = faults
  if (first)
    throw new CodedError(first.code, faults.map(({ message }) => `symbol: ${message}`).join('; '), {
      errors: faults.map(({ message }) => ({ field: 'symbol', message })),
      ...(first.candidates && { candidates: first.candidates }),
    })
  return groupByBoard(places.filter((place) => 'key' in place))
}

const groupByBoard = (places: readonly QuoteRoute[]): Map<string, string[]> =>
  new Map(
    [...Map.groupBy(places, ({ key }) => key)].map(([key, of]) => [
      key,
      [...new Set(of.map(({ channel }) => channel))],
    ]),
  )

/** `GET /api/v1/stream`: candles (brief 003) and quotes as events; goes on from `Last-Event-ID` or `since`. */
export const streamRoutes = new Hono<AppEnv>().get('/api/v1/stream', socketLimit, async (c) => {
  const wanted = await resolveStream(c)
  const since = c.req.header('last-event-id') ?? c.req.query('since') ?? c.req.query('last_event_id') ?? ''
  return multiplexedStream(c, wanted, splitStreamPositions(since), sseAdapter)
})
