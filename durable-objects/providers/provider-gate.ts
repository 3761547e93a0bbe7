import { DurableObject } from 'cloudflare:workers'
import { readSettings, type Settings } from '../../src/config.ts'
import { log } from '../../src/log.ts'
import type { DailyOutcome, FindOutcome, ProviderGateObject, QuoteOutcome, QuoteRequest } from '../../src/objects.ts'
import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import type { ProviderAssetId } from '../../src/pricing/provider-quote.ts'
import type { QuoteProviderName } from '../../src/protocol/asset.ts'
import type { QuoteProvider } from '../../src/providers/provider.ts'
import type { Purpose } from '../../src/providers/rate-limit.ts'
import { availableProviders, createProvider, providersToSearch } from '../../src/providers/registry.ts'
import type { Fetch } from '../../src/providers/result.ts'
import { migrateStorage } from '../store-schema.ts'
import { type FailedProviderResult, ProviderClient } from './provider-client.ts'
import { RateLimitedFetch } from './rate-limited-fetch.ts'
import { PROVIDER_MIGRATIONS, ProviderStore } from './store.ts'

/** At most this many assets are one person's lookup, and may use the part of the rate limit that refreshes may not. */
const MAX_INTERACTIVE_ASSETS = 20

/** No request for quotes begins later than this many timeouts after the call: time for two providers to fail. */
const QUOTE_TIMEOUTS = 2

/** The same for history, which is read page by page in the background. */
const HISTORY_TIMEOUTS = 6

/** An asset on its way from provider to provider. */
type PendingRequest = { request: QuoteRequest; sourcesLeft: ProviderAssetId[]; failures: FailedProviderResult[] }
/** The assets that are next requested from one provider. */
type RequestGroup = { pending: PendingRequest; source: ProviderAssetId }[]

/**
 * The one object through which every request to a provider of quotes goes (Q4), so that each rate limit is counted in
 * one place. Reservations are in SQLite before the request is sent, and no eviction or crash loses one.
 */
export class ProviderGate extends DurableObject<Env> implements ProviderGateObject {
  readonly #settings: Settings
  readonly #clients: ReadonlyMap<QuoteProviderName, ProviderClient>

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#settings = readSettings(env)
    migrateStorage(ctx.storage, PROVIDER_MIGRATIONS)
    const names = [...availableProviders(this.#settings)]
    this.#clients = new Map(names.map((name) => [name, this.#createClient(name)]))
  }

  /** Unix milliseconds. */
  protected now(): number {
    return Date.now()
  }

  /** Evenly in [0, 1). */
  protected random(): number {
    return Math.random()
  }

  /** Sends one request. */
  protected send(url: string, init: RequestInit): Promise<Response> {
    return fetch(url, init)
  }

  protected createProvider(name: QuoteProviderName, fetch: Fetch): QuoteProvider {
    return createProvider(name, this.#settings, { fetch, now: () => this.now() })
  }

  /**
   * The quotes of these assets, in the order of `requests`. Each asset is requested from its first provider, and from the
   * next one where that is rate-limited, fails or has no price. Takes at most four timeouts (PROVIDER_TIMEOUT_MS). Never
   * rejects for a provider's failure.
   */
  async quotes(requests: QuoteRequest[]): Promise<QuoteOutcome[]> {
    const purpose: Purpose = requests.length <= MAX_INTERACTIVE_ASSETS ? 'interactive' : 'refresh'
    const until = this.now() + QUOTE_TIMEOUTS * this.#settings.PROVIDER_TIMEOUT_MS
    const outcomes = new Map<QuoteRequest, QuoteOutcome>()
    const pending = requests.map((request) => ({ request, sourcesLeft: request.sources, failures: [] }))
    await this.#requestQuotes(pending, purpose, until, outcomes)
    return requests.map((request) => outcomes.get(request) as QuoteOutcome)
  }

  /** Requests each asset from its next provider, all providers at once; then what has failed from the one after. */
  async #requestQuotes(
    pending: PendingRequest[],
    purpose: Purpose,
    until: number,
    outcomes: Map<QuoteRequest, QuoteOutcome>,
  ): Promise<void> {
    const groups = new Map<ProviderClient, RequestGroup>()
    for (const { request, sourcesLeft, failures } of pending) {
      const next = sourcesLeft.findIndex(({ provider }) => this.#clients.has(provider))
      const source = sourcesLeft[next]
      const client = source && this.#clients.get(source.provider)
      if (!client) {
        const { reason, retryAt } = mergeFailures(failures)
        outcomes.set(request, { asset_id: request.asset_id, ok: false, reason, retryAt })
        continue
      }
      const group = groups.get(client) ?? []
      groups.set(client, group)
      group.push({ pending: { request, sourcesLeft: sourcesLeft.slice(next + 1), failures }, source })
    }
    const requestGroup = async ([client, group]: [ProviderClient, RequestGroup]) => {
      const results = await client.quotes(
        group.map(({ source }) => source.id),
        purpose,
        until,
      )
      const failed: PendingRequest[] = []
      for (const { pending: one, source } of group) {
        const { asset_id } = one.request
        const result = results.get(source.id)
        if (result?.ok)
          outcomes.set(one.request, { asset_id, ok: true, provider: source.provider, quote: result.value })
        else if (result) failed.push({ ...one, failures: [...one.failures, result] })
      }
      if (failed.length > 0) await this.#requestQuotes(failed, purpose, until, outcomes)
    }
    await Promise.all([...groups].map(requestGroup))
  }

  /** The days of one asset from the first of its providers that has them; never rejects for a provider's failure. */
  async daily(sources: ProviderAssetId[], from: string | null): Promise<DailyOutcome> {
    const failures: FailedProviderResult[] = []
    const until = this.now() + HISTORY_TIMEOUTS * this.#settings.PROVIDER_TIMEOUT_MS
    for (const { provider, id } of sources) {
      const result = await this.#clients.get(provider)?.daily(id, from, until)
      if (result?.ok) return { ok: true, provider, history: result.value }
      if (result) failures.push(result)
    }
    const { reason, retryAt, detail } = mergeFailures(failures)
    return { ok: false, reason, retryAt, detail, asked: failures.some(({ notSent }) => notSent === undefined) }
  }

  /** The first listing of this name. Costs one request, two for the name of a pair; searches have a quarter of a limit. */
  async find(name: string): Promise<FindOutcome> {
    const failures: FailedProviderResult[] = []
    const until = this.now() + QUOTE_TIMEOUTS * this.#settings.PROVIDER_TIMEOUT_MS
    for (const provider of providersToSearch(name)) {
      const result = await this.#clients.get(provider)?.find(name, until)
      if (result?.ok && result.value) return { ok: true, found: { provider, listing: result.value } }
      if (result && !result.ok) failures.push(result)
    }
    if (failures.length === 0) return { ok: true, found: null }
    const { reason, retryAt } = mergeFailures(failures)
    return { ok: false, reason, retryAt }
  }

  async limits(): Promise<ProviderLimit[]> {
    return [...this.#clients.values()].map((client) => client.status())
  }

  #createClient(name: QuoteProviderName): ProviderClient {
    const context = {
      settings: this.#settings,
      now: () => this.now(),
      random: () => this.random(),
      send: (url: string, init: RequestInit) => this.send(url, init),
      log,
    }
    const store = new ProviderStore(this.ctx.storage.sql, name)
    const fetch = new RateLimitedFetch(context, store, name)
    return new ProviderClient(context, this.createProvider(name, fetch.fetch), fetch, store)
  }
}

/**
 * The failure of several providers: the first one that may pass, since a provider that does not know an asset proves
 * nothing while the asset's own provider is down. `retryAt` is the earliest of them.
 */
function mergeFailures(failures: readonly FailedProviderResult[]): FailedProviderResult {
  const [first] = failures
  if (!first) return { ok: false, reason: 'unavailable', retryAt: null, detail: 'no provider is set up' }
  const passing = failures.find(({ reason }) => reason === 'rate_limited' || reason === 'unavailable') ?? first
  const times = failures.map(({ retryAt }) => retryAt).filter((at) => at !== null)
  return { ...passing, retryAt: times.length === 0 ? null : Math.min(...times) }
}
