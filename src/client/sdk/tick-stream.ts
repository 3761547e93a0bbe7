import type { Revaluation } from '../../portfolio/revalue.ts'
import type { Position } from '../../protocol/portfolio.ts'
import type { Product } from '../../protocol/product.ts'
import { connectCandles, type LiveCandle } from './candles.ts'
import { streamedProduct } from './portfolio-state.ts'
import type { RestClient } from './rest.ts'
import type { Stream, StreamDeps } from './stream.ts'

/** Products that are followed at most: a connection has so many channels. */
const MAX_PRODUCTS = 100
/** Pause before the products are asked for again where they could not be read. */
const PRODUCTS_RETRY_MS = 60_000

export type TickStream = {
  /** Follows the prices of those of these positions that are streamed, and no others. */
  setPositions(positions: readonly Position[]): void
  close(): void
}

/**
 * Prices of held crypto as they move: those of the forming minute's candle, for the products that have candles here.
 * @param onTick is called with a product and the newest price of it
 */
export function openTickStream(
  { url, ask, onTick }: { url?: string; ask: RestClient; onTick(product: string, tick: Revaluation): void },
  deps: StreamDeps,
): TickStream {
  let streamed: ReadonlySet<string> | null = null
  let askedAt: number | null = null
  let held: string[] = []
  let followed = ''
  let stream: Stream | null = null
  let closed = false

  async function readProducts(): Promise<void> {
    askedAt = deps.now()
    const { status, body } = await ask('/api/v1/products')
    if (status !== 200) throw new Error(`the products answered ${status}`)
    const { products } = body as { products: Product[] }
    streamed = new Set(products.filter((p) => p.active && p.status === 'online').map((p) => p.product_id))
    if (!closed) connect()
  }

  function connect(): void {
    const products = held.filter((id) => streamed?.has(id)).slice(0, MAX_PRODUCTS)
    if (products.join() === followed) return
    followed = products.join()
    stream?.close()
    stream = null
    if (products.length === 0) return
    const options = { url, products, granularities: ['ONE_MINUTE'] as const, onCandles: take, onSnapshot: take }
    stream = connectCandles(options, deps)
  }

  function take(candles: readonly LiveCandle[]): void {
    // A complete one may be of long ago, and told again because it was revised.
    for (const { product_id, close, last_update, is_complete } of candles)
      if (!is_complete) onTick(product_id, { price: close, as_of: last_update })
  }

  return {
    setPositions(positions) {
      held = [...new Set(positions.map(streamedProduct).filter((id) => id !== null))].sort()
      if (streamed !== null) connect()
      else if (held.length > 0 && (askedAt === null || deps.now() - askedAt >= PRODUCTS_RETRY_MS))
        // The portfolio is whole without: its prices come from the server a little later.
        readProducts().catch((error) => console.warn(error))
    },
    close() {
      closed = true
      stream?.close()
      stream = null
    },
  }
}
