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
import type { Asset, Candidate } from '../../src/protocol/asset.ts'
import type { QuoteDatabase } from './database.ts'
import type { QuoteStore } from './store.ts'

/** What the database said of a name is remembered so long: by then the next plan is there. Milliseconds. */
const MATCH_TTL_MS = 60_000
/** That there is no such asset, so long: somebody may just have added it. */
const NO_MATCH_TTL_MS = 5_000
/** An asset that was found in the database and is in no plan is kept so long after it was last asked for. */
const UNPLANNED_TTL_MS = 180_000
/** A database that did not answer is left alone for this long. */
const DATABASE_RETRY_MS = 2_000
/** Names that are remembered, assets that are in no plan. */
const MAX_CACHED_MATCHES = 20_000
const MAX_UNPLANNED = 2_000

/** With several shards: own name and symbol are the ways of naming that no asset of another shard can share. */
const SHARD_LOCAL_RANKS = 2

/** What a name means. `unread`: the database, which may know it, cannot be had. */
export type SymbolMatch =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'ambiguous'; candidates: Candidate[] }
  | { kind: 'unknown'; asked: boolean }
  | { kind: 'moved'; symbol: string }
  | { kind: 'unread' }

/** What names need of the object that holds them. Times are unix milliseconds. */
export type SymbolResolverHost = {
  shard: number
  shards: number
  /** See UNKNOWN_SYMBOL_TTL_MS. */
  unknownTtlMs: number
  store: Pick<QuoteStore, 'unknownUntil' | 'saveUnknown' | 'forgetUnknown'>
  now(): number
  database(): Pick<QuoteDatabase, 'findAssets'>
  log(event: string, fields: Record<string, unknown>): void
}

/** Forgets the oldest until there are `most`. */
function evictOldest<K, V>(map: Map<K, V>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

/** Which assets there are, and what names mean: by the plan, else by the database, asked once for all who ask. */
export class SymbolResolver {
  readonly #host: SymbolResolverHost
  #planned = new Map<number, PlannedAsset>()
  #index: AssetIndex<PlannedAsset> = []
  readonly #unplanned = new Map<number, { asset: Asset; at: number }>()
  readonly #matches = new Map<string, { until: number; named: SymbolMatch }>()
  readonly #inFlight = new Map<string, Promise<void>>()
  #databaseRetryAt = 0

  constructor(host: SymbolResolverHost) {
    this.#host = host
  }

  setPlanned(assets: readonly PlannedAsset[]): void {
    this.#planned = new Map(assets.map((asset) => [asset.asset_id, asset]))
    this.#index = indexAssets(assets)
    this.#matches.clear()
    for (const id of this.#planned.keys()) this.#unplanned.delete(id)
  }

  get planned(): ReadonlyMap<number, PlannedAsset> {
    return this.#planned
  }

  asset(id: number): Asset | undefined {
    return this.#planned.get(id) ?? this.#unplanned.get(id)?.asset
  }

  /** Assets in no plan that nobody has asked for lately; `isWatched` says which are wanted all the same. */
  evictUnplanned(isWatched: (id: number) => boolean): void {
    const before = this.#host.now() - UNPLANNED_TTL_MS
    for (const [id, { at }] of this.#unplanned) if (at < before && !isWatched(id)) this.#unplanned.delete(id)
  }

  /** Takes an asset in that is in no plan yet. */
  addUnplanned(asset: Asset): void {
    if (this.#planned.has(asset.asset_id)) return
    this.#unplanned.delete(asset.asset_id)
    this.#unplanned.set(asset.asset_id, { asset, at: this.#host.now() })
    evictOldest(this.#unplanned, MAX_UNPLANNED)
  }

  /** Notes that no provider knows a name: an object that dies between two beats must not ask again. */
  saveUnknown(name: string): void {
    const { store, now, unknownTtlMs: unknownFor } = this.#host
    store.saveUnknown(name, now() + unknownFor, now())
  }

  /** Whether the providers have said lately that they do not know a name. */
  isUnknown(name: string): boolean {
    return this.#host.store.unknownUntil(name) > this.#host.now()
  }

  /** Forgets what was found under a name: an asset of it was just added. */
  invalidate(name: string): void {
    this.#matches.delete(name)
    this.#host.store.forgetUnknown(name)
  }

  /** What a name means, as far as that is known without the database. */
  resolveCached(name: string): SymbolMatch | null {
    const found = resolveFromIndex(
      name,
      this.#host.shards === 1 ? this.#index : this.#index.slice(0, SHARD_LOCAL_RANKS),
    )
    if (found.kind !== 'none') return this.#toMatch(name, found)
    if (normalizeName(name) !== name) return { kind: 'unknown', asked: true }
    const known = this.#matches.get(name)
    if (known === undefined || known.until <= this.#host.now()) return null
    if (known.named.kind === 'asset') this.addUnplanned(known.named.asset)
    return known.named.kind === 'unknown' ? { kind: 'unknown', asked: this.isUnknown(name) } : known.named
  }

  /** What these names mean. */
  async resolve(names: readonly string[]): Promise<Map<string, SymbolMatch>> {
    const found = new Map<string, SymbolMatch>()
    const waits = new Set<Promise<void>>()
    const missing: string[] = []
    for (const name of new Set(names)) {
      const named = this.resolveCached(name)
      const finding = this.#inFlight.get(name)
      if (named) found.set(name, named)
      else if (finding) waits.add(finding)
      else missing.push(name)
    }
    if (missing.length > 0 && this.#host.now() >= this.#databaseRetryAt) {
      const finding = this.#loadMatches(missing).finally(() => {
        for (const name of missing) this.#inFlight.delete(name)
      })
      for (const name of missing) this.#inFlight.set(name, finding)
      waits.add(finding)
    }
    await Promise.all(waits)
    for (const name of names) if (!found.has(name)) found.set(name, this.resolveLocally(name))
    return found
  }

  /** What a name means without a look at the database, whatever that would say. */
  resolveLocally(name: string): SymbolMatch {
    const known = this.resolveCached(name)
    if (known) return known
    const found = resolveFromIndex(name, this.#index)
    return found.kind === 'none' ? { kind: 'unread' } : this.#toMatch(name, found)
  }

  #toMatch(name: string, found: Resolution<Asset>): SymbolMatch {
    if (found.kind === 'one') return { kind: 'asset', asset: found.asset }
    if (found.kind === 'ambiguous') return { kind: 'ambiguous', candidates: toCandidates(found.assets) }
    return { kind: 'unknown', asked: this.isUnknown(name) }
  }

  async #loadMatches(names: string[]): Promise<void> {
    const { shard, shards } = this.#host
    try {
      const assets = await this.#host.database().findAssets(names)
      const index = indexAssets(assets)
      const found = names.map((name) => ({ name, named: this.#toMatch(name, resolveFromIndex(name, index)) }))
      const elsewhere = found.flatMap(({ named }) =>
        named.kind === 'asset' && shardOf(named.asset.symbol, shards) !== shard ? [named.asset] : [],
      )
      const theirs = await this.#unambiguousSymbols(elsewhere)
      for (const { name, named } of found) this.#cacheMatch(name, named, theirs)
    } catch (error) {
      this.#databaseRetryAt = this.#host.now() + DATABASE_RETRY_MS
      this.#host.log('symbols_read_failed', { names: names.length, error: String(error) })
    }
  }

  /** Those of these assets that their symbol alone means: there they can be asked for by it. */
  async #unambiguousSymbols(assets: readonly Asset[]): Promise<Set<number>> {
    if (assets.length === 0) return new Set()
    const symbols = assets.map(({ symbol }) => symbol.toUpperCase())
    const there = await this.#host.database().findAssets(symbols)
    const own = assets.filter((asset) => {
      const found = resolve(asset.symbol.toUpperCase(), there)
      return found.kind === 'one' && found.asset.asset_id === asset.asset_id
    })
    return new Set(own.map(({ asset_id }) => asset_id))
  }

  #cacheMatch(name: string, named: SymbolMatch, elsewhere: ReadonlySet<number>): void {
    const until = this.#host.now() + (named.kind === 'unknown' ? NO_MATCH_TTL_MS : MATCH_TTL_MS)
    let kept = named
    if (named.kind === 'asset') {
      const { asset } = named
      if (elsewhere.has(asset.asset_id)) kept = { kind: 'moved', symbol: asset.symbol.toUpperCase() }
      else this.addUnplanned(asset)
    }
    this.#matches.delete(name)
    this.#matches.set(name, { until, named: kept })
    evictOldest(this.#matches, MAX_CACHED_MATCHES)
  }
}
