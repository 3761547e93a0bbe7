import { normalizeName } from '../../pricing/symbol.ts'
import type { ActivityKind } from '../../protocol/portfolio.ts'
import { type ImportAsset, importAsset, isIsin, type RowError } from './row.ts'

/** Ghostfolio's sources of prices. */
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
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Kinds that need no asset. */
const WITHOUT_ASSET: ReadonlySet<ActivityKind> = new Set(['fee', 'interest', 'tax'])
/** Titles that an export gives to activities without a note. */
const DEFAULT_TITLES: ReadonlySet<string> = new Set(['Fee', 'Interest', 'Tax'])

/** What a row of Ghostfolio says about its asset. `own`: the manual symbol is an asset's, not only the title of a fee. */
export type GhostfolioAsset = {
  kind: ActivityKind
  source: string
  symbol: string
  isin: string
  name: string
  own_name: string
  note: string
  own: boolean
  /** The currency of a manual asset. */
  currency: string | null
}

/** The asset and the note of a row of Ghostfolio, or an error. */
export function toImportAsset(row: GhostfolioAsset): { asset: ImportAsset | null; note: string | null } | RowError {
  const { kind, source, symbol, isin, name, own_name } = row
  const note = row.note || null
  if (source !== '' && !DATA_SOURCES.has(source.toUpperCase()))
    return { field: 'dataSource', message: `${source.slice(0, 60)} is not a known data source` }
  const manual = source.toUpperCase() === 'MANUAL'
  if (WITHOUT_ASSET.has(kind) && !row.own && (manual || (symbol === '' && isin === ''))) {
    // Ghostfolio's symbol of a fee is the purpose of the fee.
    const title = UUID.test(symbol) || DEFAULT_TITLES.has(symbol) ? (name === symbol ? '' : name) : symbol
    const texts = [DEFAULT_TITLES.has(title) ? '' : title, row.note].filter((part) => part !== '')
    return { asset: null, note: texts.join(': ') || null }
  }
  if (symbol === '' && isin === '') return { field: 'symbol', message: 'is missing' }
  if (manual) {
    const title = UUID.test(symbol) && name !== '' ? name : symbol
    const asset = importAsset({ symbol: title, name: name || title })
    return { asset: { ...asset, currency: row.currency, manual: true }, note }
  }
  if (symbol !== '' && normalizeName(symbol) === null)
    return { field: 'symbol', message: `${symbol.slice(0, 60)} is not a valid symbol, such as AAPL` }
  const upper = symbol.toUpperCase()
  const names = isIsin(upper) ? { isin: upper } : { symbol: upper, isin }
  return { asset: importAsset({ ...names, name, own_name }), note }
}
