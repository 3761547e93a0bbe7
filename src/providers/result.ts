/** An expected failure is a value. `status` is null where no response came; `retryAfter` is in milliseconds. */
export type Failure = {
  ok: false
  reason: 'rate_limited' | 'unavailable' | 'not_found' | 'invalid'
  status: number | null
  retryAfter: number | null
  detail: string
}
export type Result<T> = { ok: true; value: T } | Failure

/** The longest detail of a failure, in characters: it may be a whole body. */
const DETAIL_LENGTH = 200

export const failure = (reason: Failure['reason'], detail: string, status: number | null = null): Failure => ({
  ok: false,
  reason,
  status,
  retryAfter: null,
  detail: detail.slice(0, DETAIL_LENGTH),
})

/**
 * The request options that providers use: GET without a body unless given. A redirect is followed only where asked for:
 * one that is followed silently is a request that the rate limit does not count.
 */
export type FetchInit = {
  headers: Record<string, string>
  signal: AbortSignal
  method?: 'GET' | 'POST'
  body?: string
  redirect?: 'follow' | 'manual'
}

/** The part of `fetch` that providers use, so that any implementation will do. */
export type Fetch = (
  url: string,
  init: FetchInit,
) => Promise<Pick<Response, 'status' | 'headers' | 'text'> & { body?: { cancel(): Promise<void> } | null }>
