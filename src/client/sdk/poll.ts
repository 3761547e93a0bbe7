import type { EnrichedPortfolio } from '../../protocol/portfolio.ts'
import type { RestClient, RestResponse } from './rest.ts'
import type { Stream, StreamDeps } from './stream.ts'

const CACHE_PATH = '/api/v1/stocks/portfolio-cache'

export type PollHandlers = {
  onPortfolio(portfolio: EnrichedPortfolio): void
  /** The error of the last attempt; null if it succeeded. */
  onAttempt(error: string | null): void
  onSignedOut(): void
}

/**
 * Reads the cached portfolio now, and again `intervalMs` after each response: sooner while the server computes it (202),
 * later if the server asks for that. Ends by itself when the user is signed out.
 */
export function pollPortfolio(
  request: RestClient,
  intervalMs: number,
  handlers: PollHandlers,
  deps: StreamDeps,
): Stream {
  let closed = false
  let requesting = false
  /** Responses in a row that said 202. */
  let notReady = 0
  let cancel: (() => void) | null = null

  async function poll(): Promise<void> {
    cancel?.()
    requesting = true
    const response = await request(CACHE_PATH).catch((error: unknown) => String(error))
    requesting = false
    if (closed) return
    if (typeof response === 'string') {
      schedule(intervalMs)
      handlers.onAttempt(response)
      return
    }
    take(response)
  }

  function take({ status, body, retryAfterMs }: RestResponse): void {
    if (status === 401) {
      close()
      handlers.onSignedOut()
      return
    }
    if (status !== 202) notReady = 0
    schedule(status === 202 ? Math.min(intervalMs, retryAfterMs * 2 ** notReady++) : Math.max(intervalMs, retryAfterMs))
    if (status === 200) handlers.onPortfolio(body as EnrichedPortfolio)
    handlers.onAttempt(status === 200 || status === 202 ? null : `the portfolio request failed with status ${status}`)
  }

  const schedule = (ms: number) => {
    cancel = deps.later(() => void poll(), ms)
  }
  const check = () => {
    if (!closed && !requesting) void poll()
  }
  function close(): void {
    closed = true
    stopWatching()
    cancel?.()
  }

  const stopWatching = deps.returned(check)
  void poll()
  return { close, check }
}
