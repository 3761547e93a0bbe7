import { z } from 'zod'
import type { Settings } from '../../config.ts'
import type { AssetSearch } from '../../db/assets.ts'
import { normalizeName } from '../../pricing/symbol.ts'
import { HISTORY_RANGES, PRICE_BASES } from '../../protocol/price-history.ts'
import { dateSchema, enumSchema, invalidField, limitSchema, oneOfMessage, parse, parseQuery } from '../http/input.ts'

const MAX_ASSETS = 200

const symbolSchema = z.string({ error: 'is required: a symbol such as AAPL' }).meta({
  description:
    'A symbol, a crypto pair such as BTC-USD, an ISIN, or provider:provider_id, which is never ambiguous. Not case-sensitive',
  example: 'AAPL',
})

export const priceSchema = z.object({ symbol: symbolSchema })

/** Parses the query of `GET /get-price`. @throws CodedError naming `symbol`; `unknown_symbol` if it is not a valid symbol */
export const parsePriceInput = (query: URLSearchParams): string => parseAssetName(parseQuery(priceSchema, query).symbol)

/** Normalizes a symbol. @throws CodedError `unknown_symbol` naming `symbol` if it is not a valid symbol */
export function parseAssetName(text: string): string {
  const name = normalizeName(text)
  if (name === null) throw invalidField('symbol', 'must be a symbol such as AAPL', 'unknown_symbol')
  return name
}

export const historySchema = z.object({
  symbol: symbolSchema,
  range: enumSchema(HISTORY_RANGES),
  basis: z
    .enum(PRICE_BASES, { error: oneOfMessage(PRICE_BASES) })
    .default('split')
    .meta({ description: 'raw: as traded; split: adjusted for splits; adjusted: adjusted for splits and dividends' }),
  until: dateSchema(1900)
    .optional()
    .meta({ description: 'Exclusive end of the range, not after today (UTC); without it the range ends now' }),
})

/** A request for price history; `until` null means up to now. */
export type HistoryInput = Omit<z.output<typeof historySchema>, 'until'> & { until: string | null }

/**
 * Parses the query of `GET /get-history`.
 * @param today the UTC date, such as `2025-12-03`
 * @throws CodedError `unknown_range`, `unknown_symbol` or `invalid_request`, naming every invalid field
 */
export function parseHistoryInput(query: URLSearchParams, today: string): HistoryInput {
  const { until = null, ...input } = parseQuery(historySchema, query)
  if (until !== null && until > today) throw invalidField('until', 'must not be after today (UTC)')
  return { ...input, until, symbol: parseAssetName(input.symbol) }
}

/** The body of `POST /get-batch-prices`. */
export const symbolsSchema = z.object({
  symbols: z
    .array(z.string({ error: 'must be text' }), { error: 'is required: a list of symbols' })
    .min(1, 'must contain at least one symbol'),
})

/** The body of `POST /refresh-prices`, which may be left out. */
export const refreshSchema = z.object({
  symbols: symbolsSchema.shape.symbols.optional().meta({ description: 'All assets if left out' }),
})

/** Checks that a body is an object with at most MAX_SYMBOLS symbols, before each of them is parsed. @throws CodedError */
function checkSymbolCount(body: unknown, { MAX_SYMBOLS }: Settings): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalidField('symbols', 'the body must be a JSON object')
  const { symbols } = body as { symbols?: unknown }
  if (Array.isArray(symbols) && symbols.length > MAX_SYMBOLS)
    throw invalidField('symbols', `must contain at most ${MAX_SYMBOLS} symbols`, 'too_many_symbols')
  return body as Record<string, unknown>
}

/**
 * The symbols in the body of `POST /get-batch-prices`, as the client wrote them.
 * @throws CodedError `too_many_symbols` or `invalid_request`, naming the invalid field
 */
export const parseSymbolsInput = (body: unknown, settings: Settings): string[] =>
  parse(symbolsSchema, checkSymbolCount(body, settings)).symbols

/** The symbols in the body of `POST /refresh-prices`; null means every asset. @throws CodedError as `parseSymbolsInput` */
export const parseRefreshInput = (body: unknown, settings: Settings): string[] | null =>
  parse(refreshSchema, checkSymbolCount(body, settings)).symbols ?? null

export const assetsSchema = z.object({
  q: z
    .string()
    .max(100, 'must have at most 100 characters')
    .default('')
    .meta({ description: 'Part of a symbol or a name; empty finds every asset' }),
  limit: limitSchema(50, MAX_ASSETS),
  after: z
    .string()
    .max(1_000, 'must be the `next` of an earlier response')
    .optional()
    .meta({ description: 'The `next` of the page before' }),
})

/** Parses the query of `GET /api/v1/assets`. @throws CodedError naming every invalid field */
export function parseAssetsInput(query: URLSearchParams): AssetSearch {
  const { after = null, ...input } = parseQuery(assetsSchema, query)
  return { ...input, q: input.q.trim(), after }
}
