import type { ProviderFault } from '../../src/objects.ts'
import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { DailyHistory, MissingQuote, ProviderListing, ProviderQuote } from '../../src/pricing/provider-quote.ts'
import type { QuoteProvider } from '../../src/providers/provider.ts'
import {
  type CallOutcome,
  isInteractive,
  maxConcurrency,
  maxWeight,
  type Purpose,
} from '../../src/providers/rate-limit.ts'
import { type Failure, failure, type Result } from '../../src/providers/result.ts'
import { HOUR_MS, MINUTE_MS } from '../../src/time.ts'
import type { GateContext, ProviderCall, RateLimitedFetch } from './rate-limited-fetch.ts'
import type { ProviderStore } from './store.ts'

/** Why there is no result. */
export type FailedProviderResult = ProviderFault & {
  detail: string
  /** No request was sent: the rate limit or the deadline did not allow it. */
  notSent?: true
}
export type ProviderResult<T> = { ok: true; value: T } | FailedProviderResult

/** An id that spoils batches is left out of them for this long; one that only may have, for the second time. */
const BAD_ID_TTL_MS = HOUR_MS
const SUSPECT_ID_TTL_MS = MINUTE_MS
/** Bad ids that are remembered of one provider. */
const MAX_BAD_IDS = 1_000

/** After this many failed parts of a batch with no success, blame the provider, not an id. */
const MAX_FAILED_TRIES = 7

/** Of this many ids, at least one is known to its provider. */
const MIN_BATCH_WITH_KNOWN = 5

/** The results of one batch; `stop` where the ids that are left need not be requested any more. */
type BatchResult = { results: Map<string, ProviderResult<ProviderQuote>>; stop: FailedProviderResult | null }

/** One provider behind its rate limit: batches, shared calls, and the ids that spoil a batch (Q3, Q4, Q5). */
export class ProviderClient {
  readonly #context: GateContext
  readonly #provider: QuoteProvider
  readonly #fetch: RateLimitedFetch
  readonly #store: ProviderStore
  /** Until when each id is left out of batches, unix milliseconds. */
  readonly #badIds: Map<string, number>
  /** The requests in flight, by id. */
  readonly #inFlight = new Map<string, { call: ProviderCall; result: Promise<ProviderResult<ProviderQuote>> }>()
  readonly #sharedCalls = new Map<string, Promise<ProviderResult<unknown>>>()

  constructor(context: GateContext, provider: QuoteProvider, fetch: RateLimitedFetch, store: ProviderStore) {
    this.#context = context
    this.#provider = provider
    this.#fetch = fetch
    this.#store = store
    this.#badIds = new Map(store.loadBadIds(context.now()))
  }

  status(): ProviderLimit {
    return this.#fetch.status()
  }

  /**
   * A result for each of these ids, in as few requests as the provider allows, as far as its rate limit goes.
   * @param until no request begins after this, unix milliseconds
   */
  async quotes(
    ids: readonly string[],
    purpose: Purpose,
    until: number,
  ): Promise<ReadonlyMap<string, ProviderResult<ProviderQuote>>> {
    const results = new Map<string, ProviderResult<ProviderQuote>>()
    const joined: Promise<unknown>[] = []
    const left: string[] = []
    for (const id of new Set(ids)) {
      const bad = this.#badUntil(id)
      if (bad === null) left.push(id)
      else results.set(id, failed('invalid', 'spoils batches', bad))
    }
    const size = this.#batchSize(purpose)
    let stop: FailedProviderResult | null = null

    const work = async (): Promise<void> => {
      while (left.length > 0 && stop === null && this.#context.now() < until) {
        const batch: string[] = []
        while (batch.length < size && left.length > 0) {
          const id = left.shift() as string
          const other = this.#inFlight.get(id)
          if (other && (other.call.sent || isInteractive(other.call.purpose) || !isInteractive(purpose)))
            joined.push(other.result.then((result) => results.set(id, result)))
          else batch.push(id)
        }
        if (batch.length === 0) continue
        const done = await this.#startBatch(batch, purpose, until)
        for (const [id, result] of done.results) results.set(id, result)
        stop ??= done.stop
      }
    }
    await Promise.all(Array.from({ length: maxConcurrency(this.#fetch.limits, purpose) }, work))
    await Promise.all(joined)
    // The remaining ids: the provider allows no more requests, or the time is up.
    for (const id of left) results.set(id, stop ?? this.#timedOut())
    return results
  }

  /** The days of one id from `from` on; see `QuoteProvider.dailyHistory`. */
  daily(id: string, from: string | null, until: number): Promise<ProviderResult<DailyHistory>> {
    const key = `daily ${id} ${from}`
    return this.#callOnce(key, 'history', until, (signal) => this.#provider.dailyHistory(id, from, signal))
  }

  /** The provider's listing under a name; null: it has none. */
  find(name: string, until: number): Promise<ProviderResult<ProviderListing | null>> {
    return this.#callOnce(`find ${name}`, 'find', until, async (signal) => {
      const found = await this.#provider.find(name, signal)
      return !found.ok && found.reason === 'not_found' ? { ok: true, value: null } : found
    })
  }

  /** One call that is not a batch, shared with the same one in flight. */
  #callOnce<T>(
    key: string,
    purpose: Purpose,
    until: number,
    run: (signal: AbortSignal) => Promise<Result<T>>,
  ): Promise<ProviderResult<T>> {
    const same = this.#sharedCalls.get(key)
    if (same) return same as Promise<ProviderResult<T>>
    const start = async (): Promise<ProviderResult<T>> => {
      const { call, signal } = this.#fetch.openCall(purpose, this.#provider.weight(1), until)
      if (!(await this.#fetch.waitForTurn(call))) return this.#timedOut()
      const result = await this.#catchErrors(() => run(signal))
      this.#endCall(call, result)
      return result.ok ? result : this.#toFailure(call, result)
    }
    const result = start().finally(() => this.#sharedCalls.delete(key))
    this.#sharedCalls.set(key, result)
    return result
  }

  /** As many ids as a request takes, as long as their weight can ever be granted. */
  #batchSize(purpose: Purpose): number {
    const most = maxWeight(this.#fetch.limits, purpose)
    let size = this.#provider.maxBatch
    while (size > 1 && this.#provider.weight(size) > most) size = Math.ceil(size / 2)
    return size
  }

  /** Requests one batch, which others can join while it is in flight. */
  #startBatch(ids: string[], purpose: Purpose, until: number): Promise<BatchResult> {
    const { call, signal } = this.#fetch.openCall(purpose, this.#provider.weight(ids.length), until)
    const batch = this.#requestBatch(ids, call, signal).finally(() => {
      for (const id of ids) if (this.#inFlight.get(id)?.call === call) this.#inFlight.delete(id)
    })
    for (const id of ids)
      this.#inFlight.set(id, {
        call,
        result: batch.then(({ results }) => results.get(id) as ProviderResult<ProviderQuote>),
      })
    return batch
  }

  /**
   * One call: the batch, and, where one of its ids may have spoiled it, its halves until that id is found (Q5). The
   * search is bounded: each level may cost four requests.
   */
  async #requestBatch(ids: string[], call: ProviderCall, signal: AbortSignal): Promise<BatchResult> {
    const results = new Map<string, ProviderResult<ProviderQuote>>()
    if (!(await this.#fetch.waitForTurn(call))) {
      for (const id of ids) results.set(id, this.#timedOut())
      return { results, stop: this.#timedOut() }
    }
    const maxTries = 1 + 4 * Math.ceil(Math.log2(ids.length))
    const parts = [ids]
    const suspects: string[] = []
    let tries = 0
    let good = 0
    let spoiled: Failure | null = null
    let ended: Failure | null = null
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const requested = part
      const hopeless = good === 0 && tries >= MAX_FAILED_TRIES
      if (ended === null && tries < maxTries && !hopeless) {
        tries++
        call.weight = this.#provider.weight(requested.length)
        const result = await this.#catchErrors(() => this.#provider.quotes(requested, signal))
        if (result.ok) {
          if (addResults(results, requested, result.value)) good++
          continue
        }
        if (result.reason === 'not_found') {
          good++
          for (const id of requested) results.set(id, failed('unknown', result.detail))
          continue
        }
        if (result.reason === 'invalid' && call.refusal === null) {
          spoiled = result
          if (requested.length === 1) suspects.push(...requested)
          else parts.push(...halves(requested))
        } else ended = result
      }
      const cause = ended ?? spoiled
      if (cause !== null) for (const id of requested) results.set(id, this.#toFailure(call, cause))
    }
    this.#saveBadIds(suspects, good > 0, spoiled)
    this.#endCall(call, ended ?? (good > 0 ? null : spoiled))
    return { results, stop: ended === null ? null : this.#toFailure(call, ended) }
  }

  /** A provider returns its failures as values; what it throws all the same is a bug of it, and fails the call. */
  async #catchErrors<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
    try {
      return await run()
    } catch (error) {
      return failure('unavailable', error instanceof Error ? `${error.name}: ${error.message}` : String(error))
    }
  }

  #endCall(call: ProviderCall, result: Result<unknown> | null): void {
    if (result === null || result.ok) this.#fetch.endCall(call, 'ok')
    else this.#fetch.endCall(call, classifyFailure(call, result), result.detail, result.retryAfter)
  }

  /** A failure as the caller sees it. */
  #toFailure(call: ProviderCall, cause: Failure): FailedProviderResult {
    const { refusal } = call
    if (refusal !== null) {
      const failing = refusal.reason === 'backoff' || refusal.reason === 'breaker'
      return {
        ok: false,
        reason: failing ? 'unavailable' : 'rate_limited',
        retryAt: refusal.retryAt,
        detail: `not sent: ${refusal.reason}`,
        notSent: true,
      }
    }
    if (cause.reason === 'not_found') return failed('unknown', cause.detail)
    const blocked = this.#fetch.status().blocked_until
    const retryAt = blocked ?? (cause.reason === 'invalid' ? null : this.#context.now())
    return { ok: false, reason: cause.reason, retryAt, detail: cause.detail }
  }

  #timedOut(): FailedProviderResult {
    return { ok: false, reason: 'unavailable', retryAt: this.#context.now(), detail: 'no time left', notSent: true }
  }

  #badUntil(id: string): number | null {
    const until = this.#badIds.get(id)
    if (until === undefined) return null
    if (until > this.#context.now()) return until
    this.#forgetBadId(id)
    return null
  }

  #forgetBadId(id: string): void {
    this.#badIds.delete(id)
    this.#store.forgetBadId(id)
  }

  /** @param sure other ids of the batch have a result: then the fault is in these ids, and not in the provider */
  #saveBadIds(ids: readonly string[], sure: boolean, cause: Failure | null): void {
    const until = this.#context.now() + (sure ? BAD_ID_TTL_MS : SUSPECT_ID_TTL_MS)
    for (const id of ids) {
      const [oldest] = this.#badIds.keys()
      if (this.#badIds.size >= MAX_BAD_IDS && oldest !== undefined) this.#forgetBadId(oldest)
      this.#badIds.set(id, until)
      this.#store.saveBadId(id, until)
      this.#context.log('provider_bad_id', {
        provider: this.#provider.name,
        id,
        until: new Date(until).toISOString(),
        status: cause?.status ?? null,
      })
    }
  }
}

const failed = (
  reason: 'unknown' | 'invalid',
  detail: string,
  retryAt: number | null = null,
): FailedProviderResult => ({
  ok: false,
  reason,
  retryAt,
  detail,
})

const halves = <T>(list: readonly T[]): [T[], T[]] => {
  const middle = Math.ceil(list.length / 2)
  return [list.slice(0, middle), list.slice(middle)]
}

/**
 * Adds a provider's quotes to the results; an id that is missing from them is invalid. So is a response without a price
 * of any of many ids, which were known before.
 * @returns whether the response is usable
 */
function addResults(
  results: Map<string, ProviderResult<ProviderQuote>>,
  requested: readonly string[],
  quotes: readonly (ProviderQuote | MissingQuote)[],
): boolean {
  const byId = new Map(quotes.map((quote) => [quote.id, quote]))
  const isUnknown = (id: string): boolean => {
    const quote = byId.get(id)
    return quote === undefined || (quote.price === null && quote.reason === 'unknown')
  }
  const empty = requested.length >= MIN_BATCH_WITH_KNOWN && requested.every(isUnknown)
  for (const id of requested) {
    const quote = byId.get(id)
    if (quote === undefined || empty) results.set(id, failed('invalid', 'missing from the response'))
    else if (quote.price !== null) results.set(id, { ok: true, value: quote })
    else results.set(id, quote.reason === 'unknown' ? failed('unknown', quote.detail) : failed('invalid', quote.detail))
  }
  return !empty
}

/** What a failed call means for its provider. A 400 or a 404 means that the provider works. */
function classifyFailure(call: ProviderCall, cause: Failure): CallOutcome {
  if (call.refusal !== null || call.failureRecorded) return 'none'
  if (cause.reason === 'not_found') return 'ok'
  if (cause.reason === 'rate_limited') return 'limited'
  return cause.reason === 'invalid' && cause.status === 400 ? 'ok' : 'failed'
}
