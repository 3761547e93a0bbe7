import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { QuoteProviderName } from '../../src/pricing/quote-providers.ts'
import {
  breakerState,
  type CallOutcome,
  isInteractive,
  maxConcurrency,
  newProviderState,
  type ProviderState,
  type Purpose,
  type RateLimitRefusal,
  type RateLimits,
  type RequestOutcome,
  recordCallOutcome,
  reserve,
  settle,
  usage,
} from '../../src/providers/rate-limit.ts'
import type { FetchInit } from '../../src/providers/result.ts'

/** What an answer may have, characters or bytes: the whole history of one asset, or a page of Yahoo's, is some 3 MB. */
const MAX_BODY_CHARS = 16_000_000

/** Characters of an error that are worth a log line. */
const MAX_ERROR_CHARS = 200

/** What asks a provider once, with as many requests as that takes. */
export type ProviderCall = {
  readonly number: number
  readonly purpose: Purpose
  /** Of its next request. */
  weight: number
  /** It does not begin after this, unix milliseconds. */
  readonly until: number
  /** A request of it has gone out. */
  sent: boolean
  /** Why a request of it did not go out. */
  refusal: RateLimitRefusal | null
  /** A request of it has already told of the provider's failure. */
  failureRecorded: boolean
}

/** What the budget of one provider needs of the object that holds it. */
export type RateLimitedFetchHost = {
  provider: QuoteProviderName
  limits: RateLimits
  /** Longest that one request takes, its body included; milliseconds. */
  timeoutMs: number
  /** What must never be logged. */
  secrets: readonly string[]
  now(): number
  /** Evenly in [0, 1). */
  random(): number
  send(url: string, init: RequestInit): Promise<Response>
  /** The state as it was saved last, if ever. */
  load(): ProviderState | null
  /** Is on disk before any request that is sent afterwards. */
  save(state: ProviderState): void
  log(event: string, fields: Record<string, unknown>): void
}

/** A request that the budget does not allow now. */
export class RateLimitExceeded extends Error {
  override readonly name = 'OverBudget'
}

/**
 * The `fetch` of one provider (Q4): every request asks its budget first, and tells it how it ended. Whom a request is
 * for is found by its signal: the one that `begin` gave.
 */
export class RateLimitedFetch {
  readonly #host: RateLimitedFetchHost
  #state: ProviderState
  #lastCallNumber = 0
  readonly #callsBySignal = new WeakMap<AbortSignal, ProviderCall>()
  /** Calls that have their turn, and those that wait for it. */
  #active = 0
  #waiting: { call: ProviderCall; begin: (turn: boolean) => void }[] = []

  constructor(host: RateLimitedFetchHost) {
    this.#host = host
    this.#state = { ...newProviderState(host.now()), ...host.load() }
  }

  get limits(): RateLimits {
    return this.#host.limits
  }

  /** A call that may begin until then (unix milliseconds). The requests that are made with `signal` are a part of it. */
  openCall(purpose: Purpose, weight: number, until: number): { call: ProviderCall; signal: AbortSignal } {
    // Numbers of an object that has died may still stand in the state.
    this.#lastCallNumber = Math.max(this.#lastCallNumber, this.#state.nextLease) + 1
    const call: ProviderCall = {
      number: this.#lastCallNumber,
      purpose,
      weight,
      until,
      sent: false,
      refusal: null,
      failureRecorded: false,
    }
    const { signal } = new AbortController()
    this.#callsBySignal.set(signal, call)
    return { call, signal }
  }

  /**
   * Waits for the call's turn: as many have theirs as there may be requests under way, and those go first whom a person
   * waits for. Each turn ends with `end`.
   * @returns false where the turn came too late; there is none then
   */
  waitForTurn(call: ProviderCall): Promise<boolean> {
    const turn = new Promise<boolean>((begin) => this.#waiting.push({ call, begin }))
    this.#startWaiting()
    return turn
  }

  #startWaiting(): void {
    const rank = ({ call }: { call: ProviderCall }) => (isInteractive(call.purpose) ? 0 : 1)
    this.#waiting.sort((a, b) => rank(a) - rank(b))
    this.#waiting = this.#waiting.filter(({ call, begin }) => {
      const late = this.#host.now() >= call.until
      if (!late && this.#active >= maxConcurrency(this.#host.limits, call.purpose)) return true
      if (!late) this.#active++
      begin(!late)
      return false
    })
  }

  /** Ends a call with what came of it. `retryAfter` in milliseconds, where the provider has said so. */
  endCall(
    call: ProviderCall,
    verdict: CallOutcome,
    error: string | null = null,
    retryAfter: number | null = null,
  ): void {
    const before = this.#state
    // That the budget let nobody through is no word of the provider's: why it did not, stands already.
    const told = { error: error === null || call.refusal !== null ? null : this.#redact(error), retryAfter }
    // What a request has told already is not told twice; who has sent none was let down by another call's.
    const said = !call.sent || (call.failureRecorded && verdict !== 'ok') ? 'none' : verdict
    const { limits } = this.#host
    this.#saveState(recordCallOutcome(before, limits, call.number, said, this.#host.now(), this.#host.random(), told))
    this.#logBreakerChange(before)
    this.#active--
    this.#startWaiting()
  }

  /** The very `fetch` that a provider is made with. Rejects with OverBudget where its budget does not allow a request. */
  readonly fetch = async (url: string, init: FetchInit): Promise<Response> => {
    const { host, call } = { host: this.#host, call: this.#callsBySignal.get(init.signal) }
    // Such a request could be of any weight, and nobody would be told that it was refused.
    if (!call) throw new Error(`a request to ${host.provider} that is no part of a call`)
    const lease = this.#reserve(call)
    try {
      // A redirect that is followed unseen is a request that nobody counts.
      const signal = AbortSignal.any([init.signal, AbortSignal.timeout(host.timeoutMs)])
      const response = await host.send(url, { ...init, redirect: init.redirect ?? 'manual', signal })
      const body = await readBody(response)
      this.#recordOutcome(call, lease, classifyResponse(response, body, host.now()))
      return new Response(NULL_BODY_STATUSES.includes(response.status) ? null : body, {
        status: response.status,
        headers: decodedHeaders(response.headers),
      })
    } catch (error) {
      this.#recordOutcome(call, lease, {
        kind: 'failed',
        status: null,
        told: null,
        retryAfter: null,
        error: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
      })
      throw error
    }
  }

  /** @throws OverBudget */
  #reserve(call: ProviderCall): number {
    const { number, purpose, weight } = call
    const asked = reserve(this.#state, this.#host.limits, this.#host.now(), { call: number, purpose, weight })
    if ('lease' in asked) {
      this.#saveState(asked.state)
      call.sent = true
      return asked.lease
    }
    // That somebody was refused is no reason to write.
    this.#state = asked.state
    call.refusal = asked.refusal
    throw new RateLimitExceeded(asked.refusal.reason)
  }

  #recordOutcome(call: ProviderCall, lease: number, ending: RequestOutcome): void {
    const before = this.#state
    const cleaned = { ...ending, error: ending.error === null ? null : this.#redact(ending.error) }
    if (ending.kind !== 'answered') {
      call.failureRecorded = true
      this.#host.log('provider_request_failed', {
        provider: this.#host.provider,
        status: ending.status,
        retry_after_ms: ending.retryAfter,
        detail: cleaned.error,
      })
    }
    this.#saveState(settle(before, this.#host.limits, lease, cleaned, this.#host.now(), this.#host.random()))
    this.#logBreakerChange(before)
  }

  #saveState(state: ProviderState): void {
    if (state === this.#state) return
    this.#state = state
    this.#host.save(state)
  }

  #logBreakerChange(before: ProviderState): void {
    const { breaker } = this.#state
    if (before.breaker.kind === breaker.kind) return
    this.#host.log('provider_breaker', {
      provider: this.#host.provider,
      breaker: breaker.kind,
      until: breaker.kind === 'open' ? new Date(breaker.until).toISOString() : null,
      detail: breaker.kind === 'closed' ? null : this.#state.lastError,
    })
  }

  #redact(text: string): string {
    let clean = text.replace(/\b(crumb|apikey|api_key|key|token)=[^&\s"']+/gi, '$1=…')
    for (const secret of this.#host.secrets) clean = clean.replaceAll(secret, '…')
    return clean.slice(0, MAX_ERROR_CHARS)
  }

  /** As `provider_rate_limits` shows it. */
  status(): ProviderLimit {
    const { provider, limits } = this.#host
    const state = this.#state
    const now = this.#host.now()
    const { used, inFlight } = usage(state, limits, now)
    const { breaker, blockedUntil } = breakerState(state, now)
    return {
      provider,
      window_ms: limits.window,
      used,
      budget: limits.budget,
      told_used: state.told,
      in_flight: inFlight,
      concurrency: limits.concurrency,
      breaker,
      failures: state.failures,
      blocked_until: blockedUntil,
      last_status: state.lastStatus,
      last_error: state.lastError,
      last_request_at: state.lastRequestAt,
      requests_total: state.requests,
      refused_total: state.refused,
      rate_limited_total: state.limited,
      since: state.since,
    }
  }
}

/** Statuses whose answers cannot have a body. */
const NULL_BODY_STATUSES = [101, 204, 205, 304]

/** What an answer says of the provider; what its body is worth, only its reader knows. */
function classifyResponse(response: Response, body: string, now: number): RequestOutcome {
  const { status, headers } = response
  const weight = headers.get('x-mbx-used-weight-1m') ?? ''
  const told = /^\d{1,7}$/.test(weight) ? Number(weight) : null
  const kind = [429, 418, 403].includes(status) ? 'limited' : status >= 500 ? 'failed' : 'answered'
  return { kind, status, told, retryAfter: parseRetryAfterMs(headers, now), error: kind === 'answered' ? null : body }
}

/** `Retry-After` in milliseconds, from its seconds or its date; null where there is none that can be read. */
function parseRetryAfterMs(headers: Headers, now: number): number | null {
  const text = headers.get('retry-after')?.trim() ?? ''
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const at = /^[A-Z][a-z]{2}, .* GMT$/.test(text) ? Date.parse(text) : Number.NaN
  const told = Date.parse(headers.get('date') ?? '')
  return Number.isNaN(at) ? null : Math.max(0, at - (Number.isNaN(told) ? now : told))
}

/** The headers of an answer whose body has been read: it is no longer compressed. */
function decodedHeaders(headers: Headers): Headers {
  const plain = new Headers(headers)
  plain.delete('content-encoding')
  plain.delete('content-length')
  return plain
}

/** The body as text. @throws where it is larger than any true answer */
async function readBody(response: Response): Promise<string> {
  if (response.body === null) return ''
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true })
    // Leaving the loop cancels what is still to come.
    if (text.length > MAX_BODY_CHARS) throw new Error('the answer is too large')
  }
  return text + decoder.decode()
}
