import { z } from 'zod'
import { CodedError, type ErrorCode, type FieldError } from '../../protocol/errors.ts'

/** An error of one field, with the code that it gives the whole response. */
export type CodedFieldError = FieldError & { code: ErrorCode }

/** Reports all of these errors; the first gives the code. @throws CodedError */
export function throwFieldErrors(errors: readonly CodedFieldError[]): never {
  const [first] = errors as [CodedFieldError]
  throw new CodedError(first.code, errors.map(({ field, message }) => `${field}: ${message}`).join('; '), {
    errors: errors.map(({ field, message }) => ({ field, message })),
  })
}

/** The error of one invalid field, for checks outside a schema. */
export const invalidField = (field: string, message: string, code: ErrorCode = 'invalid_request'): CodedError =>
  new CodedError(code, `${field}: ${message}`, { errors: [{ field, message }] })

/** The message about a value outside a closed set. */
export const oneOfMessage = (names: readonly string[]): string => `must be one of ${names.join(', ')}`

/** A required name of a closed set. */
export const enumSchema = <const T extends readonly [string, ...string[]]>(names: T) =>
  z.enum(names, {
    error: (issue) => (issue.input === undefined ? `is required: ${oneOfMessage(names)}` : oneOfMessage(names)),
  })

/** A page size in a query, from 1 to `most`. */
export const limitSchema = (fallback: number, most: number) => {
  const message = `must be a whole number from 1 to ${most}`
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .pipe(z.number().min(1, message).max(most, message))
    .optional()
    .transform((given) => given ?? fallback)
    .meta({ description: `From 1 to ${most}; ${fallback} by default` })
}

/** A calendar date from the start of `year` on. */
export const dateSchema = (year: number) =>
  z.iso
    .date({ error: 'must be a date such as 2026-01-31' })
    .refine((date) => date >= `${year}`, `must be a date from ${year} on`)

const CURRENCIES: ReadonlySet<string> = new Set(Intl.supportedValuesOf('currency'))

/** True for an ISO 4217 currency code in capitals. */
export const isCurrency = (code: string): boolean => CURRENCIES.has(code)

/** The codes of fields whose values are names of a closed set. */
const UNKNOWN_VALUE_CODES: Readonly<Record<string, ErrorCode>> = {
  granularity: 'unknown_granularity',
  range: 'unknown_range',
}

/** Parses values with a schema. @throws CodedError, mostly `invalid_request`, that names every invalid field */
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
 * Parses the parameters of a query that the schema names; others are ignored.
 * @throws CodedError as `parse`, and for a parameter that is given twice
 */
export function parseQuery<T extends z.ZodObject>(schema: T, query: URLSearchParams): z.output<T> {
  const names = Object.keys(schema.shape)
  const repeated = names.filter((name) => query.getAll(name).length > 1)
  if (repeated.length > 0)
    throwFieldErrors(repeated.map((field) => ({ field, message: 'must be given only once', code: 'invalid_request' })))
  return parse(schema, Object.fromEntries(names.flatMap((name) => (query.has(name) ? [[name, query.get(name)]] : []))))
}

/** All values of a parameter under any of its names: it may repeat, and each value may be a comma-separated list. */
export const listParam = (query: URLSearchParams, ...names: string[]): string[] => [
  ...new Set(
    names
      .flatMap((name) => query.getAll(name))
      .flatMap((value) => value.split(','))
      .map((value) => value.trim())
      .filter((value) => value !== ''),
  ),
]
