import { z } from 'zod'
import { isPositiveDecimal, trimDecimal } from '../market/decimal.ts'
import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { majorCurrency } from './currency.ts'
import { formatNumber } from './decimal.ts'
import { fetchJson, responseFailure } from './fetch-json.ts'
import type { KeyedProviderDeps, StockProvider } from './provider.ts'
import type { Failure } from './result.ts'

/** Symbols of one request: each costs a credit, of which the least plan has 8 a minute. */
const MAX_BATCH = 8

/** A comma divides symbols, a colon names an exchange. */
const SYMBOL = /^[A-Z0-9][A-Z0-9./-]{0,19}$/

const SIGNED = /^-?\d+(?:\.\d+)?$/
/** Amounts are text of five decimals; a number is taken too. Null: none, or none that can be one. */
const amount = z.unknown().transform((told) => {
  const text = typeof told === 'number' ? formatNumber(told) : told
  return isPositiveDecimal(text) ? trimDecimal(text) : null
})
const seconds = z.int().positive().max(1e11).nullish().catch(null)

const quoteSchema = z.object({
  symbol: z.string(),
  currency: z.string().min(1),
  mic_code: z.string().nullish().catch(null),
  /** Of the day that the quote belongs to; `last_quote_at` is the last minute in it. */
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

/** Also in the body of an answer that is called 200, and in that of one symbol among several. */
const errorSchema = z.object({ code: z.int(), message: z.string(), status: z.literal('error') })
const bodySchema = z.record(z.string(), z.unknown())

/**
 * Twelve Data, for stocks of the United States when Yahoo cannot answer. Quotes cost one request and a credit for each
 * symbol. It has no history here: its splits and dividends, without which days cannot be put on another basis, are not
 * in the least plan. It finds nothing: it is asked for what is known already.
 */
export function twelveDataProvider({ fetch, url, key }: KeyedProviderDeps): StockProvider {
  return {
    kind: 'stock',
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
        // One symbol that it does not know is an answer of 404 by itself.
        return asked.length === 1 && result.reason === 'not_found'
          ? { ok: true, value: ids.map((id) => toQuote(id, undefined)) }
          : redactKey(result, key)
      const error = errorSchema.safeParse(result.value).data
      if (error !== undefined && !(asked.length === 1 && error.code === 404)) return toFailure(error, key)
      const [only] = asked
      const told = asked.length === 1 && only !== undefined ? { [only]: result.value } : result.value
      return { ok: true, value: ids.map((id) => toQuote(id, told[id])) }
    },

    dailyHistory: async () => ({
      ok: false,
      reason: 'not_found',
      status: null,
      retryAfter: null,
      detail: 'Twelve Data is not asked for history',
    }),

    find: async () => ({ ok: true, value: null }),
  }
}

function toFailure({ code, message }: z.infer<typeof errorSchema>, key: string): Failure {
  const reason = code === 429 ? 'rate_limited' : code === 400 ? 'invalid' : code === 404 ? 'not_found' : 'unavailable'
  return redactKey(responseFailure(reason, { status: code, headers: new Headers() }, message), key)
}

/** It repeats a wrong key in what it says. */
const redactKey = (failure: Failure, key: string): Failure => ({
  ...failure,
  detail: failure.detail.replaceAll(key, '…'),
})

function toQuote(id: string, told: unknown): ProviderQuote | MissingQuote {
  const error = errorSchema.safeParse(told).data
  if (told === undefined || error?.code === 404)
    return { id, price: null, reason: 'unknown', detail: 'Twelve Data does not know it' }
  const quote = quoteSchema.safeParse(told).data
  const at = quote?.last_quote_at ?? quote?.timestamp
  if (quote === undefined || quote.close === null || !at)
    return { id, price: null, reason: 'no_price', detail: error?.message ?? 'no price, or one of no time or currency' }
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
