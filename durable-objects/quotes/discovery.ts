import type { ProviderGateObject } from '../../src/objects.ts'
import type { ProviderListing } from '../../src/pricing/provider-quote.ts'
import type { ProviderFailure } from '../../src/pricing/quote-cache.ts'
import type { QuoteProviderName } from '../../src/pricing/quote-providers.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { QuoteDatabase } from './database.ts'

const DAY_MS = 86_400_000
/** Asked again after so long, where nothing says when: milliseconds. */
const RETRY_MS = 60_000
/** SQLSTATE check_violation: what a provider told cannot be an asset. */
const CHECK_VIOLATION = '23514'

/** What came of a name that no asset has. `retryAt` is unix milliseconds. */
export type DiscoveryResult =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'unknown' }
  | { kind: 'failed'; reason: ProviderFailure; retryAt: number }

/** What discovery needs of the object that holds it. Times are unix milliseconds. */
export type DiscoveryHost = {
  /** See NEW_ASSETS_PER_DAY. */
  maxPerDay: number
  now(): number
  gate(): Pick<ProviderGateObject, 'find'>
  database(): Pick<QuoteDatabase, 'findAssets' | 'addAsset' | 'assetsAddedSince'>
  log(event: string, fields: Record<string, unknown>): void
}

/** Asks the providers for names that no asset has, and adds what they know: as many a day as are allowed. */
export class QuoteDiscovery {
  readonly #host: DiscoveryHost
  readonly #inFlight = new Map<string, Promise<DiscoveryResult>>()
  /** One after the other: each counts those before it. */
  #adding: Promise<unknown> = Promise.resolve()

  constructor(host: DiscoveryHost) {
    this.#host = host
  }

  /** What comes of a name; who asks for the same at the same time is told the same. Never rejects. */
  discover(name: string): Promise<DiscoveryResult> {
    const same = this.#inFlight.get(name)
    if (same) return same
    const discovery = this.#run(name)
      .catch((error: unknown): DiscoveryResult => {
        this.#host.log('discovery_failed', { name, error: String(error) })
        return { kind: 'failed', reason: 'unavailable', retryAt: this.#host.now() + RETRY_MS }
      })
      .finally(() => this.#inFlight.delete(name))
    this.#inFlight.set(name, discovery)
    return discovery
  }

  async #run(name: string): Promise<DiscoveryResult> {
    if (await this.#isLimitReached()) return this.#limitReached()
    const found = await this.#host.gate().find(name)
    if (!found.ok)
      return { kind: 'failed', reason: found.reason, retryAt: found.retryAt ?? this.#host.now() + RETRY_MS }
    if (found.found === null) return { kind: 'unknown' }
    const { provider, listing } = found.found
    const adding = this.#adding.then(() => this.#add(provider, listing))
    this.#adding = adding.catch(() => {})
    return adding
  }

  async #isLimitReached(): Promise<boolean> {
    const { maxPerDay: perDay, now, database } = this.#host
    return (await database().assetsAddedSince(now() - DAY_MS)) >= perDay
  }

  #limitReached(): DiscoveryResult {
    return { kind: 'failed', reason: 'rate_limited', retryAt: this.#host.now() + RETRY_MS }
  }

  async #add(provider: QuoteProviderName, listing: ProviderListing): Promise<DiscoveryResult> {
    const database = this.#host.database()
    const { id, name, type, code, currency, isin } = listing
    const there = await database.findAssets([`${provider}:${id}`.toUpperCase(), listing.symbol.toUpperCase()])
    const same = there.find((asset) => asset.provider === provider && asset.provider_id === id)
    if (same && (same.isin !== null || isin === null)) return { kind: 'asset', asset: same }
    if (await this.#isLimitReached()) return this.#limitReached()
    // A name that means one asset does not become ambiguous because somebody has asked for another.
    const taken = there.some(({ symbol }) => symbol.toUpperCase() === listing.symbol.toUpperCase())
    const symbol = taken ? id : listing.symbol
    const draft = { symbol, name, type, category: type, code, provider, provider_id: id, currency, isin }
    try {
      return { kind: 'asset', asset: await database.addAsset(draft) }
    } catch (error) {
      if ((error as { code?: string }).code !== CHECK_VIOLATION) throw error
      this.#host.log('listing_refused', { provider, id, error: String(error) })
      return { kind: 'unknown' }
    }
  }
}
