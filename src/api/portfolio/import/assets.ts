import type { Context } from 'hono'
import { findAssets } from '../../../db/assets.ts'
import { withLiveDatabase } from '../../../db/client.ts'
import { type Meaning, meaningOf, meantText, namesOf } from '../../../portfolio/import/meaning.ts'
import { assetNamed, type ImportAsset, type ImportedActivity } from '../../../portfolio/import/row.ts'
import { type AssetIndex, candidatesOf, indexAssets, normalName, resolveIn } from '../../../pricing/symbol.ts'
import type { Asset } from '../../../protocol/asset.ts'
import { CodedError } from '../../../protocol/errors.ts'
import { type AppEnv, log } from '../../http/context.ts'
import { lookupAllowed } from '../../http/rate-limits.ts'
import { discover } from '../../quotes/cache.ts'
import { isCurrency } from '../../quotes/currency.ts'

/** Names that the providers are asked about for one import, and how many at once. */
const MAX_LOOKUPS = 50
const LOOKUPS_AT_ONCE = 6

/** What an asset of a file is here; `unknown` where nobody knows it, `unasked` where that cannot be told now, with why. */
export type Found = { kind: 'asset'; asset: Asset } | { kind: 'ambiguous' | 'unknown' | 'unasked'; message: string }

/** What the assets and currencies of a file are here. */
export type FoundAssets = {
  asset(meant: ImportAsset): Found
  /** Whether amounts may be in it: a currency of ISO 4217, or a coin. */
  currency(code: string): boolean
}

const keyOf = ({ symbol, isin, own_name, crypto }: ImportAsset): string =>
  JSON.stringify([symbol, isin, own_name, crypto])
const coinOf = (code: string): ImportAsset => assetNamed({ symbol: code }, true)

/** An asset of a file, and the currency that most of its activities are in. */
type Group = { meant: ImportAsset; currency: string | null }

function groupsOf(activities: readonly ImportedActivity[]): Group[] {
  const groups = new Map<string, { meant: ImportAsset; counts: Map<string, number> }>()
  const add = (meant: ImportAsset, currency: string | null): void => {
    const group = groups.get(keyOf(meant)) ?? { meant, counts: new Map<string, number>() }
    groups.set(keyOf(meant), group)
    if (currency !== null) group.counts.set(currency, (group.counts.get(currency) ?? 0) + 1)
  }
  for (const { asset, currency } of activities) {
    if (asset !== null && !asset.manual) add(asset, currency)
    if (currency !== null && !isCurrency(currency)) add(coinOf(currency), null)
  }
  return [...groups.values()].map(({ meant, counts }) => ({
    meant,
    currency: [...counts].reduce<[string | null, number]>((most, one) => (one[1] > most[1] ? one : most), [null, 0])[0],
  }))
}

/** Every asset that one of the names may mean. @throws CodedError `unavailable` */
async function assetsNamed(env: Env, names: readonly string[]): Promise<Asset[]> {
  const wanted = [...new Set(names)].filter((name) => normalName(name) === name)
  try {
    return await withLiveDatabase(env, (sql) => findAssets(sql, wanted))
  } catch (error) {
    log('import_assets_unread', { error: String(error) })
    throw new CodedError('unavailable', 'assets cannot be looked up at the moment', { retryAfter: 5 })
  }
}

/** What asking about a name has come to: the symbol that it may have here now; or nobody knows it. */
type Asked = { symbol: string } | 'unknown'

/** Asks the providers about names, each list until one of its names is known. */
async function askAbout(c: Context<AppEnv>, lists: readonly string[][]): Promise<Map<string, Asked>> {
  const asked = new Map<string, Asked>()
  const waiting = lists.filter((names) => names.length > 0)
  if (waiting.length === 0 || !(await lookupAllowed(c))) return asked
  let left = MAX_LOOKUPS
  const work = async (): Promise<void> => {
    for (let names = waiting.shift(); names !== undefined; names = waiting.shift())
      for (const name of names) {
        if (normalName(name) !== name || asked.has(name)) continue
        if (left-- <= 0) return
        const look = await discover(c.env, name)
        const symbol = look.kind === 'quote' ? look.quote.symbol : look.kind === 'unpriced' ? look.symbol : name
        asked.set(name, look.kind === 'unknown' ? 'unknown' : { symbol })
        if (look.kind !== 'unknown') break
      }
  }
  await Promise.all(Array.from({ length: LOOKUPS_AT_ONCE }, work))
  return asked
}

function foundOf(meaning: Meaning, group: Group, index: AssetIndex<Asset>, asked: ReadonlyMap<string, Asked>): Found {
  const what = meantText(group.meant)
  if (meaning.kind === 'one') return { kind: 'asset', asset: meaning.asset }
  if (meaning.kind === 'ambiguous') {
    const names = candidatesOf(meaning.assets).map(({ name_for_it, name }) => `${name_for_it} (${name})`)
    return { kind: 'ambiguous', message: `${what} means several assets: ${names.join(', ')}` }
  }
  const told = meaning.ask.map((name) => asked.get(name))
  const symbols = told.flatMap((one) => (typeof one === 'object' ? [one.symbol] : []))
  if (symbols.some((symbol) => resolveIn(symbol.toUpperCase(), index).kind === 'none'))
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
export async function findImportAssets(
  c: Context<AppEnv>,
  activities: readonly ImportedActivity[],
): Promise<FoundAssets> {
  const groups = groupsOf(activities)
  const names = groups.flatMap(({ meant, currency }) => namesOf(meant, currency))
  const assets = names.length === 0 ? [] : await assetsNamed(c.env, names)
  const none: ReadonlyMap<string, string> = new Map()
  const meanings = (index: AssetIndex<Asset>, known: typeof none): Meaning[] =>
    groups.map(({ meant, currency }) => meaningOf(meant, currency, index, known))
  let index = indexAssets(assets)
  const first = meanings(index, none)
  const asked = await askAbout(
    c,
    first.flatMap((meaning) => (meaning.kind === 'none' ? [meaning.ask] : [])),
  )
  const known = new Map(
    [...asked].flatMap(([name, told]) =>
      typeof told === 'string' ? [] : [[name, told.symbol.toUpperCase()] as const],
    ),
  )
  if (known.size > 0) index = indexAssets(await assetsNamed(c.env, [...names, ...known.values()]))
  const last = known.size > 0 ? meanings(index, known) : first
  const found = new Map(
    groups.map((group, at) => [keyOf(group.meant), foundOf(last[at] as Meaning, group, index, asked)]),
  )
  const foundFor = (meant: ImportAsset): Found => found.get(keyOf(meant)) as Found
  return { asset: foundFor, currency: (code) => isCurrency(code) || foundFor(coinOf(code)).kind === 'asset' }
}
