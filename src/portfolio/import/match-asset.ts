import { type AssetIndex, resolveFromIndex } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import type { ImportAsset } from './row.ts'

/** The result for a name in a file: one asset, several, or none; then `ask` are names to look up at providers. */
export type AssetMatch =
  | { kind: 'one'; asset: Asset }
  | { kind: 'ambiguous'; assets: Asset[] }
  | { kind: 'none'; ask: string[] }

/** BTCUSD, as Ghostfolio writes it: a coin and what it is priced in. */
const PAIR = /^([A-Z0-9]{2,10})(USDT|USDC|USD|EUR|GBP|CHF|JPY|CAD|AUD|BTC|ETH)$/

/** `BRK.B`, `BRK B`: shares of a class, which Yahoo writes BRK-B. */
const SHARE_CLASS = /^([A-Z]{1,4})[ ./]([A-Z])$/

/** A possible name of an asset, whether an asset found by it fits, and whether to ask providers for it. */
type NameCandidate = { name: string; fits: (asset: Asset) => boolean; ask: boolean }

const isCrypto = (asset: Asset): boolean => asset.type === 'crypto'
const anyAsset = (): boolean => true

function nameCandidates(wanted: ImportAsset, currency: string | null): NameCandidate[] {
  const { symbol, isin, own_name } = wanted
  const own = own_name === null ? [] : [{ name: own_name.toUpperCase(), fits: anyAsset, ask: false }]
  if (wanted.crypto && symbol !== null) {
    const pairs = symbol.includes('-') ? [symbol] : [`${symbol}-USD`, `${symbol}-${currency ?? 'EUR'}`]
    return [
      ...own,
      ...pairs.map((name, at) => ({ name, fits: isCrypto, ask: at === 0 })),
      { name: symbol, fits: isCrypto, ask: false },
    ]
  }
  // The same ticker is another asset on another market: an ISIN takes precedence.
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

/** Every name by which an asset of a file may be found. */
export const candidateNames = (wanted: ImportAsset, currency: string | null): string[] =>
  nameCandidates(wanted, currency).map(({ name }) => name)

/** Of several assets with a name, those of the file's kind and currency. */
function preferMatching(assets: readonly Asset[], wanted: ImportAsset, currency: string | null): readonly Asset[] {
  let left = assets
  for (const fits of [
    (asset: Asset) => isCrypto(asset) === wanted.crypto,
    (asset: Asset) => asset.currency === currency,
  ]) {
    const fitting = left.filter(fits)
    if (fitting.length > 0) left = fitting
  }
  return left
}

/**
 * Finds the asset of a file in an index. The first name that finds one decides.
 * @param currency the currency of the file's activities in the asset
 * @param known the symbols that providers returned for a name
 */
export function matchAsset(
  wanted: ImportAsset,
  currency: string | null,
  index: AssetIndex<Asset>,
  known: ReadonlyMap<string, string>,
): AssetMatch {
  const candidates = nameCandidates(wanted, currency)
  for (const { name, fits } of candidates) {
    const found = resolveFromIndex(known.get(name) ?? name, index)
    if (found.kind === 'none') continue
    const fitting = (found.kind === 'one' ? [found.asset] : found.assets).filter(fits)
    if (fitting.length === 0) continue
    const [asset, ...more] = preferMatching(fitting, wanted, currency)
    return more.length === 0 && asset ? { kind: 'one', asset } : { kind: 'ambiguous', assets: fitting }
  }
  return { kind: 'none', ask: candidates.filter(({ ask }) => ask).map(({ name }) => name) }
}

/** The asset of a file as text. */
export const importAssetLabel = ({ symbol, isin, name }: ImportAsset): string =>
  [symbol ?? isin, name === symbol ? null : name].filter((part) => part !== null).join(', ')
