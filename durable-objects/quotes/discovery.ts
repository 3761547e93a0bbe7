import type { ProviderListing } from '../../src/pricing/provider-quote.ts'
import type { ProviderFailure } from '../../src/pricing/quote-cache.ts'
import type { Asset, QuoteProviderName } from '../../src/protocol/asset.ts'
import { DAY_MS, MINUTE_MS } from '../../src/time.ts'
import type { QuoteContext } from './remotes.ts'

/** The time to the next attempt where the provider names none. */
const RETRY_MS = MINUTE_MS
/** SQLSTATE check_violation: a provider's listing is not a valid asset. */
const CHECK_VIOLATION = '23514'

/** The outcome for a name that no asset has. `retryAt` is unix milliseconds. */
export type DiscoveryResult =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'unknown' }
  | { kind: 'failed'; reason: ProviderFailure; retryAt: number }

/** Looks for names that no asset has at the providers, and adds the listings: a limited number each day. */
export class QuoteDiscovery {
  readonly #context: QuoteContext
  readonly #inFlight = new Map<string, Promise<DiscoveryResult>>()
  /** One after the other: each counts those before it. */
  #adding: Promise<unknown> = Promise.resolve()

  constructor(context: QuoteContext) {
    this.#context = context
  }

  /** Looks for a name; concurrent calls for the same name share one result. Never rejects. */
  discover(name: string): Promise<DiscoveryResult> {
    const same = this.#inFlight.get(name)
    if (same) return same
    const discovery = this.#run(name)
      .catch((error: unknown): DiscoveryResult => {
        this.#context.log('discovery_failed', { name, error: String(error) })
        return this.#failed('unavailable')
      })
      .finally(() => this.#inFlight.delete(name))
    this.#inFlight.set(name, discovery)
    return discovery
  }

  async #run(name: string): Promise<DiscoveryResult> {
    if (await this.#isLimitReached()) return this.#failed('rate_limited')
    const found = await this.#context.gate().find(name)
    if (!found.ok) return this.#failed(found.reason, found.retryAt)
    if (found.found === null) return { kind: 'unknown' }
    const { provider, listing } = found.found
    const adding = this.#adding.then(() => this.#add(provider, listing))
    this.#adding = adding.catch(() => {})
    return adding
  }

  async #isLimitReached(): Promise<boolean> {
    const added = await this.#context.database().assetsAddedSince(this.#context.now() - DAY_MS)
    return added >= this.#context.settings.NEW_ASSETS_PER_DAY
  }

  #failed(reason: ProviderFailure, retryAt: number | null = null): DiscoveryResult {
    return { kind: 'failed', reason, retryAt: retryAt ?? this.#context.now() + RETRY_MS }
  }

  async #add(provider: QuoteProviderName, listing: ProviderListing): Promise<DiscoveryResult> {
    const database = this.#context.database()
    const { id, name, type, code, currency, isin } = listing
    const existing = await database.findAssets([`${provider}:${id}`.toUpperCase(), listing.symbol.toUpperCase()])
    const same = existing.find((asset) => asset.provider === provider && asset.provider_id === id)
    if (same && (same.isin !== null || isin === null)) return { kind: 'asset', asset: same }
    if (await this.#isLimitReached()) return this.#failed('rate_limited')
    // A new asset must not make a name ambiguous that means one asset.
    const taken = existing.some(({ symbol }) => symbol.toUpperCase() === listing.symbol.toUpperCase())
    const symbol = taken ? id : listing.symbol
    const draft = { symbol, name, type, category: type, code, provider, provider_id: id, currency, isin }
    try {
      return { kind: 'asset', asset: await database.addAsset(draft) }
    } catch (error) {
      if ((error as { code?: string }).code !== CHECK_VIOLATION) throw error
      this.#context.log('listing_refused', { provider, id, error: String(error) })
      return { kind: 'unknown' }
    }
  }
}
