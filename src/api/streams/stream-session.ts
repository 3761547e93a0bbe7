import type { Context } from 'hono'
import { readSettings } from '../../config.ts'
import { formatCandleChannel } from '../../protocol/channel.ts'
import { CodedError, ERROR_CODES, type ErrorCode } from '../../protocol/errors.ts'
import { joinStreamPositions, splitStreamPositions } from '../../protocol/stream-position.ts'
import { parseStreamInput } from '../candles/input.ts'
import { offlineProducts, productOfflineError } from '../candles/products.ts'
import { type AppEnv, clientAddress } from '../http/context.ts'
import { createMultiplexer } from './multiplexer.ts'
import { multiplexerDeps } from './object-socket.ts'
import { EVENT_STREAM_HEADERS, type EventSink, eventStream } from './sse-response.ts'

/** A stream begins when every object has responded, or after this time with those that have. */
const START_TIMEOUT_MS = 5_000

type StreamStart = { recovered: boolean; position: string }
type ReceivedFrame = { text: string; key: string; type: 'update' | 'snapshot' }

/** The channels of a stream, by the key of their object. */
export type StreamSelection = { channels: ReadonlyMap<string, string[]>; passive: boolean }

/** Turns joined frames into events. */
export type StreamAdapter = {
  /** The stream begins, or continues after a break that could not be recovered: then snapshots follow. */
  onStart(sink: EventSink, answer: StreamStart): void
  onFrame(sink: EventSink, frame: ReceivedFrame): void
  /** A product's `feed` frame: at the start after its candles, then whenever it changes. */
  onFeed(sink: EventSink, text: string, key: string): void
  onEnd(): void
}

/** The products and granularities of an event stream, and their channels. @throws CodedError for an invalid query */
export async function resolveCandleStream(c: Context<AppEnv>) {
  const input = parseStreamInput(new URL(c.req.url).searchParams, readSettings(c.env))
  const offline = await offlineProducts(c.env, input.products)
  const products = input.products.filter((id) => !offline.has(id))
  const [offlineId = '*'] = offline
  if ((!input.everyProduct && offline.size > 0) || products.length === 0)
    throw productOfflineError(offlineId, 'product')
  const channels = new Map(
    products.map((product) => [
      product,
      input.granularities.map((granularity) => formatCandleChannel({ product, granularity })),
    ]),
  )
  return { ...input, products, channels }
}

/**
 * Returns an event stream of the frames of several objects.
 * @param since the client's position in each object, by key
 * @throws CodedError if an object refuses, or none is reachable, before the stream has begun
 */
export async function multiplexedStream(
  c: Context<AppEnv>,
  { channels, passive }: StreamSelection,
  since: ReadonlyMap<string, string>,
  adapter: StreamAdapter,
): Promise<Response> {
  if (c.req.method === 'HEAD') return new Response(null, { headers: EVENT_STREAM_HEADERS })
  /** Objects that have recovered, or sent their snapshot. */
  const begun = new Set<string>()
  const early: ReceivedFrame[] = []
  const feeds = new Map<string, string>()
  /** The position of each object when it responded. */
  const starts = new Map<string, string>()
  let recoveredAll = true
  let sink: EventSink | null = null
  const ready = Promise.withResolvers<void>()
  const fail = (code: string, message: string) => {
    if (sink) sink.end()
    else ready.reject(new CodedError(isErrorCode(code) ? code : 'unavailable', message, { retryAfter: 5 }))
  }
  const begin = (key: string) => {
    begun.add(key)
    if (begun.size === channels.size) ready.resolve()
  }

  const multiplexer = createMultiplexer(
    {
      onSubscribed({ key, position, recovered }) {
        if (sink) {
          if (!recovered) adapter.onStart(sink, { recovered, position })
          return
        }
        starts.set(key, splitStreamPositions(position).get(key) ?? '')
        if (recovered) begin(key)
        else recoveredAll = false
      },
      onFrame(text, key, type) {
        if (sink) {
          adapter.onFrame(sink, { text, key, type })
          if (sink.hasRoom) multiplexer.ackReceived(key)
          return
        }
        early.push({ text, key, type })
        if (type === 'snapshot') begin(key)
      },
      onFeed(text, key) {
        if (sink) adapter.onFeed(sink, text, key)
        else feeds.set(key, text)
      },
      onRefused: ({ code, message }) => fail(code, message),
      onLost: (_key, _code, reason) => fail('unavailable', reason),
    },
    multiplexerDeps(c.env, { client: clientAddress(c), passive, user: null }),
  )
  const timer = setTimeout(() => {
    if (begun.size > 0) ready.resolve()
    else fail('unavailable', 'none of these channels is reachable at the moment')
  }, START_TIMEOUT_MS)
  try {
    for (const [key, names] of channels) multiplexer.subscribe(key, names, since.get(key) ?? null)
    await ready.promise
  } catch (error) {
    multiplexer.close()
    throw error
  } finally {
    clearTimeout(timer)
  }
  const { ACK_TIMEOUT_MS } = readSettings(c.env)
  return eventStream((own) => {
    sink = own
    const recovered = recoveredAll && begun.size === channels.size
    adapter.onStart(own, { recovered, position: joinStreamPositions(starts) })
    for (const frame of early.splice(0)) adapter.onFrame(own, frame)
    for (const [key, text] of feeds) adapter.onFeed(own, text, key)
    // Objects recognise a client that does not read by missing acks (D3).
    multiplexer.ackAllReceived()
    return {
      onCaughtUp: () => multiplexer.ackAllReceived(),
      onEnd() {
        multiplexer.close()
        adapter.onEnd()
      },
    }
  }, ACK_TIMEOUT_MS)
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code)
