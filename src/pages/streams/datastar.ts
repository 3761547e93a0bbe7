import { ServerSentEventGenerator } from '@starfederation/datastar-sdk/web'
import { Hono } from 'hono'
import type { AppEnv } from '../../api/http/context.ts'
import { parseBarsInput } from '../../api/http/input.ts'
import { socketLimit } from '../../api/http/rate-limits.ts'
import type { StreamEvent } from '../../api/streams/event-stream.ts'
import { candleTexts, parseCandle } from '../../api/streams/frames.ts'
import { multiplexedStream, resolveCandleStream, type StreamAdapter } from '../../api/streams/sse.ts'
import type { Candle } from '../../protocol/candle.ts'
import { renderSpotCandle } from '../market/elements.ts'
import { chartAdapter } from './charts.ts'

/** The SDK's own formatting of events, without its stream: that one queues without end for a reader who is slow. */
class PatchFormat extends ServerSentEventGenerator {
  constructor() {
    super({ enqueue() {} } as unknown as ReadableStreamDefaultController)
  }
}
const format = new PatchFormat()

/** The lines of a `datastar-patch-elements` event. The SDK ends it with an empty line, which the stream adds itself. */
const patchElementsEvent = (element: string): string => format.patchElements(element).join('').slice(0, -1)

/**
 * Candles as `<spot-candle>`, one element per product and granularity. An older candle (one that closes, one that is
 * revised) is shown and then the newest again, so that the element ends in the state of now.
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

/** `GET /api/v1/datastar` (brief 004) and `/api/v1/datastar/chart` (brief 003, phase 2). Each begins with full state. */
export const datastarRoutes = new Hono<AppEnv>()
  .get('/api/v1/datastar', socketLimit, async (c) =>
    multiplexedStream(c, await resolveCandleStream(c), new Map(), spotCandleAdapter()),
  )
  .get('/api/v1/datastar/chart', socketLimit, async (c) => {
    const bars = parseBarsInput(new URL(c.req.url).searchParams)
    const wanted = await resolveCandleStream(c)
    return multiplexedStream(c, wanted, new Map(), chartAdapter(c.env, wanted, bars, patchElementsEvent))
  })
