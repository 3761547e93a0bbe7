import pMap from 'p-map'
import { findAssets } from '../../../db/assets.ts'
import type { RequestDatabase } from '../../../db/client.ts'
import { type AssetMatch, candidateNames, importAssetLabel, matchAsset } from '../../../portfolio/import/match-asset.ts'
import { type ImportAsset, type ImportedActivity, importAsset } from '../../../portfolio/import/row.ts'
import {
  type AssetIndex,
  ambiguousMessage,
  indexAssets,
  normalizeName,
  resolveFromIndex,
  toCandidates,
} from '../../../pricing/symbol.ts'
import type { Asset } from '../../../protocol/asset.ts'
import type { LookupScope } from '../../http/context.ts'
import { isCurrency } from '../../http/input.ts'
import { isLookupAllowed } from '../../http/rate-limits.ts'
import { queryAssets } from '../../quotes/assets.ts'
import { discoverQuote } from '../../quotes/cache.ts'

/** Lookups at providers for one import, and how many run at once. */
const MAX_LOOKUPS = 50
const LOOKUP_CONCURRENCY = 6

/**
 * The asset of a file in Kerb. `unknown`: no provider knows it. `not_asked`: the providers could not be asked; the message
 * says why.
 */
export type AssetResolution =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'ambiguous' | 'unknown' | 'not_asked'; message: string }

/** The assets and currencies of a file in Kerb. */
export type ResolvedAssets = {
  resolve(asset: ImportAsset): AssetResolution
  /** True for a currency of ISO 4217, or a coin. */
  isCurrency(code: string): boolean
}

const assetKey = ({ symbol, isin, own_name, crypto }: ImportAsset): string =>
  JSON.stringify([symbol, isin, own_name, crypto])
const coinAsset = (code: string): ImportAsset => importAsset({ symbol: code }, true)

/** An asset of a file, and the currency of most of its activities. */
type AssetGroup = { asset: ImportAsset; currency: string | null }

function groupByAsset(activities: readonly ImportedActivity[]): AssetGroup[] {
  const groups = new Map<string, { asset: ImportAsset; counts: Map<string, number> }>()
  const add = (asset: ImportAsset, currency: string | null): void => {
    const group = groups.get(assetKey(asset)) ?? { asset, counts: new Map<string, number>() }
    groups.set(assetKey(asset), group)
    if (currency !== null) group.counts.set(currency, (group.counts.get(currency) ?? 0) + 1)
  }
  for (const { asset, currency } of activities) {
    if (asset !== null && !asset.manual) add(asset, currency)
    if (currency !== null && !isCurrency(currency)) add(coinAsset(currency), null)
  }
  return [...groups.values()].map(({ asset, counts }) => ({
    asset,
    currency: [...counts].reduce<[string | null, number]>((most, one) => (one[1] > most[1] ? one : most), [null, 0])[0],
  }))
}

/** Every asset that has one of the names. @throws CodedError `unavailable` */
function findAssetsByName(db: RequestDatabase, names: readonly string[]): Promise<Asset[]> {
  const normal = [...new Set(names)].filter((name) => normalizeName(name) === name)
  return queryAssets(db, (sql) => findAssets(sql, normal))
}

/** Symbols in Kerb by the names that were looked up at providers; null for a name that none of them knows. */
type Discoveries = ReadonlyMap<string, string | null>

/** Looks names up at providers: of each list, until one of its names is known. */
async function discoverAssets(request: LookupScope, lists: readonly string[][]): Promise<Discoveries> {
  const discoveries = new Map<string, string | null>()
  const pending = lists.filter((names) => names.length > 0)
  if (pending.length === 0 || !(await isLookupAllowed(request))) return discoveries
  let lookupsLeft = MAX_LOOKUPS
  const discover = async (names: readonly string[]): Promise<void> => {
    for (const name of names) {
      if (normalizeName(name) !== name || discoveries.has(name)) continue
      if (lookupsLeft-- <= 0) return
      const result = await discoverQuote(request.env, name)
      const symbol = result.kind === 'quote' ? result.quote.symbol : result.kind === 'unpriced' ? result.symbol : name
      discoveries.set(name, result.kind === 'unknown' ? null : symbol)
      if (result.kind !== 'unknown') return
    }
  }
  await pMap(pending, discover, { concurrency: LOOKUP_CONCURRENCY })
  return discoveries
}

function resolveGroup(
  match: AssetMatch,
  group: AssetGroup,
  index: AssetIndex<Asset>,
  discoveries: Discoveries,
): AssetResolution {
  const label = importAssetLabel(group.asset)
  if (match.kind === 'one') return { kind: 'asset', asset: match.asset }
  if (match.kind === 'ambiguous')
    return { kind: 'ambiguous', message: ambiguousMessage(label, toCandidates(match.assets)) }
  const results = match.ask.map((name) => discoveries.get(name))
  const symbols = results.filter((symbol) => typeof symbol === 'string')
  if (symbols.some((symbol) => resolveFromIndex(symbol.toUpperCase(), index).kind === 'none'))
    return {
      kind: 'not_asked',
      message: `${label}: we can't look up new symbols right now; try again later`,
    }
  if (results.length > 0 && results.every((result) => result === undefined))
    return {
      kind: 'not_asked',
      message: `${label}: too many new symbols at once; try again in a minute`,
    }
  // A ticker of another market, which does not match the ISIN or the currency.
  const other = symbols.length === 0 ? '' : `; ${symbols.join(', ')} is a different asset here`
  return { kind: 'unknown', message: `We couldn't find an asset called ${label}${other}` }
}

/**
 * Finds all assets of a file: the stored ones in one query, and at most MAX_LOOKUPS others at providers, which adds them.
 * @throws CodedError `unavailable`
 */
export async function resolveImportAssets(
  request: LookupScope,
  activities: readonly ImportedActivity[],
): Promise<ResolvedAssets> {
  const groups = groupByAsset(activities)
  const names = groups.flatMap(({ asset, currency }) => candidateNames(asset, currency))
  let index = indexAssets(names.length === 0 ? [] : await findAssetsByName(request.db, names))
  const matchAll = (symbols: ReadonlyMap<string, string>): AssetMatch[] =>
    groups.map(({ asset, currency }) => matchAsset(asset, currency, index, symbols))
  let matches = matchAll(new Map())
  const unmatched = matches.flatMap((match) => (match.kind === 'none' ? [match.ask] : []))
  const discoveries = await discoverAssets(request, unmatched)
  const symbols = new Map(
    [...discoveries].flatMap(([name, symbol]) => (symbol === null ? [] : [[name, symbol.toUpperCase()] as const])),
  )
  if (symbols.size > 0) {
    index = indexAssets(await findAssetsByName(request.db, [...names, ...symbols.values()]))
    matches = matchAll(symbols)
  }
  const resolutions = new Map(
    groups.map((group, i) => [assetKey(group.asset), resolveGroup(matches[i]!, group, index, discoveries)]),
  )
  const resolve = (asset: ImportAsset): AssetResolution => resolutions.get(assetKey(asset))!
  return { resolve, isCurrency: (code) => isCurrency(code) || resolve(coinAsset(code)).kind === 'asset' }
}
