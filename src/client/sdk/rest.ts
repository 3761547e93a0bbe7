import type { ClientDeps } from './stream.ts'

/** Selects the user: the owner of the token, or the user who is signed in in this browser. */
export type RestAccess = {
  /** Base URL of the Kerb, such as `https://kerb.example`. Not needed in a page that the Kerb serves. */
  url?: string
  /** An access token, or a function that returns the current one. */
  token?: string | (() => string | Promise<string>)
}

const REQUEST_TIMEOUT_MS = 10_000

/** `body` is null unless the status is 200. `retryAfterMs` is 0 without a `Retry-After`. */
export type RestResponse = { status: number; body: unknown; retryAfterMs: number }

/** Sends one request to the REST API. Rejects if no response comes in time. */
export type RestClient = (path: string, method?: 'GET' | 'POST') => Promise<RestResponse>

/** Creates a client of the REST API for this user. */
export function createRestClient({ url, token }: RestAccess, deps: ClientDeps): RestClient {
  return async (path, method = 'GET') => {
    const bearer = typeof token === 'function' ? await token() : token
    const abort = new AbortController()
    const cancelTimeout = deps.later(() => abort.abort(new Error(`${path}: timeout`)), REQUEST_TIMEOUT_MS)
    try {
      const response = await deps.fetch(new URL(path, url ?? globalThis.location?.href), {
        method,
        headers: { accept: 'application/json', ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }) },
        credentials: bearer === undefined ? 'same-origin' : 'omit',
        signal: abort.signal,
      })
      return {
        status: response.status,
        body: response.status === 200 ? await response.json() : null,
        retryAfterMs: Number(response.headers.get('retry-after')) * 1_000 || 0,
      }
    } finally {
      cancelTimeout()
    }
  }
}
