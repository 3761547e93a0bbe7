import { type AssetIndex, resolveIn } from '../../pricing/symbol.ts'
import type { Asset } from '../../protocol/asset.ts'
import type { ImportAsset } from './row.ts'

/** What a name of a file means: an asset, several, or none that is known; then `ask` are names to ask providers for. */
export type Meaning =
  | { kind: 'one'; asset: Asset }
  | { kind: 'ambiguous'; assets: Asset[] }
  | { kind: 'none'; ask: string[] }

/** BTCUSD, as Ghostfolio writes it: a coin and what it is priced in. */
const PAIR = /^([A-Z0-9]{2,10})(USDT|USDC|USD|EUR|GBP|CHF|JPY|CAD|AUD|BTC|ETH)$/

/** `BRK.B`, `BRK B`: shares of a class, which Yahoo writes BRK-B. */
const CLASS = /^([A-Z]{1,4})[ ./]([A-Z])$/

/** One way to name an asset, and whether what it finds can be what was meant. */
type Way = { name: string; fits: (asset: Asset) => boolean; ask: boolean }

const isCrypto = (asset: Asset): boolean => asset.type === 'crypto'
const always = (): boolean => true

function waysOf(meant: ImportAsset, currency: string | null): Way[] {
  const { symbol, isin, own_name } = meant
  const own = own_name === null ? [] : [{ name: own_name.toUpperCase(), fits: always, ask: false }]
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
  const [, share, letter] = CLASS.exec(symbol ?? '') ?? []
  const ofClass = share === undefined ? [] : [{ name: `${share}-${letter}`, fits, ask: true }]
  const [, coin, money] = PAIR.exec(symbol ?? '') ?? []
  const pair = coin === undefined ? [] : [{ name: `${coin}-${money}`, fits: isCrypto, ask: isin === null }]
  return [
    ...own,
    ...(isin === null ? [] : [{ name: isin, fits: always, ask: true }]),
    ...(symbol === null ? [] : [{ name: symbol, fits, ask: coin === undefined && share === undefined }]),
    ...ofClass,
    ...pair,
  ]
}

/** Every name that an asset of a file may be known by, to look them up. */
export const namesOf = (meant: ImportAsset, currency: string | null): string[] =>
  waysOf(meant, currency).map(({ name }) => name)

/** Of several that a name means: those of the kind and in the currency that was meant. */
function likeliest(assets: readonly Asset[], meant: ImportAsset, currency: string | null): readonly Asset[] {
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
export function meaningOf(
  meant: ImportAsset,
  currency: string | null,
  index: AssetIndex<Asset>,
  known: ReadonlyMap<string, string>,
): Meaning {
  const ways = waysOf(meant, currency)
  for (const { name, fits } of ways) {
    const found = resolveIn(known.get(name) ?? name, index)
    if (found.kind === 'none') continue
    const fitting = (found.kind === 'one' ? [found.asset] : found.assets).filter(fits)
    if (fitting.length === 0) continue
    const [asset, ...more] = likeliest(fitting, meant, currency)
    return more.length === 0 && asset ? { kind: 'one', asset } : { kind: 'ambiguous', assets: fitting }
  }
  return { kind: 'none', ask: ways.filter(({ ask }) => ask).map(({ name }) => name) }
}

/** An asset of a file in words. */
export const meantText = ({ symbol, isin, name }: ImportAsset): string =>
  [symbol ?? isin, name === symbol ? null : name].filter((part) => part !== null).join(', ')
