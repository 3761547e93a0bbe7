import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { DailyHistory, MissingQuote, ProviderListing, ProviderQuote } from '../../src/pricing/provider-quote.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { QuoteProvider } from '../../src/providers/provider.ts'
import {
  type CallOutcome,
  isInteractive,
  maxConcurrency,
  maxWeight,
  type Purpose,
} from '../../src/providers/rate-limit.ts'
import type { Failure, Result } from '../../src/providers/result.ts'
import type { ProviderCall, RateLimitedFetch } from './rate-limited-fetch.ts'

/** Why there is no answer. `retryAt` is unix milliseconds, null where waiting is of no known use. */
export type FailedProviderResult = {
  ok: false
  reason: Exclude<StaleReason, 'expired'>
  retryAt: number | null
  detail: string
  /** Nothing was asked: the budget, or the time, did not allow it. */
  notSent?: true
}
export type ProviderResult<T> = { ok: true; value: T } | FailedProviderResult

/** An id that spoils batches is left out of them for so long; one that may only have met a bad moment, for this long. */
const BAD_ID_TTL_MS = 3_600_000
const SUSPECT_ID_TTL_MS = 60_000
/** Bad ids that are remembered of one provider. */
const MAX_BAD_IDS = 1_000

/** So many answers of no use, and none that is: it is the provider then, and no id. */
const MAX_FAILED_TRIES = 7

/** Of so many ids, one at least is known. */
const MIN_BATCH_WITH_KNOWN = 5

/** What one provider's desk needs of the object that holds it. */
export type ProviderClientHost = {
  provider: QuoteProvider
  fetch: RateLimitedFetch
  now(): number
  /** Bad ids as they were saved, and until when (unix milliseconds). */
  badIds: [id: string, until: number][]
  saveBadId(id: string, until: number): void
  forgetBadId(id: string): void
  log(event: string, fields: Record<string, unknown>): void
}

/** One provider behind its budget: batches, look-ups that are joined, and ids that spoil a batch (Q3, Q4, Q5). */
export class ProviderClient {
  readonly #host: ProviderClientHost
  readonly #badIds: Map<string, number>
  /** What is being asked, by id. */
  readonly #inFlight = new Map<string, { call: ProviderCall; result: Promise<ProviderResult<ProviderQuote>> }>()
  readonly #sharedCalls = new Map<string, Promise<ProviderResult<unknown>>>()

  constructor(host: ProviderClientHost) {
    this.#host = host
    this.#badIds = new Map(host.badIds)
  }

  status(): ProviderLimit {
    return this.#host.fetch.status()
  }

  /**
   * The quotes of these ids, in as few requests as the provider allows, as far as its budget goes.
   * @param until no request begins after this, unix milliseconds
   */
  async quotes(
    ids: readonly string[],
    purpose: Purpose,
    until: number,
  ): Promise<ReadonlyMap<string, ProviderResult<ProviderQuote>>> {
    const { fetch, now } = this.#host
    const told = new Map<string, ProviderResult<ProviderQuote>>()
    const joined: Promise<unknown>[] = []
    const left: string[] = []
    for (const id of new Set(ids)) {
      const bad = this.#badUntil(id)
      if (bad === null) left.push(id)
      else told.set(id, { ok: false, reason: 'invalid', retryAt: bad, detail: 'spoils batches' })
    }
    const size = this.#batchSize(purpose)
    let stop: FailedProviderResult | null = null

    const work = async (): Promise<void> => {
      while (left.length > 0 && stop === null && now() < until) {
        const batch: string[] = []
        while (batch.length < size && left.length > 0) {
          const id = left.shift() as string
          const other = this.#inFlight.get(id)
          if (other && (other.call.sent || isInteractive(other.call.purpose) || !isInteractive(purpose)))
            joined.push(other.result.then((one) => told.set(id, one)))
          else batch.push(id)
        }
        if (batch.length === 0) continue
        const answer = await this.#startBatch(batch, purpose, until)
        for (const [id, one] of answer.told) told.set(id, one)
        stop ??= answer.stop
      }
    }
    await Promise.all(Array.from({ length: maxConcurrency(fetch.limits, purpose) }, work))
    await Promise.all(joined)
    // What was not asked any more: the provider has had enough, or there was no time.
    for (const id of left) told.set(id, stop ?? this.#timedOut())
    return told
  }

  /** The days of one id from `from` on. */
  daily(id: string, from: string | null, until: number): Promise<ProviderResult<DailyHistory>> {
    const { provider } = this.#host
    return this.#callOnce(`daily ${id} ${from}`, 'history', until, (signal) => provider.dailyHistory(id, from, signal))
  }

  /** What the provider knows under a name; null: nothing. */
  find(name: string, until: number): Promise<ProviderResult<ProviderListing | null>> {
    const { provider } = this.#host
    return this.#callOnce(`find ${name}`, 'find', until, async (signal) => {
      const found = await provider.find(name, signal)
      return !found.ok && found.reason === 'not_found' ? { ok: true, value: null } : found
    })
  }

  /** One call that is no batch; joined with the same one where that is under way. */
  #callOnce<T>(
    key: string,
    purpose: Purpose,
    until: number,
    run: (signal: AbortSignal) => Promise<Result<T>>,
  ): Promise<ProviderResult<T>> {
    const same = this.#sharedCalls.get(key)
    if (same) return same as Promise<ProviderResult<T>>
    const ask = async (): Promise<ProviderResult<T>> => {
      const { fetch, provider } = this.#host
      const { call, signal } = fetch.openCall(purpose, provider.weight(1), until)
      if (!(await fetch.waitForTurn(call))) return this.#timedOut()
      const result = await this.#catchErrors(() => run(signal))
      this.#endCall(call, result)
      return result.ok ? result : this.#toFailure(call, result)
    }
    const told = ask().finally(() => this.#sharedCalls.delete(key))
    this.#sharedCalls.set(key, told)
    return told
  }

  /** As many ids as a request takes, unless so many would weigh more than there ever is. */
  #batchSize(purpose: Purpose): number {
    const { provider, fetch } = this.#host
    const most = maxWeight(fetch.limits, purpose)
    let size = provider.maxBatch
    while (size > 1 && provider.weight(size) > most) size = Math.ceil(size / 2)
    return size
  }

  /**
   * Asks for one batch, notes that its ids are being asked for.
   * @returns `stop` where the provider has had enough of us, or we of it: what was not asked yet need not be
   */
  #startBatch(
    ids: string[],
    purpose: Purpose,
    until: number,
  ): Promise<{ told: Map<string, ProviderResult<ProviderQuote>>; stop: FailedProviderResult | null }> {
    const { fetch, provider } = this.#host
    const { call, signal } = fetch.openCall(purpose, provider.weight(ids.length), until)
    const answer = this.#requestBatch(ids, call, signal).finally(() => {
      for (const id of ids) if (this.#inFlight.get(id)?.call === call) this.#inFlight.delete(id)
    })
    for (const id of ids)
      this.#inFlight.set(id, { call, result: answer.then(({ told }) => told.get(id) as ProviderResult<ProviderQuote>) })
    return answer
  }

  /**
   * One call: the batch, and, where one of its ids may have spoiled it, its halves until that one is found (Q5). All
   * that is found is bounded: each level may cost four requests.
   */
  async #requestBatch(
    ids: string[],
    call: ProviderCall,
    signal: AbortSignal,
  ): Promise<{ told: Map<string, ProviderResult<ProviderQuote>>; stop: FailedProviderResult | null }> {
    const { fetch, provider } = this.#host
    const told = new Map<string, ProviderResult<ProviderQuote>>()
    if (!(await fetch.waitForTurn(call))) {
      for (const id of ids) told.set(id, this.#timedOut())
      return { told, stop: this.#timedOut() }
    }
    const most = 1 + 4 * Math.ceil(Math.log2(ids.length))
    const parts = [ids]
    const suspects: string[] = []
    let tries = 0
    let good = 0
    let spoiled: Failure | null = null
    let ended: Failure | null = null
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const asked = part
      const hopeless = good === 0 && tries >= MAX_FAILED_TRIES
      if (ended === null && tries < most && !hopeless) {
        tries++
        call.weight = provider.weight(asked.length)
        const result = await this.#catchErrors(() => provider.quotes(asked, signal))
        if (result.ok) {
          if (addResults(told, asked, result.value)) good++
          continue
        }
        if (result.reason === 'not_found') {
          good++
          for (const id of asked) told.set(id, unknownAsset(result.detail))
          continue
        }
        if (result.reason === 'invalid' && call.refusal === null) {
          spoiled = result
          if (asked.length === 1) suspects.push(...asked)
          else parts.push(...halves(asked))
        } else ended = result
      }
      const failure = ended ?? spoiled
      if (failure !== null) for (const id of asked) told.set(id, this.#toFailure(call, failure))
    }
    this.#saveBadIds(suspects, good > 0, spoiled)
    this.#endCall(call, ended ?? (good > 0 ? null : spoiled))
    return { told, stop: ended === null ? null : this.#toFailure(call, ended) }
  }

  /** A provider's failures are values; whatever it throws all the same is its own fault, and is told. */
  async #catchErrors<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
    try {
      return await run()
    } catch (error) {
      const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
      return { ok: false, reason: 'unavailable', status: null, retryAfter: null, detail }
    }
  }

  #endCall(call: ProviderCall, result: Result<unknown> | null): void {
    const { fetch } = this.#host
    if (result === null || result.ok) fetch.endCall(call, 'ok')
    else fetch.endCall(call, classifyFailure(call, result), result.detail, result.retryAfter)
  }

  /** What a failure is to whoever asked. */
  #toFailure(call: ProviderCall, failure: Failure): FailedProviderResult {
    const { refusal } = call
    if (refusal !== null) {
      const failing = refusal.reason === 'backoff' || refusal.reason === 'breaker'
      return {
        ok: false,
        reason: failing ? 'unavailable' : 'rate_limited',
        retryAt: refusal.retryAt,
        detail: `not asked: ${refusal.reason}`,
        notSent: true,
      }
    }
    if (failure.reason === 'not_found') return unknownAsset(failure.detail)
    const blocked = this.#host.fetch.status().blocked_until
    const retryAt = blocked ?? (failure.reason === 'invalid' ? null : this.#host.now())
    return { ok: false, reason: failure.reason, retryAt, detail: failure.detail }
  }

  #timedOut(): FailedProviderResult {
    return { ok: false, reason: 'unavailable', retryAt: this.#host.now(), detail: 'no time left', notSent: true }
  }

  #badUntil(id: string): number | null {
    const until = this.#badIds.get(id)
    if (until === undefined) return null
    if (until > this.#host.now()) return until
    this.#forgetBadId(id)
    return null
  }

  #forgetBadId(id: string): void {
    this.#badIds.delete(id)
    this.#host.forgetBadId(id)
  }

  /** @param sure others of the same batch had an answer: then it is these ids, and not the provider. */
  #saveBadIds(ids: readonly string[], sure: boolean, failure: Failure | null): void {
    const until = this.#host.now() + (sure ? BAD_ID_TTL_MS : SUSPECT_ID_TTL_MS)
    for (const id of ids) {
      const [oldest] = this.#badIds.keys()
      if (this.#badIds.size >= MAX_BAD_IDS && oldest !== undefined) this.#forgetBadId(oldest)
      this.#badIds.set(id, until)
      this.#host.saveBadId(id, until)
      this.#host.log('provider_bad_id', {
        provider: this.#host.provider.name,
        id,
        until: new Date(until).toISOString(),
        status: failure?.status ?? null,
      })
    }
  }
}

const unknownAsset = (detail: string): FailedProviderResult => ({ ok: false, reason: 'unknown', retryAt: null, detail })

const invalidAnswer = (detail: string): FailedProviderResult => ({
  ok: false,
  reason: 'invalid',
  retryAt: null,
  detail,
})

const halves = <T>(list: readonly T[]): [T[], T[]] => {
  const middle = Math.ceil(list.length / 2)
  return [list.slice(0, middle), list.slice(middle)]
}

/**
 * Notes an answer by id; what it leaves out, and what nobody asked for, is not taken for anything. An answer that knows
 * none of many ids is no answer either: what Kerb asks for in numbers was known before.
 * @returns whether the answer is of use
 */
function addResults(
  told: Map<string, ProviderResult<ProviderQuote>>,
  asked: readonly string[],
  quotes: readonly (ProviderQuote | MissingQuote)[],
): boolean {
  const byId = new Map(quotes.map((quote) => [quote.id, quote]))
  const isUnknown = (id: string): boolean => {
    const quote = byId.get(id)
    return quote === undefined || (quote.price === null && quote.reason === 'unknown')
  }
  const empty = asked.length >= MIN_BATCH_WITH_KNOWN && asked.every(isUnknown)
  for (const id of asked) {
    const quote = byId.get(id)
    if (quote === undefined || empty) told.set(id, invalidAnswer('left out'))
    else if (quote.price !== null) told.set(id, { ok: true, value: quote })
    else told.set(id, quote.reason === 'unknown' ? unknownAsset(quote.detail) : invalidAnswer(quote.detail))
  }
  return !empty
}

/** What a failed call says of its provider. A 400 or a 404 is an answer: the provider is well. */
function classifyFailure(call: ProviderCall, failure: Failure): CallOutcome {
  if (call.refusal !== null || call.failureRecorded) return 'none'
  if (failure.reason === 'not_found') return 'ok'
  if (failure.reason === 'rate_limited') return 'limited'
  return failure.reason === 'invalid' && failure.status === 400 ? 'ok' : 'failed'
}
