import { qualifiedName } from '../pricing/symbol.ts'
import type { Asset } from '../protocol/asset.ts'
import type { ActivityKind } from '../protocol/portfolio.ts'
import type { Activity } from './activity.ts'

/** The content of an export: activities in order, and their assets by id (custom ones below 0). */
export type ExportInput = { activities: readonly Activity[]; assets: ReadonlyMap<number, Asset>; currency: string }

/** Ghostfolio's kind for each of Kerb's, by its effect on the holding; the export adds Kerb's kind. */
const GHOSTFOLIO_KIND: Readonly<Record<ActivityKind, string>> = {
  buy: 'BUY',
  transfer_in: 'BUY',
  // With quantity 0: only Kerb reads the split.
  split: 'BUY',
  sell: 'SELL',
  transfer_out: 'SELL',
  dividend: 'DIVIDEND',
  fee: 'FEE',
  tax: 'FEE',
  interest: 'INTEREST',
}
const KERB_KINDS: ReadonlySet<ActivityKind> = new Set(['transfer_in', 'transfer_out', 'split', 'tax'])
const CLOSING_KINDS: ReadonlySet<ActivityKind> = new Set(['sell', 'transfer_out'])
/** Ghostfolio's title of a fee without a name. */
const DEFAULT_TITLES: Readonly<Partial<Record<ActivityKind, string>>> = { fee: 'Fee', interest: 'Interest', tax: 'Tax' }
const DEFAULT_TITLE_TEXTS: ReadonlySet<string> = new Set(Object.values(DEFAULT_TITLES))

/** Ghostfolio's symbol of an asset: Yahoo's, or a coin followed by its currency. */
function ghostfolioSymbol(asset: Asset): string {
  if (asset.asset_id < 0) return asset.symbol
  if (asset.type === 'crypto') return `${asset.code}${asset.currency}`
  return asset.provider === 'yahoo' ? asset.provider_id : asset.symbol
}

/** A symbol for each asset; the second of two with the same Ghostfolio symbol gets its qualified name. */
function symbolsOf(assets: Iterable<Asset>): Map<number, string> {
  const symbols = new Map<number, string>()
  const taken = new Set<string>()
  for (const asset of assets) {
    const usual = ghostfolioSymbol(asset)
    const other = asset.asset_id < 0 ? `${usual} (${asset.currency})` : qualifiedName(asset)
    const symbol = taken.has(usual) ? other : usual
    taken.add(symbol)
    symbols.set(asset.asset_id, symbol)
  }
  return symbols
}

/** The title and the comment of an activity without an asset: its note is the title. */
function titleOf({ kind, note }: Activity): { title: string; comment: string | null } {
  const title = DEFAULT_TITLES[kind] ?? 'Fee'
  return note === null || DEFAULT_TITLE_TEXTS.has(note) ? { title, comment: note } : { title: note, comment: null }
}

/** A JSON number with exactly these digits. */
const rawNumber = (text: string): unknown => (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text)

const assetProfile = (symbol: string, name: string, currency: string) => ({
  assetClass: null,
  assetSubClass: null,
  comment: null,
  countries: [],
  currency,
  cusip: null,
  dataSource: 'MANUAL',
  figi: null,
  figiComposite: null,
  figiShareClass: null,
  holdings: [],
  isActive: true,
  isin: null,
  marketData: [],
  name,
  sectors: [],
  symbol,
  url: null,
})

/**
 * A portfolio in Ghostfolio's JSON, amounts with their exact digits. `kerb`, which Ghostfolio ignores,
 * adds what it cannot express: kinds, splits, named lots, and the assets of the symbols.
 * @param now RFC 3339
 */
export function exportJson({ activities, assets, currency }: ExportInput, now: string): string {
  const symbols = symbolsOf(assets.values())
  const listed = [...assets.values()]
  const own = listed.filter(({ asset_id }) => asset_id < 0)
  const profiles = own.map((asset) => assetProfile(symbols.get(asset.asset_id) as string, asset.name, asset.currency))
  const rows = activities.map((activity) => {
    const { id, kind, asset_id, note } = activity
    const titled = asset_id === null ? titleOf(activity) : { title: '', comment: note }
    if (asset_id === null) profiles.push(assetProfile(id, titled.title, activity.currency))
    return {
      accountId: null,
      comment: titled.comment,
      currency: activity.currency,
      dataSource: asset_id === null || asset_id < 0 ? 'MANUAL' : 'YAHOO',
      date: activity.traded_at,
      fee: rawNumber(activity.fees),
      id,
      quantity: rawNumber(activity.quantity),
      symbol: asset_id === null ? id : symbols.get(asset_id),
      tags: [],
      type: GHOSTFOLIO_KIND[kind],
      unitPrice: rawNumber(activity.price),
    }
  })
  const byId = <T>(pick: (activity: Activity) => T | null): Record<string, T> =>
    Object.fromEntries(
      activities.flatMap((activity) => {
        const picked = pick(activity)
        return picked === null ? [] : [[activity.id, picked]]
      }),
    )
  const file = {
    meta: { date: now, version: 'kerb' },
    accounts: [],
    assetProfiles: profiles,
    platforms: [],
    tags: [],
    activities: rows,
    user: { settings: { currency, performanceCalculationType: 'ROAI' } },
    kerb: {
      kinds: byId(({ kind }) => (KERB_KINDS.has(kind) ? kind : null)),
      splits: byId(({ split }) => split),
      lots: byId(({ lots }) => lots),
      assets: Object.fromEntries(
        listed.flatMap((asset) => (asset.asset_id < 0 ? [] : [[symbols.get(asset.asset_id), qualifiedName(asset)]])),
      ),
      own: Object.fromEntries(own.map(({ asset_id, symbol }) => [symbols.get(asset_id), symbol])),
      typed: activities.flatMap(({ id, kind, short }) => (CLOSING_KINDS.has(kind) && !short ? [id] : [])),
    },
  }
  return `${JSON.stringify(file, null, 2)}\n`
}

const COLUMNS = [
  'Date',
  'Code',
  'DataSource',
  'Currency',
  'Price',
  'Quantity',
  'Action',
  'Fee',
  'Note',
  'Name',
  'Isin',
  'Asset',
  'Kind',
  'Split',
  'Lots',
  'Short',
  'Refund',
  'Id',
]

/** An apostrophe precedes a text that a spreadsheet would take for a formula; an import removes it. */
const escapeFormula = (text: string): string => (/^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text)

const csvCell = (text: string): string => (/[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** A portfolio in Ghostfolio's CSV, with extra columns, which Ghostfolio ignores, for what it cannot express. */
export function exportCsv({ activities, assets }: ExportInput): string {
  const symbols = symbolsOf(assets.values())
  const lines = activities.map((activity) => {
    const { kind, asset_id, split, lots, fees } = activity
    const asset = asset_id === null ? undefined : assets.get(asset_id)
    const { title, comment } = asset === undefined ? titleOf(activity) : { title: '', comment: activity.note }
    const own = asset === undefined || asset.asset_id < 0
    return [
      activity.traded_at,
      escapeFormula(asset === undefined ? title : own ? asset.symbol : (symbols.get(asset.asset_id) as string)),
      own ? 'MANUAL' : 'YAHOO',
      activity.currency,
      activity.price,
      activity.quantity,
      GHOSTFOLIO_KIND[kind].toLowerCase(),
      fees.replace('-', ''),
      escapeFormula(comment ?? ''),
      escapeFormula(asset?.name ?? ''),
      asset?.isin ?? '',
      asset === undefined ? '' : own ? `own:${asset.currency}` : qualifiedName(asset),
      kind,
      split === null ? '' : `${split.numerator}:${split.denominator}`,
      lots === null ? '' : lots.map(({ lot_id, quantity }) => `${lot_id}=${quantity}`).join(' '),
      CLOSING_KINDS.has(kind) && !activity.short ? 'no' : '',
      fees.startsWith('-') ? 'yes' : '',
      activity.id,
    ]
  })
  return [COLUMNS, ...lines]
    .map((cells) => cells.map(csvCell).join(','))
    .join('\r\n')
    .concat('\r\n')
}
