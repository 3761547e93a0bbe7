import { normalizeName } from '../../pricing/symbol.ts'
import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { ImportAsset, RowError } from './row.ts'
import { importAsset } from './row.ts'

/** Where Ghostfolio has its prices from. */
const DATA_SOURCES = new Set([
  'ALPHA_VANTAGE',
  'COINGECKO',
  'EOD_HISTORICAL_DATA',
  'FINANCIAL_MODELING_PREP',
  'GHOSTFOLIO',
  'GOOGLE_SHEETS',
  'MANUAL',
  'RAPID_API',
  'YAHOO',
])
const ISIN = /^[A-Z]{2}[A-Z0-9]{9}\d$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Kinds that stand for themselves where no asset with a price is named. */
const WITHOUT_ASSET: ReadonlySet<ActivityKind> = new Set(['fee', 'interest', 'tax'])
/** Names that an export gives to those that have none. */
const DEFAULT_TITLES: ReadonlySet<string> = new Set(['Fee', 'Interest', 'Tax'])

export const isIsin = (text: string): boolean => ISIN.test(text)

/** What a row of Ghostfolio says of its asset. `own`: the manual symbol belongs to an asset, not to a fee alone. */
export type GhostfolioAsset = {
  kind: ActivityKind
  source: string
  symbol: string
  isin: string
  name: string
  own_name: string
  note: string
  own: boolean
  /** Of a manual asset. */
  currency: string | null
}

/** The asset of a row of Ghostfolio, and its note; or what is wrong with them. */
export function toImportAsset(told: GhostfolioAsset): { asset: ImportAsset | null; note: string | null } | RowError {
  const { kind, source, symbol, isin, name, note } = told
  if (source !== '' && !DATA_SOURCES.has(source.toUpperCase()))
    return { field: 'dataSource', message: `${source.slice(0, 60)} is no source of data that is known here` }
  const manual = source.toUpperCase() === 'MANUAL'
  if (WITHOUT_ASSET.has(kind) && !told.own && (manual || (symbol === '' && isin === ''))) {
    // What Ghostfolio calls the symbol of a fee is what the fee is for.
    const title = UUID.test(symbol) || DEFAULT_TITLES.has(symbol) ? (name === symbol ? '' : name) : symbol
    const said = [DEFAULT_TITLES.has(title) ? '' : title, note].filter((part) => part !== '').join(': ')
    return { asset: null, note: said === '' ? null : said }
  }
  if (symbol === '' && isin === '') return { field: 'symbol', message: 'is missing' }
  if (manual) {
    const known = UUID.test(symbol) && name !== '' ? name : symbol
    return {
      asset: { ...importAsset({ symbol: known, name: name || known }), currency: told.currency, manual: true },
      note: note || null,
    }
  }
  if (symbol !== '' && normalizeName(symbol) === null)
    return { field: 'symbol', message: `${symbol.slice(0, 60)} can be no symbol: one is written like AAPL` }
  const upper = symbol.toUpperCase()
  const asset = isIsin(upper)
    ? importAsset({ isin: upper, name, own_name: told.own_name })
    : importAsset({ symbol: upper, isin, name, own_name: told.own_name })
  return { asset, note: note || null }
}
