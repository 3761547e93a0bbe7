import { z } from 'zod'
import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { majorCurrency, optionalField, positiveDecimal, positiveNumberDecimal, signedDecimal } from './amounts.ts'
import { fetchJson, statusReason } from './fetch-json.ts'
import {
  type KeyedProviderDeps,
  missingQuote,
  type QuoteProvider,
  quotesInOrder,
  quotesOnly,
  redactKey,
} from './provider.ts'
import { failure, type Result } from './result.ts'

/** Symbols of one request: each costs a credit, and the free plan has 8 a minute. */
const MAX_BATCH = 8

/** A symbol without a comma, which separates symbols, and a colon, which names an exchange. */
const SYMBOL = /^[A-Z0-9][A-Z0-9./-]{0,19}$/

/** Amounts are text of five decimals, sometimes numbers. Null: missing or not positive. */
const amount = optionalField(positiveDecimal.or(positiveNumberDecimal))
const seconds = optionalField(z.int().positive().max(1e11))

const quoteSchema = z.object({
  symbol: z.string(),
  currency: z.string().min(1),
  mic_code: optionalField(z.string()),
  /** The quote's day; `last_quote_at` is the last minute of it. */
  timestamp: seconds,
  last_quote_at: seconds,
  close: amount,
  previous_close: amount,
  percent_change: optionalField(signedDecimal),
  open: amount,
  high: amount,
  low: amount,
  volume: amount,
  is_market_open: optionalField(z.boolean()),
})

/** Also the body of a response with status 200, and the entry of one symbol among several. */
const errorSchema = z.object({ code: z.int(), message: z.string(), status: z.literal('error') })
const bodySchema = z.record(z.string(), z.unknown())

/**
 * Twelve Data, the fallback for stocks of the United States. `quotes` costs one request and a credit for each symbol. It is
 * not asked for history: the free plan has no splits and dividends, without which days cannot be adjusted. It is not
 * searched: it prices known assets only.
 */
export function twelveDataProvider({ fetch, url, key }: KeyedProviderDeps): QuoteProvider {
  const fetchQuotes = async (ids: readonly string[], signal?: AbortSignal): Promise<Result<Map<string, unknown>>> => {
    const address = `${url}/quote?symbol=${ids.map(encodeURIComponent).join(',')}`
    const result = await fetchJson(fetch, address, bodySchema, { signal, headers: { authorization: `apikey ${key}` } })
    const [only, ...others] = ids
    const isSingle = only !== undefined && others.length === 0
    // A request for a single unknown symbol gets a 404.
    if (!result.ok)
      return isSingle && result.reason === 'not_found' ? { ok: true, value: new Map() } : redactKey(result, key)
    const error = errorSchema.safeParse(result.value).data
    if (error !== undefined && !(isSingle && error.code === 404))
      return redactKey(failure(statusReason(error.code), error.message, error.code), key)
    return { ok: true, value: new Map(isSingle ? [[only, result.value]] : Object.entries(result.value)) }
  }

  return {
    ...quotesOnly('twelvedata'),
    name: 'twelvedata',
    maxBatch: MAX_BATCH,
    weight: (ids) => ids,
    quotes: quotesInOrder('twelvedata', SYMBOL, fetchQuotes, toQuote),
  }
}

function toQuote(id: string, body: unknown): ProviderQuote | MissingQuote {
  const error = errorSchema.safeParse(body).data
  if (error?.code === 404) return missingQuote(id, 'unknown', 'unknown to Twelve Data')
  const quote = quoteSchema.safeParse(body).data
  const at = quote?.last_quote_at ?? quote?.timestamp
  if (quote === undefined || quote.close === null || !at)
    return missingQuote(id, 'no_price', error?.message ?? 'no price, or one without a time or a currency')
  const { currency, amount: converted } = majorCurrency(quote.currency)
  const { is_market_open: isOpen } = quote
  return {
    id,
    price: converted(quote.close),
    currency,
    previous_close: converted(quote.previous_close),
    change24h: quote.percent_change,
    market_state: isOpen === null ? null : isOpen ? 'open' : 'closed',
    market: quote.mic_code,
    open: converted(quote.open),
    high: converted(quote.high),
    low: converted(quote.low),
    volume: quote.volume,
    eps: null,
    pe_ratio: null,
    as_of: new Date(at * 1000).toISOString(),
  }
}
