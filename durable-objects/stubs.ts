import { settings } from '../src/config.ts'
import type { ExchangeCandle } from '../src/market/book.ts'
import type { Candle, Gap } from '../src/protocol/candle.ts'
import type { Granularity } from '../src/protocol/granularity.ts'
import type { ProductStatus } from '../src/protocol/product.ts'
import type { FeedLease } from './feed-slots.ts'

/** A stretch of one product's candles: `start` inclusive, `end` exclusive, unix seconds; the last `limit` of them. */
export type CandleQuery = { granularity: Granularity; start?: number; end?: number; limit: number }

/**
 * What a product's object holds of the stretch, ascending. From `since` on (unix seconds) its own record is the
 * authority, what is older is in Postgres; null: it holds nothing.
 */
export type HeldCandles = { candles: Candle[]; gaps: Gap[]; since: number | null; position: string }

/** What others ask of one product's object. `fetch` takes a WebSocket upgrade and answers with the object's own socket. */
export interface ProductObject {
  fetch(request: Request): Promise<Response>
  candles(query: CandleQuery): Promise<HeldCandles>
  status(): Promise<ProductStatus>
  guard(online: boolean): Promise<void>
  heldDay(day: number): Promise<Candle[] | null>
  repair(day: number, minutes: ExchangeCandle[]): Promise<boolean>
}

/** What others ask of the object that counts open feeds. Times in unix milliseconds. */
export interface FeedSlotsObject {
  acquire(product: string, now: number): Promise<boolean>
  release(product: string): Promise<void>
  open(now: number): Promise<FeedLease[]>
}

/** The exchange is part of the name, so that simulated state and Coinbase's are never in one object. */
export const productObjectName = (exchange: string, product: string): string => `${exchange}:${product}`

/** The product of an object's name (`ctx.id.name`). */
export const productOfName = (name: string): string => name.slice(name.indexOf(':') + 1)

/** The object of one product of the exchange that this Worker is set to. */
export const productCandles = (env: Env, product: string): ProductObject =>
  // The platform's types of what an RPC answers forget that a gap is a pair; the object implements the interface.
  env.PRODUCT_CANDLES.getByName(productObjectName(settings(env).EXCHANGE, product)) as unknown as ProductObject

/** The one object that grants open feeds of the exchange that this Worker is set to. */
export const feedSlots = (env: Env): FeedSlotsObject => env.FEED_SLOTS.getByName(settings(env).EXCHANGE)
