import type { z } from 'zod'
import { type Failure, type Fetch, failure, type Result } from './result.ts'

/** The timeout of a request without a signal. */
export const REQUEST_TIMEOUT_MS = 10_000

export type ResponseHead = Pick<Response, 'status' | 'headers'>

/**
 * The JSON of one GET request, parsed by the schema. Asks for `no-cache`: public responses are often cached for a second.
 * @param options.signal aborts the request, which is `unavailable` then; by default after 10 s
 * @param options.headers further request headers, such as a key: no failure repeats them
 */
export async function fetchJson<T>(
  fetch: Fetch,
  url: string,
  schema: z.ZodType<T>,
  { signal, headers }: { signal?: AbortSignal | undefined; headers?: Record<string, string> } = {},
): Promise<Result<T>> {
  let response: Awaited<ReturnType<Fetch>>
  let body: string
  try {
    response = await fetch(url, {
      headers: { accept: 'application/json', 'cache-control': 'no-cache', 'user-agent': 'kerb', ...headers },
      signal: signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    })
    body = await response.text()
  } catch (error) {
    return noResponseFailure(error)
  }
  if (response.status !== 200) return statusFailure(response, body)
  const json = parseJson(body)
  if (json === undefined) return responseFailure('invalid', response, `not JSON: ${body}`)
  const result = parseResponse(schema, json)
  return result.ok ? result : responseFailure(result.reason, response, result.detail)
}

/** The value of JSON text; undefined for other text. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The JSON of a response of status 200, parsed by the schema; its first issue makes it `invalid`. */
export function parseResponse<T>(schema: z.ZodType<T>, json: unknown): Result<T> {
  const { data, error } = schema.safeParse(json)
  if (error === undefined) return { ok: true, value: data }
  const [issue] = error.issues
  return failure('invalid', `${issue?.path.join('/')}: ${issue?.message}`, 200)
}

/** The failure of a request without a response: refused, disconnected or aborted. */
export const noResponseFailure = (error: unknown): Failure => failure('unavailable', String(error))

const STATUS_REASONS = new Map<number, Failure['reason']>([
  [429, 'rate_limited'],
  [418, 'rate_limited'],
  [404, 'not_found'],
  [400, 'invalid'],
])

/** The reason of a status other than 200. 400 is `invalid`; which part of the request is, the caller has to find out. */
export const statusReason = (status: number): Failure['reason'] => STATUS_REASONS.get(status) ?? 'unavailable'

export const statusFailure = (response: ResponseHead, body: string): Failure =>
  responseFailure(statusReason(response.status), response, body)

export const responseFailure = (reason: Failure['reason'], response: ResponseHead, detail: string): Failure => ({
  ...failure(reason, detail, response.status),
  retryAfter: parseRetryAfterMs(response.headers, Date.now()),
})

/**
 * `Retry-After` in milliseconds: seconds, or a date, counted from the response's own `Date` where it has one, so that the
 * two clocks need not agree (RFC 9110, 10.2.3). Null where the header is missing or malformed.
 * @param now unix milliseconds, for a response without `Date`
 */
export function parseRetryAfterMs(headers: Headers, now: number): number | null {
  const text = headers.get('retry-after')?.trim() ?? ''
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  // Date.parse also takes texts that are not an HTTP date, such as a number.
  const at = /^[A-Z][a-z]{2}, .* GMT$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at)) return null
  const sentAt = Date.parse(headers.get('date') ?? '')
  return Math.max(0, at - (Number.isNaN(sentAt) ? now : sentAt))
}
