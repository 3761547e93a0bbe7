import type { ActivityKind } from '../protocol/portfolio.ts'

/** A part of a lot that a sale names; `quantity` is in the shares of the day of the sale. */
export type NamedLot = { lot_id: string; quantity: string }

/**
 * An activity as it was entered or imported. Amounts are plain decimal text. `quantity` and `price` are as traded,
 * before later splits; `price` and `fees` are in `currency`. A dividend, interest, fee or tax amounts to
 * `quantity` × `price`; further costs are in `fees`.
 */
export type Activity = {
  id: string
  kind: ActivityKind
  /** Below 0 for a custom asset; null for an activity without an asset (fee, interest, tax). */
  asset_id: number | null
  quantity: string
  price: string
  fees: string
  currency: string
  /** RFC 3339. An activity in the future has no effect until then. */
  traded_at: string
  /** Splits only: `numerator` new shares for `denominator` old ones. */
  split: { numerator: string; denominator: string } | null
  /** Sales only: the lots that it takes; null takes the oldest first (P4). */
  lots: readonly NamedLot[] | null
  note: string | null
  /** True if it may open a short lot: imported sales may, entered ones may not. */
  short: boolean
}

/** A split of the listed asset: it changes lots that were open before the day, `2020-08-31`. */
export type Split = { ex_date: string; numerator: string; denominator: string }

/**
 * The open part of a purchase, which is the activity with the same id. `quantity` and `cost` are below 0 for a short lot.
 * `quantity` and `price` are in today's shares; `cost` is the price paid for the open part with its fees, which no split
 * changes (P2).
 */
export type Lot = {
  id: string
  asset_id: number
  currency: string
  traded_at: string
  /** 0 for a closed lot. */
  quantity: string
  /** The quantity at the opening, in today's shares. */
  opened_quantity: string
  /** The price of one share, without fees; rounded to PRICE_PLACES where a split leaves more digits. */
  price: string
  /** The fees of the open part. */
  fees: string
  cost: string
}

/**
 * A part of a lot that an activity closed. `quantity` is above 0, in the shares of that day. `cost` is the part's, in the
 * lot's currency; `proceeds`, less its part of the fees, in the activity's; null for a transfer, which realises nothing.
 */
export type LotClosure = {
  activity_id: string
  lot_id: string
  asset_id: number
  quantity: string
  cost: string
  proceeds: string | null
  currency: string
  traded_at: string
}

/** A stored activity, whose split has two columns. */
export type SplitColumns<A> = Omit<A, 'split'> & { split_numerator: string | null; split_denominator: string | null }

/** The activity of a stored row. */
export function fromSplitColumns<A extends { split: Activity['split'] }>(row: SplitColumns<A>): A {
  const { split_numerator: numerator, split_denominator: denominator, ...rest } = row
  const split = numerator === null || denominator === null ? null : { numerator, denominator }
  return { ...rest, split } as unknown as A
}
