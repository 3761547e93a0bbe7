import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { DailyHistory, NoQuote, ProviderListing, ProviderQuote } from '../../src/pricing/provider-quote.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { QuoteProvider } from '../../src/providers/provider.ts'
import { allowance, isUrgent, type Purpose, slots, type Verdict } from '../../src/providers/rate-limit.ts'
import type { Failure, Result } from '../../src/providers/result.ts'
import type { BudgetedFetch, Call } from './rate-limited-fetch.ts'

/** Why there is no answer. `retryAt` is unix milliseconds, null where waiting is of no known use. */
export type Trouble = {
  ok: false
  reason: Exclude<StaleReason, 'expired'>
  retryAt: number | null
  detail: string
  /** Nothing was asked: the budget, or the time, did not allow it. */
  unasked?: true
}
export type Told<T> = { ok: true; value: T } | Trouble

/** An id that spoils batches is left out of them for so long; one that may only have met a bad moment, for this long. */
const BAD_MS = 3_600_000
const SUSPECT_MS = 60_000
/** Bad ids that are remembered of one provider. */
const BAD_IDS = 1_000

/** So many answers of no use, and none that is: it is the provider then, and no id. */
const HOPELESS_TRIES = 7

/** Of so many ids, one at least is known. */
const MANY = 5

/** What one provider's desk needs of the object that holds it. */
export type DeskHost = {
  provider: QuoteProvider
  fetch: BudgetedFetch
  now(): number
  /** Bad ids as they were saved, and until when (unix milliseconds). */
  badIds: [id: string, until: number][]
  saveBadId(id: string, until: number): void
  forgetBadId(id: string): void
  log(event: string, fields: Record<string, unknown>): void
}

/** One provider behind its budget: batches, look-ups that are joined, and ids that spoil a batch (Q3, Q4, Q5). */
export class ProviderDesk {
  readonly #host: DeskHost
  readonly #bad: Map<string, number>
  /** What is being asked, by id. */
  readonly #asking = new Map<string, { call: Call; told: Promise<Told<ProviderQuote>> }>()
  readonly #joined = new Map<string, Promise<Told<unknown>>>()

  constructor(host: DeskHost) {
    this.#host = host
    this.#bad = new Map(host.badIds)
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
  ): Promise<ReadonlyMap<string, Told<ProviderQuote>>> {
    const { fetch, now } = this.#host
    const told = new Map<string, Told<ProviderQuote>>()
    const joined: Promise<unknown>[] = []
    const left: string[] = []
    for (const id of new Set(ids)) {
      const bad = this.#badUntil(id)
      if (bad === null) left.push(id)
      else told.set(id, { ok: false, reason: 'invalid', retryAt: bad, detail: 'spoils batches' })
    }
    const size = this.#batchSize(purpose)
    let stop: Trouble | null = null

    const work = async (): Promise<void> => {
      while (left.length > 0 && stop === null && now() < until) {
        const batch: string[] = []
        while (batch.length < size && left.length > 0) {
          const id = left.shift() as string
          const other = this.#asking.get(id)
          if (other && (other.call.sent || isUrgent(other.call.purpose) || !isUrgent(purpose)))
            joined.push(other.told.then((one) => told.set(id, one)))
          else batch.push(id)
        }
        if (batch.length === 0) continue
        const answer = await this.#batch(batch, purpose, until)
        for (const [id, one] of answer.told) told.set(id, one)
        stop ??= answer.stop
      }
    }
    await Promise.all(Array.from({ length: slots(fetch.limits, purpose) }, work))
    await Promise.all(joined)
    // What was not asked any more: the provider has had enough, or there was no time.
    for (const id of left) told.set(id, stop ?? this.#late())
    return told
  }

  /** The days of one id from `from` on. */
  daily(id: string, from: string | null, until: number): Promise<Told<DailyHistory>> {
    const { provider } = this.#host
    return this.#one(`daily ${id} ${from}`, 'history', until, (signal) => provider.daily(id, from, signal))
  }

  /** What the provider knows under a name; null: nothing. */
  find(name: string, until: number): Promise<Told<ProviderListing | null>> {
    const { provider } = this.#host
    return this.#one(`find ${name}`, 'find', until, async (signal) => {
      const found = await provider.find(name, signal)
      return !found.ok && found.reason === 'not_found' ? { ok: true, value: null } : found
    })
  }

  /** One call that is no batch; joined with the same one where that is under way. */
  #one<T>(
    key: string,
    purpose: Purpose,
    until: number,
    run: (signal: AbortSignal) => Promise<Result<T>>,
  ): Promise<Told<T>> {
    const same = this.#joined.get(key)
    if (same) return same as Promise<Told<T>>
    const ask = async (): Promise<Told<T>> => {
      const { fetch, provider } = this.#host
      const { call, signal } = fetch.open(purpose, provider.weight(1), until)
      if (!(await fetch.turn(call))) return this.#late()
      const result = await this.#attempt(() => run(signal))
      this.#end(call, result)
      return result.ok ? result : this.#trouble(call, result)
    }
    const told = ask().finally(() => this.#joined.delete(key))
    this.#joined.set(key, told)
    return told
  }

  /** As many ids as a request takes, unless so many would weigh more than there ever is. */
  #batchSize(purpose: Purpose): number {
    const { provider, fetch } = this.#host
    const most = allowance(fetch.limits, purpose)
    let size = provider.batch
    while (size > 1 && provider.weight(size) > most) size = Math.ceil(size / 2)
    return size
  }

  /**
   * Asks for one batch, notes that its ids are being asked for.
   * @returns `stop` where the provider has had enough of us, or we of it: what was not asked yet need not be
   */
  #batch(
    ids: string[],
    purpose: Purpose,
    until: number,
  ): Promise<{ told: Map<string, Told<ProviderQuote>>; stop: Trouble | null }> {
    const { fetch, provider } = this.#host
    const { call, signal } = fetch.open(purpose, provider.weight(ids.length), until)
    const answer = this.#ask(ids, call, signal).finally(() => {
      for (const id of ids) if (this.#asking.get(id)?.call === call) this.#asking.delete(id)
    })
    for (const id of ids)
      this.#asking.set(id, { call, told: answer.then(({ told }) => told.get(id) as Told<ProviderQuote>) })
    return answer
  }

  /**
   * One call: the batch, and, where one of its ids may have spoiled it, its halves until that one is found (Q5). All
   * that is found is bounded: each level may cost four requests.
   */
  async #ask(
    ids: string[],
    call: Call,
    signal: AbortSignal,
  ): Promise<{ told: Map<string, Told<ProviderQuote>>; stop: Trouble | null }> {
    const { fetch, provider } = this.#host
    const told = new Map<string, Told<ProviderQuote>>()
    if (!(await fetch.turn(call))) {
      for (const id of ids) told.set(id, this.#late())
      return { told, stop: this.#late() }
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
      const hopeless = good === 0 && tries >= HOPELESS_TRIES
      if (ended === null && tries < most && !hopeless) {
        tries++
        call.weight = provider.weight(asked.length)
        const result = await this.#attempt(() => provider.quotes(asked, signal))
        if (result.ok) {
          if (note(told, asked, result.value)) good++
          continue
        }
        if (result.reason === 'not_found') {
          good++
          for (const id of asked) told.set(id, unknown(result.detail))
          continue
        }
        if (result.reason === 'invalid' && call.refusal === null) {
          spoiled = result
          if (asked.length === 1) suspects.push(...asked)
          else parts.push(...halves(asked))
        } else ended = result
      }
      const failure = ended ?? spoiled
      if (failure !== null) for (const id of asked) told.set(id, this.#trouble(call, failure))
    }
    this.#remember(suspects, good > 0, spoiled)
    this.#end(call, ended ?? (good > 0 ? null : spoiled))
    return { told, stop: ended === null ? null : this.#trouble(call, ended) }
  }

  /** A provider's failures are values; whatever it throws all the same is its own fault, and is told. */
  async #attempt<T>(run: () => Promise<Result<T>>): Promise<Result<T>> {
    try {
      return await run()
    } catch (error) {
      const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
      return { ok: false, reason: 'unavailable', status: null, retryAfter: null, detail }
    }
  }

  #end(call: Call, result: Result<unknown> | null): void {
    const { fetch } = this.#host
    if (result === null || result.ok) fetch.end(call, 'ok')
    else fetch.end(call, verdictOf(call, result), result.detail, result.retryAfter)
  }

  /** What a failure is to whoever asked. */
  #trouble(call: Call, failure: Failure): Trouble {
    const { refusal } = call
    if (refusal !== null) {
      const failing = refusal.reason === 'backoff' || refusal.reason === 'breaker'
      return {
        ok: false,
        reason: failing ? 'unavailable' : 'rate_limited',
        retryAt: refusal.retryAt,
        detail: `not asked: ${refusal.reason}`,
        unasked: true,
      }
    }
    if (failure.reason === 'not_found') return unknown(failure.detail)
    const blocked = this.#host.fetch.status().blocked_until
    const retryAt = blocked ?? (failure.reason === 'invalid' ? null : this.#host.now())
    return { ok: false, reason: failure.reason, retryAt, detail: failure.detail }
  }

  #late(): Trouble {
    return { ok: false, reason: 'unavailable', retryAt: this.#host.now(), detail: 'no time left', unasked: true }
  }

  #badUntil(id: string): number | null {
    const until = this.#bad.get(id)
    if (until === undefined) return null
    if (until > this.#host.now()) return until
    this.#forget(id)
    return null
  }

  #forget(id: string): void {
    this.#bad.delete(id)
    this.#host.forgetBadId(id)
  }

  /** @param sure others of the same batch had an answer: then it is these ids, and not the provider. */
  #remember(ids: readonly string[], sure: boolean, failure: Failure | null): void {
    const until = this.#host.now() + (sure ? BAD_MS : SUSPECT_MS)
    for (const id of ids) {
      const [oldest] = this.#bad.keys()
      if (this.#bad.size >= BAD_IDS && oldest !== undefined) this.#forget(oldest)
      this.#bad.set(id, until)
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

const unknown = (detail: string): Trouble => ({ ok: false, reason: 'unknown', retryAt: null, detail })

const invalid = (detail: string): Trouble => ({ ok: false, reason: 'invalid', retryAt: null, detail })

const halves = <T>(list: readonly T[]): [T[], T[]] => {
  const middle = Math.ceil(list.length / 2)
  return [list.slice(0, middle), list.slice(middle)]
}

/**
 * Notes an answer by id; what it leaves out, and what nobody asked for, is not taken for anything. An answer that knows
 * none of many ids is no answer either: what Kerb asks for in numbers was known before.
 * @returns whether the answer is of use
 */
function note(
  told: Map<string, Told<ProviderQuote>>,
  asked: readonly string[],
  quotes: readonly (ProviderQuote | NoQuote)[],
): boolean {
  const byId = new Map(quotes.map((quote) => [quote.id, quote]))
  const isUnknown = (id: string): boolean => {
    const quote = byId.get(id)
    return quote === undefined || (quote.price === null && quote.reason === 'unknown')
  }
  const empty = asked.length >= MANY && asked.every(isUnknown)
  for (const id of asked) {
    const quote = byId.get(id)
    if (quote === undefined || empty) told.set(id, invalid('left out'))
    else if (quote.price !== null) told.set(id, { ok: true, value: quote })
    else told.set(id, quote.reason === 'unknown' ? unknown(quote.detail) : invalid(quote.detail))
  }
  return !empty
}

/** What a failed call says of its provider. A 400 or a 404 is an answer: the provider is well. */
function verdictOf(call: Call, failure: Failure): Verdict {
  if (call.refusal !== null || call.judged) return 'none'
  if (failure.reason === 'not_found') return 'ok'
  if (failure.reason === 'rate_limited') return 'limited'
  return failure.reason === 'invalid' && failure.status === 400 ? 'ok' : 'failed'
}
