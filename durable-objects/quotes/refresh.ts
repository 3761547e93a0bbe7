import type { ProviderGateObject, QuoteOutcome } from '../../src/objects.ts'
import type { ProviderAssetId } from '../../src/pricing/quote-providers.ts'
import type { Asset } from '../../src/protocol/asset.ts'

/** What came of a request for one asset that was begun at `askedAt`, unix milliseconds. */
export type RefreshResult = { asset: Asset; outcome: QuoteOutcome }

/** What a refresh needs of the object that holds it. Times are unix milliseconds. */
export type RefreshHost = {
  now(): number
  gate(): Pick<ProviderGateObject, 'quotes'>
  sourcesOf(asset: Asset): ProviderAssetId[]
  /** Takes results in. `at` is the moment that the try counts for, `askedAt` when the provider was asked. */
  onResults(landed: RefreshResult[], at: number, askedAt: number): void
  log(event: string, fields: Record<string, unknown>): void
}

/**
 * Asks for quotes, for each asset once at a time (Q3). What is asked together goes to the gate by first source, so that
 * one that hangs does not hold up the others' results; the gate makes batches as large as the providers take.
 */
export class QuoteRefresh {
  readonly #host: RefreshHost
  readonly #inFlight = new Map<number, Promise<void>>()

  constructor(host: RefreshHost) {
    this.#host = host
  }

  isRefreshing(id: number): boolean {
    return this.#inFlight.has(id)
  }

  /** How many assets are being asked for. */
  get size(): number {
    return this.#inFlight.size
  }

  /**
   * Asks for these assets, and joins what is being asked already; over when all have landed. Never rejects.
   * @param at the moment that the try counts for, unix milliseconds
   */
  async refresh(assets: Iterable<Asset>, at: number): Promise<void> {
    const joined = new Set<Promise<void>>()
    const groups = new Map<string, { asset: Asset; sources: ProviderAssetId[] }[]>()
    for (const asset of assets) {
      const other = this.#inFlight.get(asset.asset_id)
      if (other) {
        joined.add(other)
        continue
      }
      const sources = this.#host.sourcesOf(asset)
      const first = sources[0]?.provider ?? ''
      const group = groups.get(first)
      if (group) group.push({ asset, sources })
      else groups.set(first, [{ asset, sources }])
    }
    for (const group of groups.values()) {
      const asked = this.#refreshGroup(group, at)
      for (const { asset } of group) this.#inFlight.set(asset.asset_id, asked)
      joined.add(asked)
    }
    await Promise.all(joined)
  }

  async #refreshGroup(group: readonly { asset: Asset; sources: ProviderAssetId[] }[], at: number): Promise<void> {
    const askedAt = this.#host.now()
    const failed = ({ asset_id }: Asset): QuoteOutcome => ({
      asset_id,
      ok: false,
      reason: 'unavailable',
      retryAt: null,
    })
    let outcomes = new Map<number, QuoteOutcome>()
    try {
      if (group.some(({ sources }) => sources.length > 0)) {
        const requests = group.map(({ asset, sources }) => ({ asset_id: asset.asset_id, sources }))
        outcomes = new Map((await this.#host.gate().quotes(requests)).map((outcome) => [outcome.asset_id, outcome]))
      }
    } catch (error) {
      this.#host.log('provider_gate_unreachable', { assets: group.length, error: String(error) })
    }
    for (const { asset } of group) this.#inFlight.delete(asset.asset_id)
    const landed = group.map(({ asset }) => {
      const outcome = outcomes.get(asset.asset_id) ?? failed(asset)
      if (!hasForeignCurrency(asset, outcome)) return { asset, outcome }
      this.#host.log('currency_mismatch', { asset_id: asset.asset_id, provider: outcome.provider })
      return { asset, outcome: { ...failed(asset), reason: 'invalid' as const } }
    })
    this.#host.onResults(landed, at, askedAt)
  }
}

/** Whether another provider than the asset's own has told a price in another currency: that is of another thing. */
const hasForeignCurrency = (asset: Asset, outcome: QuoteOutcome): outcome is Extract<QuoteOutcome, { ok: true }> =>
  outcome.ok && outcome.provider !== asset.provider && outcome.quote.currency !== asset.currency
