import { type Asset, type Candidate, SYMBOL_PATTERN } from '../protocol/asset.ts'

/** Text that is safe to upper-case: `ß` would become `SS`. */
const ASCII = /^[\x21-\x7e]+$/

/** The name of an asset as it is looked up: trimmed and in capitals; null for text that is not a valid name. */
export function normalizeName(text: string): string | null {
  const trimmed = text.trim()
  if (!ASCII.test(trimmed)) return null
  const name = trimmed.toUpperCase()
  return SYMBOL_PATTERN.test(name) ? name : null
}

/** The 32-bit FNV-1a hash of ASCII text. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/**
 * The shard of a name, 0 to `shards` - 1: FNV-1a of its base, which is what follows `provider:`, up to the first of
 * `-` `.` `=`. BTC, BTC-USD and COINBASE:BTC-USD share one, and so do SHEL.L and SHEL.AS.
 */
export function shardOf(name: string, shards: number): number {
  const base = (name.slice(name.indexOf(':') + 1).split(/[-.=]/, 1)[0] as string).toUpperCase()
  return fnv1a(base) % shards
}

/** The name that resolves to this asset alone. */
export const qualifiedName = (asset: Pick<Asset, 'provider' | 'provider_id'>): string =>
  `${asset.provider}:${asset.provider_id}`

/** The names of an asset, the most specific first: the first rule with a match decides. */
const NAME_RULES: readonly ((asset: Asset) => string | null)[] = [
  qualifiedName,
  (asset) => asset.symbol,
  (asset) => (asset.type === 'crypto' ? `${asset.code}-${asset.currency}` : null),
  (asset) => asset.provider_id,
  (asset) => asset.isin,
  (asset) => asset.code,
]

export type Resolution<A extends Asset> =
  | { kind: 'one'; asset: A }
  | { kind: 'ambiguous'; assets: A[] }
  | { kind: 'none' }

/** Assets by each of their names, one map for each rule. */
export type AssetIndex<A extends Asset> = ReadonlyMap<string, A[]>[]

/** The index of these assets, whose ids must differ. */
export const indexAssets = <A extends Asset>(assets: Iterable<A>): AssetIndex<A> => {
  const all = [...assets]
  return NAME_RULES.map((nameOf) => {
    const named = new Map<string, A[]>()
    for (const asset of all) {
      const name = nameOf(asset)?.toUpperCase()
      if (name === undefined) continue
      const same = named.get(name)
      if (same) same.push(asset)
      else named.set(name, [asset])
    }
    return named
  })
}

/** The asset of an index that a name resolves to, in the order `provider:provider_id`, symbol, crypto pair, provider_id, ISIN, code. */
export function resolveFromIndex<A extends Asset>(name: string, index: AssetIndex<A>): Resolution<A> {
  for (const named of index) {
    const assets = named.get(name)
    if (assets === undefined) continue
    const [asset] = assets
    return assets.length === 1 && asset ? { kind: 'one', asset } : { kind: 'ambiguous', assets: [...assets] }
  }
  return { kind: 'none' }
}

/**
 * The asset that a name resolves to. The first rule with a match decides; several matches are ambiguous.
 * @param name see `normalizeName`
 */
export const resolve = <A extends Asset>(name: string, assets: Iterable<A>): Resolution<A> =>
  resolveFromIndex(name, indexAssets(assets))

/** The candidates of an ambiguous name, for a response. */
export const toCandidates = (assets: readonly Asset[]): Candidate[] =>
  assets.map((asset) => ({
    name_for_it: qualifiedName(asset),
    symbol: asset.symbol,
    name: asset.name,
    type: asset.type,
    currency: asset.currency,
  }))

/** The message about an ambiguous symbol: the names to choose from. */
export const ambiguousMessage = (name: string, candidates: readonly Candidate[]): string =>
  `${name} means several assets: use one of ${candidates.map(({ name_for_it }) => name_for_it).join(', ')}`
