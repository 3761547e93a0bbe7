/** An expected failure is a value. `status` is null where no answer came; `retryAfter` is in milliseconds. */
export type Failure = {
  ok: false
  reason: 'rate_limited' | 'unavailable' | 'not_found' | 'invalid'
  status: number | null
  retryAfter: number | null
  detail: string
}
export type Result<T> = { ok: true; value: T } | Failure

/** The part of `fetch` that is used here, so that any fetch will do. */
export type Fetch = (
  url: string,
  init: { headers: Record<string, string>; signal: AbortSignal },
) => Promise<Pick<Response, 'status' | 'headers' | 'text'>>
