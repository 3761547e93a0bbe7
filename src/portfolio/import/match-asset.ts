import { type AssetIndex, resolveFromIndex } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import type { ImportAsset } from './row.ts'

/** What a name of a file means: an asset, several, or none that is known; then `ask` are names to ask providers for. */
export type AssetMatch =
  | { kind: 'one'; asset: Asset }
  | { kind: 'ambiguous'; assets: Asset[] }
  | { kind: 'none'; ask: string[] }

/** BTCUSD, as Ghostfolio writes it: a coin and what it is priced in. */
const PAIR = /^([A-Z0-9]{2,10})(USDT|USDC|USD|EUR|GBP|CHF|JPY|CAD|AUD|BTC|ETH)$/

/** `BRK.B`, `BRK B`: shares of a class, which Yahoo writes BRK-B. */
const SHARE_CLASS = /^([A-Z]{1,4})[ ./]([A-Z])$/

/** One way to name an asset, and whether what it finds can be what was meant. */
type NameCandidate = { name: string; fits: (asset: Asset) => boolean; ask: boolean }

const isCrypto = (asset: Asset): boolean => asset.type === 'crypto'
const anyAsset = (): boolean => true

function nameCandidates(meant: ImportAsset, currency: string | null): NameCandidate[] {
  const { symbol, isin, own_name } = meant
  const own = own_name === null ? [] : [{ name: own_name.toUpperCase(), fits: anyAsset, ask: false }]
  if (meant.crypto && symbol !== null) {
    const pairs = symbol.includes('-') ? [symbol] : [`${symbol}-USD`, `${symbol}-${currency ?? 'EUR'}`]
    return [
      ...own,
      ...pairs.map((name, at) => ({ name, fits: isCrypto, ask: at === 0 })),
      { name: symbol, fits: isCrypto, ask: false },
    ]
  }
  // A ticker without its market means something else on the next one: an ISIN beside it has the say.
  const fits = (asset: Asset): boolean =>
    isin === null || (asset.isin === null ? isin.startsWith('US') || asset.currency === currency : asset.isin === isin)
  const [, share, letter] = SHARE_CLASS.exec(symbol ?? '') ?? []
  const ofClass = share === undefined ? [] : [{ name: `${share}-${letter}`, fits, ask: true }]
  const [, coin, money] = PAIR.exec(symbol ?? '') ?? []
  const pair = coin === undefined ? [] : [{ name: `${coin}-${money}`, fits: isCrypto, ask: isin === null }]
  return [
    ...own,
    ...(isin === null ? [] : [{ name: isin, fits: anyAsset, ask: true }]),
    ...(symbol === null ? [] : [{ name: symbol, fits, ask: coin === undefined && share === undefined }]),
    ...ofClass,
    ...pair,
  ]
}

/** Every name that an asset of a file may be known by, to look them up. */
export const candidateNames = (meant: ImportAsset, currency: string | null): string[] =>
  nameCandidates(meant, currency).map(({ name }) => name)

/** Of several that a name means: those of the kind and in the currency that was meant. */
function preferMatching(assets: readonly Asset[], meant: ImportAsset, currency: string | null): readonly Asset[] {
  let left = assets
  for (const fits of [
    (asset: Asset) => isCrypto(asset) === meant.crypto,
    (asset: Asset) => asset.currency === currency,
  ]) {
    const fitting = left.filter(fits)
    if (fitting.length > 0) left = fitting
  }
  return left
}

/**
 * Which asset of an index a file means. The first name that finds one decides.
 * @param currency that the file's activities with it are in
 * @param known what providers were asked about a name: the symbol under which it is there now
 */
export function matchAsset(
  meant: ImportAsset,
  currency: string | null,
  index: AssetIndex<Asset>,
  known: ReadonlyMap<string, string>,
): AssetMatch {
  const ways = nameCandidates(meant, currency)
  for (const { name, fits } of ways) {
    const found = resolveFromIndex(known.get(name) ?? name, index)
    if (found.kind === 'none') continue
    const fitting = (found.kind === 'one' ? [found.asset] : found.assets).filter(fits)
    if (fitting.length === 0) continue
    const [asset, ...more] = preferMatching(fitting, meant, currency)
    return more.length === 0 && asset ? { kind: 'one', asset } : { kind: 'ambiguous', assets: fitting }
  }
  return { kind: 'none', ask: ways.filter(({ ask }) => ask).map(({ name }) => name) }
}

/** An asset of a file in words. */
export const importAssetLabel = ({ symbol, isin, name }: ImportAsset): string =>
  [symbol ?? isin, name === symbol ? null : name].filter((part) => part !== null).join(', ')
