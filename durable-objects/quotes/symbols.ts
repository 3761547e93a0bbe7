import type { PlannedAsset } from '../../src/pricing/refresh-settings.ts'
import {
  type AssetIndex,
  candidatesOf,
  indexAssets,
  normalName,
  type Resolved,
  resolve,
  resolveIn,
  shardOf,
} from '../../src/pricing/symbol.ts'
import type { Asset, Candidate } from '../../src/protocol/asset.ts'
import type { QuoteDatabase } from './database.ts'
import type { QuoteStore } from './store.ts'

/** What the database said of a name is remembered so long: by then the next plan is there. Milliseconds. */
const FOUND_MS = 60_000
/** That there is no such asset, so long: somebody may just have added it. */
const UNFOUND_MS = 5_000
/** An asset that was found in the database and is in no plan is kept so long after it was last asked for. */
const GUEST_MS = 180_000
/** A database that did not answer is left alone for this long. */
const REST_MS = 2_000
/** Names that are remembered, assets that are in no plan. */
const MAX_NAMES = 20_000
const MAX_GUESTS = 2_000

/** With several shards: own name and symbol are the ways of naming that no asset of another shard can share. */
const OWN_WAYS = 2

/** What a name means. `unread`: the database, which may know it, cannot be had. */
export type Named =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'ambiguous'; candidates: Candidate[] }
  | { kind: 'unknown'; asked: boolean }
  | { kind: 'moved'; symbol: string }
  | { kind: 'unread' }

/** What names need of the object that holds them. Times are unix milliseconds. */
export type NamesHost = {
  shard: number
  shards: number
  /** See UNKNOWN_MS. */
  unknownFor: number
  store: Pick<QuoteStore, 'unknownUntil' | 'noteUnknown' | 'forgetUnknown'>
  now(): number
  database(): Pick<QuoteDatabase, 'findAssets'>
  log(event: string, fields: Record<string, unknown>): void
}

/** Forgets the oldest until there are `most`. */
function bound<K, V>(map: Map<K, V>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

/** Which assets there are, and what names mean: by the plan, else by the database, asked once for all who ask. */
export class QuoteNames {
  readonly #host: NamesHost
  #planned = new Map<number, PlannedAsset>()
  #index: AssetIndex<PlannedAsset> = []
  readonly #guests = new Map<number, { asset: Asset; at: number }>()
  readonly #known = new Map<string, { until: number; named: Named }>()
  readonly #finding = new Map<string, Promise<void>>()
  #restUntil = 0

  constructor(host: NamesHost) {
    this.#host = host
  }

  plan(assets: readonly PlannedAsset[]): void {
    this.#planned = new Map(assets.map((asset) => [asset.asset_id, asset]))
    this.#index = indexAssets(assets)
    this.#known.clear()
    for (const id of this.#planned.keys()) this.#guests.delete(id)
  }

  get planned(): ReadonlyMap<number, PlannedAsset> {
    return this.#planned
  }

  asset(id: number): Asset | undefined {
    return this.#planned.get(id) ?? this.#guests.get(id)?.asset
  }

  /** Assets in no plan that nobody has asked for lately; `isWatched` says which are wanted all the same. */
  forgetGuests(isWatched: (id: number) => boolean): void {
    const before = this.#host.now() - GUEST_MS
    for (const [id, { at }] of this.#guests) if (at < before && !isWatched(id)) this.#guests.delete(id)
  }

  /** Takes an asset in that is in no plan yet. */
  host(asset: Asset): void {
    if (this.#planned.has(asset.asset_id)) return
    this.#guests.delete(asset.asset_id)
    this.#guests.set(asset.asset_id, { asset, at: this.#host.now() })
    bound(this.#guests, MAX_GUESTS)
  }

  /** Notes that no provider knows a name: an object that dies between two beats must not ask again. */
  noteUnknown(name: string): void {
    const { store, now, unknownFor } = this.#host
    store.noteUnknown(name, now() + unknownFor, now())
  }

  /** Whether the providers have said lately that they do not know a name. */
  isUnknown(name: string): boolean {
    return this.#host.store.unknownUntil(name) > this.#host.now()
  }

  /** Forgets what was found under a name: an asset of it was just added. */
  forget(name: string): void {
    this.#known.delete(name)
    this.#host.store.forgetUnknown(name)
  }

  /** What a name means, as far as that is known without the database. */
  atHand(name: string): Named | null {
    const found = resolveIn(name, this.#host.shards === 1 ? this.#index : this.#index.slice(0, OWN_WAYS))
    if (found.kind !== 'none') return this.#named(name, found)
    if (normalName(name) !== name) return { kind: 'unknown', asked: true }
    const known = this.#known.get(name)
    if (known === undefined || known.until <= this.#host.now()) return null
    if (known.named.kind === 'asset') this.host(known.named.asset)
    return known.named.kind === 'unknown' ? { kind: 'unknown', asked: this.isUnknown(name) } : known.named
  }

  /** What these names mean. */
  async find(names: readonly string[]): Promise<Map<string, Named>> {
    const found = new Map<string, Named>()
    const waits = new Set<Promise<void>>()
    const missing: string[] = []
    for (const name of new Set(names)) {
      const named = this.atHand(name)
      const finding = this.#finding.get(name)
      if (named) found.set(name, named)
      else if (finding) waits.add(finding)
      else missing.push(name)
    }
    if (missing.length > 0 && this.#host.now() >= this.#restUntil) {
      const finding = this.#read(missing).finally(() => {
        for (const name of missing) this.#finding.delete(name)
      })
      for (const name of missing) this.#finding.set(name, finding)
      waits.add(finding)
    }
    await Promise.all(waits)
    for (const name of names) if (!found.has(name)) found.set(name, this.now(name))
    return found
  }

  /** What a name means without a look at the database, whatever that would say. */
  now(name: string): Named {
    const known = this.atHand(name)
    if (known) return known
    const found = resolveIn(name, this.#index)
    return found.kind === 'none' ? { kind: 'unread' } : this.#named(name, found)
  }

  #named(name: string, found: Resolved<Asset>): Named {
    if (found.kind === 'one') return { kind: 'asset', asset: found.asset }
    if (found.kind === 'ambiguous') return { kind: 'ambiguous', candidates: candidatesOf(found.assets) }
    return { kind: 'unknown', asked: this.isUnknown(name) }
  }

  async #read(names: string[]): Promise<void> {
    const { shard, shards } = this.#host
    try {
      const assets = await this.#host.database().findAssets(names)
      const index = indexAssets(assets)
      const found = names.map((name) => ({ name, named: this.#named(name, resolveIn(name, index)) }))
      const elsewhere = found.flatMap(({ named }) =>
        named.kind === 'asset' && shardOf(named.asset.symbol, shards) !== shard ? [named.asset] : [],
      )
      const theirs = await this.#ownSymbols(elsewhere)
      for (const { name, named } of found) this.#keep(name, named, theirs)
    } catch (error) {
      this.#restUntil = this.#host.now() + REST_MS
      this.#host.log('names_unread', { names: names.length, error: String(error) })
    }
  }

  /** Those of these assets that their symbol alone means: there they can be asked for by it. */
  async #ownSymbols(assets: readonly Asset[]): Promise<Set<number>> {
    if (assets.length === 0) return new Set()
    const symbols = assets.map(({ symbol }) => symbol.toUpperCase())
    const there = await this.#host.database().findAssets(symbols)
    const own = assets.filter((asset) => {
      const found = resolve(asset.symbol.toUpperCase(), there)
      return found.kind === 'one' && found.asset.asset_id === asset.asset_id
    })
    return new Set(own.map(({ asset_id }) => asset_id))
  }

  #keep(name: string, named: Named, elsewhere: ReadonlySet<number>): void {
    const until = this.#host.now() + (named.kind === 'unknown' ? UNFOUND_MS : FOUND_MS)
    let kept = named
    if (named.kind === 'asset') {
      const { asset } = named
      if (elsewhere.has(asset.asset_id)) kept = { kind: 'moved', symbol: asset.symbol.toUpperCase() }
      else this.host(asset)
    }
    this.#known.delete(name)
    this.#known.set(name, { until, named: kept })
    bound(this.#known, MAX_NAMES)
  }
}
