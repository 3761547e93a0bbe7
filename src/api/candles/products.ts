import { Hono } from 'hono'
import { settings } from '../../config.ts'
import { withLiveDatabase } from '../../db/client.ts'
import { listProducts, type StoredProduct } from '../../db/products.ts'
import { feedSlots, productCandles } from '../../objects.ts'
import { changeAgainst } from '../../pricing/quote.ts'
import { CodedError } from '../../protocol/errors.ts'
import type { Product } from '../../protocol/product.ts'
import { type AppEnv, log } from '../http/context.ts'

/** Answers within this time are made of the same look at the database and the feeds. */
const REUSE_MS = 1_000
/** An exchange takes pairs off seldom, and every socket asks whether its pair is on: one look a minute is enough. */
const STATUS_REUSE_MS = 60_000

type Last = { price: string; time: string }
type Look<T> = { at: number; exchange: string; value: T }

/** A database that did not answer is left alone for this long, so that its absence does not slow every request. */
const REST_MS = 5_000
/** Nobody waits longer than this to hear whether a pair is traded: streams must not notice a slow database. */
const STATUS_WAIT_MS = 1_000

let stored: Look<StoredProduct[]> | null = null
let unreadAt = Number.NEGATIVE_INFINITY
let lasts: Look<Map<string, Last>> | null = null

const isFresh = (look: Look<unknown> | null, exchange: string, now: number, ms: number): boolean =>
  look !== null && look.exchange === exchange && now - look.at < ms

/** The stored pairs, at most `maxAge` ms old. While the database is away the last known ones, or none. */
async function storedProducts(env: Env, maxAge: number): Promise<StoredProduct[]> {
  const { EXCHANGE } = settings(env)
  const now = Date.now()
  if (stored && isFresh(stored, EXCHANGE, now, maxAge)) return stored.value
  if (now - unreadAt >= REST_MS) await lookUp(env, EXCHANGE, now)
  return stored?.exchange === EXCHANGE ? stored.value : []
}

async function lookUp(env: Env, exchange: string, now: number): Promise<void> {
  try {
    stored = { at: now, exchange, value: await withLiveDatabase(env, (sql) => listProducts(sql, exchange)) }
  } catch (error) {
    unreadAt = now
    log('products_unread', { error: String(error) })
  }
}

/** The last price of each product whose feed is open. Others are not asked: that would wake their objects. */
async function lastPrices(env: Env): Promise<Map<string, Last>> {
  const { EXCHANGE } = settings(env)
  const now = Date.now()
  if (lasts && isFresh(lasts, EXCHANGE, now, REUSE_MS)) return lasts.value
  const value = new Map<string, Last>()
  try {
    const open = await feedSlots(env).open(now)
    const states = await Promise.allSettled(open.map(({ product }) => productCandles(env, product).status()))
    for (const state of states)
      if (state.status === 'fulfilled' && state.value.last && state.value.feed.state !== 'closed')
        value.set(state.value.product_id, state.value.last)
  } catch (error) {
    log('feeds_unread', { error: String(error) })
  }
  lasts = { at: now, exchange: EXCHANGE, value }
  return value
}

/** An active pair that the database does not know, or cannot tell: its currencies stand in its id. */
function unread(exchange: string, id: string): StoredProduct {
  const [base_currency = id, quote_currency = ''] = id.split('-')
  const unknown = { min_size: null, max_size: null, price: null, price_at: null, change_24h: null }
  return { exchange, product_id: id, base_currency, quote_currency, status: 'online', ...unknown }
}

function product(pair: StoredProduct, active: boolean, last: Last | undefined): Product {
  // RFC 3339 times of different precision do not compare as text.
  if (!last || (pair.price_at !== null && Date.parse(pair.price_at) > Date.parse(last.time)))
    return { ...pair, active, price_source: pair.price === null ? null : 'rest' }
  const change_24h = changeAgainst(last.price, pair.price, pair.change_24h)
  return { ...pair, active, price: last.price, price_at: last.time, change_24h, price_source: 'feed' }
}

/** The active products in the order of the settings. Opens no feed; without a database, prices are those of open feeds. */
export async function activeProducts(env: Env): Promise<Product[]> {
  return (await allProducts(env)).filter(({ active }) => active)
}

/** Every pair of the exchange: the active ones first, in the order of the settings, the others by id. */
export async function allProducts(env: Env): Promise<Product[]> {
  const { EXCHANGE, PRODUCTS } = settings(env)
  const [pairs, prices] = await Promise.all([storedProducts(env, REUSE_MS), lastPrices(env)])
  const byId = new Map(pairs.map((pair) => [pair.product_id, pair]))
  const active = PRODUCTS.map((id) => product(byId.get(id) ?? unread(EXCHANGE, id), true, prices.get(id)))
  const others = pairs.filter(({ product_id }) => !PRODUCTS.includes(product_id))
  return [...active, ...others.map((pair) => product(pair, false, undefined))]
}

/** Which of these products cannot be traded now, by the exchange's word. One that is not known counts as tradable. */
export async function offlineProducts(env: Env, ids: readonly string[]): Promise<Set<string>> {
  const tooLate = new Promise<StoredProduct[]>((resolve) => setTimeout(() => resolve([]), STATUS_WAIT_MS))
  const pairs = await Promise.race([storedProducts(env, STATUS_REUSE_MS), tooLate])
  return new Set(
    pairs.filter((pair) => pair.status !== 'online' && ids.includes(pair.product_id)).map((pair) => pair.product_id),
  )
}

/** `GET /api/v1/products` and `/api/v1/products/:id`. */
export const products = new Hono<AppEnv>()
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
