import { z } from 'zod'
import type { MissingQuote, ProviderQuote } from '../pricing/provider-quote.ts'
import { numberDecimal, optionalField, positiveNumberDecimal } from './amounts.ts'
import { fetchJson } from './fetch-json.ts'
import {
  CRYPTO_FIELDS,
  type KeyedProviderDeps,
  missingQuote,
  type QuoteProvider,
  quotesInOrder,
  quotesOnly,
  redactKey,
} from './provider.ts'
import { type Failure, failure, type Result } from './result.ts'

/** Coins of one request: a credit buys a hundred. */
const MAX_BATCH = 100

/** A coin's ticker and its quote currency, as in `BTC-USD`. */
const PAIR = /^[A-Z0-9]{1,20}-[A-Z0-9]{2,10}$/

const number = optionalField(numberDecimal)
const moneySchema = z.object({
  price: optionalField(positiveNumberDecimal),
  percent_change_24h: number,
  last_updated: z.iso.datetime(),
})
const coinSchema = z.object({
  symbol: z.string(),
  cmc_rank: optionalField(z.number()),
  is_active: optionalField(z.number()),
  quote: z.record(z.string(), z.unknown()),
})
type Coin = z.infer<typeof coinSchema>

/** Version 2 of the API: a list of coins for each ticker. */
const bodySchema = z.object({
  status: z.object({ error_code: z.int().default(0), error_message: z.string().nullish() }),
  data: z.record(z.string(), z.unknown()).default({}),
})

/**
 * CoinMarketCap, the fallback for crypto: averages of many markets, without a previous close. `quotes` costs one request
 * for each currency among the ids, since the free plan converts to one at a time. That plan has no history. It is not
 * searched: tickers are not unique among all the coins that it lists.
 */
export function coinMarketCapProvider({ fetch, url, key }: KeyedProviderDeps): QuoteProvider {
  const fetchCoins = async (ids: readonly string[], signal?: AbortSignal): Promise<Result<Map<string, Coin[]>>> => {
    const coinsById = new Map<string, Coin[]>()
    for (const [currency, pairs] of Map.groupBy(ids, currencyOf)) {
      const codes = pairs.map((id) => id.slice(0, -currency.length - 1))
      const address = `${url}/v2/cryptocurrency/quotes/latest?symbol=${codes.join(',')}&convert=${currency}&skip_invalid=true`
      const headers = { 'x-cmc_pro_api_key': key }
      const result = await fetchJson(fetch, address, bodySchema, { signal, headers })
      if (!result.ok) return redactKey(result, key)
      const { status, data } = result.value
      if (status.error_code !== 0) return redactKey(toFailure(status), key)
      for (const [code, coins] of Object.entries(data)) {
        const parsed = parseCoins(coins)
        if (parsed.length > 0) coinsById.set(`${code}-${currency}`, parsed)
      }
    }
    return { ok: true, value: coinsById }
  }

  return {
    ...quotesOnly('coinmarketcap'),
    name: 'coinmarketcap',
    maxBatch: MAX_BATCH,
    weight: () => 1,
    quotes: quotesInOrder('coinmarketcap', PAIR, fetchCoins, toQuote),
  }
}

const currencyOf = (id: string): string => id.slice(id.indexOf('-') + 1)

function toFailure({ error_code: code, error_message: message }: z.infer<typeof bodySchema>['status']): Failure {
  // 1001 to 1007 concern the key and the plan, 1008 to 1011 their rate limits.
  const reason = code >= 1_008 && code <= 1_011 ? 'rate_limited' : code === 400 ? 'invalid' : 'unavailable'
  return failure(reason, `${message}`, code === 400 ? 400 : 200)
}

const parseCoins = (body: unknown): Coin[] => [body].flat().flatMap((one) => coinSchema.safeParse(one).data ?? [])

/** The coin with the best rank of several with one ticker; undefined where none has a rank. */
function bestRanked(coins: readonly Coin[]): Coin | undefined {
  const active = coins.filter((coin) => coin.is_active !== 0)
  if (active.length <= 1) return active[0]
  const ranked = active.filter((coin) => typeof coin.cmc_rank === 'number')
  return ranked.sort((a, b) => Number(a.cmc_rank) - Number(b.cmc_rank))[0]
}

function toQuote(id: string, coins: readonly Coin[]): ProviderQuote | MissingQuote {
  const currency = currencyOf(id)
  const money = moneySchema.safeParse(bestRanked(coins)?.quote[currency]).data
  if (!money?.price) return missingQuote(id, 'no_price', `${coins.length} coins of this ticker, none with a price`)
  return {
    ...CRYPTO_FIELDS,
    id,
    price: money.price,
    currency,
    previous_close: null,
    change24h: money.percent_change_24h,
    open: null,
    high: null,
    low: null,
    // The volume is in money, not in coins.
    volume: null,
    as_of: new Date(money.last_updated).toISOString(),
  }
}
