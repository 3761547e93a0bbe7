import { z } from 'zod'
import { GRANULARITY_SECONDS, type Granularity } from '../protocol/granularity.ts'
import type { Product } from '../protocol/product.ts'
import { optionalField, positiveDecimal, signedDecimal, unsignedDecimal } from './amounts.ts'
import { fetchJson } from './fetch-json.ts'
import type { Fetch, Result } from './result.ts'

/**
 * Coinbase refuses 351 candles; its documents disagree on 350, and on whether the bucket that starts at `end` counts.
 * With 348 intervals a page is below the limit either way.
 */
const CANDLES_PER_PAGE = 348

/** Product ids of one request: some hundred ids are still a URL of moderate length. */
const PRODUCTS_PER_PAGE = 100

const tradeSchema = z
  .object({ trade_id: z.int().min(1), price: positiveDecimal, size: positiveDecimal, time: z.iso.datetime() })
  .transform(({ trade_id: tradeId, ...trade }) => ({ tradeId, ...trade }))
const tradesSchema = z.array(tradeSchema)
/** Decimal text with the exchange's digits, trailing zeros trimmed; `time` is RFC 3339. */
export type RestTrade = z.output<typeof tradeSchema>

const candleSchema = z.object({
  start: z
    .string()
    .regex(/^\d{1,12}$/)
    .transform(Number),
  open: positiveDecimal,
  high: positiveDecimal,
  low: positiveDecimal,
  close: positiveDecimal,
  volume: unsignedDecimal,
})
const candlesSchema = z.object({ candles: z.array(candleSchema) })
/** `start` in unix seconds; prices and volume are decimal text with the exchange's digits. */
export type RestCandle = z.output<typeof candleSchema>

const amount = optionalField(unsignedDecimal)
const productSchema = z
  .object({
    product_id: z.string().min(1),
    base_currency_id: z.string(),
    quote_currency_id: z.string(),
    status: z.string(),
    trading_disabled: z.boolean().default(false),
    is_disabled: z.boolean().default(false),
    base_min_size: amount,
    base_max_size: amount,
    price: amount,
    high_24h: amount,
    low_24h: amount,
    volume_24h: amount,
    base_name: z.string().optional(),
    price_percentage_change_24h: optionalField(signedDecimal),
  })
  .transform(({ product_id, price, high_24h, low_24h, volume_24h, ...product }) => ({
    product_id,
    base_currency: product.base_currency_id,
    quote_currency: product.quote_currency_id,
    status: tradedStatus(product.status, product.trading_disabled || product.is_disabled),
    min_size: product.base_min_size,
    max_size: product.base_max_size,
    price,
    change_24h: product.price_percentage_change_24h,
    high_24h,
    low_24h,
    volume_24h,
    base_name: product.base_name || null,
  }))
const productsSchema = z.object({ products: z.array(productSchema) })
/** A product of the Advanced Trade REST API. Null: not sent (a delisted product has no change). */
export type RestProduct = z.output<typeof productSchema>

/** A product can be called online and yet be disabled. Futures have no status at all. */
function tradedStatus(status: string, disabled: boolean): string {
  if (status !== 'online' && status !== '') return status
  return disabled ? 'offline' : 'online'
}

/**
 * Trades with ids below `after`, newest first, at most `limit` (1,000 is Coinbase's most). Exchange REST, the only public
 * one with trade ids as cursors.
 * @param signal aborts the request, which is `unavailable` then; by default after 10 s
 */
export function fetchTrades(
  fetch: Fetch,
  exchangeUrl: string,
  product: string,
  { after, limit }: { after: number; limit: number },
  signal?: AbortSignal,
): Promise<Result<RestTrade[]>> {
  const url = `${exchangeUrl}/products/${encodeURIComponent(product)}/trades?after=${after}&limit=${limit}`
  return fetchJson(fetch, url, tradesSchema, { signal })
}

/**
 * The exchange's candles with starts in [start, end), unix seconds, ascending; intervals without trades are left out.
 * Requests as many pages as it takes, one after the other, and returns the first failure.
 * @param signal aborts all requests; by default each after 10 s
 */
export async function fetchCandles(
  fetch: Fetch,
  restUrl: string,
  product: string,
  { granularity, start, end }: { granularity: Granularity; start: number; end: number },
  signal?: AbortSignal,
): Promise<Result<RestCandle[]>> {
  const base = `${restUrl}/api/v3/brokerage/market/products/${encodeURIComponent(product)}/candles`
  // Coinbase uses the singular: FIVE_MINUTE.
  const restGranularity = granularity.replace(/S$/, '')
  const step = CANDLES_PER_PAGE * GRANULARITY_SECONDS[granularity]
  const candles: RestCandle[] = []
  for (let from = start; from < end; from += step) {
    const to = Math.min(from + step, end)
    const url = `${base}?start=${from}&end=${to}&granularity=${restGranularity}&limit=350`
    const page = await fetchJson(fetch, url, candlesSchema, { signal })
    if (!page.ok) return page
    // Coinbase also returns the buckets that contain `from` and that begin at `to`.
    const inside = page.value.candles.filter((candle) => candle.start >= from && candle.start < to)
    candles.push(...inside.sort((a, b) => a.start - b.start))
  }
  return { ok: true, value: candles }
}

/**
 * The exchange's products with these ids, or all. An id that the exchange does not know is left out.
 * @param signal aborts all requests; by default each after 10 s
 */
export async function fetchProducts(
  fetch: Fetch,
  restUrl: string,
  ids?: readonly string[],
  signal?: AbortSignal,
): Promise<Result<RestProduct[]>> {
  const base = `${restUrl}/api/v3/brokerage/market/products`
  const queries: string[] = ids === undefined ? [''] : []
  for (let i = 0; ids !== undefined && i < ids.length; i += PRODUCTS_PER_PAGE) {
    const page = ids.slice(i, i + PRODUCTS_PER_PAGE)
    queries.push(`?${page.map((id) => `product_ids=${encodeURIComponent(id)}`).join('&')}`)
  }
  const products: RestProduct[] = []
  for (const query of queries) {
    const page = await fetchJson(fetch, base + query, productsSchema, { signal })
    if (!page.ok) return page
    products.push(...page.value.products)
  }
  return { ok: true, value: products }
}

/** A trading pair as the API returns it. `at` is the RFC 3339 time of the response that had the price. */
export function toProduct(rest: RestProduct, about: { exchange: string; active: boolean; at: string }): Product {
  const { high_24h, low_24h, volume_24h, base_name, ...product } = rest
  const { exchange, active, at } = about
  const hasPrice = product.price !== null
  return { ...product, exchange, active, price_at: hasPrice ? at : null, price_source: hasPrice ? 'rest' : null }
}
