import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { decimalsFor, divideRatios, parseRatio, roundRatio } from '../pricing/ratio.ts'
import { DAY_S, formatDate } from '../time.ts'
import { fetchCandles, fetchProducts, type RestCandle, type RestProduct } from './coinbase.ts'
import {
  CRYPTO_FIELDS,
  missingQuote,
  type QuoteProvider,
  quotesInOrder,
  type ReachableProviderDeps,
} from './provider.ts'
import { failure, type Result } from './result.ts'

/** Products of one request (see fetchProducts). */
const MAX_BATCH = 100

/** Days of one page of fetchCandles. */
const PAGE_DAYS = 348
/** Coinbase's candles begin in December 2014. */
const FIRST_CANDLE_S = Date.UTC(2014, 0, 1) / 1000

/** A pair of currencies; a future's name has more parts. */
const PAIR = /^[A-Z0-9]{1,20}-[A-Z0-9]{1,10}$/

/** The significant digits of a previous close: a change of fifteen digits gives every recorded close to the tick. */
const CLOSE_DIGITS = 10

/**
 * Coinbase's public Advanced Trade REST API. Its products have no time of their price: `as_of` is the time of the response.
 * `quotes` and `find` cost one request, history one for 348 days (all of it one more, which is empty).
 */
export function coinbaseProvider({ fetch, url, now }: ReachableProviderDeps): QuoteProvider {
  const fetchById = async (
    ids: readonly string[],
    signal?: AbortSignal,
  ): Promise<Result<Map<string, PricedProduct>>> => {
    const result = await fetchProducts(fetch, url, ids, signal)
    if (!result.ok) return result
    const at = new Date(now()).toISOString()
    return { ok: true, value: new Map(result.value.map((product) => [product.product_id, { ...product, at }])) }
  }

  return {
    name: 'coinbase',
    maxBatch: MAX_BATCH,
    weight: () => 1,
    quotes: quotesInOrder('coinbase', PAIR, fetchById, toQuote),

    async dailyHistory(id, from, signal) {
      if (!PAIR.test(id)) return failure('not_found', `${id} is not a pair`)
      const end = Math.floor(now() / 1000 / DAY_S) * DAY_S
      const pageOf = (start: number, to: number) =>
        fetchCandles(fetch, url, id, { granularity: 'ONE_DAY', start, end: to }, signal)
      const candles = from === null ? await fetchAllPages(pageOf, end) : await pageOf(Date.parse(from) / 1000, end)
      if (!candles.ok) return candles
      const days = candles.value.map(({ start, ...bar }) => ({ date: formatDate(start * 1000), ...bar }))
      return { ok: true, value: { currency: id.slice(id.indexOf('-') + 1), days, actions: [] } }
    },

    async find(name, signal) {
      if (!PAIR.test(name)) return { ok: true, value: null }
      const result = await fetchById([name], signal)
      if (!result.ok) return result
      const product = result.value.get(name)
      if (product?.status !== 'online' || !isPrice(product.price)) return { ok: true, value: null }
      const { base_currency: code, quote_currency: currency } = product
      const symbol = currency === 'USD' ? code : name
      const listed = product.base_name ?? code
      return { ok: true, value: { id: name, symbol, name: listed, type: 'crypto', code, currency, isin: null } }
    },
  }
}

/** All candles. A product's first day is not known, so pages are read from the last one back, until one is empty. */
async function fetchAllPages(
  pageOf: (start: number, end: number) => Promise<Result<RestCandle[]>>,
  end: number,
): Promise<Result<RestCandle[]>> {
  const pages: RestCandle[][] = []
  for (let to = end; to > FIRST_CANDLE_S; to -= PAGE_DAYS * DAY_S) {
    const page = await pageOf(to - PAGE_DAYS * DAY_S, to)
    if (!page.ok) return page
    if (page.value.length === 0) break
    pages.push(page.value)
  }
  return { ok: true, value: pages.reverse().flat() }
}

/** A product with the time of the response, RFC 3339. */
type PricedProduct = RestProduct & { at: string }

const isPrice = (price: string | null): price is string => price !== null && /[1-9]/.test(price)

function toQuote(id: string, product: PricedProduct): ProviderQuote | MissingQuote {
  // A product that is not traded any more still has its last price.
  if (product.status !== 'online' || !isPrice(product.price))
    return missingQuote(id, 'no_price', `${product.status}, price ${product.price}`)
  return {
    ...CRYPTO_FIELDS,
    id,
    price: product.price,
    currency: product.quote_currency,
    previous_close: previousClose(product.price, product.change_24h),
    change24h: product.change_24h,
    // The market never closes; high, low and volume are of the last 24 hours, of which Coinbase has no first price.
    open: null,
    high: product.high_24h,
    low: product.low_24h,
    volume: product.volume_24h,
    as_of: product.at,
  }
}

/** The price of 24 hours ago, which Coinbase does not send: price / (1 + change / 100), to ten significant digits. */
function previousClose(price: string, change: string | null): string | null {
  if (change === null) return null
  const { numerator, denominator } = parseRatio(change)
  const grown = { numerator: numerator + 100n * denominator, denominator: 100n * denominator }
  if (grown.numerator <= 0n) return null
  const before = divideRatios(parseRatio(price), grown)
  const text = roundRatio(before, decimalsFor(before, CLOSE_DIGITS))
  return isPrice(text) ? text : null
}
