import { Hono } from 'hono'
import pTimeout from 'p-timeout'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { withLiveDatabase } from '../../db/client.ts'
import { readProducts, type StoredProduct } from '../../db/products.ts'
import { log } from '../../log.ts'
import { feedSlots, productCandles } from '../../objects.ts'
import { perEnv } from '../../per-env.ts'
import { deriveChange } from '../../pricing/quote.ts'
import { CodedError } from '../../protocol/errors.ts'
import { type Product, productSchema } from '../../protocol/product.ts'
import type { AppEnv } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'

/** Prices in a response are at most this old. */
const PRICES_TTL_MS = 1_000
/** Every socket asks whether its pair is traded, and an exchange rarely delists one: reading it once a minute is enough. */
const STATUS_TTL_MS = 60_000
/** After a failed read the database is left alone this long, so that an outage does not slow every request down. */
const DATABASE_RETRY_MS = 5_000
/** A stream waits at most this long for the status of its products: a slow database must not delay it. */
const STATUS_TIMEOUT_MS = 1_000

type LastPrice = { price: string; time: string }
type Cached<T> = { at: number; value: T }
type ProductCache = {
  products: Cached<StoredProduct[]> | null
  readFailedAt: number
  lastPrices: Cached<Map<string, LastPrice>> | null
}

const productCache = perEnv(
  (_: Env): ProductCache => ({ products: null, readFailedAt: Number.NEGATIVE_INFINITY, lastPrices: null }),
)

/** The stored pairs, at most `maxAgeMs` old. During an outage of the database the last ones read, or none. */
async function storedProducts(env: Env, maxAgeMs: number): Promise<StoredProduct[]> {
  const cache = productCache(env)
  const now = Date.now()
  if (cache.products && now - cache.products.at < maxAgeMs) return cache.products.value
  if (now - cache.readFailedAt >= DATABASE_RETRY_MS)
    try {
      const value = await withLiveDatabase(env, (sql) => readProducts(sql, readSettings(env).EXCHANGE))
      cache.products = { at: now, value }
    } catch (error) {
      cache.readFailedAt = now
      log('products_read_failed', { error: String(error) })
    }
  return cache.products?.value ?? []
}

/** The last price of each product with an open feed. Other objects are not asked: that would wake them. */
async function lastPrices(env: Env): Promise<Map<string, LastPrice>> {
  const cache = productCache(env)
  const now = Date.now()
  if (cache.lastPrices && now - cache.lastPrices.at < PRICES_TTL_MS) return cache.lastPrices.value
  const value = new Map<string, LastPrice>()
  try {
    const open = await feedSlots(env).open(now)
    const states = await Promise.allSettled(open.map(({ product }) => productCandles(env, product).status()))
    for (const state of states)
      if (state.status === 'fulfilled' && state.value.last && state.value.feed.state !== 'closed')
        value.set(state.value.product_id, state.value.last)
  } catch (error) {
    log('feeds_read_failed', { error: String(error) })
  }
  cache.lastPrices = { at: now, value }
  return value
}

/** An active pair that is not in the database, or while it cannot be read: its id names its currencies. */
function unknownProduct(exchange: string, id: string): StoredProduct {
  const [base_currency = id, quote_currency = ''] = id.split('-')
  const unknown = { min_size: null, max_size: null, price: null, price_at: null, change_24h: null }
  return { exchange, product_id: id, base_currency, quote_currency, status: 'online', ...unknown }
}

function toProduct(pair: StoredProduct, active: boolean, last: LastPrice | undefined): Product {
  // RFC 3339 times of different precision do not compare as text.
  if (!last || (pair.price_at !== null && Date.parse(pair.price_at) > Date.parse(last.time)))
    return { ...pair, active, price_source: pair.price === null ? null : 'rest' }
  const change_24h = deriveChange(last.price, pair.price, pair.change_24h)
  return { ...pair, active, price: last.price, price_at: last.time, change_24h, price_source: 'feed' }
}

/** The active products in the order of PRODUCTS. Opens no feed. Without a database, only open feeds have prices. */
export async function activeProducts(env: Env): Promise<Product[]> {
  return (await allProducts(env)).filter(({ active }) => active)
}

/** Every pair of the exchange: the active ones first, in the order of PRODUCTS, the others by id. */
async function allProducts(env: Env): Promise<Product[]> {
  const { EXCHANGE, PRODUCTS } = readSettings(env)
  const [pairs, prices] = await Promise.all([storedProducts(env, PRICES_TTL_MS), lastPrices(env)])
  const byId = new Map(pairs.map((pair) => [pair.product_id, pair]))
  const active = PRODUCTS.map((id) => toProduct(byId.get(id) ?? unknownProduct(EXCHANGE, id), true, prices.get(id)))
  const others = pairs.filter(({ product_id }) => !PRODUCTS.includes(product_id))
  return [...active, ...others.map((pair) => toProduct(pair, false, undefined))]
}

/** The products among these ids that the exchange does not trade now. An unknown product counts as traded. */
export async function offlineProducts(env: Env, ids: readonly string[]): Promise<Set<string>> {
  const pairs = await pTimeout(storedProducts(env, STATUS_TTL_MS), {
    milliseconds: STATUS_TIMEOUT_MS,
    fallback: (): StoredProduct[] => [],
  })
  return new Set(
    pairs.filter((pair) => pair.status !== 'online' && ids.includes(pair.product_id)).map((pair) => pair.product_id),
  )
}

export const productOfflineError = (id: string, field: string): CodedError =>
  new CodedError('product_offline', `${id} is not traded now`, {
    errors: [{ field, message: `${id} is offline or delisted` }],
  })

/** `GET /api/v1/products` and `/api/v1/products/:id`. */
export const productRoutes = new Hono<AppEnv>()
  .get('/api/v1/products', async (c) => c.json({ products: await allProducts(c.env) }))
  .get('/api/v1/products/:id', async (c) => {
    const id = c.req.param('id')
    const found = (await allProducts(c.env)).find(({ product_id }) => product_id === id)
    if (!found)
      throw new CodedError(
        'unknown_product',
        `We couldn't find a product called ${id}. GET /api/v1/products lists them.`,
        {
          errors: [{ field: 'id', message: 'must be a product of the exchange, such as BTC-USD' }],
        },
      )
    return c.json(found)
  })

export const productIdPath = z.object({ id: z.string().meta({ description: 'A product', example: 'BTC-USD' }) })

const productResponseSchema = productSchema.meta({
  id: 'Product',
  description: 'A trading pair; amounts are decimal text',
})

export const PRODUCT_OPERATIONS: Operations = {
  'get /api/v1/products': operation('Candles', 'getProducts', {
    summary: 'The exchange’s pairs, active ones first',
    responses: response(200, 'The products', z.object({ products: z.array(productResponseSchema) })),
    errors: [],
  }),
  'get /api/v1/products/{id}': operation('Candles', 'getProduct', {
    summary: 'One pair',
    path: productIdPath,
    responses: response(200, 'The product', productResponseSchema),
    errors: ['unknown_product'],
  }),
}
