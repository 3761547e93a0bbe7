import type { QuoteOutcome } from '../../src/objects.ts'
import type { ProviderAssetId } from '../../src/pricing/provider-quote.ts'
import type { Asset, QuoteProviderName } from '../../src/protocol/asset.ts'
import { availableProviders, providersFor } from '../../src/providers/registry.ts'
import type { QuoteContext } from './remotes.ts'

/** The outcome of one asset's refresh. */
export type RefreshResult = { asset: Asset; outcome: QuoteOutcome }

/**
 * Takes the results of a refresh, unix milliseconds: `at` is the time that the attempt counts for, `askedAt` when the
 * request was sent.
 */
type OnResults = (results: RefreshResult[], at: number, askedAt: number) => void

/** An asset with where to ask for it. */
type SourcedAsset = { asset: Asset; sources: ProviderAssetId[] }

/**
 * Refreshes quotes through the provider gate, each asset once at a time (Q3). Assets are sent by their first provider, so
 * that one that hangs does not delay the results of the others; the gate makes batches as large as the providers take.
 */
export class QuoteRefresh {
  readonly #context: QuoteContext
  readonly #available: ReadonlySet<QuoteProviderName>
  readonly #onResults: OnResults
  readonly #inFlight = new Map<number, Promise<void>>()

  constructor(context: QuoteContext, onResults: OnResults) {
    this.#context = context
    this.#available = availableProviders(context.settings)
    this.#onResults = onResults
  }

  isRefreshing(id: number): boolean {
    return this.#inFlight.has(id)
  }

  /**
   * Refreshes these assets, or joins their refreshes in flight; resolves when all results are in. Never rejects.
   * @param at the time that the attempt counts for, unix milliseconds
   */
  async refresh(assets: Iterable<Asset>, at: number): Promise<void> {
    const joined = new Set<Promise<void>>()
    const groups = new Map<string, SourcedAsset[]>()
    for (const asset of assets) {
      const other = this.#inFlight.get(asset.asset_id)
      if (other) {
        joined.add(other)
        continue
      }
      const sources = providersFor(asset, this.#available)
      const first = sources[0]?.provider ?? ''
      const group = groups.get(first)
      if (group) group.push({ asset, sources })
      else groups.set(first, [{ asset, sources }])
    }
    for (const group of groups.values()) {
      const refreshing = this.#refreshGroup(group, at)
      for (const { asset } of group) this.#inFlight.set(asset.asset_id, refreshing)
      joined.add(refreshing)
    }
    await Promise.all(joined)
  }

  async #refreshGroup(group: readonly SourcedAsset[], at: number): Promise<void> {
    const askedAt = this.#context.now()
    let outcomes = new Map<number, QuoteOutcome>()
    try {
      if (group.some(({ sources }) => sources.length > 0)) {
        const requests = group.map(({ asset, sources }) => ({ asset_id: asset.asset_id, sources }))
        const answer = await this.#context.gate().quotes(requests)
        outcomes = new Map(answer.map((outcome) => [outcome.asset_id, outcome]))
      }
    } catch (error) {
      this.#context.log('provider_gate_unreachable', { assets: group.length, error: String(error) })
    }
    for (const { asset } of group) this.#inFlight.delete(asset.asset_id)
    const results = group.map(({ asset }): RefreshResult => {
      const { asset_id } = asset
      const failed = { asset_id, ok: false, retryAt: null } as const
      const outcome = outcomes.get(asset_id) ?? { ...failed, reason: 'unavailable' }
      if (!hasForeignCurrency(asset, outcome)) return { asset, outcome }
      this.#context.log('currency_mismatch', { asset_id, provider: outcome.provider })
      return { asset, outcome: { ...failed, reason: 'invalid' } }
    })
    this.#onResults(results, at, askedAt)
  }
}

/** True if another provider than the asset's own has sent a price in another currency, which is then of another asset. */
const hasForeignCurrency = (asset: Asset, outcome: QuoteOutcome): outcome is Extract<QuoteOutcome, { ok: true }> =>
  outcome.ok && outcome.provider !== asset.provider && outcome.quote.currency !== asset.currency
