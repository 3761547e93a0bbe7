import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { NamedLot } from '../activity.ts'

/**
 * What a file calls an asset. `own_name` is Kerb's own name of it (`yahoo:AAPL`). `manual`: nobody prices it;
 * it is in `currency` (null: in that of its activities). `crypto`:
 * `symbol` is a coin (`BTC`), never a share of the same ticker.
 */
export type ImportAsset = {
  symbol: string | null
  isin: string | null
  name: string | null
  own_name: string | null
  currency: string | null
  manual: boolean
  crypto: boolean
}

/**
 * One activity of a file, whoever wrote it: amounts are plain decimal text with the file's own digits, in major units.
 * `row` is where it stands: the row of a spreadsheet (that of the column names is the first), or the number of the
 * activity in JSON. One row may hold several.
 */
export type ImportedActivity = {
  row: number
  kind: ActivityKind
  /** Null: it belongs to no asset (fee, interest, tax). */
  asset: ImportAsset | null
  quantity: string
  price: string
  fees: string
  /** Null: the file tells none; that of the asset. */
  currency: string | null
  /** RFC 3339 in UTC; the day's begin where the file tells the day alone. */
  traded_at: string
  split: { numerator: string; denominator: string } | null
  /** Names of lots are `id`s of the same file, or of activities that are there already. */
  lots: readonly NamedLot[] | null
  note: string | null
  /** What the file itself calls the activity. */
  id: string | null
  /** Whether it may open a short lot. */
  short: boolean
}

export type RowError = { field: string; message: string }

/** What became of a row: an activity, a fault, or the reason why it has no effect on what is held. */
export type ImportRow = ImportedActivity | { row: number; error: RowError } | { row: number; skipped: string }

/** An activity before it is known where it stands. */
export type ActivityDraft = Omit<ImportedActivity, 'row'>

/** What one row says: activities, or why there is none. Faults are told apart from it, and go before it. */
export type RowResult = readonly ActivityDraft[] | { skipped: string }

const DRAFT_DEFAULTS = {
  asset: null,
  quantity: '1',
  price: '0',
  fees: '0',
  split: null,
  lots: null,
  note: null,
  id: null,
  short: true,
} as const

/** An activity of these parts; what is not given is one of nothing, without asset. */
export const createDraft = (
  parts: Partial<ActivityDraft> & Pick<ActivityDraft, 'kind' | 'currency' | 'traded_at'>,
): ActivityDraft => ({
  ...DRAFT_DEFAULTS,
  ...parts,
})

/** An asset by what a file tells of it; empty text counts as not told. */
export function importAsset(
  told: Partial<Omit<ImportAsset, 'manual' | 'crypto' | 'currency'>>,
  crypto = false,
): ImportAsset {
  const { symbol, isin, name, own_name } = told
  return {
    symbol: symbol || null,
    isin: isin || null,
    name: name || null,
    own_name: own_name || null,
    currency: null,
    manual: false,
    crypto,
  }
}

/** What a fee or a tax came to; below 0 it was paid back. */
export const costDraft = (
  kind: 'fee' | 'tax',
  amount: string,
  parts: Pick<ActivityDraft, 'currency' | 'traded_at'> & Partial<Pick<ActivityDraft, 'asset' | 'note'>>,
): ActivityDraft => {
  const { currency, traded_at, asset = null, note = null } = parts
  return createDraft({ kind, currency, traded_at, asset, note, quantity: '0', fees: amount })
}

export const isActivity = (row: ImportRow): row is ImportedActivity => 'kind' in row
