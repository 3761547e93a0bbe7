import { z } from 'zod'
import type { MissingQuote, ProviderListing, ProviderQuote } from '../pricing/provider-quote.ts'
import type { MarketState } from '../protocol/quote.ts'
import { DAY_S } from '../time.ts'
import { formatNumber, majorCurrency, numberDecimal, optionalField, positiveNumberDecimal } from './amounts.ts'
import { missingQuote, type QuoteProvider, quotesInOrder, type ReachableProviderDeps } from './provider.ts'
import type { Result } from './result.ts'
import { chartSchema, toDailyHistory } from './yahoo-history.ts'
import { yahooSession } from './yahoo-session.ts'

/** Symbols of one request: Yahoo names no limit; two hundred are still a URL of moderate length. */
const MAX_BATCH = 200

/** An ISIN, which Yahoo's search finds, but not its quotes. */
const ISIN = /^[A-Z]{2}[A-Z0-9]{9}\d$/

/** A symbol that is safe in the list of a request. */
const SYMBOL = /^[A-Za-z0-9^][A-Za-z0-9.=^_&-]{0,39}$/

/** A chart begins this long before the first wanted day, so that the close before an ex-day is in it despite holidays. */
const LEAD_DAYS = 10
/** 1900: before Yahoo's first day of anything. */
const EARLIEST_S = -2_208_988_800

/** The largest relative difference between the P/E and price / earnings, which are rounded. */
const PE_TOLERANCE = 0.01

/**
 * Coins that Yahoo has under their own ticker. Of tickers that several coins have, the plain one is often not the one
 * that exchanges trade (UNI-USD there is not Uniswap, which is UNI7083-USD), and a price of another coin is wrong.
 */
const COINS = new Set(
  'BTC ETH XRP LTC BCH ADA DOGE SOL AVAX LINK DOT XLM ETC ATOM ALGO XTZ TRX BNB AAVE ZEC DASH NEAR HBAR SHIB'.split(
    ' ',
  ),
)
/** The currencies of Yahoo's prices of coins. */
const COIN_CURRENCIES = new Set(['USD', 'EUR', 'GBP', 'CAD', 'AUD', 'JPY', 'CHF', 'INR', 'KRW'])

/** Whether Yahoo prices this coin, and no other one, under the name `code-currency`. */
export const isYahooPair = (code: string, currency: string): boolean => COINS.has(code) && COIN_CURRENCIES.has(currency)

const number = optionalField(z.number())
const positive = optionalField(positiveNumberDecimal)
const text = optionalField(z.string())

const envelopeSchema = z.object({ quoteResponse: z.object({ result: z.array(z.unknown()) }) })

/** A field of another type counts as missing. */
const quoteSchema = z.object({
  symbol: z.string(),
  quoteType: text,
  currency: text,
  financialCurrency: text,
  exchange: text,
  marketState: text,
  shortName: text,
  longName: text,
  regularMarketPrice: positive,
  regularMarketTime: optionalField(z.number().positive().max(1e11)),
  regularMarketPreviousClose: positive,
  regularMarketChangePercent: optionalField(numberDecimal),
  regularMarketOpen: positive,
  regularMarketDayHigh: positive,
  regularMarketDayLow: positive,
  regularMarketVolume: optionalField(z.number().min(0).transform(formatNumber)),
  epsTrailingTwelveMonths: number,
  trailingPE: number,
})
type YahooQuote = z.infer<typeof quoteSchema>

const MARKET_STATES = new Map<string, MarketState>([
  ['PREPRE', 'pre'],
  ['PRE', 'pre'],
  ['REGULAR', 'open'],
  ['POST', 'post'],
  ['POSTPOST', 'post'],
  ['CLOSED', 'closed'],
])

/** The types of assets here by Yahoo's `quoteType`. Its others, such as options, are not supported. */
const ASSET_TYPES = new Map<string, string>([
  ['EQUITY', 'stock'],
  ['ETF', 'etf'],
  ['MUTUALFUND', 'fund'],
  ['INDEX', 'index'],
  ['CURRENCY', 'forex'],
  ['FUTURE', 'commodity'],
  ['CRYPTOCURRENCY', 'crypto'],
])

const searchSchema = z.object({
  quotes: z.array(z.object({ symbol: text, quoteType: text }).catch({ symbol: null, quoteType: null })),
})

/**
 * Yahoo Finance. `quotes` and `find` cost one request (`find` by ISIN two), and the first one two more for the cookie and
 * the crumb (see yahooSession); history always costs one. Outside of the United States quotes are often 15 minutes old.
 */
export function yahooProvider({ fetch, url, now }: ReachableProviderDeps): QuoteProvider {
  const read = yahooSession({ fetch, url })

  const fetchQuotes = async (
    ids: readonly string[],
    signal?: AbortSignal,
  ): Promise<Result<Map<string, YahooQuote>>> => {
    const answer = await read(envelopeSchema, '/v7/finance/quote', { symbols: ids.join(',') }, true, signal)
    if (!answer.ok) return answer
    const quotes = answer.value.quoteResponse.result.flatMap((one) => quoteSchema.safeParse(one).data ?? [])
    return { ok: true, value: new Map(quotes.map((quote) => [quote.symbol, quote])) }
  }

  /** Yahoo's symbol for an ISIN: of several listings the first. */
  const symbolOf = async (isin: string, signal?: AbortSignal): Promise<Result<string | null>> => {
    const query = { q: isin, quotesCount: '6', newsCount: '0' }
    const search = await read(searchSchema, '/v1/finance/search', query, false, signal)
    if (!search.ok) return search
    const listed = search.value.quotes.find(
      ({ symbol, quoteType }) => SYMBOL.test(symbol ?? '') && ASSET_TYPES.has(quoteType ?? ''),
    )
    return { ok: true, value: listed?.symbol ?? null }
  }

  return {
    name: 'yahoo',
    maxBatch: MAX_BATCH,
    weight: () => 1,
    quotes: quotesInOrder('yahoo', SYMBOL, fetchQuotes, toQuote),

    async dailyHistory(id, from, signal) {
      const seconds = Math.floor(now() / 1000)
      const start = from === null ? EARLIEST_S : Date.parse(from) / 1000 - LEAD_DAYS * DAY_S
      const query = { interval: '1d', events: 'div|split', period1: String(start), period2: String(seconds) }
      const answer = await read(chartSchema, `/v8/finance/chart/${encodeURIComponent(id)}`, query, false, signal)
      return answer.ok ? toDailyHistory(answer.value, from, now()) : answer
    },

    async find(name, signal) {
      if (!SYMBOL.test(name)) return { ok: true, value: null }
      const isin = ISIN.test(name) ? name : null
      const symbol: Result<string | null> = isin === null ? { ok: true, value: name } : await symbolOf(isin, signal)
      if (!symbol.ok || symbol.value === null) return symbol as Result<null>
      const result = await fetchQuotes([symbol.value], signal)
      if (!result.ok) return result
      const quote = result.value.get(symbol.value)
      const listing = quote === undefined ? null : toListing(quote)
      return { ok: true, value: listing === null ? null : { ...listing, isin } }
    },
  }
}

function toQuote(id: string, quote: YahooQuote): ProviderQuote | MissingQuote {
  const { regularMarketPrice: price, regularMarketTime: at } = quote
  if (quote.quoteType === 'NONE' || price === null)
    return missingQuote(id, 'no_price', `${quote.quoteType} without a price above 0`)
  if (!quote.currency) return missingQuote(id, 'no_price', 'a price without a currency')
  if (at === null) return missingQuote(id, 'no_price', 'a price without a valid time')
  const { currency, amount } = majorCurrency(quote.currency)
  const crypto = quote.quoteType === 'CRYPTOCURRENCY'
  return {
    id,
    price: amount(price),
    currency,
    previous_close: amount(quote.regularMarketPreviousClose),
    // For crypto the change of 24 hours, for all else the change from the previous close.
    change24h: quote.regularMarketChangePercent,
    market_state: MARKET_STATES.get(quote.marketState ?? '') ?? null,
    market: crypto ? null : quote.exchange,
    open: amount(quote.regularMarketOpen),
    high: amount(quote.regularMarketDayHigh),
    low: amount(quote.regularMarketDayLow),
    // For crypto the volume is in money, for currencies always 0.
    volume: crypto || quote.quoteType === 'CURRENCY' ? null : quote.regularMarketVolume,
    ...toEarnings(quote, Number(amount(price)), currency),
    as_of: new Date(at * 1000).toISOString(),
  }
}

/**
 * Earnings per share and P/E, in the price's currency (P6). A company that reports in another currency has neither: Yahoo
 * does not say whether they are converted, nor how many shares a receipt has. Where price / earnings is not the P/E, the
 * two have different bases, and both are dropped (earnings of prices in pence are mostly in pounds). Losses have no P/E.
 */
function toEarnings(quote: YahooQuote, price: number, currency: string): Pick<ProviderQuote, 'eps' | 'pe_ratio'> {
  const none = { eps: null, pe_ratio: null }
  const { epsTrailingTwelveMonths: eps, trailingPE: pe, financialCurrency } = quote
  if (eps === null || !financialCurrency || majorCurrency(financialCurrency).currency !== currency) return none
  // Without a P/E the unit of the earnings, pence or pounds, is not known.
  if (eps <= 0 || pe === null) return currency === quote.currency ? { eps: formatNumber(eps), pe_ratio: null } : none
  return Math.abs(price / eps / pe - 1) <= PE_TOLERANCE ? { eps: formatNumber(eps), pe_ratio: formatNumber(pe) } : none
}

function toListing(quote: YahooQuote): ProviderListing | null {
  const type = ASSET_TYPES.get(quote.quoteType ?? '')
  if (type === undefined || !quote.currency || quote.regularMarketPrice === null) return null
  const { symbol } = quote
  return {
    id: symbol,
    symbol,
    name: quote.longName || quote.shortName || symbol,
    type,
    // BRK-B is a class of shares, BTC-USD a pair.
    code: symbol.split(type === 'crypto' ? /-/ : /[.=]/)[0] || symbol,
    currency: majorCurrency(quote.currency).currency,
    isin: null,
  }
}
