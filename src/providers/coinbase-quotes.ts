import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { decimalsFor, divideRatios, parseRatio, roundRatio } from '../pricing/ratio.ts'
import { DAY_S, formatDate } from '../time.ts'
import { fetchCandles, fetchProducts, type RestCandle, type RestProduct } from './coinbase.ts'
import type { QuoteProvider, ReachableProviderDeps } from './provider.ts'
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
  return {
    name: 'coinbase',
    maxBatch: MAX_BATCH,
    weight: () => 1,

    async quotes(ids, signal) {
      const asked = [...new Set(ids.filter((id) => PAIR.test(id)))]
      const result = await fetchProducts(fetch, url, asked, signal)
      if (!result.ok) return result
      const products = new Map(result.value.map((product) => [product.productId, product]))
      const at = new Date(now()).toISOString()
      return { ok: true, value: ids.map((id) => toQuote(id, products.get(id), at)) }
    },

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
      const result = await fetchProducts(fetch, url, [name], signal)
      if (!result.ok) return result
      const product = result.value.find(({ productId }) => productId === name)
      if (product === undefined || product.status !== 'online' || !isPrice(product.price))
        return { ok: true, value: null }
      const { baseCurrency: code, quoteCurrency: currency } = product
      const symbol = currency === 'USD' ? code : name
      const listed = product.baseName ?? code
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

const isPrice = (price: string | null): price is string => price !== null && /[1-9]/.test(price)

function toQuote(id: string, product: RestProduct | undefined, at: string): ProviderQuote | MissingQuote {
  if (product === undefined) return { id, price: null, reason: 'unknown', detail: 'unknown to Coinbase' }
  // A product that is not traded any more still has its last price.
  if (product.status !== 'online' || !isPrice(product.price))
    return { id, price: null, reason: 'no_price', detail: `${product.status}, price ${product.price}` }
  return {
    id,
    price: product.price,
    currency: product.quoteCurrency,
    previous_close: previousClose(product.price, product.change24h),
    change24h: product.change24h,
    market_state: 'open',
    market: null,
    // The market never closes; high, low and volume are of the last 24 hours, of which Coinbase has no first price.
    open: null,
    high: product.high24h,
    low: product.low24h,
    volume: product.volume24h,
    eps: null,
    pe_ratio: null,
    as_of: at,
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
