import { z } from 'zod'
import type { Settings } from '../config.ts'
import { PRODUCT_ID } from '../protocol/channel.ts'
import { CodedError, type ErrorCode, type FieldError } from '../protocol/errors.ts'
import { GRANULARITIES, type Granularity, isGranularity } from '../protocol/granularity.ts'

/** One field that is wrong, and what is wrong with it. */
type Fault = FieldError & { code: ErrorCode }

/** The first fault gives the code, all of them are told. */
function refuse(faults: readonly Fault[]): never {
  const [first] = faults as [Fault]
  throw new CodedError(first.code, faults.map((fault) => `${fault.field}: ${fault.message}`).join('; '), {
    errors: faults.map(({ field, message }) => ({ field, message })),
  })
}

const oneOf = (names: readonly string[]) => `must be one of ${names.join(', ')}`

/** A moment: unix seconds, or RFC 3339; a part of a second counts as the next, since candles start on whole ones. */
const moment = z.string().transform((text, context) => {
  if (/^\d{1,11}$/.test(text)) return Number(text)
  // In a query `+` stands for a space: an offset of +01:00 that was not escaped arrives as " 01:00".
  const time = z.iso.datetime({ offset: true }).safeParse(text.replace(/ (?=\d\d:\d\d$)/, '+'))
  const seconds = time.success ? Math.ceil(Date.parse(time.data) / 1_000) : -1
  if (seconds >= 0) return seconds
  context.addIssue({ code: 'custom', message: 'must be unix seconds or an RFC 3339 time from 1970 on' })
  return z.NEVER
})

const MAX_CANDLES = 1_000
const limit = (fallback: number) => {
  const message = `must be a whole number from 1 to ${MAX_CANDLES}`
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .pipe(z.number().min(1, message).max(MAX_CANDLES, message))
    .optional()
    .transform((given) => given ?? fallback)
}

const candlesSchema = z.object({
  granularity: z.enum(GRANULARITIES, {
    error: (issue) => (issue.input === undefined ? `is required: ${oneOf(GRANULARITIES)}` : oneOf(GRANULARITIES)),
  }),
  start: moment.optional(),
  end: moment.optional(),
  limit: limit(300),
  fill: z.enum(['flat'], { error: 'must be flat, if it is given' }).optional(),
})
/** A stretch of candles that a client asks for: `start` inclusive, `end` exclusive, unix seconds. */
export type CandlesInput = z.output<typeof candlesSchema>

/** The query's parameters of these names; one that is given twice is refused. */
function once(query: URLSearchParams, names: readonly string[]): Record<string, string> {
  const faults: Fault[] = []
  const values: Record<string, string> = {}
  for (const name of names) {
    const [value, ...more] = query.getAll(name)
    if (more.length > 0) faults.push({ field: name, message: 'must be given once', code: 'invalid_request' })
    else if (value !== undefined) values[name] = value
  }
  if (faults.length > 0) refuse(faults)
  return values
}

function parse<T extends z.ZodType>(schema: T, values: Record<string, string>): z.output<T> {
  const result = schema.safeParse(values)
  if (result.success) return result.data
  return refuse(
    result.error.issues.map((issue) => {
      const field = String(issue.path[0])
      const unknown = field === 'granularity' && values.granularity !== undefined
      return { field, message: issue.message, code: unknown ? 'unknown_granularity' : 'invalid_request' }
    }),
  )
}

/**
 * The query of `GET /api/v1/products/:id/candles`.
 * @throws CodedError `unknown_granularity` or `invalid_request`, naming every field that is wrong
 */
export function candlesInput(query: URLSearchParams): CandlesInput {
  const input = parse(candlesSchema, once(query, ['granularity', 'start', 'end', 'limit', 'fill']))
  if (input.start !== undefined && input.end !== undefined && input.start >= input.end)
    refuse([{ field: 'start', message: 'must be before end', code: 'invalid_request' }])
  return input
}

/** The `bars` of a chart stream: 100 by default (brief 003). @throws CodedError naming it */
export const barsInput = (query: URLSearchParams): number =>
  parse(z.object({ bars: limit(100) }), once(query, ['bars'])).bars

const auditSchema = z.object({
  product: z.string().optional(),
  day: z.iso
    .date({ error: 'must be a date such as 2026-01-31' })
    .refine((day) => day >= '1970', 'must be a date from 1970 on')
    .optional(),
})
/** Which audits a client asks for; null is all products, and the last days. */
export type AuditInput = { product: string | null; day: string | null }

/** The query of `GET /api/v1/audit`. @throws CodedError naming every field that is wrong */
export function auditInput(query: URLSearchParams, settings: Settings): AuditInput {
  const { product = null, day = null } = parse(auditSchema, once(query, ['product', 'day']))
  if (product !== null) checkProduct(product, settings, 'product')
  return { product, day }
}

/** Is this one of the active products? @throws CodedError `unknown_product` naming `field` */
export function checkProduct(id: string, { PRODUCTS }: Settings, field: string): void {
  const fault = productFault(id, PRODUCTS)
  if (fault) refuse([{ field, message: fault, code: 'unknown_product' }])
}

/** Why a product has no candles here, or null if it has. */
export function productFault(id: string, active: readonly string[]): string | null {
  if (active.includes(id)) return null
  return PRODUCT_ID.test(id) ? `${id} is not one of the active products` : 'must be a product id such as BTC-USD'
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
const list = (query: URLSearchParams, ...names: string[]): string[] => [
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
export function streamInput(query: URLSearchParams, { PRODUCTS }: Settings): StreamInput {
  const products = list(query, 'product', 'products')
  const granularities = list(query, 'granularity', 'granularities')
  const passive = query.get('passive') ?? 'false'
  const faults: Fault[] = []
  if (products.length === 0)
    faults.push({ field: 'product', message: 'is required: a product id, or *', code: 'invalid_request' })
  if (granularities.length === 0)
    faults.push({ field: 'granularity', message: `is required: ${oneOf(GRANULARITIES)}`, code: 'invalid_request' })
  for (const id of products) {
    const fault = id === '*' ? null : productFault(id, PRODUCTS)
    if (fault) faults.push({ field: 'product', message: fault, code: 'unknown_product' })
  }
  for (const name of granularities)
    if (name !== '*' && !isGranularity(name))
      faults.push({ field: 'granularity', message: oneOf(GRANULARITIES), code: 'unknown_granularity' })
  if (passive !== 'true' && passive !== 'false')
    faults.push({ field: 'passive', message: 'must be true or false', code: 'invalid_request' })
  if (faults.length > 0) refuse(faults)
  return {
    everyProduct: products.includes('*'),
    products: products.includes('*') ? [...PRODUCTS] : products,
    granularities: granularities.includes('*') ? [...GRANULARITIES] : (granularities as Granularity[]),
    passive: passive === 'true',
  }
}
