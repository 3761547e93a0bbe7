import { DurableObject } from 'cloudflare:workers'
import { readSettings, type Settings } from '../../src/config.ts'
import type { DailyOutcome, FindOutcome, ProviderGateObject, QuoteOutcome, QuoteRequest } from '../../src/objects.ts'
import type { ProviderLimit } from '../../src/pricing/provider-limit.ts'
import { availableProviders, type ProviderAssetId, type QuoteProviderName } from '../../src/pricing/quote-providers.ts'
import type { QuoteProvider } from '../../src/providers/provider.ts'
import type { ProviderState, Purpose, RateLimits } from '../../src/providers/rate-limit.ts'
import { createProvider } from '../../src/providers/registry.ts'
import type { Fetch } from '../../src/providers/result.ts'
import { type FailedProviderResult, ProviderClient, type ProviderResult } from './provider-client.ts'
import { RateLimitedFetch } from './rate-limited-fetch.ts'

/** Budgets are told for a minute. */
const WINDOW_MS = 60_000

/** A request is over so long after its timeout, whatever became of whoever made it. */
const LEASE_SLACK_MS = 5_000

/** As many assets as one person looks at: they may use what is kept back from refreshes. */
const MAX_INTERACTIVE_ASSETS = 20

/** No request for quotes begins later than so many timeouts after it was wanted: time for two sources to fail. */
const QUOTE_TIMEOUTS = 2

/** History is read page after page, and nobody waits for it. */
const HISTORY_TIMEOUTS = 6

/** Names of pairs that Coinbase may have: it is the market itself, and so asked before Yahoo, which only tells of it. */
const COINBASE_PAIR = /^[A-Z0-9]{1,20}-(?:USD|USDC|USDT|EUR|GBP|BTC|ETH)$/

/**
 * Through which every request to a provider of quotes goes (Q4). There is one, so that a budget is held in one place:
 * what is used is in SQLite before the request is on its way, and no eviction or crash forgets it.
 */
export class ProviderGate extends DurableObject<Env> implements ProviderGateObject {
  readonly #settings: Settings
  readonly #clients: ReadonlyMap<QuoteProviderName, ProviderClient>

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#settings = readSettings(env)
    const { sql } = ctx.storage
    sql.exec('CREATE TABLE IF NOT EXISTS providers (provider TEXT PRIMARY KEY, state TEXT NOT NULL)')
    sql.exec(`CREATE TABLE IF NOT EXISTS bad_ids (
      provider TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (provider, id)) WITHOUT ROWID`)
    sql.exec('DELETE FROM bad_ids WHERE until <= ?', this.now())
    this.#clients = new Map(
      [...availableProviders(this.#settings)].map((source) => [source, this.#createClient(source)]),
    )
  }

  /** Unix milliseconds. */
  protected now(): number {
    return Date.now()
  }

  /** Evenly in [0, 1). */
  protected random(): number {
    return Math.random()
  }

  /** One request, as it goes out. */
  protected send(url: string, init: RequestInit): Promise<Response> {
    return fetch(url, init)
  }

  protected createProvider(source: QuoteProviderName, fetch: Fetch): QuoteProvider {
    return createProvider(source, this.#settings, { fetch, now: () => this.now() })
  }

  /**
   * In the order of `requests`. Each asset is asked for at its first source; at the next where that one is refused, is
   * down or has no price. Takes four timeouts (PROVIDER_TIMEOUT_MS) at most: who cannot wait so long lets it go on, and
   * asks again. Never rejects for a provider's failure.
   */
  async quotes(requests: QuoteRequest[]): Promise<QuoteOutcome[]> {
    const purpose: Purpose = requests.length <= MAX_INTERACTIVE_ASSETS ? 'look' : 'refresh'
    const until = this.now() + QUOTE_TIMEOUTS * this.#settings.PROVIDER_TIMEOUT_MS
    const outcomes = new Map<QuoteRequest, QuoteOutcome>()
    await this.#requestQuotes(
      requests.map((request) => ({ request, sourcesLeft: request.sources, failures: [] })),
      purpose,
      until,
      outcomes,
    )
    return requests.map((request) => outcomes.get(request) as QuoteOutcome)
  }

  /** Asks for each at its next source, all sources at once; and for what has failed then, at the one after. */
  async #requestQuotes(
    wanted: PendingRequest[],
    purpose: Purpose,
    until: number,
    outcomes: Map<QuoteRequest, QuoteOutcome>,
  ): Promise<void> {
    const groups = new Map<ProviderClient, { one: PendingRequest; source: ProviderAssetId }[]>()
    for (const { request, sourcesLeft: left, failures: troubles } of wanted) {
      const next = left.findIndex(({ provider }) => this.#clients.has(provider))
      const source = left[next]
      const desk = source && this.#clients.get(source.provider)
      if (!desk) {
        const { reason, retryAt } = mergeFailures(troubles)
        outcomes.set(request, { asset_id: request.asset_id, ok: false, reason, retryAt })
        continue
      }
      const group = groups.get(desk) ?? []
      groups.set(desk, group)
      group.push({ one: { request, sourcesLeft: left.slice(next + 1), failures: troubles }, source })
    }
    const askDesk = async (
      desk: ProviderClient,
      group: { one: PendingRequest; source: ProviderAssetId }[],
    ): Promise<void> => {
      const ids = group.map(({ source }) => source.id)
      const told = await desk.quotes(ids, purpose, until)
      const again: PendingRequest[] = []
      for (const { one, source } of group) {
        const quote = told.get(source.id) as ProviderResult<Parameters<typeof toOutcome>[2]>
        if (quote.ok) outcomes.set(one.request, toOutcome(one.request, source.provider, quote.value))
        else again.push({ ...one, failures: [...one.failures, quote] })
      }
      if (again.length > 0) await this.#requestQuotes(again, purpose, until, outcomes)
    }
    await Promise.all([...groups].map(([desk, group]) => askDesk(desk, group)))
  }

  /** The days of one asset from the first of its sources that can tell them; never rejects for a provider's failure. */
  async daily(sources: ProviderAssetId[], from: string | null): Promise<DailyOutcome> {
    const troubles: FailedProviderResult[] = []
    const until = this.now() + HISTORY_TIMEOUTS * this.#settings.PROVIDER_TIMEOUT_MS
    for (const { provider, id } of sources) {
      const told = await this.#clients.get(provider)?.daily(id, from, until)
      if (told?.ok) return { ok: true, provider, history: told.value }
      if (told) troubles.push(told)
    }
    const { reason, retryAt, detail } = mergeFailures(troubles)
    return { ok: false, reason, retryAt, detail, asked: troubles.some(({ notSent: unasked }) => unasked === undefined) }
  }

  /** Costs a request, two for the name of a pair; searches have a quarter of a budget at most. */
  async find(name: string): Promise<FindOutcome> {
    const troubles: FailedProviderResult[] = []
    const until = this.now() + QUOTE_TIMEOUTS * this.#settings.PROVIDER_TIMEOUT_MS
    for (const provider of COINBASE_PAIR.test(name) ? (['coinbase', 'yahoo'] as const) : (['yahoo'] as const)) {
      const told = await this.#clients.get(provider)?.find(name, until)
      if (told?.ok && told.value) return { ok: true, found: { provider, listing: told.value } }
      if (told && !told.ok) troubles.push(told)
    }
    if (troubles.length === 0) return { ok: true, found: null }
    const { reason, retryAt } = mergeFailures(troubles)
    return { ok: false, reason, retryAt }
  }

  async limits(): Promise<ProviderLimit[]> {
    return [...this.#clients.values()].map((desk) => desk.status())
  }

  #createClient(source: QuoteProviderName): ProviderClient {
    const { sql } = this.ctx.storage
    const { PROVIDER_TIMEOUT_MS, STOCK_PROVIDER_API_KEY, CRYPTO_PROVIDER_API_KEY } = this.#settings
    const host = {
      now: () => this.now(),
      log: (event: string, fields: Record<string, unknown>) => console.log(JSON.stringify({ event, ...fields })),
    }
    const fetch = new RateLimitedFetch({
      ...host,
      provider: source,
      limits: getLimits(source, this.#settings),
      timeoutMs: PROVIDER_TIMEOUT_MS,
      secrets: [STOCK_PROVIDER_API_KEY, CRYPTO_PROVIDER_API_KEY].filter((key) => key !== undefined),
      random: () => this.random(),
      send: (url, init) => this.send(url, init),
      load: () => {
        const [row] = sql.exec<{ state: string }>('SELECT state FROM providers WHERE provider = ?', source)
        return row ? (JSON.parse(row.state) as ProviderState) : null
      },
      save: (state) =>
        void sql.exec(
          'INSERT OR REPLACE INTO providers (provider, state) VALUES (?, ?)',
          source,
          JSON.stringify(state),
        ),
    })
    const badIds = sql
      .exec<{ id: string; until: number }>('SELECT id, until FROM bad_ids WHERE provider = ? ORDER BY until', source)
      .toArray()
    return new ProviderClient({
      ...host,
      fetch,
      provider: this.createProvider(source, fetch.fetch),
      badIds: badIds.map(({ id, until }) => [id, until]),
      saveBadId: (id, until) =>
        void sql.exec('INSERT OR REPLACE INTO bad_ids (provider, id, until) VALUES (?, ?, ?)', source, id, until),
      forgetBadId: (id) => void sql.exec('DELETE FROM bad_ids WHERE provider = ? AND id = ?', source, id),
    })
  }
}

/** An asset on its way from source to source. */
type PendingRequest = { request: QuoteRequest; sourcesLeft: ProviderAssetId[]; failures: FailedProviderResult[] }

const toOutcome = (
  { asset_id }: QuoteRequest,
  provider: QuoteProviderName,
  quote: Extract<QuoteOutcome, { ok: true }>['quote'],
): QuoteOutcome => ({ asset_id, ok: true, provider, quote })

/**
 * What several sources' troubles come to. The first that may pass: that another source does not know an asset says
 * nothing while its own is down. `retryAt` is the earliest that one of them names.
 */
function mergeFailures(troubles: readonly FailedProviderResult[]): FailedProviderResult {
  const [first] = troubles
  if (!first) return { ok: false, reason: 'unavailable', retryAt: null, detail: 'no source is set up' }
  const passing = troubles.find(({ reason }) => reason === 'rate_limited' || reason === 'unavailable') ?? first
  const times = troubles.map(({ retryAt }) => retryAt).filter((at) => at !== null)
  return { ...passing, retryAt: times.length === 0 ? null : Math.min(...times) }
}

function getLimits(source: QuoteProviderName, config: Settings): RateLimits {
  const budget: Record<QuoteProviderName, number> = {
    yahoo: config.YAHOO_PER_MINUTE,
    coinbase: config.COINBASE_PER_MINUTE,
    binance: config.BINANCE_WEIGHT_PER_MINUTE,
    twelvedata: config.TWELVEDATA_PER_MINUTE,
    coinmarketcap: config.COINMARKETCAP_PER_MINUTE,
  }
  return {
    budget: budget[source],
    window: WINDOW_MS,
    concurrency: config.PROVIDER_CONCURRENCY,
    lease: config.PROVIDER_TIMEOUT_MS + LEASE_SLACK_MS,
    backoffMin: config.PROVIDER_BACKOFF_MIN_MS,
    backoffMax: config.PROVIDER_BACKOFF_MAX_MS,
    breakerFailures: config.BREAKER_FAILURES,
    breakerOpen: config.BREAKER_OPEN_MS,
  }
}
