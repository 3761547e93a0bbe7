import createYahooFinance, { type YahooFinance } from 'yahoo-finance2/createYahooFinance'
import { ExtendedCookieJar } from 'yahoo-finance2/lib/cookieJar'
import type { ProviderDeps } from './provider.ts'
import { failed, noAnswer, REQUEST_TIMEOUT_MS, refusal } from './read.ts'
import type { Failure, Fetch, FetchInit, Result } from './result.ts'

const DEFAULT_URL = 'https://query2.finance.yahoo.com'
const CRUMB_PATH = '/v1/test/getcrumb'
/** What a crumb may look like: no sentence, no markup, no JSON. */
const CRUMB = /^[^\s<>{}"]{4,64}$/

type Query = Record<string, string>

/**
 * The library for its cookies, consent pages and crumbs. Its own modules for quotes and charts stay out: they leave out
 * what has no price, refuse an answer for one odd field of one quote, and log.
 */
const Library = createYahooFinance({
  modules: {
    json(this: YahooFinance, ask: Ask): Promise<unknown> {
      const { path, query, crumb, signal } = ask
      return this._fetch(`https://\${YF_QUERY_HOST}${path}`, query, { fetchOptions: { signal } }, 'json', crumb)
    },
  },
})

type Ask = { path: string; query: Query; crumb: boolean; signal: AbortSignal }

/** What one exchange with Yahoo came to; `stale`: there is no use in the session, as it is, for anybody. */
type Refused = Error & { failure: Failure; stale: boolean }
const refused = (failure: Failure, stale = false): Refused =>
  Object.assign(new Error(failure.detail), { failure, stale })

/**
 * Yahoo's JSON, behind its cookie and crumb. Both are of this session alone and are fetched with the first request that
 * takes a crumb (two requests; up to five more where a consent page stands before); when they are refused, they are
 * fetched anew and the request is sent once more.
 */
export function yahooSession({ fetch, url }: Pick<ProviderDeps, 'fetch' | 'url'>) {
  const open = () => library(fetch, url)
  let session = open()

  /**
   * One request. `not_found`: Yahoo has no data under this symbol; `unavailable` with status 401: it refuses the crumb
   * that it has just given.
   * @param signal ends the wait; 10 s unless given.
   */
  return async (path: string, query: Query, crumb: boolean, signal?: AbortSignal): Promise<Result<unknown>> => {
    const ends = signal ?? AbortSignal.timeout(REQUEST_TIMEOUT_MS)
    for (let again = false; ; again = true) {
      const used = session
      try {
        return {
          ok: true,
          value: await unlessEnded(used.json({ path, query: { ...query }, crumb, signal: ends }), ends),
        }
      } catch (error) {
        const { failure, stale } = told(error)
        if (!stale) return failure
        // Requests that were under way together find the same crumb refused: the first one ends it for all.
        if (session === used) session = open()
        if (again) return failure
      }
    }
  }
}

const quiet = () => {}

/** A session of its own: the crumb and the queue of requests go with the instance and its jar. */
function library(fetch: Fetch, url: string) {
  return new Library({
    fetch: courier(fetch, url) as unknown as typeof globalThis.fetch,
    cookieJar: new ExtendedCookieJar(),
    logger: { info: quiet, warn: quiet, error: quiet, debug: quiet, dir: quiet },
    suppressNotices: ['yahooSurvey'],
    versionCheck: false,
  })
}

/** Who waits for a crumb that another one asked for still has a time of its own. */
function unlessEnded<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(refused(noAnswer(signal.reason)))
    if (signal.aborted) end()
    signal.addEventListener('abort', end, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', end))
  })
}

function told(error: unknown): { failure: Failure; stale: boolean } {
  if (error instanceof Error && 'failure' in error) return error as Refused
  // What is left are the library's own complaints about pages that gave no cookie, or led somewhere else.
  return { failure: noAnswer(error), stale: false }
}

/**
 * The library's `fetch`: it sends to the address that is set, and lets nothing but good answers through, as the library
 * would log an address with its crumb, forget the status, or take any text for a crumb.
 */
function courier(fetch: Fetch, base: string) {
  return async (input: string, init: RequestInit) => {
    const url = new URL(input)
    const data = /^\/v\d+\/finance\//.test(url.pathname)
    let answer: Awaited<ReturnType<Fetch>>
    let body: string
    try {
      answer = await fetch(...addressed(url, base, init))
      body = url.pathname.startsWith('/quote/') ? await unread(answer) : await answer.text()
    } catch (error) {
      // All wait for the crumb of the one who asked first: if that one's time is over, theirs need not be.
      const stale = !data && init.signal?.aborted === true
      throw refused(noAnswer(String(error).replace(/crumb=[^&\s]*/g, 'crumb')), stale)
    }
    if (data) check(answer, body)
    else if (answer.status === 429 || answer.status >= 500) throw refused(refusal(answer, body))
    if (url.pathname === CRUMB_PATH) checkCrumb(answer, body)
    const { status } = answer
    // Cookies come with pages. The library does not look at whether its jar takes one that came with data.
    const headers = data ? new Headers() : answer.headers
    return { ok: status >= 200 && status < 300, status, statusText: '', headers, text: async () => body }
  }
}

/** The page that gives the cookie is a megabyte, and of no use. */
async function unread(answer: Awaited<ReturnType<Fetch>>): Promise<string> {
  await answer.body?.cancel()
  return ''
}

function addressed(url: URL, base: string, init: RequestInit): [string, FetchInit] {
  const headers: Record<string, string> = {}
  // How an answer is packed is between `fetch` and the other side.
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

type Answer = Pick<Response, 'status' | 'headers'>

function checkCrumb(answer: Answer, body: string): void {
  if (/too many requests/i.test(body)) throw refused(failed('rate_limited', answer, body))
  if (answer.status !== 200) throw refused(refusal(answer, body))
  if (!CRUMB.test(body)) throw refused(failed('unavailable', answer, 'what stands for a crumb is none'))
}

/** @throws Refused unless it is a good answer of the form `{quoteResponse: {…, error: null}}`. */
function check(answer: Answer, body: string): void {
  const error = errorOf(body)
  const detail = error ?? body
  if (answer.status === 401 || /^unauthorized/i.test(error ?? ''))
    throw refused({ ...failed('unavailable', answer, detail), status: 401 }, true)
  if (error !== null && /no data found|not found|data doesn't exist/i.test(error))
    throw refused(failed('not_found', answer, detail))
  if (answer.status !== 200) throw refused(refusal(answer, detail))
  if (/^(?:edge: )?too many requests/i.test(body)) throw refused(failed('rate_limited', answer, body))
  if (error !== null) throw refused(failed('invalid', answer, detail))
  if (contentOf(body) === null) throw refused(failed('invalid', answer, `not Yahoo's JSON: ${body}`))
}

/** The one object in Yahoo's envelope, or the answer of its search, which has none; null for anything else. */
function contentOf(body: string): Record<string, unknown> | null {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    return null
  }
  if (typeof json !== 'object' || json === null) return null
  if (Array.isArray((json as { quotes?: unknown }).quotes)) return json as Record<string, unknown>
  const contents: unknown[] = Object.values(json)
  const content = contents.length === 1 ? contents[0] : null
  return typeof content === 'object' && content !== null ? (content as Record<string, unknown>) : null
}

/** `{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, …"}}}`; null: no such error. */
function errorOf(body: string): string | null {
  const error = contentOf(body)?.error
  if (typeof error !== 'object' || error === null) return null
  const { code, description } = error as Record<string, unknown>
  return `${code}: ${description}`
}
