import { Hono } from 'hono'
import { parseBarsInput } from '../../api/candles/input.ts'
import type { AppEnv } from '../../api/http/context.ts'
import { rateLimit } from '../../api/http/rate-limits.ts'
import { candleTexts, parseCandle } from '../../api/streams/frames.ts'
import type { StreamEvent } from '../../api/streams/sse-response.ts'
import { multiplexedStream, resolveCandleStream, type StreamAdapter } from '../../api/streams/stream-session.ts'
import type { Candle } from '../../protocol/candle.ts'
import { renderSpotCandle } from '../market/elements.ts'
import { chartAdapter } from './charts.ts'

/** A `datastar-patch-elements` event: Datastar morphs the element with the same id into this one. */
const patchElementsEvent = (element: string): string =>
  `event: datastar-patch-elements\n${element.replaceAll(/^/gm, 'data: elements ')}\n`

/**
 * Sends candles as `<spot-candle>`, one element per product and granularity. After an older candle (one that closes or is
 * revised) it sends the newest again, so that the element ends in the current state.
 */
function spotCandleAdapter(): StreamAdapter {
  const newest = new Map<string, Candle>()
  return {
    onStart() {},
    onFeed() {},
    onFrame(sink, { text, type }) {
      const events: StreamEvent[] = []
      const last = new Map<string, Candle>()
      const add = (candle: Candle) => {
        const key = `${candle.product_id} ${candle.granularity}`
        last.set(key, candle)
        if ((newest.get(key)?.timestamp ?? 0) <= candle.timestamp) newest.set(key, candle)
        events.push({ key: `${key} ${candle.timestamp}`, text: patchElementsEvent(renderSpotCandle(candle)) })
      }
      const candles = candleTexts(text).map(parseCandle)
      if (type === 'snapshot') for (const candle of newestPerSeries(candles)) add(candle)
      else for (const candle of candles) add(candle)
      for (const [key, candle] of last) {
        const now = newest.get(key)
        if (now && now.timestamp > candle.timestamp) add(now)
      }
      if (events.length > 0) sink.push(events)
    },
    onEnd() {},
  }
}

const newestPerSeries = (candles: readonly Candle[]): Iterable<Candle> => {
  const newest = new Map<string, Candle>()
  for (const candle of candles) {
    const key = `${candle.product_id} ${candle.granularity}`
    if ((newest.get(key)?.timestamp ?? 0) <= candle.timestamp) newest.set(key, candle)
  }
  return newest.values()
}

/** `GET /api/v1/datastar` and `/api/v1/datastar/chart`: streams of elements that begin with the current state. */
export const datastarRoutes = new Hono<AppEnv>()
  .get('/api/v1/datastar', rateLimit('SOCKET_LIMIT'), async (c) =>
    multiplexedStream(c, await resolveCandleStream(c), new Map(), spotCandleAdapter()),
  )
  .get('/api/v1/datastar/chart', rateLimit('SOCKET_LIMIT'), async (c) => {
    const bars = parseBarsInput(new URL(c.req.url).searchParams)
    const wanted = await resolveCandleStream(c)
    return multiplexedStream(c, wanted, new Map(), chartAdapter(c.env, wanted, bars, patchElementsEvent))
  })
