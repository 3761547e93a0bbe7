/** A request to one provider: `url` without its base path, `host` as the caller meant it, `now` unix milliseconds. */
export type IncomingRequest = {
  url: URL
  header(name: string): string | undefined
  host: string | null
  now: number
}

/** Text is sent unchanged, everything else as JSON. `weight` is in the provider's own unit. */
export type ProviderResponse = {
  status: number
  body: unknown
  headers?: Record<string, string | string[]>
  weight?: number
}

export const ok = (body: unknown, more: Omit<ProviderResponse, 'status' | 'body'> = {}): ProviderResponse => ({
  status: 200,
  body,
  ...more,
})

/** One provider: which ids a request asks for, and its answer. */
export type SimulatedProvider = {
  idsOf(url: URL): string[]
  /** A response body of the right shape that holds nothing. */
  emptyBody: unknown
  answer(ask: IncomingRequest): ProviderResponse
  /** Its response to too many requests; `retryAfter` in seconds, null for no such header. */
  tooManyRequests(retryAfter: number | null): ProviderResponse
  /** Its response when one id spoils the whole request. */
  rejectBatch(status: number): ProviderResponse
}
