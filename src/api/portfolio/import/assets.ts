import type { Context } from 'hono'
import { findAssets } from '../../../db/assets.ts'
import { withLiveDatabase } from '../../../db/client.ts'
import { log } from '../../../log.ts'
import { type AssetMatch, candidateNames, importAssetLabel, matchAsset } from '../../../portfolio/import/match-asset.ts'
import { type ImportAsset, type ImportedActivity, importAsset } from '../../../portfolio/import/row.ts'
import { type AssetIndex, indexAssets, normalizeName, resolveFromIndex, toCandidates } from '../../../pricing/symbol.ts'
import type { Asset } from '../../../protocol/asset.ts'
import { CodedError } from '../../../protocol/errors.ts'
import type { AppEnv } from '../../http/context.ts'
import { isLookupAllowed } from '../../http/rate-limits.ts'
import { discoverQuote } from '../../quotes/cache.ts'
import { isCurrency } from '../../quotes/currency.ts'

/** Names that the providers are asked about for one import, and how many at once. */
const MAX_LOOKUPS = 50
const LOOKUP_CONCURRENCY = 6

/** What an asset of a file is here; `unknown` where nobody knows it, `unasked` where that cannot be told now, with why. */
export type AssetResolution =
  | { kind: 'asset'; asset: Asset }
  | { kind: 'ambiguous' | 'unknown' | 'unasked'; message: string }

/** What the assets and currencies of a file are here. */
export type ResolvedAssets = {
  resolve(meant: ImportAsset): AssetResolution
  /** Whether amounts may be in it: a currency of ISO 4217, or a coin. */
  isCurrency(code: string): boolean
}

const assetKey = ({ symbol, isin, own_name, crypto }: ImportAsset): string =>
  JSON.stringify([symbol, isin, own_name, crypto])
const coinAsset = (code: string): ImportAsset => importAsset({ symbol: code }, true)

/** An asset of a file, and the currency that most of its activities are in. */
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

/** Every asset that one of the names may mean. @throws CodedError `unavailable` */
async function findAssetsByName(env: Env, names: readonly string[]): Promise<Asset[]> {
  const wanted = [...new Set(names)].filter((name) => normalizeName(name) === name)
  try {
    return await withLiveDatabase(env, (sql) => findAssets(sql, wanted))
  } catch (error) {
    log('import_assets_read_failed', { error: String(error) })
    throw new CodedError('unavailable', 'assets cannot be looked up at the moment', { retryAfter: 5 })
  }
}

/** What asking about a name has come to: the symbol that it may have here now; or nobody knows it. */
type DiscoveryResult = { symbol: string } | 'unknown'

/** Asks the providers about names, each list until one of its names is known. */
async function discoverAssets(c: Context<AppEnv>, lists: readonly string[][]): Promise<Map<string, DiscoveryResult>> {
  const asked = new Map<string, DiscoveryResult>()
  const waiting = lists.filter((names) => names.length > 0)
  if (waiting.length === 0 || !(await isLookupAllowed(c))) return asked
  let left = MAX_LOOKUPS
  const work = async (): Promise<void> => {
    for (let names = waiting.shift(); names !== undefined; names = waiting.shift())
      for (const name of names) {
        if (normalizeName(name) !== name || asked.has(name)) continue
        if (left-- <= 0) return
        const look = await discoverQuote(c.env, name)
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
  if (meaning.kind === 'ambiguous') {
    const names = toCandidates(meaning.assets).map(({ name_for_it, name }) => `${name_for_it} (${name})`)
    return { kind: 'ambiguous', message: `${what} means several assets: ${names.join(', ')}` }
  }
  const told = meaning.ask.map((name) => asked.get(name))
  const symbols = told.flatMap((one) => (typeof one === 'object' ? [one.symbol] : []))
  if (symbols.some((symbol) => resolveFromIndex(symbol.toUpperCase(), index).kind === 'none'))
    return {
      kind: 'unasked',
      message: `${what} is not known here, and no provider can be asked at the moment: try again`,
    }
  if (told.length > 0 && told.every((one) => one === undefined))
    return {
      kind: 'unasked',
      message: `${what} is not known here yet: too many new names at once, try again in a minute`,
    }
  // A ticker of another market, beside an ISIN or a currency that is not its own.
  const other = symbols.length === 0 ? '' : `; ${symbols.join(', ')} is another one here`
  return { kind: 'unknown', message: `no asset is called ${what}, and no provider knows it${other}` }
}

/**
 * Finds all assets of a file at once: those that are known with one query, and of the others MAX_LOOKUPS by asking the
 * providers, which adds what they know.
 * @throws CodedError `unavailable`
 */
export async function resolveImportAssets(
  c: Context<AppEnv>,
  activities: readonly ImportedActivity[],
): Promise<ResolvedAssets> {
  const groups = groupByAsset(activities)
  const names = groups.flatMap(({ meant, currency }) => candidateNames(meant, currency))
  const assets = names.length === 0 ? [] : await findAssetsByName(c.env, names)
  const none: ReadonlyMap<string, string> = new Map()
  const meanings = (index: AssetIndex<Asset>, known: typeof none): AssetMatch[] =>
    groups.map(({ meant, currency }) => matchAsset(meant, currency, index, known))
  let index = indexAssets(assets)
  const first = meanings(index, none)
  const asked = await discoverAssets(
    c,
    first.flatMap((meaning) => (meaning.kind === 'none' ? [meaning.ask] : [])),
  )
  const known = new Map(
    [...asked].flatMap(([name, told]) =>
      typeof told === 'string' ? [] : [[name, told.symbol.toUpperCase()] as const],
    ),
  )
  if (known.size > 0) index = indexAssets(await findAssetsByName(c.env, [...names, ...known.values()]))
  const last = known.size > 0 ? meanings(index, known) : first
  const found = new Map(
    groups.map((group, at) => [assetKey(group.meant), resolveGroup(last[at] as AssetMatch, group, index, asked)]),
  )
  const foundFor = (meant: ImportAsset): AssetResolution => found.get(assetKey(meant)) as AssetResolution
  return { resolve: foundFor, isCurrency: (code) => isCurrency(code) || foundFor(coinAsset(code)).kind === 'asset' }
}
