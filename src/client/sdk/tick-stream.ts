import type { Revaluation } from '../../portfolio/revalue.ts'
import type { Position } from '../../protocol/portfolio.ts'
import type { Product } from '../../protocol/product.ts'
import { connectCandles, type LiveCandle } from './candles.ts'
import { streamedProduct } from './portfolio-state.ts'
import type { RestClient } from './rest.ts'
import type { Stream, StreamDeps } from './stream.ts'

/** Most products that are streamed: a connection may have this many channels. */
const MAX_PRODUCTS = 100
/** Pause before the products are read again after a failure. */
const PRODUCTS_RETRY_MS = 60_000

export type TickStream = {
  /** Streams the prices of these positions, as far as their products have candles here, and of no others. */
  setPositions(positions: readonly Position[]): void
  close(): void
}

/**
 * Streams the prices of held crypto: the closes of the forming minute's candles, for products that have candles here.
 * @param onTick is called with a product and its newest price
 */
export function openTickStream(
  { url, request, onTick }: { url?: string; request: RestClient; onTick(product: string, tick: Revaluation): void },
  deps: StreamDeps,
): TickStream {
  /** Products that have candles here; null until they are read. */
  let available: ReadonlySet<string> | null = null
  let requestedAt: number | null = null
  let held: string[] = []
  let streamed = ''
  let stream: Stream | null = null
  let closed = false

  async function readProducts(): Promise<void> {
    requestedAt = deps.now()
    const { status, body } = await request('/api/v1/products')
    if (status !== 200) throw new Error(`the products request failed with status ${status}`)
    const { products } = body as { products: Product[] }
    available = new Set(products.filter((p) => p.active && p.status === 'online').map((p) => p.product_id))
    if (!closed) connect()
  }

  function connect(): void {
    const products = held.filter((id) => available?.has(id)).slice(0, MAX_PRODUCTS)
    if (products.join() === streamed) return
    streamed = products.join()
    stream?.close()
    stream = null
    if (products.length === 0) return
    const options = { url, products, granularities: ['ONE_MINUTE'] as const, onCandles: take, onSnapshot: take }
    stream = connectCandles(options, deps)
  }

  function take(candles: readonly LiveCandle[]): void {
    // A complete candle may be an old one that was revised.
    for (const { product_id, close, last_update, is_complete } of candles)
      if (!is_complete) onTick(product_id, { price: close, as_of: last_update })
  }

  return {
    setPositions(positions) {
      held = [...new Set(positions.map(streamedProduct).filter((id) => id !== null))].sort()
      if (available !== null) connect()
      else if (held.length > 0 && (requestedAt === null || deps.now() - requestedAt >= PRODUCTS_RETRY_MS))
        // The portfolio does not depend on it: the server sends the same prices a little later.
        readProducts().catch((error) => console.warn(error))
    },
    close() {
      closed = true
      stream?.close()
      stream = null
    },
  }
}
