/** A request to one provider: `url` without its base path, `host` as the caller meant it, `now` unix milliseconds. */
export type Ask = {
  url: URL
  header(name: string): string | undefined
  host: string | null
  now: number
}

/** Text goes out as it stands, everything else as JSON. `weight` is in the provider's own unit. */
export type Answer = {
  status: number
  body: unknown
  headers?: Record<string, string | string[]>
  weight?: number
}

export const ok = (body: unknown, more: Omit<Answer, 'status' | 'body'> = {}): Answer => ({
  status: 200,
  body,
  ...more,
})

/** One provider: which ids a request asks for, and its answer. */
export type Provider = {
  idsOf(url: URL): string[]
  answer(ask: Ask): Answer
  /** What it says when there were too many requests; `retryAfter` in seconds, null for no such header. */
  tooMany(retryAfter: number | null): Answer
  /** What it says when one id spoils the whole request. */
  refuseBatch(status: number): Answer
}
