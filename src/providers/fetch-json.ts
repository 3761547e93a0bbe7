import type { z } from 'zod'
import type { Failure, Fetch, Result } from './result.ts'

/** An answer that takes longer counts as none. */
export const REQUEST_TIMEOUT_MS = 10_000

/** Characters of an error's body that are worth a log line. */
const DETAIL_LENGTH = 200

/**
 * One GET, its JSON checked. Public answers are often cached for a second unless `no-cache` is asked for.
 * @param options.signal ends the request, which then is `unavailable`; 10 s unless given.
 * @param options.headers go out with the request: the place for a key, as nothing that is sent is ever in a failure.
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
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    return responseFailure('invalid', response, `not JSON: ${body}`)
  }
  const parsed = schema.safeParse(json)
  return parsed.success
    ? { ok: true, value: parsed.data }
    : responseFailure('invalid', response, firstIssue(parsed.error))
}

/** What a request without an answer comes to: refused, cut, or ended by its signal. */
export const noResponseFailure = (error: unknown): Failure => ({
  ok: false,
  reason: 'unavailable',
  status: null,
  retryAfter: null,
  detail: String(error).slice(0, DETAIL_LENGTH),
})

/** What an answer that is not 200 means. 400 is `invalid`, for the caller to find out which part of it was. */
export function statusFailure(response: Pick<Response, 'status' | 'headers'>, body: string): Failure {
  const { status } = response
  if (status === 429 || status === 418) return responseFailure('rate_limited', response, body)
  if (status === 404) return responseFailure('not_found', response, body)
  if (status === 400) return responseFailure('invalid', response, body)
  return responseFailure('unavailable', response, body)
}

export const responseFailure = (
  reason: Failure['reason'],
  response: Pick<Response, 'status' | 'headers'>,
  detail: string,
): Failure => ({
  ok: false,
  reason,
  status: response.status,
  retryAfter: parseRetryAfterMs(response.headers),
  detail: detail.slice(0, DETAIL_LENGTH),
})

/** The first of what is wrong with an answer. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]
  return `${issue?.path.join('/')}: ${issue?.message}`
}

/**
 * `Retry-After` in milliseconds: seconds, or a date, counted from the answer's own `Date` where it has one, so that the
 * two clocks need not agree (RFC 9110, 10.2.3). Null where there is none, or none that can be read.
 */
function parseRetryAfterMs(headers: Headers): number | null {
  const text = headers.get('retry-after')?.trim() ?? ''
  if (/^\d{1,6}$/.test(text)) return Number(text) * 1000
  // The form of a date in HTTP: whatever else Date.parse takes, a number among it, is none.
  const at = /^[A-Z][a-z]{2}, .* GMT$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(at)) return null
  const told = Date.parse(headers.get('date') ?? '')
  return Math.max(0, at - (Number.isNaN(told) ? Date.now() : told))
}
