import type { Settings } from '../../src/config.ts'
import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { QuoteProviderName } from '../../src/protocol/asset.ts'
import { parseRetryAfterMs } from '../../src/providers/fetch-json.ts'
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
import { PROVIDER_REGISTRY, providerKeys } from '../../src/providers/registry.ts'
import type { FetchInit } from '../../src/providers/result.ts'
import { MINUTE_MS } from '../../src/time.ts'
import type { ObjectContext } from '../object-context.ts'
import type { ProviderStore } from './store.ts'

/** The longest response body, in characters: the whole history of one asset, or a page of Yahoo's, has some 3 million. */
const MAX_BODY_CHARS = 16_000_000

/** The longest error text that is logged, in characters. */
const MAX_ERROR_CHARS = 200

/** One question to a provider, with as many requests as it takes. */
export type ProviderCall = {
  readonly number: number
  readonly purpose: Purpose
  /** The weight of its next request. */
  weight: number
  /** It does not begin after this, unix milliseconds. */
  readonly until: number
  /** A request of it has gone out. */
  sent: boolean
  /** Why a request of it did not go out. */
  refusal: RateLimitRefusal | null
  /** The provider's failure is already recorded by one of its requests. */
  failureRecorded: boolean
}

/** The object's settings, clock, log, randomness and network. */
export type GateContext = Pick<ObjectContext, 'settings' | 'now' | 'log'> & {
  /** Evenly in [0, 1). */
  random(): number
  send(url: string, init: RequestInit): Promise<Response>
}

/** A request counts as ended this long after its timeout, whatever became of its caller. */
const LEASE_SLACK_MS = 5_000

/** A request that the rate limit does not allow now. */
class RateLimitExceeded extends Error {
  override readonly name = 'RateLimitExceeded'
}

/**
 * The `fetch` of one provider (Q4): every request first reserves its part of the rate limit, and records its outcome. The
 * call that a request is part of is found by its signal, which `openCall` returned.
 */
export class RateLimitedFetch {
  readonly #context: GateContext
  readonly #store: ProviderStore
  readonly #provider: QuoteProviderName
  readonly limits: RateLimits
  #state: ProviderState
  #lastCallNumber = 0
  readonly #callsBySignal = new WeakMap<AbortSignal, ProviderCall>()
  /** Calls that have their turn, and those that wait for it. */
  #active = 0
  #waiting: { call: ProviderCall; begin: (turn: boolean) => void }[] = []

  constructor(context: GateContext, store: ProviderStore, provider: QuoteProviderName) {
    this.#context = context
    this.#store = store
    this.#provider = provider
    this.limits = rateLimits(provider, context.settings)
    this.#state = { ...newProviderState(context.now()), ...store.loadState() }
  }

  /** A call that may begin before `until` (unix milliseconds). The requests with its `signal` are part of it. */
  openCall(purpose: Purpose, weight: number, until: number): { call: ProviderCall; signal: AbortSignal } {
    // The stored state may hold numbers of calls from before a restart.
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
   * Waits for the call's turn: as many calls have one as there may be requests in flight, and interactive calls go first.
   * Each turn ends with `endCall`.
   * @returns false when the turn came too late, and so is none
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
      const late = this.#context.now() >= call.until
      if (!late && this.#active >= maxConcurrency(this.limits, call.purpose)) return true
      if (!late) this.#active++
      begin(!late)
      return false
    })
  }

  /** Ends a call. `retryAfter` is in milliseconds, where the provider has named a time. */
  endCall(
    call: ProviderCall,
    outcome: CallOutcome,
    error: string | null = null,
    retryAfter: number | null = null,
  ): void {
    const before = this.#state
    // A refusal of our own limit is not an error of the provider.
    const reported = { error: error === null || call.refusal !== null ? null : this.#redact(error), retryAfter }
    // Do not record the same failure twice, nor one of a call that sent nothing.
    const recorded = !call.sent || (call.failureRecorded && outcome !== 'ok') ? 'none' : outcome
    const { now, random } = this.#context
    this.#saveState(recordCallOutcome(before, this.limits, call.number, recorded, now(), random(), reported))
    this.#logBreakerChange(before)
    this.#active--
    this.#startWaiting()
  }

  /** The `fetch` that the provider is made with. Rejects with RateLimitExceeded. */
  readonly fetch = async (url: string, init: FetchInit): Promise<Response> => {
    const call = this.#callsBySignal.get(init.signal)
    // Without a call the request has no weight, and its refusal nowhere to go.
    if (!call) throw new Error(`a request to ${this.#provider} that is not part of a call`)
    const lease = this.#reserve(call)
    try {
      // A redirect that is followed silently is a request that is not counted.
      const signal = AbortSignal.any([init.signal, AbortSignal.timeout(this.#context.settings.PROVIDER_TIMEOUT_MS)])
      const response = await this.#context.send(url, { ...init, redirect: init.redirect ?? 'manual', signal })
      const body = await readBody(response)
      this.#recordOutcome(call, lease, classifyResponse(response, body, this.#context.now()))
      return new Response(NULL_BODY_STATUSES.includes(response.status) ? null : body, {
        status: response.status,
        headers: decodedHeaders(response.headers),
      })
    } catch (error) {
      this.#recordOutcome(call, lease, {
        kind: 'failed',
        status: null,
        reportedUsage: null,
        retryAfter: null,
        error: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
      })
      throw error
    }
  }

  /** @throws RateLimitExceeded */
  #reserve(call: ProviderCall): number {
    const { number, purpose, weight } = call
    const reserved = reserve(this.#state, this.limits, this.#context.now(), { call: number, purpose, weight })
    if ('lease' in reserved) {
      this.#saveState(reserved.state)
      call.sent = true
      return reserved.lease
    }
    // A refusal alone is not worth a write.
    this.#state = reserved.state
    call.refusal = reserved.refusal
    throw new RateLimitExceeded(reserved.refusal.reason)
  }

  #recordOutcome(call: ProviderCall, lease: number, outcome: RequestOutcome): void {
    const before = this.#state
    const cleaned = { ...outcome, error: outcome.error === null ? null : this.#redact(outcome.error) }
    const { now, random, log } = this.#context
    if (outcome.kind !== 'answered') {
      call.failureRecorded = true
      log('provider_request_failed', {
        provider: this.#provider,
        status: outcome.status,
        retry_after_ms: outcome.retryAfter,
        detail: cleaned.error,
      })
    }
    this.#saveState(settle(before, this.limits, lease, cleaned, now(), random()))
    this.#logBreakerChange(before)
  }

  #saveState(state: ProviderState): void {
    if (state === this.#state) return
    this.#state = state
    this.#store.saveState(state)
  }

  #logBreakerChange(before: ProviderState): void {
    const { breaker } = this.#state
    if (before.breaker.kind === breaker.kind) return
    this.#context.log('provider_breaker', {
      provider: this.#provider,
      breaker: breaker.kind,
      until: breaker.kind === 'open' ? new Date(breaker.until).toISOString() : null,
      detail: breaker.kind === 'closed' ? null : this.#state.lastError,
    })
  }

  #redact(text: string): string {
    let clean = text.replace(/\b(crumb|apikey|api_key|key|token)=[^&\s"']+/gi, '$1=…')
    for (const secret of providerKeys(this.#context.settings)) clean = clean.replaceAll(secret, '…')
    return clean.slice(0, MAX_ERROR_CHARS)
  }

  /** The row of `provider_rate_limits`. */
  status(): ProviderLimit {
    const { limits } = this
    const state = this.#state
    const now = this.#context.now()
    const { used, inFlight } = usage(state, limits, now)
    const { breaker, blockedUntil } = breakerState(state, now)
    return {
      provider: this.#provider,
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

const rateLimits = (name: QuoteProviderName, settings: Settings): RateLimits => ({
  budget: settings[PROVIDER_REGISTRY[name].limitSetting],
  window: MINUTE_MS,
  concurrency: settings.PROVIDER_CONCURRENCY,
  lease: settings.PROVIDER_TIMEOUT_MS + LEASE_SLACK_MS,
  backoffMin: settings.PROVIDER_BACKOFF_MIN_MS,
  backoffMax: settings.PROVIDER_BACKOFF_MAX_MS,
  breakerFailures: settings.BREAKER_FAILURES,
  breakerOpen: settings.BREAKER_OPEN_MS,
})

/** Statuses whose responses cannot have a body. */
const NULL_BODY_STATUSES = [101, 204, 205, 304]

/** The outcome of a request by its status; whether the body is usable, only its reader knows. */
function classifyResponse(response: Response, body: string, now: number): RequestOutcome {
  const { status, headers } = response
  const weight = headers.get('x-mbx-used-weight-1m') ?? ''
  const reportedUsage = /^\d{1,7}$/.test(weight) ? Number(weight) : null
  const kind = [429, 418, 403].includes(status) ? 'limited' : status >= 500 ? 'failed' : 'answered'
  return {
    kind,
    status,
    reportedUsage,
    retryAfter: parseRetryAfterMs(headers, now),
    error: kind === 'answered' ? null : body,
  }
}

/** The headers of a response whose body has been read, and so is no longer compressed. */
function decodedHeaders(headers: Headers): Headers {
  const plain = new Headers(headers)
  plain.delete('content-encoding')
  plain.delete('content-length')
  return plain
}

/** The body as text. @throws Error when it is longer than any real response */
async function readBody(response: Response): Promise<string> {
  if (response.body === null) return ''
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true })
    // Leaving the loop cancels the rest of the body.
    if (text.length > MAX_BODY_CHARS) throw new Error('the response is too large')
  }
  return text + decoder.decode()
}
