import type { ClientDeps } from './stream.ts'

/** Whose data is asked for: who has the token; without it, who is signed in in this browser. */
export type RestAccess = {
  /** Of the Kerb, such as `https://kerb.example`; in a page of it, nothing. */
  url?: string
  /** An access token, or what gives the one of now. */
  token?: string | (() => string | Promise<string>)
}

/** An answer that takes longer is given up, milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000

/** `body` is null but of 200. `retryAfterMs` is 0 where the server does not say. */
export type RestResponse = { status: number; body: unknown; retryAfterMs: number }

/** Asks one address of the REST API. Rejects when no answer comes, or none in time. */
export type RestClient = (path: string, method?: 'GET' | 'POST') => Promise<RestResponse>

/** Requests to the REST API, as whom `access` says. */
export function createRestClient({ url, token }: RestAccess, deps: ClientDeps): RestClient {
  return async (path, method = 'GET') => {
    const given = typeof token === 'function' ? await token() : token
    const abort = new AbortController()
    const inTime = deps.later(() => abort.abort(new Error(`${path} did not answer in time`)), REQUEST_TIMEOUT_MS)
    try {
      const response = await deps.fetch(new URL(path, url ?? globalThis.location?.href), {
        method,
        headers: { accept: 'application/json', ...(given === undefined ? {} : { authorization: `Bearer ${given}` }) },
        credentials: given === undefined ? 'same-origin' : 'omit',
        signal: abort.signal,
      })
      return {
        status: response.status,
        body: response.status === 200 ? await response.json() : null,
        retryAfterMs: Number(response.headers.get('retry-after')) * 1_000 || 0,
      }
    } finally {
      inTime()
    }
  }
}
