import { z } from 'zod'
import type { Granularity } from '../protocol/granularity.ts'
import { GRANULARITY_SECONDS } from '../protocol/granularity.ts'
import type { Product } from '../protocol/product.ts'
import { fetchJson } from './fetch-json.ts'
import type { Fetch, Result } from './result.ts'

/** Decimal text with the exchange's digits, trailing zeros trimmed; `time` is RFC 3339. */
export type RestTrade = { tradeId: number; price: string; size: string; time: string }

/** `start` in unix seconds; prices and volume are decimal text with the exchange's digits. */
export type RestCandle = { start: number; open: string; high: string; low: string; close: string; volume: string }

/** A product of the Advanced Trade REST API; null: not sent (a delisted product has no change). */
export type RestProduct = {
  productId: string
  baseCurrency: string
  quoteCurrency: string
  status: string
  minSize: string | null
  maxSize: string | null
  price: string | null
  /** Per cent, of 24 hours, as the three below. */
  change24h: string | null
  high24h: string | null
  low24h: string | null
  volume24h: string | null
  baseName: string | null
}

/**
 * Coinbase refuses 351 candles; its documents disagree on 350, and on whether the bucket that starts at `end` counts.
 * With 348 intervals a page is below the limit either way.
 */
const CANDLES_PER_PAGE = 348

/** Product ids of one request: some hundred ids are still a URL of moderate length. */
const PRODUCTS_PER_PAGE = 100

const REST_GRANULARITY: Readonly<Record<Granularity, string>> = {
  ONE_MINUTE: 'ONE_MINUTE',
  FIVE_MINUTES: 'FIVE_MINUTE',
  FIFTEEN_MINUTES: 'FIFTEEN_MINUTE',
  THIRTY_MINUTES: 'THIRTY_MINUTE',
  ONE_HOUR: 'ONE_HOUR',
  TWO_HOURS: 'TWO_HOUR',
  SIX_HOURS: 'SIX_HOUR',
  ONE_DAY: 'ONE_DAY',
}

const DECIMAL = /^\d+(?:\.\d+)?$/
const SIGNED_DECIMAL = /^-?\d+(?:\.\d+)?$/
const trimZeros = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text)

const amountSchema = z.string().regex(DECIMAL).transform(trimZeros)
const positiveSchema = amountSchema.refine((text) => /[1-9]/.test(text), 'must be above 0')
/** Text that may be empty; what is no decimal is not known. */
const optionalAmountSchema = z
  .string()
  .optional()
  .transform((text) => (text !== undefined && DECIMAL.test(text) ? trimZeros(text) : null))

const tradesSchema = z.array(
  z
    .object({ trade_id: z.int().min(1), price: positiveSchema, size: positiveSchema, time: z.iso.datetime() })
    .transform((t): RestTrade => ({ tradeId: t.trade_id, price: t.price, size: t.size, time: t.time })),
)

const candlesSchema = z.object({
  candles: z.array(
    z
      .object({
        start: z.string().regex(/^\d{1,12}$/),
        open: positiveSchema,
        high: positiveSchema,
        low: positiveSchema,
        close: positiveSchema,
        volume: amountSchema,
      })
      .transform((c): RestCandle => ({ ...c, start: Number(c.start) })),
  ),
})

const productsSchema = z.object({
  products: z.array(
    z
      .object({
        product_id: z.string().min(1),
        base_currency_id: z.string(),
        quote_currency_id: z.string(),
        status: z.string(),
        trading_disabled: z.boolean().default(false),
        is_disabled: z.boolean().default(false),
        base_min_size: optionalAmountSchema,
        base_max_size: optionalAmountSchema,
        price: optionalAmountSchema,
        high_24h: optionalAmountSchema,
        low_24h: optionalAmountSchema,
        volume_24h: optionalAmountSchema,
        base_name: z.string().optional(),
        price_percentage_change_24h: z
          .string()
          .optional()
          .transform((text) => (text !== undefined && SIGNED_DECIMAL.test(text) ? trimZeros(text) : null)),
      })
      .transform(
        (p): RestProduct => ({
          productId: p.product_id,
          baseCurrency: p.base_currency_id,
          quoteCurrency: p.quote_currency_id,
          status: tradedStatus(p.status, p.trading_disabled || p.is_disabled),
          minSize: p.base_min_size,
          maxSize: p.base_max_size,
          price: p.price,
          change24h: p.price_percentage_change_24h,
          high24h: p.high_24h,
          low24h: p.low_24h,
          volume24h: p.volume_24h,
          baseName: p.base_name || null,
        }),
      ),
  ),
})

/** A product can be called online and yet be disabled. Futures have no status at all. */
function tradedStatus(status: string, disabled: boolean): string {
  if (status !== 'online' && status !== '') return status
  return disabled ? 'offline' : 'online'
}

/**
 * Trades with ids below `after`, newest first, at most `limit` (1,000 is Coinbase's most). Exchange REST, the only public
 * one with trade ids as cursors.
 * @param signal ends the request; 10 s unless given. An ended request is `unavailable`.
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
 * Asks as many pages as it takes, one after the other; the first that fails is the answer.
 * @param signal ends all requests; 10 s for each unless given.
 */
export async function fetchCandles(
  fetch: Fetch,
  restUrl: string,
  product: string,
  { granularity, start, end }: { granularity: Granularity; start: number; end: number },
  signal?: AbortSignal,
): Promise<Result<RestCandle[]>> {
  const base = `${restUrl}/api/v3/brokerage/market/products/${encodeURIComponent(product)}/candles`
  const step = CANDLES_PER_PAGE * GRANULARITY_SECONDS[granularity]
  const candles: RestCandle[] = []
  for (let from = start; from < end; from += step) {
    const to = Math.min(from + step, end)
    const url = `${base}?start=${from}&end=${to}&granularity=${REST_GRANULARITY[granularity]}&limit=350`
    const page = await fetchJson(fetch, url, candlesSchema, { signal })
    if (!page.ok) return page
    // Coinbase also gives the buckets that `from` stands in and that begin at `to`.
    const inside = page.value.candles.filter((candle) => candle.start >= from && candle.start < to)
    candles.push(...inside.sort((a, b) => a.start - b.start))
  }
  return { ok: true, value: candles }
}

/**
 * The exchange's products: those named, or all. An id that the exchange does not know is left out.
 * @param signal ends all requests; 10 s for each unless given.
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
export const toProduct = (
  product: RestProduct,
  { exchange, active, at }: { exchange: string; active: boolean; at: string },
): Product => ({
  exchange,
  product_id: product.productId,
  base_currency: product.baseCurrency,
  quote_currency: product.quoteCurrency,
  status: product.status,
  min_size: product.minSize,
  max_size: product.maxSize,
  active,
  price: product.price,
  price_at: product.price === null ? null : at,
  change_24h: product.change24h,
  price_source: product.price === null ? null : 'rest',
})
