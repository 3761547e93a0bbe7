import { z } from 'zod'
import type { Settings } from '../../config.ts'
import { PRODUCT_ID_PATTERN } from '../../protocol/channel.ts'
import { GRANULARITIES, type Granularity, isGranularity } from '../../protocol/granularity.ts'
import {
  type CodedFieldError,
  dateSchema,
  enumSchema,
  invalidField,
  limitSchema,
  listParam,
  oneOfMessage,
  parseQuery,
  throwFieldErrors,
} from '../http/input.ts'

const MAX_CANDLES = 1_000

/** Unix seconds or RFC 3339 text, as Unix seconds. A fraction counts as the next second: candles start on whole ones. */
const timestampSchema = z.string().transform((text, context) => {
  if (/^\d{1,11}$/.test(text)) return Number(text)
  // In a query `+` means a space: an unescaped offset of +01:00 arrives as " 01:00".
  const time = z.iso.datetime({ offset: true }).safeParse(text.replace(/ (?=\d\d:\d\d$)/, '+'))
  const seconds = time.success ? Math.ceil(Date.parse(time.data) / 1_000) : -1
  if (seconds >= 0) return seconds
  context.addIssue({ code: 'custom', message: 'must be Unix seconds or an RFC 3339 time from 1970 on' })
  return z.NEVER
})

export const candlesSchema = z.object({
  granularity: enumSchema(GRANULARITIES),
  start: timestampSchema.optional().meta({ description: 'Inclusive: Unix seconds or RFC 3339' }),
  end: timestampSchema.optional().meta({ description: 'Exclusive: Unix seconds or RFC 3339' }),
  limit: limitSchema(300, MAX_CANDLES),
  fill: z
    .enum(['flat'], { error: 'must be flat or left out' })
    .optional()
    .meta({ description: 'flat: an empty interval gets a candle at the last price' }),
})

/** A range of candles: `start` inclusive, `end` exclusive, in Unix seconds. */
export type CandlesInput = z.output<typeof candlesSchema>

/**
 * Parses the query of `GET /api/v1/products/:id/candles`.
 * @throws CodedError `unknown_granularity` or `invalid_request`, naming every invalid field
 */
export function parseCandlesInput(query: URLSearchParams): CandlesInput {
  const input = parseQuery(candlesSchema, query)
  if (input.start !== undefined && input.end !== undefined && input.start >= input.end)
    throw invalidField('start', 'must be before end')
  return input
}

export const barsSchema = z.object({ bars: limitSchema(100, MAX_CANDLES) })

/** The `bars` of a chart stream, 100 by default. @throws CodedError `invalid_request` */
export const parseBarsInput = (query: URLSearchParams): number => parseQuery(barsSchema, query).bars

export const auditSchema = z.object({ product: z.string().optional(), day: dateSchema(1970).optional() })

/** Selects audits: `product` null means all products, `day` null the most recent days. */
export type AuditInput = { product: string | null; day: string | null }

/** Parses the query of `GET /api/v1/audit`. @throws CodedError naming every invalid field */
export function parseAuditInput(query: URLSearchParams, settings: Settings): AuditInput {
  const { product = null, day = null } = parseQuery(auditSchema, query)
  if (product !== null) checkProduct(product, settings, 'product')
  return { product, day }
}

/** Checks that a product is active. @throws CodedError `unknown_product` naming `field` */
export function checkProduct(id: string, { PRODUCTS }: Settings, field: string): void {
  const message = productError(id, PRODUCTS)
  if (message !== null) throw invalidField(field, message, 'unknown_product')
}

/** Why a product has no candles, or null if it is active. */
export function productError(id: string, active: readonly string[]): string | null {
  if (active.includes(id)) return null
  return PRODUCT_ID_PATTERN.test(id)
    ? `${id} is not an active product; GET /api/v1/products lists them`
    : 'must be a product id such as BTC-USD'
}

/** The query parameters of an event stream of candles. */
export const candleStreamSchema = z.object({
  product: z
    .string()
    .optional()
    .meta({ description: 'Products, separated by commas or repeated; * means all. Also `products`' }),
  granularity: z
    .string()
    .optional()
    .meta({ description: `One or more of ${GRANULARITIES.join(', ')}; * means all. Also \`granularities\`` }),
  passive: z.enum(['true', 'false']).optional().meta({ description: 'true: this stream does not open a feed' }),
})

/** A request for an event stream of candles. */
export type StreamInput = {
  products: string[]
  /** True for `*`: products that are not traded now are left out instead of refused. */
  everyProduct: boolean
  granularities: Granularity[]
  passive: boolean
}

/**
 * Parses the query of an event stream: `product(s)` and `granularity` or `granularities`, at least one of each; `*` means
 * every active product or every granularity. By hand, because parameters may repeat and contain lists.
 * @throws CodedError naming every field that is missing or invalid
 */
export function parseStreamInput(query: URLSearchParams, { PRODUCTS }: Settings): StreamInput {
  const products = listParam(query, 'product', 'products')
  const granularities = listParam(query, 'granularity', 'granularities')
  const passive = query.get('passive') ?? 'false'
  const errors: CodedFieldError[] = []
  const add = (field: string, message: string, code: CodedFieldError['code'] = 'invalid_request') =>
    errors.push({ field, message, code })
  if (products.length === 0) add('product', 'is required: a product id such as BTC-USD, or *')
  if (granularities.length === 0) add('granularity', `is required: ${oneOfMessage(GRANULARITIES)}`)
  for (const id of products) {
    const message = id === '*' ? null : productError(id, PRODUCTS)
    if (message !== null) add('product', message, 'unknown_product')
  }
  for (const name of granularities)
    if (name !== '*' && !isGranularity(name)) add('granularity', oneOfMessage(GRANULARITIES), 'unknown_granularity')
  if (passive !== 'true' && passive !== 'false') add('passive', 'must be true or false')
  if (errors.length > 0) throwFieldErrors(errors)
  return {
    everyProduct: products.includes('*'),
    products: products.includes('*') ? [...PRODUCTS] : products,
    granularities: granularities.includes('*') ? [...GRANULARITIES] : (granularities as Granularity[]),
    passive: passive === 'true',
  }
}
