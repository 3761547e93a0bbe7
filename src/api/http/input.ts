import { z } from 'zod'
import type { Settings } from '../../config.ts'
import type { AssetSearch } from '../../db/assets.ts'
import { normalizeName } from '../../pricing/symbol.ts'
import { PRODUCT_ID_PATTERN } from '../../protocol/channel.ts'
import { CodedError, type ErrorCode, type FieldError } from '../../protocol/errors.ts'
import { GRANULARITIES, type Granularity, isGranularity } from '../../protocol/granularity.ts'
import { HISTORY_RANGES, PRICE_BASES } from '../../protocol/price-history.ts'

/** One field that is wrong, and what is wrong with it. */
type CodedFieldError = FieldError & { code: ErrorCode }

/** The first fault gives the code, all of them are told. */
function throwFieldErrors(faults: readonly CodedFieldError[]): never {
  const [first] = faults as [CodedFieldError]
  throw new CodedError(first.code, faults.map((fault) => `${fault.field}: ${fault.message}`).join('; '), {
    errors: faults.map(({ field, message }) => ({ field, message })),
  })
}

/** One field that is wrong, where no schema says so. */
export const invalidField = (field: string, message: string): CodedError =>
  new CodedError('invalid_request', `${field}: ${message}`, { errors: [{ field, message }] })

const oneOfMessage = (names: readonly string[]) => `must be one of ${names.join(', ')}`

/** A moment: unix seconds, or RFC 3339; a part of a second counts as the next, since candles start on whole ones. */
const timestampSchema = z.string().transform((text, context) => {
  if (/^\d{1,11}$/.test(text)) return Number(text)
  // In a query `+` stands for a space: an offset of +01:00 that was not escaped arrives as " 01:00".
  const time = z.iso.datetime({ offset: true }).safeParse(text.replace(/ (?=\d\d:\d\d$)/, '+'))
  const seconds = time.success ? Math.ceil(Date.parse(time.data) / 1_000) : -1
  if (seconds >= 0) return seconds
  context.addIssue({ code: 'custom', message: 'must be unix seconds or an RFC 3339 time from 1970 on' })
  return z.NEVER
})

const MAX_CANDLES = 1_000
const limitSchema = (fallback: number, most: number) => {
  const message = `must be a whole number from 1 to ${most}`
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .pipe(z.number().min(1, message).max(most, message))
    .optional()
    .transform((given) => given ?? fallback)
    .meta({ description: `From 1 to ${most}; ${fallback} if it is not given` })
}

const enumSchema = <const T extends readonly [string, ...string[]]>(names: T) =>
  z.enum(names, {
    error: (issue) => (issue.input === undefined ? `is required: ${oneOfMessage(names)}` : oneOfMessage(names)),
  })

export const candlesSchema = z.object({
  granularity: enumSchema(GRANULARITIES),
  start: timestampSchema.optional().meta({ description: 'Inclusive: unix seconds or RFC 3339' }),
  end: timestampSchema.optional().meta({ description: 'Exclusive: unix seconds or RFC 3339' }),
  limit: limitSchema(300, MAX_CANDLES),
  fill: z
    .enum(['flat'], { error: 'must be flat, if it is given' })
    .optional()
    .meta({ description: 'flat: empty intervals get a candle of the last price' }),
})
/** A stretch of candles that a client asks for: `start` inclusive, `end` exclusive, unix seconds. */
export type CandlesInput = z.output<typeof candlesSchema>

/** The query's parameters of these names; one that is given twice is refused. */
function singleParams(query: URLSearchParams, names: readonly string[]): Record<string, string> {
  const faults: CodedFieldError[] = []
  const values: Record<string, string> = {}
  for (const name of names) {
    const [value, ...more] = query.getAll(name)
    if (more.length > 0) faults.push({ field: name, message: 'must be given once', code: 'invalid_request' })
    else if (value !== undefined) values[name] = value
  }
  if (faults.length > 0) throwFieldErrors(faults)
  return values
}

/** The codes of fields whose values are names of a closed set. */
const UNKNOWN_VALUE_CODES: Readonly<Record<string, ErrorCode>> = {
  granularity: 'unknown_granularity',
  range: 'unknown_range',
}

/** What a schema makes of these values. @throws CodedError, mostly `invalid_request`, that tells every field */
export function parse<T extends z.ZodType>(schema: T, values: Record<string, unknown>): z.output<T> {
  const result = schema.safeParse(values)
  if (result.success) return result.data
  return throwFieldErrors(
    result.error.issues.map((issue) => {
      const field = issue.path.join('/')
      const code = values[field] === undefined ? undefined : UNKNOWN_VALUE_CODES[field]
      return { field, message: issue.message, code: code ?? 'invalid_request' }
    }),
  )
}

/**
 * The query of `GET /api/v1/products/:id/candles`.
 * @throws CodedError `unknown_granularity` or `invalid_request`, naming every field that is wrong
 */
export function parseCandlesInput(query: URLSearchParams): CandlesInput {
  const input = parse(candlesSchema, singleParams(query, ['granularity', 'start', 'end', 'limit', 'fill']))
  if (input.start !== undefined && input.end !== undefined && input.start >= input.end)
    throwFieldErrors([{ field: 'start', message: 'must be before end', code: 'invalid_request' }])
  return input
}

export const barsSchema = z.object({ bars: limitSchema(100, MAX_CANDLES) })

/** The `bars` of a chart stream: 100 by default (brief 003). @throws CodedError naming it */
export const parseBarsInput = (query: URLSearchParams): number => parse(barsSchema, singleParams(query, ['bars'])).bars

const DATE_MESSAGE = 'must be a date such as 2026-01-31'

export const auditSchema = z.object({
  product: z.string().optional(),
  day: z.iso
    .date({ error: DATE_MESSAGE })
    .refine((day) => day >= '1970', 'must be a date from 1970 on')
    .optional(),
})
/** Which audits a client asks for; null is all products, and the last days. */
export type AuditInput = { product: string | null; day: string | null }

/** The query of `GET /api/v1/audit`. @throws CodedError naming every field that is wrong */
export function parseAuditInput(query: URLSearchParams, settings: Settings): AuditInput {
  const { product = null, day = null } = parse(auditSchema, singleParams(query, ['product', 'day']))
  if (product !== null) checkProduct(product, settings, 'product')
  return { product, day }
}

const symbolSchema = z.string({ error: 'is required: a symbol such as AAPL' }).meta({
  description:
    'The symbol of an asset, BTC-USD for BTC, an ISIN, or provider:provider_id, which means one asset alone. Capitals or not',
  example: 'AAPL',
})

export const priceSchema = z.object({ symbol: symbolSchema })

/** The query of `GET /get-price`. @throws CodedError naming `symbol`; `unknown_symbol` where no asset can have the name */
export const parsePriceInput = (query: URLSearchParams): string =>
  parseAssetName(parse(priceSchema, singleParams(query, ['symbol'])).symbol)

/** A name of an asset in its normal form. @throws CodedError `unknown_symbol` naming `symbol` if it can be none */
export function parseAssetName(text: string): string {
  const name = normalizeName(text)
  return (
    name ?? throwFieldErrors([{ field: 'symbol', message: 'must be a symbol such as AAPL', code: 'unknown_symbol' }])
  )
}

export const historySchema = z.object({
  symbol: symbolSchema,
  range: enumSchema(HISTORY_RANGES),
  basis: z
    .enum(PRICE_BASES, { error: oneOfMessage(PRICE_BASES) })
    .default('split')
    .meta({ description: 'raw: as traded; split: in the shares of today; adjusted: dividends taken out, too' }),
  until: z.iso
    .date({ error: DATE_MESSAGE })
    .refine((day) => day >= '1900', 'must be a date from 1900 on')
    .optional()
    .meta({ description: 'The exclusive end of a stretch that is over; without it, the range ends now' }),
})
/** Which price history a client asks for; `until` is null where it goes up to now. */
export type HistoryInput = Omit<z.output<typeof historySchema>, 'until'> & { until: string | null }

/**
 * The query of `GET /get-history`.
 * @param today in UTC, `2025-12-03`
 * @throws CodedError `unknown_range`, `unknown_symbol` or `invalid_request`, naming every field that is wrong
 */
export function parseHistoryInput(query: URLSearchParams, today: string): HistoryInput {
  const { until = null, ...input } = parse(historySchema, singleParams(query, ['symbol', 'range', 'basis', 'until']))
  if (until !== null && until > today)
    throwFieldErrors([{ field: 'until', message: 'must not be after today (UTC)', code: 'invalid_request' }])
  return { ...input, until, symbol: parseAssetName(input.symbol) }
}

/** The body of `POST /get-batch-prices`. */
export const symbolsSchema = z.object({
  symbols: z
    .array(z.string({ error: 'must be text' }), { error: 'is required: a list of symbols' })
    .min(1, 'must name one symbol at least'),
})

/** The body of `POST /refresh-prices`, which may be left out. */
export const refreshSchema = z.object({
  symbols: symbolsSchema.shape.symbols.optional().meta({ description: 'Left out: all assets' }),
})

/** A body as an object whose symbols are not too many. That is looked at before each of them is. */
function checkSymbolCount(body: unknown, { MAX_SYMBOLS }: Settings): Record<string, unknown> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return throwFieldErrors([{ field: 'symbols', message: 'the body must be an object', code: 'invalid_request' }])
  const { symbols } = body as { symbols?: unknown }
  if (Array.isArray(symbols) && symbols.length > MAX_SYMBOLS)
    throwFieldErrors([{ field: 'symbols', message: `must be ${MAX_SYMBOLS} at most`, code: 'too_many_symbols' }])
  return body as Record<string, unknown>
}

/**
 * The symbols of the body of `POST /get-batch-prices`, as they were written.
 * @throws CodedError `too_many_symbols` or `invalid_request`, naming what is wrong
 */
export const parseSymbolsInput = (body: unknown, settings: Settings): string[] =>
  parse(symbolsSchema, checkSymbolCount(body, settings)).symbols

/** The same of `POST /refresh-prices`; null is every asset. */
export const parseRefreshInput = (body: unknown, settings: Settings): string[] | null =>
  parse(refreshSchema, checkSymbolCount(body, settings)).symbols ?? null

const MAX_ASSETS = 200

export const assetsSchema = z.object({
  q: z
    .string()
    .max(100, 'must have 100 characters at most')
    .default('')
    .meta({ description: 'A part of a symbol or a name; empty: every asset' }),
  limit: limitSchema(50, MAX_ASSETS),
  after: z
    .string()
    .max(1_000, 'must be what an answer gave as next')
    .optional()
    .meta({ description: 'What an answer gave as `next`: goes on from there' }),
})

/** The query of `GET /api/v1/assets`. @throws CodedError naming every field that is wrong */
export function parseAssetsInput(query: URLSearchParams): AssetSearch {
  const { after = null, ...input } = parse(assetsSchema, singleParams(query, ['q', 'limit', 'after']))
  return { ...input, q: input.q.trim(), after }
}

/** Is this one of the active products? @throws CodedError `unknown_product` naming `field` */
export function checkProduct(id: string, { PRODUCTS }: Settings, field: string): void {
  const fault = productError(id, PRODUCTS)
  if (fault) throwFieldErrors([{ field, message: fault, code: 'unknown_product' }])
}

/** Why a product has no candles here, or null if it has. */
export function productError(id: string, active: readonly string[]): string | null {
  if (active.includes(id)) return null
  return PRODUCT_ID_PATTERN.test(id)
    ? `${id} is not one of the active products`
    : 'must be a product id such as BTC-USD'
}

/** What an event stream is asked for. */
export type StreamInput = {
  products: string[]
  /** `*` was asked for: products that are not traded now are left out rather than refused. */
  everyProduct: boolean
  granularities: Granularity[]
  passive: boolean
}

/** All values of a parameter under both its names: it may repeat, and each value may hold commas. */
export const listParam = (query: URLSearchParams, ...names: string[]): string[] => [
  ...new Set(
    names
      .flatMap((name) => query.getAll(name))
      .flatMap((value) => value.split(','))
      .map((value) => value.trim())
      .filter((value) => value !== ''),
  ),
]

/**
 * The query of the event streams: `product(s)` and `granularity` or `granularities`, at least one of each; `*` is every
 * active product, every granularity.
 * @throws CodedError naming every field that is missing or wrong
 */
export function parseStreamInput(query: URLSearchParams, { PRODUCTS }: Settings): StreamInput {
  const products = listParam(query, 'product', 'products')
  const granularities = listParam(query, 'granularity', 'granularities')
  const passive = query.get('passive') ?? 'false'
  const faults: CodedFieldError[] = []
  if (products.length === 0)
    faults.push({ field: 'product', message: 'is required: a product id, or *', code: 'invalid_request' })
  if (granularities.length === 0)
    faults.push({
      field: 'granularity',
      message: `is required: ${oneOfMessage(GRANULARITIES)}`,
      code: 'invalid_request',
    })
  for (const id of products) {
    const fault = id === '*' ? null : productError(id, PRODUCTS)
    if (fault) faults.push({ field: 'product', message: fault, code: 'unknown_product' })
  }
  for (const name of granularities)
    if (name !== '*' && !isGranularity(name))
      faults.push({ field: 'granularity', message: oneOfMessage(GRANULARITIES), code: 'unknown_granularity' })
  if (passive !== 'true' && passive !== 'false')
    faults.push({ field: 'passive', message: 'must be true or false', code: 'invalid_request' })
  if (faults.length > 0) throwFieldErrors(faults)
  return {
    everyProduct: products.includes('*'),
    products: products.includes('*') ? [...PRODUCTS] : products,
    granularities: granularities.includes('*') ? [...GRANULARITIES] : (granularities as Granularity[]),
    passive: passive === 'true',
  }
}
