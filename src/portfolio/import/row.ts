import type { ActivityKind } from '../../protocol/portfolio.ts'
import type { Activity } from '../activity.ts'
import { isNegative, negate } from './amount.ts'

/**
 * What a file calls an asset. `own_name` is Kerb's qualified name of it (`yahoo:AAPL`). A `manual` asset has no price
 * provider, and is in `currency` (null: in that of its activities). The symbol of a `crypto` asset is a coin (`BTC`),
 * never a share with the same ticker.
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
 * One activity of a file, in any format: amounts are plain decimal text with the file's own digits, in major units.
 * `row` is its row in a spreadsheet (the column names are row 1), or the number of the activity in JSON. One row may hold
 * several.
 */
export type ImportedActivity = Pick<Activity, 'kind' | 'quantity' | 'price' | 'fees' | 'split' | 'note' | 'short'> & {
  row: number
  /** Null for an activity without an asset (fee, interest, tax). */
  asset: ImportAsset | null
  /** Null where the file has none: the asset's. */
  currency: string | null
  /** RFC 3339 in UTC; midnight where the file has a date alone. */
  traded_at: string
  /** Lot ids are `id`s of the same file, or of stored activities. */
  lots: Activity['lots']
  /** The id of the activity in the file. */
  id: string | null
}

export type RowError = { field: string; message: string }

/** The result of a row: an activity, an error, or the reason why it has no effect on holdings. */
export type ImportRow = ImportedActivity | { row: number; error: RowError } | { row: number; skipped: string }

/** An activity without its row number. */
export type ActivityDraft = Omit<ImportedActivity, 'row'>

/** What one row says: activities, or why it has none. Its errors are apart from it, and take precedence. */
export type RowResult = readonly ActivityDraft[] | { skipped: string }

export const CASH_MOVEMENT = { skipped: 'a cash transfer' }

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

type CashParts = Pick<ActivityDraft, 'currency' | 'traded_at'> & Partial<Pick<ActivityDraft, 'asset' | 'note'>>

/** An activity of these parts; those left out are empty, the quantity is 1. */
export const createDraft = (parts: CashParts & Partial<ActivityDraft> & { kind: ActivityKind }): ActivityDraft => ({
  ...DRAFT_DEFAULTS,
  ...parts,
})

/** An asset as a file describes it; empty text counts as not given. */
export function importAsset(
  { symbol, isin, name, own_name }: Partial<Pick<ImportAsset, 'symbol' | 'isin' | 'name' | 'own_name'>>,
  crypto = false,
): ImportAsset {
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

export const isIsin = (text: string): boolean => /^[A-Z]{2}[A-Z0-9]{9}\d$/.test(text)

/** A fee or a tax of this amount; below 0 for a refund. */
export const costDraft = (
  kind: 'fee' | 'tax',
  amount: string,
  { currency, traded_at, asset = null, note = null }: CashParts,
): ActivityDraft => createDraft({ kind, currency, traded_at, asset, note, quantity: '0', fees: amount })

/** Kinds of activities that change the cash balance alone. */
export type CashKind = 'dividend' | 'interest' | 'fee' | 'tax'

/** A change of the cash balance: below 0 for a cost, income that was taken back, or interest to pay. */
export function cashDraft(kind: CashKind, change: string, parts: CashParts): ActivityDraft {
  const paid = negate(change)
  if (kind === 'fee' || kind === 'tax') return costDraft(kind, paid, parts)
  if (!isNegative(change)) return createDraft({ ...parts, kind, price: change })
  if (kind === 'interest') return costDraft('fee', paid, parts)
  return createDraft({ ...parts, kind, quantity: '0', fees: paid })
}

/** An amount in major units. */
export type Money = { amount: string; currency: string }

/** The fee of a trade in another currency: an activity of its own. */
export const separateFee = ({ asset, traded_at }: ActivityDraft, { amount, currency }: Money): ActivityDraft =>
  costDraft('fee', amount, { asset, traded_at, currency })

/** A trade with its fee: part of it in the same currency, an activity of its own in another. */
export function withFee(trade: ActivityDraft, fee: Money | null): ActivityDraft[] {
  if (fee === null) return [trade]
  return fee.currency === trade.currency ? [{ ...trade, fees: fee.amount }] : [trade, separateFee(trade, fee)]
}

export const isActivity = (row: ImportRow): row is ImportedActivity => 'kind' in row
