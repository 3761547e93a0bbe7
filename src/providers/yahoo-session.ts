import pTimeout from 'p-timeout'
import createYahooFinance, { type YahooFinance } from 'yahoo-finance2/createYahooFinance'
import { ExtendedCookieJar } from 'yahoo-finance2/lib/cookieJar'
import { z } from 'zod'
import {
  noResponseFailure,
  parseJson,
  parseResponse,
  REQUEST_TIMEOUT_MS,
  type ResponseHead,
  responseFailure,
  statusFailure,
} from './fetch-json.ts'
import type { ReachableProviderDeps } from './provider.ts'
import type { Failure, Fetch, FetchInit, Result } from './result.ts'

const DEFAULT_URL = 'https://query2.finance.yahoo.com'
const CRUMB_PATH = '/v1/test/getcrumb'
/** A valid crumb: not a sentence, markup or JSON. */
const CRUMB = /^[^\s<>{}"]{4,64}$/

type Query = Record<string, string>

/**
 * The library is used for cookies, consent pages and crumbs. Its modules for quotes and charts are not: they drop ids
 * without a price, refuse a whole response for one odd field, and log.
 */
const YahooClient = createYahooFinance({
  modules: {
    json(this: YahooFinance, ask: JsonRequest): Promise<unknown> {
      const { path, query, crumb, signal } = ask
      return this._fetch(`https://\${YF_QUERY_HOST}${path}`, query, { fetchOptions: { signal } }, 'json', crumb)
    },
  },
})

type JsonRequest = { path: string; query: Query; crumb: boolean; signal: AbortSignal }

/** The failure of one request to Yahoo; `stale`: the session must be replaced. */
type SessionError = Error & { failure: Failure; stale: boolean }
const sessionError = (failure: Failure, stale = false): SessionError =>
  Object.assign(new Error(failure.detail), { failure, stale })

/**
 * Reads Yahoo's JSON, with the cookie and the crumb of this session. Both are fetched with the first request that needs a
 * crumb (two requests, and up to five more for a consent page); when they are refused, they are fetched again, and the
 * request is sent once more.
 */
export function yahooSession({ fetch, url }: Pick<ReachableProviderDeps, 'fetch' | 'url'>) {
  const open = () => createClient(fetch, url)
  let session = open()

  /**
   * The response to one request, parsed by the schema. `not_found`: Yahoo has no data for this symbol; `unavailable` with status 401: it refuses a new crumb.
   * @param signal ends the wait; by default after 10 s
   */
  return async <T>(
    schema: z.ZodType<T>,
    path: string,
    query: Query,
    crumb: boolean,
    signal?: AbortSignal,
  ): Promise<Result<T>> => {
    const ends = signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS)
    for (let again = false; ; again = true) {
      const used = session
      try {
        ends.throwIfAborted()
        const answer = used.json({ path, query: { ...query }, crumb, signal: ends })
        // Ends at its own signal, also while it waits for a crumb that another request fetches.
        return parseResponse(schema, await pTimeout(answer, { milliseconds: Number.POSITIVE_INFINITY, signal: ends }))
      } catch (error) {
        const { failure, stale } = toSessionFailure(error)
        if (!stale) return failure
        // The same crumb is refused for all requests in flight: the first of them replaces the session.
        if (session === used) session = open()
        if (again) return failure
      }
    }
  }
}

const noop = () => {}

/** A new session: the crumb and the queue of requests belong to the instance and its cookie jar. */
function createClient(fetch: Fetch, url: string) {
  return new YahooClient({
    fetch: guardedFetch(fetch, url) as unknown as typeof globalThis.fetch,
    cookieJar: new ExtendedCookieJar(),
    logger: { info: noop, warn: noop, error: noop, debug: noop, dir: noop },
    suppressNotices: ['yahooSurvey'],
    versionCheck: false,
  })
}

function toSessionFailure(error: unknown): { failure: Failure; stale: boolean } {
  if (error instanceof Error && 'failure' in error) return error as SessionError
  // Other errors are the library's own, about pages without a cookie or with a redirect.
  return { failure: noResponseFailure(error), stale: false }
}

/**
 * The library's `fetch`: it sends to the configured URL, and throws for every failed response, since the library would log
 * a URL with its crumb, lose the status, or accept any text as a crumb.
 */
function guardedFetch(fetch: Fetch, base: string) {
  return async (input: string, init: RequestInit) => {
    const url = new URL(input)
    const data = /^\/v\d+\/finance\//.test(url.pathname)
    let answer: Awaited<ReturnType<Fetch>>
    let body: string
    try {
      answer = await fetch(...buildRequest(url, base, init))
      body = url.pathname.startsWith('/quote/') ? await discardBody(answer) : await answer.text()
    } catch (error) {
      // All requests wait for the crumb of the first one: when that times out, the others fetch a new one.
      const stale = !data && init.signal?.aborted === true
      throw sessionError(noResponseFailure(String(error).replace(/crumb=[^&\s]*/g, 'crumb')), stale)
    }
    if (data) assertData(answer, body)
    else if (answer.status === 429 || answer.status >= 500) throw sessionError(statusFailure(answer, body))
    if (url.pathname === CRUMB_PATH) assertCrumb(answer, body)
    const { status } = answer
    // Cookies come with pages only. The library does not check whether its jar accepts a cookie of another response.
    const headers = data ? new Headers() : answer.headers
    return { ok: status >= 200 && status < 300, status, statusText: '', headers, text: async () => body }
  }
}

/** The page that sets the cookie has a megabyte, which is not read. */
async function discardBody(answer: Awaited<ReturnType<Fetch>>): Promise<string> {
  await answer.body?.cancel()
  return ''
}

function buildRequest(url: URL, base: string, init: RequestInit): [string, FetchInit] {
  const headers: Record<string, string> = {}
  // The compression is negotiated by `fetch`.
  for (const [name, value] of Object.entries((init.headers ?? {}) as Record<string, string>))
    if (value !== '' && name.toLowerCase() !== 'accept-encoding') headers[name.toLowerCase()] = value
  const elsewhere = base !== DEFAULT_URL && url.hostname.endsWith('.yahoo.com')
  if (elsewhere) headers['x-forwarded-host'] = url.hostname
  return [
    elsewhere ? base + url.pathname + url.search : url.href,
    {
      headers,
      signal: init.signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(init.method === 'POST' && { method: 'POST' as const, body: String(init.body) }),
      ...(init.redirect === 'manual' && { redirect: 'manual' as const }),
    },
  ]
}

function assertCrumb(answer: ResponseHead, body: string): void {
  if (/too many requests/i.test(body)) throw sessionError(responseFailure('rate_limited', answer, body))
  if (answer.status !== 200) throw sessionError(statusFailure(answer, body))
  if (!CRUMB.test(body)) throw sessionError(responseFailure('unavailable', answer, 'not a valid crumb'))
}

/** @throws SessionError unless the response is JSON with some content and without an error */
function assertData(answer: ResponseHead, body: string): void {
  const json = parseJson(body)
  const error = envelopeError(json)
  const detail = error ?? body
  if (answer.status === 401 || /^unauthorized/i.test(error ?? ''))
    throw sessionError({ ...responseFailure('unavailable', answer, detail), status: 401 }, true)
  if (error !== null && /no data found|not found|data doesn't exist/i.test(error))
    throw sessionError(responseFailure('not_found', answer, detail))
  if (answer.status !== 200) throw sessionError(statusFailure(answer, detail))
  if (/^(?:edge: )?too many requests/i.test(body)) throw sessionError(responseFailure('rate_limited', answer, body))
  if (error !== null) throw sessionError(responseFailure('invalid', answer, detail))
  if (Object.values(json ?? {}).every((content) => content === null))
    throw sessionError(responseFailure('invalid', answer, `not Yahoo's JSON: ${body}`))
}

const errorSchema = z.record(z.string(), z.object({ error: z.object({ code: z.string(), description: z.string() }) }))

/** `{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, …"}}}`; null: it has no error. */
function envelopeError(json: unknown): string | null {
  const [content] = Object.values(errorSchema.safeParse(json).data ?? {})
  return content === undefined ? null : `${content.error.code}: ${content.error.description}`
}
