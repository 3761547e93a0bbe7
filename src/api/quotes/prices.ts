import { Hono } from 'hono'
import { z } from 'zod'
import { readSettings } from '../../config.ts'
import { staleReason } from '../../pricing/freshness.ts'
import { normalizeName } from '../../pricing/symbol.ts'
import { CodedError, type ErrorCode } from '../../protocol/errors.ts'
import { formatQuote, wireQuoteSchema } from '../../protocol/quote.ts'
import { readJson } from '../http/body.ts'
import { type AppEnv, type LookupScope, lookupScope } from '../http/context.ts'
import { type Operations, operation, response } from '../http/operation.ts'
import { candidatesSchema, errorCodeSchema } from '../http/problems.ts'
import { isLookupAllowed } from '../http/rate-limits.ts'
import { cachedQuoteText, discoverQuote, lookupQuotes, type ResolvedLookup } from './cache.ts'
import { parsePriceInput, parseSymbolsInput, priceSchema, symbolsSchema } from './input.ts'
import { lookupError, lookupOrDiscover } from './lookup.ts'

/** Unknown symbols of one batch request that the providers are asked about. */
const MAX_DISCOVERED = 5

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-cache' } as const
const SYMBOL_QUERY = '?symbol='

/** The symbol of a query with nothing else and nothing to decode, which nearly every query is; null for another query. */
function plainSymbol(url: string): string | null {
  const at = url.indexOf('?')
  if (at === -1 || !url.startsWith(SYMBOL_QUERY, at)) return null
  const text = url.slice(at + SYMBOL_QUERY.length)
  return /^[A-Z0-9.^=_:-]+$/.test(text) ? text : null
}

/** One item of a batch response: a quote under the symbol that the client wrote, or an error. */
type BatchEntry = { text: string; layer: 'cached' | 'fetched' | null }

/** Replaces the asset's own symbol, at the start of a quote's text, by the one that the client wrote. */
function withSymbol(text: string, symbol: string): string {
  const end = text.indexOf('","price":')
  return `{"symbol":${JSON.stringify(symbol)}${text.slice(end + 1)}`
}

function failedEntry(symbol: string, { code, message, candidates }: CodedError): BatchEntry {
  const error = { code, message, ...(candidates && { candidates }) }
  return { text: JSON.stringify({ symbol, error }), layer: null }
}

function toBatchEntry(symbol: string, result: ResolvedLookup | undefined, now: number): BatchEntry {
  if (result === undefined) {
    const message = `${symbol.slice(0, 100)} is not a valid symbol (example: AAPL)`
    return failedEntry(symbol, new CodedError('unknown_symbol', message))
  }
  if (result.kind === 'unknown' && !result.asked) {
    const message = `${result.name} is unknown, and the providers were not asked about it. Request it with GET /get-price.`
    return failedEntry(symbol, new CodedError('too_many_requests', message))
  }
  if (result.kind !== 'quote') return failedEntry(symbol, lookupError(result))
  const text = withSymbol(formatQuote(result.quote, result.source, staleReason(result, now)), symbol)
  return { text, layer: result.source === 'provider' ? 'fetched' : 'cached' }
}

/** Looks up many symbols, and asks the providers about a few of the unknown ones. */
async function lookupAll(
  scope: LookupScope,
  names: readonly string[],
  now: number,
): Promise<Map<string, ResolvedLookup>> {
  const results = new Map<string, ResolvedLookup>(
    (await lookupQuotes(scope.env, names, now)).map((result) => [result.name, result]),
  )
  const unknown = [...results.values()].filter((result) => result.kind === 'unknown' && !result.asked)
  const discoveries = unknown.slice(0, MAX_DISCOVERED).map(async ({ name }) => {
    if (await isLookupAllowed(scope)) results.set(name, await discoverQuote(scope.env, name))
  })
  await Promise.all(discoveries)
  return results
}

/** `GET /get-price` and `POST /get-batch-prices`. */
export const priceRoutes = new Hono<AppEnv>()
  .get('/get-price', async (c) => {
    const now = Date.now()
    // The hot path: nearly every request ends here, with one map lookup and a text that exists already.
    const plain = plainSymbol(c.req.url)
    const plainText = plain === null ? null : cachedQuoteText(c.env, plain, now)
    if (plainText !== null) return new Response(plainText, { headers: JSON_HEADERS })
    const name = parsePriceInput(new URL(c.req.url).searchParams)
    const cachedText = cachedQuoteText(c.env, name, now)
    if (cachedText !== null) return new Response(cachedText, { headers: JSON_HEADERS })
    const result = await lookupOrDiscover(lookupScope(c), name)
    if (result.kind !== 'quote') throw lookupError(result)
    const text = formatQuote(result.quote, result.source, staleReason(result, Date.now()))
    return new Response(text, { headers: JSON_HEADERS })
  })
  .post('/get-batch-prices', async (c) => {
    const symbols = parseSymbolsInput(await readJson(c), readSettings(c.env))
    const names = symbols.map(normalizeName)
    const results = await lookupAll(lookupScope(c), [...new Set(names.filter((name) => name !== null))], Date.now())
    const now = Date.now()
    const entries = symbols.map((symbol, i) => toBatchEntry(symbol, results.get(names[i] ?? ''), now))
    const count = (layer: BatchEntry['layer']) => entries.filter((entry) => entry.layer === layer).length
    const body = `{"prices":[${entries.map(({ text }) => text).join(',')}],"cached":${count('cached')},"fetched":${count('fetched')},"total":${entries.length}}`
    return c.body(body, 200, JSON_HEADERS)
  })

const quoteSchema = wireQuoteSchema.meta({
  id: 'Quote',
  description:
    'A price with its layer, provider and age; amounts have the provider’s own digits. `stale` says why it is outdated',
})

/** One symbol of a batch without a price. */
const quoteErrorSchema = z
  .object({
    symbol: z.string().meta({ description: 'As the client wrote it' }),
    error: z.object({ code: errorCodeSchema, message: z.string(), candidates: candidatesSchema.optional() }),
  })
  .meta({ id: 'NoQuote', description: 'Why one symbol of a batch has no price' })

const batchPricesResponseSchema = z.object({
  prices: z
    .array(z.union([quoteSchema, quoteErrorSchema]))
    .meta({ description: 'One for each symbol, in the same order, under the symbol that the client wrote' }),
  cached: z.int().meta({ description: 'Prices from the cache or the database' }),
  fetched: z.int().meta({ description: 'Prices from a provider' }),
  total: z.int().meta({ description: 'All symbols, including those without a price' }),
})

/** Errors of endpoints that take a symbol. */
export const SYMBOL_ERRORS: readonly ErrorCode[] = ['unknown_symbol', 'ambiguous_symbol', 'unavailable']

export const PRICE_OPERATIONS: Operations = {
  'get /get-price': operation('Prices', 'getPrice', {
    summary: 'The price of one asset',
    description: 'Asks the providers about an unknown symbol, and adds the asset if one of them knows it.',
    query: priceSchema,
    responses: response(200, 'The price and its age', quoteSchema),
    errors: ['invalid_request', ...SYMBOL_ERRORS],
  }),
  'post /get-batch-prices': operation('Prices', 'getBatchPrices', {
    summary: 'The prices of up to 1,000 assets, each with its own status',
    body: symbolsSchema,
    responses: response(200, 'A price or an error for each symbol', batchPricesResponseSchema),
    errors: ['invalid_request', 'too_many_symbols', 'message_too_large'],
  }),
}
