/** An expected failure is a value. `status` is null where no answer came; `retryAfter` is in milliseconds. */
export type Failure = {
  ok: false
  reason: 'rate_limited' | 'unavailable' | 'not_found' | 'invalid'
  status: number | null
  retryAfter: number | null
  detail: string
}
export type Result<T> = { ok: true; value: T } | Failure

/** The part of a request that is used here: GET without a body unless told otherwise. Redirects are
 * followed when told so alone behind the gate: one that is followed is a request that nobody counted. */
export type FetchInit = {
  headers: Record<string, string>
  signal: AbortSignal
  method?: 'GET' | 'POST'
  body?: string
  redirect?: 'follow' | 'manual'
}

/** The part of `fetch` that is used here, so that any fetch will do. */
export type Fetch = (
  url: string,
  init: FetchInit,
) => Promise<Pick<Response, 'status' | 'headers' | 'text'> & { body?: { cancel(): Promise<void> } | null }>
