import { Hono } from 'hono'
import { readSettings } from '../../config.ts'
import { withLiveDatabase } from '../../db/client.ts'
import { readProducts, type StoredProduct } from '../../db/products.ts'
import { log } from '../../log.ts'
import { feedSlots, productCandles } from '../../objects.ts'
import { deriveChange } from '../../pricing/quote.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { Product } from '../../protocol/product.ts'
import type { AppEnv } from '../http/context.ts'

/** Answers within this time are made of the same look at the database and the feeds. */
const PRICES_TTL_MS = 1_000
/** An exchange takes pairs off seldom, and every socket asks whether its pair is on: one look a minute is enough. */
const STATUS_TTL_MS = 60_000

type LastPrice = { price: string; time: string }
type Cached<T> = { at: number; exchange: string; value: T }

/** A database that did not answer is left alone for this long, so that its absence does not slow every request. */
const DATABASE_RETRY_MS = 5_000
/** Nobody waits longer than this to hear whether a pair is traded: streams must not notice a slow database. */
const STATUS_TIMEOUT_MS = 1_000

let productsCache: Cached<StoredProduct[]> | null = null
let readFailedAt = Number.NEGATIVE_INFINITY
let lastPricesCache: Cached<Map<string, LastPrice>> | null = null

const isFresh = (look: Cached<unknown> | null, exchange: string, now: number, ms: number): boolean =>
  look !== null && look.exchange === exchange && now - look.at < ms

/** The stored pairs, at most `maxAge` ms old. While the database is away the last known ones, or none. */
async function storedProducts(env: Env, maxAge: number): Promise<StoredProduct[]> {
  const { EXCHANGE } = readSettings(env)
  const now = Date.now()
  if (productsCache && isFresh(productsCache, EXCHANGE, now, maxAge)) return productsCache.value
  if (now - readFailedAt >= DATABASE_RETRY_MS) await refreshProducts(env, EXCHANGE, now)
  return productsCache?.exchange === EXCHANGE ? productsCache.value : []
}

async function refreshProducts(env: Env, exchange: string, now: number): Promise<void> {
  try {
    productsCache = { at: now, exchange, value: await withLiveDatabase(env, (sql) => readProducts(sql, exchange)) }
  } catch (error) {
    readFailedAt = now
    log('products_read_failed', { error: String(error) })
  }
}

/** The last price of each product whose feed is open. Others are not asked: that would wake their objects. */
async function lastPrices(env: Env): Promise<Map<string, LastPrice>> {
  const { EXCHANGE } = readSettings(env)
  const now = Date.now()
  if (lastPricesCache && isFresh(lastPricesCache, EXCHANGE, now, PRICES_TTL_MS)) return lastPricesCache.value
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
  lastPricesCache = { at: now, exchange: EXCHANGE, value }
  return value
}

/** An active pair that the database does not know, or cannot tell: its currencies stand in its id. */
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

/** The active products in the order of the settings. Opens no feed; without a database, prices are those of open feeds. */
export async function activeProducts(env: Env): Promise<Product[]> {
  return (await allProducts(env)).filter(({ active }) => active)
}

/** Every pair of the exchange: the active ones first, in the order of the settings, the others by id. */
export async function allProducts(env: Env): Promise<Product[]> {
  const { EXCHANGE, PRODUCTS } = readSettings(env)
  const [pairs, prices] = await Promise.all([storedProducts(env, PRICES_TTL_MS), lastPrices(env)])
  const byId = new Map(pairs.map((pair) => [pair.product_id, pair]))
  const active = PRODUCTS.map((id) => toProduct(byId.get(id) ?? unknownProduct(EXCHANGE, id), true, prices.get(id)))
  const others = pairs.filter(({ product_id }) => !PRODUCTS.includes(product_id))
  return [...active, ...others.map((pair) => toProduct(pair, false, undefined))]
}

/** Which of these products cannot be traded now, by the exchange's word. One that is not known counts as tradable. */
export async function offlineProducts(env: Env, ids: readonly string[]): Promise<Set<string>> {
  const tooLate = new Promise<StoredProduct[]>((resolve) => setTimeout(() => resolve([]), STATUS_TIMEOUT_MS))
  const pairs = await Promise.race([storedProducts(env, STATUS_TTL_MS), tooLate])
  return new Set(
    pairs.filter((pair) => pair.status !== 'online' && ids.includes(pair.product_id)).map((pair) => pair.product_id),
  )
}

/** `GET /api/v1/products` and `/api/v1/products/:id`. */
export const productRoutes = new Hono<AppEnv>()
  .get('/api/v1/products', async (c) => c.json({ products: await allProducts(c.env) }))
  .get('/api/v1/products/:id', async (c) => {
    const id = c.req.param('id')
    const found = (await allProducts(c.env)).find(({ product_id }) => product_id === id)
    if (!found)
      throw new CodedError('unknown_product', `there is no product ${JSON.stringify(id)}`, {
        errors: [{ field: 'id', message: 'must be a product of the exchange, such as BTC-USD' }],
      })
    return c.json(found)
  })
