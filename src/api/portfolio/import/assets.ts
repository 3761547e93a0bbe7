import { findAssets } from '../../../db/assets.ts'
import type { RequestDatabase } from '../../../db/client.ts'
import { log } from '../../../log.ts'
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
import { temporarilyUnavailable } from '../../http/problems.ts'
import { isLookupAllowed } from '../../http/rate-limits.ts'
import { discoverQuote } from '../../quotes/cache.ts'

/** Lookups at providers for one import, and how many run at once. */
const MAX_LOOKUPS = 50
const LOOKUP_CONCURRENCY = 6

/** The asset of a file in Kerb; `unknown` where no provider knows it, `unasked` where none could be asked, with why. */
export type AssetResolution =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'ambiguous' | 'unknown' | 'unasked'; message: string }

/** The assets and currencies of a file in Kerb. */
export type ResolvedAssets = {
  resolve(meant: ImportAsset): AssetResolution
  /** True for a currency of ISO 4217, or a coin. */
  isCurrency(code: string): boolean
}

const assetKey = ({ symbol, isin, own_name, crypto }: ImportAsset): string =>
  JSON.stringify([symbol, isin, own_name, crypto])
const coinAsset = (code: string): ImportAsset => importAsset({ symbol: code }, true)

/** An asset of a file, and the currency of most of its activities. */
type AssetGroup = { meant: ImportAsset; currency: string | null }

function groupByAsset(activities: readonly ImportedActivity[]): AssetGroup[] {
  const groups = new Map<string, { meant: ImportAsset; counts: Map<string, number> }>()
  const add = (meant: ImportAsset, currency: string | null): void => {
    const group = groups.get(assetKey(meant)) ?? { meant, counts: new Map<string, number>() }
    groups.set(assetKey(meant), group)
    if (currency !== null) group.counts.set(currency, (group.counts.get(currency) ?? 0) + 1)
  }
  for (const { asset, currency } of activities) {
    if (asset !== null && !asset.manual) add(asset, currency)
    if (currency !== null && !isCurrency(currency)) add(coinAsset(currency), null)
  }
  return [...groups.values()].map(({ meant, counts }) => ({
    meant,
    currency: [...counts].reduce<[string | null, number]>((most, one) => (one[1] > most[1] ? one : most), [null, 0])[0],
  }))
}

/** Every asset that has one of the names. @throws CodedError `unavailable` */
async function findAssetsByName(db: RequestDatabase, names: readonly string[]): Promise<Asset[]> {
  const wanted = [...new Set(names)].filter((name) => normalizeName(name) === name)
  try {
    return await findAssets(db.live, wanted)
  } catch (error) {
    log('import_assets_read_failed', { error: String(error) })
    throw temporarilyUnavailable('Assets cannot be read')
  }
}

/** The result of a lookup at providers: the symbol that the name now has in Kerb, or `unknown`. */
type DiscoveryResult = { symbol: string } | 'unknown'

/** Looks names up at providers, each list until one of its names is known. */
async function discoverAssets(request: LookupScope, lists: readonly string[][]): Promise<Map<string, DiscoveryResult>> {
  const asked = new Map<string, DiscoveryResult>()
  const waiting = lists.filter((names) => names.length > 0)
  if (waiting.length === 0 || !(await isLookupAllowed(request))) return asked
  let left = MAX_LOOKUPS
  const work = async (): Promise<void> => {
    for (let names = waiting.shift(); names !== undefined; names = waiting.shift())
      for (const name of names) {
        if (normalizeName(name) !== name || asked.has(name)) continue
        if (left-- <= 0) return
        const look = await discoverQuote(request.env, name)
        const symbol = look.kind === 'quote' ? look.quote.symbol : look.kind === 'unpriced' ? look.symbol : name
        asked.set(name, look.kind === 'unknown' ? 'unknown' : { symbol })
        if (look.kind !== 'unknown') break
      }
  }
  await Promise.all(Array.from({ length: LOOKUP_CONCURRENCY }, work))
  return asked
}

function resolveGroup(
  meaning: AssetMatch,
  group: AssetGroup,
  index: AssetIndex<Asset>,
  asked: ReadonlyMap<string, DiscoveryResult>,
): AssetResolution {
  const what = importAssetLabel(group.meant)
  if (meaning.kind === 'one') return { kind: 'asset', asset: meaning.asset }
  if (meaning.kind === 'ambiguous')
    return { kind: 'ambiguous', message: ambiguousMessage(what, toCandidates(meaning.assets)) }
  const told = meaning.ask.map((name) => asked.get(name))
  const symbols = told.flatMap((one) => (typeof one === 'object' ? [one.symbol] : []))
  if (symbols.some((symbol) => resolveFromIndex(symbol.toUpperCase(), index).kind === 'none'))
    return {
      kind: 'unasked',
      message: `${what}: we can't look up new symbols right now; try again later`,
    }
  if (told.length > 0 && told.every((one) => one === undefined))
    return {
      kind: 'unasked',
      message: `${what}: too many new symbols at once; try again in a minute`,
    }
  // A ticker of another market, which does not match the ISIN or the currency.
  const other = symbols.length === 0 ? '' : `; ${symbols.join(', ')} is a different asset here`
  return { kind: 'unknown', message: `We couldn't find an asset called ${what}${other}` }
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
  const names = groups.flatMap(({ meant, currency }) => candidateNames(meant, currency))
  const assets = names.length === 0 ? [] : await findAssetsByName(request.db, names)
  const none: ReadonlyMap<string, string> = new Map()
  const meanings = (index: AssetIndex<Asset>, known: typeof none): AssetMatch[] =>
    groups.map(({ meant, currency }) => matchAsset(meant, currency, index, known))
  let index = indexAssets(assets)
  const first = meanings(index, none)
  const asked = await discoverAssets(
    request,
    first.flatMap((meaning) => (meaning.kind === 'none' ? [meaning.ask] : [])),
  )
  const known = new Map(
    [...asked].flatMap(([name, told]) =>
      typeof told === 'string' ? [] : [[name, told.symbol.toUpperCase()] as const],
    ),
  )
  if (known.size > 0) index = indexAssets(await findAssetsByName(request.db, [...names, ...known.values()]))
  const last = known.size > 0 ? meanings(index, known) : first
  const found = new Map(
    groups.map((group, at) => [assetKey(group.meant), resolveGroup(last[at] as AssetMatch, group, index, asked)]),
  )
  const foundFor = (meant: ImportAsset): AssetResolution => found.get(assetKey(meant)) as AssetResolution
  return { resolve: foundFor, isCurrency: (code) => isCurrency(code) || foundFor(coinAsset(code)).kind === 'asset' }
}
