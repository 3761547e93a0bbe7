import { z } from 'zod'
import type { MissingQuote, ProviderListing, ProviderQuote } from '../pricing/provider-quote.ts'
import type { MarketState } from '../protocol/quote.ts'
import { majorCurrency } from './currency.ts'
import { formatNumber } from './decimal.ts'
import { firstIssue } from './fetch-json.ts'
import type { ProviderDeps, StockProvider } from './provider.ts'
import type { Result } from './result.ts'
import { parseDailyHistory } from './yahoo-history.ts'
import { yahooSession } from './yahoo-session.ts'

/** Symbols of one request: Yahoo tells no limit; two hundred are still a URL of moderate length. */
const MAX_BATCH = 200

/** An ISIN: the quotes do not know it, the search does. */
const ISIN = /^[A-Z]{2}[A-Z0-9]{9}\d$/

/** What may stand among the symbols of a request without being taken for something else. */
const SYMBOL = /^[A-Za-z0-9^][A-Za-z0-9.=^_&-]{0,39}$/

/** How far before the first day wanted a chart begins: the last close before an ex-day is in it over any holidays. */
const LEAD_DAYS = 10
const DAY_S = 86_400
/** 1900: before Yahoo's first day of anything. */
const EARLIEST_S = -2_208_988_800

/** The price and the P/E of one answer agree if they are as near as the digits of the earnings let them be. */
const PE_TOLERANCE = 0.01

const number = z.number().nullish().catch(null)
const text = z.string().nullish().catch(null)

const envelopeSchema = z.object({ quoteResponse: z.object({ result: z.array(z.unknown()) }) })

/** Whatever is of another type than Yahoo tells it in counts as not told. */
const quoteSchema = z.object({
  symbol: z.string(),
  quoteType: text,
  currency: text,
  financialCurrency: text,
  exchange: text,
  marketState: text,
  shortName: text,
  longName: text,
  regularMarketPrice: number,
  regularMarketTime: number,
  regularMarketPreviousClose: number,
  regularMarketChangePercent: number,
  regularMarketOpen: number,
  regularMarketDayHigh: number,
  regularMarketDayLow: number,
  regularMarketVolume: number,
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

/** Yahoo's kinds that are listed here. Options and whatever else it has are not. */
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
 * Yahoo Finance. Quotes and finding cost one request (finding by ISIN two), two more for the first one's cookie and crumb (see yahooSession),
 * history always one. Quotes are often 15 minutes old for markets outside the United States: `as_of` tells.
 */
export function yahooProvider({ fetch, url, now }: ProviderDeps): StockProvider {
  const ask = yahooSession({ fetch, url })

  const fetchQuotes = async (ids: readonly string[], signal?: AbortSignal): Promise<Result<YahooQuote[]>> => {
    if (ids.length === 0) return { ok: true, value: [] }
    const answer = await ask('/v7/finance/quote', { symbols: ids.join(',') }, true, signal)
    if (!answer.ok) return answer
    const envelope = envelopeSchema.safeParse(answer.value)
    if (!envelope.success)
      return { ok: false, reason: 'invalid', status: 200, retryAfter: null, detail: firstIssue(envelope.error) }
    const quotes = envelope.data.quoteResponse.result.map((one) => quoteSchema.safeParse(one).data)
    return { ok: true, value: quotes.filter((quote) => quote !== undefined) }
  }

  /** Yahoo's symbol of what has this ISIN: of several listings the one that it tells first. */
  const symbolOf = async (isin: string, signal?: AbortSignal): Promise<Result<string | null>> => {
    const answer = await ask('/v1/finance/search', { q: isin, quotesCount: '6', newsCount: '0' }, false, signal)
    if (!answer.ok) return answer
    const told = searchSchema.safeParse(answer.value)
    if (!told.success)
      return { ok: false, reason: 'invalid', status: 200, retryAfter: null, detail: firstIssue(told.error) }
    const listed = told.data.quotes.find(
      ({ symbol, quoteType }) => SYMBOL.test(symbol ?? '') && ASSET_TYPES.has(quoteType ?? ''),
    )
    return { ok: true, value: listed?.symbol ?? null }
  }

  return {
    kind: 'stock',
    name: 'yahoo',
    maxBatch: MAX_BATCH,
    weight: () => 1,

    async quotes(ids, signal) {
      const asked = [...new Set(ids.filter((id) => SYMBOL.test(id)))]
      const result = await fetchQuotes(asked, signal)
      if (!result.ok) return result
      const told = new Map(result.value.map((quote) => [quote.symbol, quote]))
      return { ok: true, value: ids.map((id) => toQuote(id, told.get(id))) }
    },

    async dailyHistory(id, from, signal) {
      const seconds = Math.floor(now() / 1000)
      const start = from === null ? EARLIEST_S : Date.parse(from) / 1000 - LEAD_DAYS * DAY_S
      const query = { interval: '1d', events: 'div|split', period1: String(start), period2: String(seconds) }
      const answer = await ask(`/v8/finance/chart/${encodeURIComponent(id)}`, query, false, signal)
      return answer.ok ? parseDailyHistory(answer.value, from, now()) : answer
    },

    async find(name, signal) {
      if (!SYMBOL.test(name)) return { ok: true, value: null }
      const isin = ISIN.test(name) ? name : null
      const meant: Result<string | null> = isin === null ? { ok: true, value: name } : await symbolOf(isin, signal)
      if (!meant.ok || meant.value === null) return meant as Result<null>
      const result = await fetchQuotes([meant.value], signal)
      if (!result.ok) return result
      const told = result.value.find((quote) => quote.symbol === meant.value)
      const listing = told === undefined ? null : toListing(told)
      return { ok: true, value: listing === null ? null : { ...listing, isin } }
    },
  }
}

/** An amount that can be one: above 0. */
const positiveAmount = (value: number | null | undefined): string | null =>
  value !== null && value !== undefined && value > 0 ? formatNumber(value) : null

function toQuote(id: string, told: YahooQuote | undefined): ProviderQuote | MissingQuote {
  if (told === undefined) return { id, price: null, reason: 'unknown', detail: 'Yahoo does not know it' }
  const price = positiveAmount(told.regularMarketPrice)
  const without = (detail: string): MissingQuote => ({ id, price: null, reason: 'no_price', detail })
  if (told.quoteType === 'NONE' || price === null) return without(`${told.quoteType}, price ${told.regularMarketPrice}`)
  if (!told.currency) return without('a price in no currency')
  const at = told.regularMarketTime
  if (at === null || at === undefined || !(at > 0 && at < 1e11)) return without(`a price of no time (${at})`)
  const { currency, amount } = majorCurrency(told.currency)
  const converted = (value: number | null | undefined): string | null => {
    const known = positiveAmount(value)
    return known === null ? null : amount(known)
  }
  const crypto = told.quoteType === 'CRYPTOCURRENCY'
  return {
    id,
    price: amount(price),
    currency,
    previous_close: converted(told.regularMarketPreviousClose),
    // Of crypto Yahoo tells the change in 24 hours, of all else that from the previous close.
    change24h: formatNumber(told.regularMarketChangePercent),
    market_state: MARKET_STATES.get(told.marketState ?? '') ?? null,
    market: crypto ? null : (told.exchange ?? null),
    open: converted(told.regularMarketOpen),
    high: converted(told.regularMarketDayHigh),
    low: converted(told.regularMarketDayLow),
    // Of crypto it is money that changed hands, of currencies always 0.
    volume: crypto || told.quoteType === 'CURRENCY' ? null : toVolume(told.regularMarketVolume),
    ...toEarnings(told, Number(amount(price)), currency),
    as_of: new Date(at * 1000).toISOString(),
  }
}

const toVolume = (value: number | null | undefined): string | null =>
  value !== null && value !== undefined && value >= 0 ? formatNumber(value) : null

/**
 * Earnings per share and P/E, in the price's currency (P6). Companies that report in another currency have neither:
 * Yahoo does not say whether it has converted them, nor of how many shares a receipt consists. Where the two are told
 * and price / earnings is not the P/E, one of them is of another basis, and which is not told: earnings of prices in
 * pence are mostly in pounds, which this shows too. Losses are kept; they have no P/E.
 */
function toEarnings(told: YahooQuote, price: number, currency: string): Pick<ProviderQuote, 'eps' | 'pe_ratio'> {
  const none = { eps: null, pe_ratio: null }
  const { epsTrailingTwelveMonths: eps, trailingPE: pe, financialCurrency } = told
  if (eps === null || eps === undefined || !financialCurrency) return none
  if (majorCurrency(financialCurrency).currency !== currency) return none
  if (eps <= 0) return currency === told.currency ? { eps: formatNumber(eps), pe_ratio: null } : none
  // Without a P/E nothing shows whether earnings are in pence or in pounds.
  if (pe === null || pe === undefined)
    return currency === told.currency ? { eps: formatNumber(eps), pe_ratio: null } : none
  return Math.abs(price / eps / pe - 1) <= PE_TOLERANCE ? { eps: formatNumber(eps), pe_ratio: formatNumber(pe) } : none
}

function toListing(told: YahooQuote): ProviderListing | null {
  const type = ASSET_TYPES.get(told.quoteType ?? '')
  if (type === undefined || !told.currency || positiveAmount(told.regularMarketPrice) === null) return null
  const { symbol } = told
  return {
    id: symbol,
    symbol,
    name: told.longName || told.shortName || symbol,
    type,
    // BRK-B is a class of shares, BTC-USD a pair.
    code: symbol.split(type === 'crypto' ? /-/ : /[.=]/)[0] || symbol,
    currency: majorCurrency(told.currency).currency,
    isin: null,
  }
}
