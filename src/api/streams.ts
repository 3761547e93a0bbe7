import { Hono } from 'hono'
import { MAX_POSITION_LENGTH, splitPositions } from '../protocol/position.ts'
import type { AppEnv } from './context.ts'
import type { StreamEvent } from './event-stream.ts'
import { candleKey, candleTexts, framePosition } from './frames.ts'
import { joinedStream, type StreamAdapter, streamOf } from './joined-stream.ts'
import { socketLimit } from './limits.ts'

/** Candles as `event: candle`, each written as its object wrote it. */
const candleEvents: StreamAdapter = {
  begun(sink, { recovered, position }) {
    // Without an id: who is cut off before the snapshot must not come back as if it had it.
    const at = position.length > MAX_POSITION_LENGTH ? '' : position
    sink.push([{ key: 'position', text: `event: position\ndata: ${JSON.stringify({ recovered, position: at })}\n` }])
  },
  frame(sink, { text }) {
    const events = candleTexts(text).map(
      (candle): StreamEvent => ({ key: candleKey(candle), text: `event: candle\ndata: ${candle}\n` }),
    )
    if (events.length > 0) sink.push(events, framePosition(text) ?? undefined)
  },
  feed(sink, text, product) {
    sink.push([{ key: `feed ${product}`, text: `event: feed\ndata: ${text}\n` }])
  },
  ended() {},
}

/** `GET /api/v1/stream`: candles as events (brief 003); goes on from `Last-Event-ID` or `since`. */
export const streams = new Hono<AppEnv>().get('/api/v1/stream', socketLimit, async (c) => {
  const wanted = await streamOf(c)
  const since = c.req.header('last-event-id') ?? c.req.query('since') ?? c.req.query('last_event_id') ?? ''
  return joinedStream(c, wanted, splitPositions(since), candleEvents)
})
