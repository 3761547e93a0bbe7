import { z } from 'zod'
import { isPositiveDecimal, trimDecimal } from '../market/decimal.ts'
import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { majorCurrency } from './currency.ts'
import { formatNumber } from './decimal.ts'
import { fetchJson, responseFailure } from './fetch-json.ts'
import { type KeyedProviderDeps, type QuoteProvider, quotesOnly, redactKey } from './provider.ts'
import type { Failure } from './result.ts'

/** Symbols of one request: each costs a credit, and the free plan has 8 a minute. */
const MAX_BATCH = 8

/** A symbol without a comma, which separates symbols, and a colon, which names an exchange. */
const SYMBOL = /^[A-Z0-9][A-Z0-9./-]{0,19}$/

const SIGNED = /^-?\d+(?:\.\d+)?$/
/** Amounts are text of five decimals, sometimes numbers. Null: missing or not positive. */
const amount = z.unknown().transform((value) => {
  const text = typeof value === 'number' ? formatNumber(value) : value
  return isPositiveDecimal(text) ? trimDecimal(text) : null
})
const seconds = z.int().positive().max(1e11).nullish().catch(null)

const quoteSchema = z.object({
  symbol: z.string(),
  currency: z.string().min(1),
  mic_code: z.string().nullish().catch(null),
  /** The quote's day; `last_quote_at` is the last minute of it. */
  timestamp: seconds,
  last_quote_at: seconds,
  close: amount,
  previous_close: amount,
  percent_change: z.string().regex(SIGNED).transform(trimDecimal).nullish().catch(null),
  open: amount,
  high: amount,
  low: amount,
  volume: amount,
  is_market_open: z.boolean().nullish().catch(null),
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
  return {
    ...quotesOnly('twelvedata'),
    name: 'twelvedata',
    maxBatch: MAX_BATCH,
    weight: (ids) => ids,

    async quotes(ids, signal) {
      const asked = [...new Set(ids.filter((id) => SYMBOL.test(id)))]
      if (asked.length === 0) return { ok: true, value: ids.map((id) => toQuote(id, undefined)) }
      const address = `${url}/quote?symbol=${asked.map(encodeURIComponent).join(',')}`
      const result = await fetchJson(fetch, address, bodySchema, {
        signal,
        headers: { authorization: `apikey ${key}` },
      })
      if (!result.ok)
        // A request for a single unknown symbol gets a 404.
        return asked.length === 1 && result.reason === 'not_found'
          ? { ok: true, value: ids.map((id) => toQuote(id, undefined)) }
          : redactKey(result, key)
      const error = errorSchema.safeParse(result.value).data
      if (error !== undefined && !(asked.length === 1 && error.code === 404)) return toFailure(error, key)
      const [only] = asked
      const quotes: Record<string, unknown> =
        asked.length === 1 && only !== undefined ? { [only]: result.value } : result.value
      return { ok: true, value: ids.map((id) => toQuote(id, quotes[id])) }
    },
  }
}

function toFailure({ code, message }: z.infer<typeof errorSchema>, key: string): Failure {
  const reason = code === 429 ? 'rate_limited' : code === 400 ? 'invalid' : code === 404 ? 'not_found' : 'unavailable'
  return redactKey(responseFailure(reason, { status: code, headers: new Headers() }, message), key)
}

function toQuote(id: string, body: unknown): ProviderQuote | MissingQuote {
  const error = errorSchema.safeParse(body).data
  if (body === undefined || error?.code === 404)
    return { id, price: null, reason: 'unknown', detail: 'unknown to Twelve Data' }
  const quote = quoteSchema.safeParse(body).data
  const at = quote?.last_quote_at ?? quote?.timestamp
  if (quote === undefined || quote.close === null || !at)
    return {
      id,
      price: null,
      reason: 'no_price',
      detail: error?.message ?? 'no price, or one without a time or a currency',
    }
  const { currency, amount: converted } = majorCurrency(quote.currency)
  const known = (text: string | null): string | null => (text === null ? null : converted(text))
  const { is_market_open: isOpen } = quote
  return {
    id,
    price: converted(quote.close),
    currency,
    previous_close: known(quote.previous_close),
    change24h: quote.percent_change ?? null,
    market_state: isOpen === true ? 'open' : isOpen === false ? 'closed' : null,
    market: quote.mic_code ?? null,
    open: known(quote.open),
    high: known(quote.high),
    low: known(quote.low),
    volume: quote.volume,
    eps: null,
    pe_ratio: null,
    as_of: new Date(at * 1000).toISOString(),
  }
}
