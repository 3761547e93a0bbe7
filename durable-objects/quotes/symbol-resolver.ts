import type { NoAsset } from '../../src/objects.ts'
import type { PlannedAsset } from '../../src/pricing/refresh-settings.ts'
import {
  type AssetIndex,
  indexAssets,
  normalizeName,
  type Resolution,
  resolve,
  resolveFromIndex,
  shardOf,
  toCandidates,
} from '../../src/pricing/symbol.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import { MINUTE_MS } from '../../src/time.ts'
import type { QuoteContext } from './remotes.ts'
import { SharedReads } from './shared-reads.ts'
import type { QuoteStore } from './store.ts'

/** A match from the database is cached for this long: by then there is a new plan. */
const MATCH_TTL_MS = MINUTE_MS
/** That the database has no match is cached for this long: the asset may have been added since. */
const NO_MATCH_TTL_MS = 5_000
/** An asset outside of the plan is remembered for this long after its last use. */
const UNPLANNED_TTL_MS = 3 * MINUTE_MS
const MAX_CACHED_MATCHES = 20_000
const MAX_UNPLANNED = 2_000

/** With several shards, only the qualified name and the symbol are sure to match no asset of another shard. */
const SHARD_LOCAL_RANKS = 2

/** The match of a name. `unread`: the database, which may have it, is unreachable. */
export type SymbolMatch = { kind: 'asset'; asset: Asset } | NoAsset | { kind: 'unread' }

/** Deletes the oldest entries until `maxSize` are left. */
function evictOldest<K, V>(map: Map<K, V>, maxSize: number): void {
  for (const key of map.keys()) {
    if (map.size <= maxSize) return
    map.delete(key)
  }
}

/** Resolves names to assets: of the plan, else of the database, with one query for all callers at a time. */
export class SymbolResolver {
  readonly #context: QuoteContext
  readonly #store: QuoteStore
  readonly #shard: number
  /** The assets of the plan. */
  planned: ReadonlyMap<number, PlannedAsset> = new Map()
  #index: AssetIndex<PlannedAsset> = []
  readonly #unplanned = new Map<number, { asset: Asset; at: number }>()
  readonly #matches = new Map<string, { until: number; match: SymbolMatch }>()
  readonly #reads: SharedReads<string>

  constructor(context: QuoteContext, store: QuoteStore, shard: number) {
    this.#context = context
    this.#store = store
    this.#shard = shard
    this.#reads = new SharedReads(context, (names) => this.#loadMatches(names), {
      event: 'symbols_read_failed',
      unit: 'names',
    })
  }

  setPlanned(assets: readonly PlannedAsset[]): void {
    this.planned = new Map(assets.map((asset) => [asset.asset_id, asset]))
    this.#index = indexAssets(assets)
    this.#matches.clear()
    for (const id of this.planned.keys()) this.#unplanned.delete(id)
  }

  asset(id: number): Asset | undefined {
    return this.planned.get(id) ?? this.#unplanned.get(id)?.asset
  }

  /** Forgets the assets outside of the plan that were not used lately and are not watched. */
  evictUnplanned(isWatched: (id: number) => boolean): void {
    const before = this.#context.now() - UNPLANNED_TTL_MS
    for (const [id, { at }] of this.#unplanned) if (at < before && !isWatched(id)) this.#unplanned.delete(id)
  }

  /** Remembers an asset that is not in the plan yet. */
  addUnplanned(asset: Asset): void {
    if (this.planned.has(asset.asset_id)) return
    this.#unplanned.delete(asset.asset_id)
    this.#unplanned.set(asset.asset_id, { asset, at: this.#context.now() })
    evictOldest(this.#unplanned, MAX_UNPLANNED)
  }

  /** Stores that no provider knows a name, so that a restart does not search for it again. */
  saveUnknown(name: string): void {
    const now = this.#context.now()
    this.#store.saveUnknown(name, now + this.#context.settings.UNKNOWN_SYMBOL_TTL_MS, now)
  }

  /** True if the providers did not know a name lately. */
  isUnknown(name: string): boolean {
    return this.#store.unknownUntil(name) > this.#context.now()
  }

  /** Forgets the match of a name: an asset of this name was just added. */
  invalidate(name: string): void {
    this.#matches.delete(name)
    this.#store.forgetUnknown(name)
  }

  /** The match of a name, as far as it is known without the database; null: the database has to be asked. */
  resolveCached(name: string): SymbolMatch | null {
    const index = this.#context.settings.QUOTE_SHARDS === 1 ? this.#index : this.#index.slice(0, SHARD_LOCAL_RANKS)
    const resolution = resolveFromIndex(name, index)
    if (resolution.kind !== 'none') return this.#toMatch(name, resolution)
    if (normalizeName(name) !== name) return { kind: 'unknown', asked: true }
    const cached = this.#matches.get(name)
    if (cached === undefined || cached.until <= this.#context.now()) return null
    if (cached.match.kind === 'asset') this.addUnplanned(cached.match.asset)
    return cached.match.kind === 'unknown' ? { kind: 'unknown', asked: this.isUnknown(name) } : cached.match
  }

  /** The matches of these names. Never rejects. */
  async resolve(names: readonly string[]): Promise<Map<string, SymbolMatch>> {
    const matches = new Map([...new Set(names)].map((name) => [name, this.resolveCached(name)]))
    await this.#reads.load([...matches].flatMap(([name, match]) => (match === null ? [name] : [])))
    return new Map([...matches].map(([name, match]) => [name, match ?? this.resolveLocally(name)]))
  }

  /** The match of a name without asking the database. */
  resolveLocally(name: string): SymbolMatch {
    const cached = this.resolveCached(name)
    if (cached) return cached
    const resolution = resolveFromIndex(name, this.#index)
    return resolution.kind === 'none' ? { kind: 'unread' } : this.#toMatch(name, resolution)
  }

  #toMatch(name: string, resolution: Resolution<Asset>): SymbolMatch {
    if (resolution.kind === 'one') return { kind: 'asset', asset: resolution.asset }
    if (resolution.kind === 'ambiguous') return { kind: 'ambiguous', candidates: toCandidates(resolution.assets) }
    return { kind: 'unknown', asked: this.isUnknown(name) }
  }

  async #loadMatches(names: string[]): Promise<void> {
    const shards = this.#context.settings.QUOTE_SHARDS
    const index = indexAssets(await this.#context.database().findAssets(names))
    const matches = names.map((name) => ({ name, match: this.#toMatch(name, resolveFromIndex(name, index)) }))
    const elsewhere = matches.flatMap(({ match }) =>
      match.kind === 'asset' && shardOf(match.asset.symbol, shards) !== this.#shard ? [match.asset] : [],
    )
    const moved = await this.#unambiguousSymbols(elsewhere)
    for (const { name, match } of matches) this.#cacheMatch(name, match, moved)
  }

  /** Those of these assets that their symbol alone resolves to: their own shard finds them by it. */
  async #unambiguousSymbols(assets: readonly Asset[]): Promise<Set<number>> {
    if (assets.length === 0) return new Set()
    const symbols = assets.map(({ symbol }) => symbol.toUpperCase())
    const candidates = await this.#context.database().findAssets(symbols)
    const unambiguous = assets.filter((asset) => {
      const resolution = resolve(asset.symbol.toUpperCase(), candidates)
      return resolution.kind === 'one' && resolution.asset.asset_id === asset.asset_id
    })
    return new Set(unambiguous.map(({ asset_id }) => asset_id))
  }

  #cacheMatch(name: string, match: SymbolMatch, moved: ReadonlySet<number>): void {
    const until = this.#context.now() + (match.kind === 'unknown' ? NO_MATCH_TTL_MS : MATCH_TTL_MS)
    let cached = match
    if (match.kind === 'asset') {
      const { asset } = match
      if (moved.has(asset.asset_id)) cached = { kind: 'moved', symbol: asset.symbol.toUpperCase() }
      else this.addUnplanned(asset)
    }
    this.#matches.delete(name)
    this.#matches.set(name, { until, match: cached })
    evictOldest(this.#matches, MAX_CACHED_MATCHES)
  }
}
