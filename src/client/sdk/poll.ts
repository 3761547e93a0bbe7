import type { EnrichedPortfolio } from '../../protocol/portfolio.ts'
import type { RestClient, RestResponse } from './rest.ts'
import type { Stream, StreamDeps } from './stream.ts'

const CACHE_PATH = '/api/v1/stocks/portfolio-cache'

export type PollHandlers = {
  onPortfolio(answer: EnrichedPortfolio): void
  /** What is wrong with the last attempt; null: nothing. */
  onAttempt(error: string | null): void
  onSignedOut(): void
}

/**
 * Reads the portfolio at once, and again so many milliseconds after each answer; sooner while it is being made (202), later
 * where the server says so. Ends by itself when nobody is signed in any more.
 */
export function pollPortfolio(ask: RestClient, intervalMs: number, handlers: PollHandlers, deps: StreamDeps): Stream {
  let closed = false
  let asking = false
  let unmade = 0
  let cancel: (() => void) | null = null

  async function poll(): Promise<void> {
    cancel?.()
    asking = true
    const answer = await ask(CACHE_PATH).catch((error: unknown) => String(error))
    asking = false
    if (closed) return
    if (typeof answer === 'string') {
      again(intervalMs)
      handlers.onAttempt(answer)
      return
    }
    take(answer)
  }

  function take({ status, body, retryAfterMs }: RestResponse): void {
    if (status === 401) {
      close()
      handlers.onSignedOut()
      return
    }
    if (status !== 202) unmade = 0
    again(status === 202 ? Math.min(intervalMs, retryAfterMs * 2 ** unmade++) : Math.max(intervalMs, retryAfterMs))
    if (status === 200) handlers.onPortfolio(body as EnrichedPortfolio)
    handlers.onAttempt(status === 200 || status === 202 ? null : `the portfolio answered ${status}`)
  }

  const again = (ms: number) => {
    cancel = deps.later(() => void poll(), ms)
  }
  const check = () => {
    if (!closed && !asking) void poll()
  }
  function close(): void {
    closed = true
    notReturned()
    cancel?.()
  }

  const notReturned = deps.returned(check)
  void poll()
  return { close, check }
}
