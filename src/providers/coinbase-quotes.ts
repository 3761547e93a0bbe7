import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { fetchCandles, fetchProducts, type RestCandle, type RestProduct } from './coinbase.ts'
import { divide, parseRatio, roundRatio } from './decimal.ts'
import type { CryptoProvider, ProviderDeps } from './provider.ts'
import type { Result } from './result.ts'

/** Products of one request (see fetchProducts). */
const MAX_BATCH = 100

const DAY_S = 86_400
/** Days that fetchCandles has in one page. */
const PAGE_DAYS = 348
/** Its market opened in 2015, and its candles begin in December 2014. */
const FIRST_CANDLE_S = Date.UTC(2014, 0, 1) / 1000

/** A pair of currencies; a future's name has more parts. */
const PAIR = /^[A-Z0-9]{1,20}-[A-Z0-9]{1,10}$/

/** The digits of a previous close that the change's fifteen bear out: they give every recorded one to the tick. */
const CLOSE_DIGITS = 10

/**
 * Coinbase, by Advanced Trade's public REST. Its products have no time of their price: `as_of` is that of the answer.
 * Quotes and finding cost one request, history one for 348 days (of all of it: one more, which finds nothing).
 */
export function coinbaseProvider({ fetch, url, now }: ProviderDeps): CryptoProvider {
  return {
    kind: 'crypto',
    name: 'coinbase',
    maxBatch: MAX_BATCH,
    weight: () => 1,

    async quotes(ids, signal) {
      const asked = [...new Set(ids.filter((id) => PAIR.test(id)))]
      const result = await fetchProducts(fetch, url, asked, signal)
      if (!result.ok) return result
      const told = new Map(result.value.map((product) => [product.productId, product]))
      const at = new Date(now()).toISOString()
      return { ok: true, value: ids.map((id) => toQuote(id, told.get(id), at)) }
    },

    async dailyHistory(id, from, signal) {
      if (!PAIR.test(id))
        return { ok: false, reason: 'not_found', status: null, retryAfter: null, detail: `${id} is no pair` }
      const end = Math.floor(now() / 1000 / DAY_S) * DAY_S
      const pageOf = (start: number, to: number) =>
        fetchCandles(fetch, url, id, { granularity: 'ONE_DAY', start, end: to }, signal)
      const candles = from === null ? await fetchAllPages(pageOf, end) : await pageOf(Date.parse(from) / 1000, end)
      if (!candles.ok) return candles
      const days = candles.value.map(({ start, ...bar }) => ({ date: formatDate(start), ...bar }))
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

const formatDate = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10)

/** Coinbase does not tell a product's first day: pages are asked for from the last one back, until one is empty. */
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
  if (product === undefined) return { id, price: null, reason: 'unknown', detail: 'Coinbase does not know it' }
  // A product that is not traded keeps its last price for ever.
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
    // What trades day and night has no day but the last 24 hours, of which Coinbase does not tell the first price.
    open: null,
    high: product.high24h,
    low: product.low24h,
    volume: product.volume24h,
    eps: null,
    pe_ratio: null,
    as_of: at,
  }
}

/** The price of 24 hours before: price / (1 + change / 100), to ten significant digits. Coinbase tells the change alone. */
function previousClose(price: string, change: string | null): string | null {
  if (change === null) return null
  const { numerator, denominator } = parseRatio(change)
  const grown = { numerator: numerator + 100n * denominator, denominator: 100n * denominator }
  if (grown.numerator <= 0n) return null
  const before = divide(parseRatio(price), grown)
  const decimals = CLOSE_DIGITS - 1 - magnitude(Number(before.numerator) / Number(before.denominator))
  const text = roundRatio(before, Math.max(0, decimals))
  return isPrice(text) ? text : null
}

/** The power of ten of a number's first digit: 4 of 65086.18, -2 of 0.015. */
const magnitude = (value: number): number => Number(value.toExponential().split('e')[1])
