import type { Gap, WireCandle } from '../../protocol/candle.ts'
import { CANDLE_AMOUNTS, type CandleAmount, type Exact, parseExact } from '../../protocol/exact-json.ts'
import type { Granularity } from '../../protocol/granularity.ts'
import type { FeedState } from '../../protocol/product.ts'
import { browserDeps, openStream, type Stream, type StreamDeps, type StreamState, socketUrl } from './stream.ts'

/** A candle as the server sent it. Prices and volume are text, with every digit. */
export type LiveCandle = Exact<WireCandle, CandleAmount>

/** The state of the server's feed from the exchange, and all gaps since `gaps_from` (unix seconds). */
export type LiveFeed = { product_id: string; state: FeedState; gaps_from: number; gaps: Gap[] }

export type CandleOptions = {
  /** Base URL of the Kerb, such as `https://kerb.example`. Not needed in a page that the Kerb serves. */
  url?: string
  /** Product ids. `*` stands for all products; in `granularities`, for all granularities. */
  products: readonly string[]
  granularities: readonly (Granularity | '*')[]
  /** The position of the history that the caller has; without it the server begins with a snapshot. */
  since?: string | null
  /** True: the connection does not count as a viewer, and so opens no feed of the exchange. */
  passive?: boolean
  /** Candles that changed, in order. A later state of a candle replaces the earlier one. */
  onCandles(candles: LiveCandle[]): void
  /** The current candles, which replace everything before. Each product has its own snapshot. */
  onSnapshot(candles: LiveCandle[], gaps: Gap[]): void
  /** Called when the feed's state or its gaps change: distinguishes a quiet market from a dead feed (C8). */
  onFeed?(feed: LiveFeed): void
  onState?(state: StreamState): void
}

/**
 * Streams candles: of one product over its own socket, `/ws/products/:id`, of several over `/ws`. Reconnects by itself and
 * continues where it was (see `openStream`).
 */
export function connectCandles(options: CandleOptions, deps: StreamDeps = browserDeps): Stream {
  const [product = '*', ...others] = options.products
  const path = others.length === 0 && product !== '*' ? `/ws/products/${encodeURIComponent(product)}` : '/ws'
  return openStream(
    {
      url: socketUrl(options.url, options.passive ? `${path}?passive=true` : path),
      channels: options.products.flatMap((id) =>
        options.granularities.map((granularity) => `candles.${id}.${granularity}`),
      ),
      since: options.since ?? null,
    },
    {
      state: (state) => options.onState?.(state),
      frame({ type, text, body }) {
        if (type === 'feed') {
          const feed = body as LiveFeed
          options.onFeed?.({ ...feed, gaps: feed.gaps ?? [] })
          return null
        }
        if (typeof body.position !== 'string' || !Array.isArray(body.candles)) return null
        if (type !== 'snapshot' && type !== 'update') return null
        const { candles, gaps } = parseExact(text, CANDLE_AMOUNTS) as { candles: LiveCandle[]; gaps?: Gap[] }
        if (type === 'update') options.onCandles(candles)
        else options.onSnapshot(candles, gaps ?? [])
        return body.position
      },
    },
    deps,
  )
}
