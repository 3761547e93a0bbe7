import type { Gap, WireCandle } from '../../protocol/candle.ts'
import type { Granularity } from '../../protocol/granularity.ts'
import type { FeedState } from '../../protocol/product.ts'
import { type Exact, parseExact } from './exact-json.ts'
import { browserDeps, openStream, type Stream, type StreamDeps, type StreamState, socketUrl } from './stream.ts'

type Amount = 'open' | 'high' | 'low' | 'close' | 'volume'
const AMOUNTS: ReadonlySet<string> = new Set<Amount>(['open', 'high', 'low', 'close', 'volume'])

/** A candle as it was sent; prices and volume are the texts in which they were written. */
export type LiveCandle = Exact<WireCandle, Amount>

/** How the server's own link to the exchange is, and all gaps from `gaps_from` on (unix seconds). */
export type LiveFeed = { product_id: string; state: FeedState; gaps_from: number; gaps: Gap[] }

export type CandleOptions = {
  /** Of the Kerb, such as `https://kerb.example`; in a page of it, nothing. */
  url?: string
  /** `*` stands for all of them, here and in `granularities`. */
  products: readonly string[]
  granularities: readonly (Granularity | '*')[]
  /** The position that the caller's history already holds; without it there is a snapshot first. */
  since?: string | null
  /** Candles that changed, in order: a later state of a candle replaces the one before. */
  onCandles(candles: LiveCandle[]): void
  /** This is the state now, whatever came before; of several products, one after the other. */
  onSnapshot(candles: LiveCandle[], gaps: Gap[]): void
  /** Tells a quiet market from a dead feed (C8). */
  onFeed?(feed: LiveFeed): void
  onState?(state: StreamState): void
}

/**
 * Follows candles: those of one product over its own socket, `/ws/products/:id`, those of several over `/ws`. Comes back by
 * itself and goes on where it was (see `openStream`).
 */
export function connectCandles(options: CandleOptions, deps: StreamDeps = browserDeps): Stream {
  const [product = '*', ...others] = options.products
  const own = others.length === 0 && product !== '*'
  return openStream(
    {
      url: socketUrl(options.url, own ? `/ws/products/${encodeURIComponent(product)}` : '/ws'),
      channels: options.products.flatMap((id) => options.granularities.map((size) => `candles.${id}.${size}`)),
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
        const { candles, gaps } = parseExact(text, AMOUNTS) as { candles: LiveCandle[]; gaps?: Gap[] }
        if (type === 'update') options.onCandles(candles)
        else options.onSnapshot(candles, gaps ?? [])
        return body.position
      },
    },
    deps,
  )
}
