import { z } from 'zod'
import type { DailyBar, MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { DAY_MS, formatDate } from '../time.ts'
import { optionalField, positiveDecimal, signedDecimal, unsignedDecimal } from './amounts.ts'
import { fetchJson } from './fetch-json.ts'
import {
  CRYPTO_FIELDS,
  missingQuote,
  type QuoteProvider,
  quotesInOrder,
  type ReachableProviderDeps,
} from './provider.ts'
import { type Failure, failure, type Result } from './result.ts'

/** Pairs of one request. */
const MAX_BATCH = 100
/** Weight of `ticker/24hr` for up to 20 and for up to 100 pairs, by Binance's documentation; of 6,000 a minute. */
const LIGHT_PAIRS = 20
const LIGHT_WEIGHT = 2
const FULL_WEIGHT = 40

const DAYS_PER_PAGE = 1_000

/** A valid name of a pair. */
const PAIR = /^[A-Z0-9-_.]{1,20}$/
/** The error code for an unknown pair. */
const INVALID_SYMBOL = /"code":\s*-1121\b/

/**
 * The quote currencies of pairs. The parts of a name have no separator: its longest ending among these is its quote
 * currency. None of them is USD.
 */
const QUOTE_ASSETS = (
  'FDUSD TUSD USDT USDC BUSD USDP USD1 EURI AEUR DAI BTC ETH BNB SOL XRP TRX DOGE ' +
  'EUR GBP TRY BRL JPY AUD ARS COP CZK MXN PLN RON UAH ZAR NGN RUB'
)
  .split(' ')
  .sort((a, b) => b.length - a.length)

const quoteAssetOf = (pair: string): string | undefined =>
  QUOTE_ASSETS.find((asset) => pair.length > asset.length && pair.endsWith(asset))

/** Amounts come with eight decimals. Null: missing or not positive. */
const amount = optionalField(positiveDecimal)

const tickersSchema = z.array(z.unknown())
const tickerSchema = z.object({
  symbol: z.string(),
  lastPrice: amount,
  prevClosePrice: amount,
  openPrice: amount,
  highPrice: amount,
  lowPrice: amount,
  volume: optionalField(unsignedDecimal),
  priceChangePercent: optionalField(signedDecimal),
  closeTime: z.int().positive(),
})
type Ticker = z.infer<typeof tickerSchema>

const price = positiveDecimal
/** Start (ms), open, high, low, close, volume, end (ms), and five more. */
const klinesSchema = z.array(z.tuple([z.int(), price, price, price, price, unsignedDecimal, z.int()]).rest(z.unknown()))

/**
 * Binance's public REST API. A pair in USDT is priced in USDT, never in USD. `quotes` and `find` cost one request, history
 * one for 1,000 days.
 */
export function binanceProvider({ fetch, url, now }: ReachableProviderDeps): QuoteProvider {
  const base = `${url}/api/v3`

  /** The tickers of these pairs, which must be distinct, by name. */
  const fetchTickers = async (ids: readonly string[], signal?: AbortSignal): Promise<Result<Map<string, Ticker>>> => {
    const list = encodeURIComponent(JSON.stringify(ids))
    const result = await fetchJson(fetch, `${base}/ticker/24hr?symbols=${list}`, tickersSchema, { signal })
    if (!result.ok) return ids.length === 1 && isUnknown(result) ? { ok: true, value: new Map() } : result
    const tickers = result.value.flatMap((one) => tickerSchema.safeParse(one).data ?? [])
    return { ok: true, value: new Map(tickers.map((ticker) => [ticker.symbol, ticker])) }
  }

  return {
    name: 'binance',
    maxBatch: MAX_BATCH,
    weight: (ids) => (ids <= LIGHT_PAIRS ? LIGHT_WEIGHT : FULL_WEIGHT),
    quotes: quotesInOrder('binance', PAIR, fetchTickers, toQuote),

    async dailyHistory(id, from, signal) {
      const currency = quoteAssetOf(id)
      if (!PAIR.test(id) || currency === undefined) return failure('not_found', `${id} has no known quote currency`)
      const days: DailyBar[] = []
      for (let start = from === null ? 0 : Date.parse(from); start < now(); ) {
        const query = `symbol=${id}&interval=1d&startTime=${start}&limit=${DAYS_PER_PAGE}`
        const page = await fetchJson(fetch, `${base}/klines?${query}`, klinesSchema, { signal })
        if (!page.ok) return isUnknown(page) ? failure('not_found', page.detail) : page
        for (const [at, open, high, low, close, traded] of page.value)
          if (at >= start && at + DAY_MS <= now())
            days.push({ date: formatDate(at), open, high, low, close, volume: traded })
        const last = page.value.at(-1)?.[0]
        if (last === undefined || last < start || page.value.length < DAYS_PER_PAGE) break
        start = last + DAY_MS
      }
      return { ok: true, value: { currency, days, actions: [] } }
    },

    async find(name, signal) {
      const currency = quoteAssetOf(name)
      if (!PAIR.test(name) || currency === undefined) return { ok: true, value: null }
      const result = await fetchTickers([name], signal)
      if (!result.ok) return result
      if (!result.value.get(name)?.lastPrice) return { ok: true, value: null }
      const code = name.slice(0, -currency.length)
      const listed = `${code} / ${currency}`
      return { ok: true, value: { id: name, symbol: name, name: listed, type: 'crypto', code, currency, isin: null } }
    },
  }
}

const isUnknown = (failure: Failure): boolean => failure.status === 400 && INVALID_SYMBOL.test(failure.detail)

/** Open, high, low and volume are of the last 24 hours: the market never closes. */
function toQuote(id: string, ticker: Ticker): ProviderQuote | MissingQuote {
  const currency = quoteAssetOf(id)
  if (ticker.lastPrice === null || currency === undefined)
    return missingQuote(id, 'no_price', `price ${ticker.lastPrice} in ${currency}`)
  return {
    ...CRYPTO_FIELDS,
    id,
    price: ticker.lastPrice,
    currency,
    previous_close: ticker.prevClosePrice,
    change24h: ticker.priceChangePercent,
    open: ticker.openPrice,
    high: ticker.highPrice,
    low: ticker.lowPrice,
    volume: ticker.volume,
    as_of: new Date(ticker.closeTime).toISOString(),
  }
}
