import type { Activity, Lot, LotClosure, NamedLot, Split } from './activity.ts'
import {
  type Decimal,
  divide,
  divideRounded,
  EXACT_PLACES,
  formatDecimal,
  isZero,
  PRICE_PLACES,
  parseDecimal,
  ZERO,
} from './decimal.ts'
import { type AppliedSplit, splitsUntil } from './splits.ts'
import { parseMicros } from './time.ts'

/** The lots and closures of an asset, in the order in which they came about. */
export type DerivedLots = { lots: Lot[]; closures: LotClosure[] }

/** The first impossible activity: it takes more than is held, or from a lot that does not exist. */
export type LotRefusal = {
  refused: { activity_id: string; reason: 'insufficient_quantity' | 'unknown_lot'; detail: string }
}

/** A lot during the derivation. Amounts are the open part's, below 0 for a short lot. */
type OpenLot = {
  opened: Activity
  /** The number of splits before it was opened. */
  splitsBefore: number
  opened_quantity: Decimal
  whole: boolean
  quantity: Decimal
  /** Without fees. */
  gross: Decimal
  fees: Decimal
  /** The whole at the opening or the last split, to which parts refer. */
  base: { quantity: Decimal; gross: Decimal; fees: Decimal }
  /** Gross / quantity; null where that does not end. Undefined after a split, until it is needed. */
  unit?: Decimal | null
}

type LotEvent =
  | { at: number; order: 0; id: ''; split: AppliedSplit }
  | { at: number; order: 1 | 2; id: string; activity: Activity }

const OPENING_KINDS: ReadonlySet<string> = new Set(['buy', 'transfer_in'])
const CLOSING_KINDS: ReadonlySet<string> = new Set(['sell', 'transfer_out'])

function eventsUntil(activities: readonly Activity[], splits: readonly AppliedSplit[], now: number): LotEvent[] {
  const events: LotEvent[] = splits.map((split) => ({ at: split.at, order: 0, id: '', split }))
  for (const activity of activities) {
    if (!OPENING_KINDS.has(activity.kind) && !CLOSING_KINDS.has(activity.kind)) continue
    const at = parseMicros(activity.traded_at)
    if (at <= now) events.push({ at, order: OPENING_KINDS.has(activity.kind) ? 1 : 2, id: activity.id, activity })
  }
  return events.sort((a, b) => a.at - b.at || a.order - b.order || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
}

/**
 * The part of `whole` that belongs to `rest` of `quantity`, rounded. The caller subtracts it, so that all parts add up to
 * the whole to the last digit.
 */
const proportionalPart = (whole: Decimal, rest: Decimal, quantity: Decimal): Decimal =>
  isZero(whole) ? ZERO : divideRounded(whole.times(rest), quantity, PRICE_PLACES)

function unitPrice(lot: OpenLot): Decimal | null {
  if (lot.unit === undefined) {
    const unit = divide(lot.base.gross, lot.base.quantity)
    lot.unit = unit.times(lot.base.quantity).eq(lot.base.gross) ? unit : null
  }
  return lot.unit
}

/** Takes a quantity (above 0) out of a lot, and returns the cost of that part with its fees. */
function takeFromLot(lot: OpenLot, quantity: Decimal): Decimal {
  const { base } = lot
  const unit = unitPrice(lot)
  const before = lot.gross.plus(lot.fees)
  const rest = lot.quantity.gt(ZERO) ? lot.quantity.minus(quantity) : lot.quantity.plus(quantity)
  const closed = isZero(rest)
  lot.gross = closed ? ZERO : unit ? unit.times(rest) : proportionalPart(base.gross, rest, base.quantity)
  lot.fees = closed ? ZERO : proportionalPart(base.fees, rest, base.quantity)
  lot.quantity = rest
  lot.whole = false
  return before.minus(lot.gross).minus(lot.fees)
}

/** The quantities of open lots after a split. Their sum is the position's quantity, rounded to `places` if necessary. */
function quantitiesAfter(lots: readonly OpenLot[], split: AppliedSplit, places: number): Decimal[] {
  const { numerator, denominator } = split
  // Most ratios end, and need no division for each lot.
  const ended = divide(numerator, denominator)
  const exact = ended.times(denominator).eq(numerator)
  let before = ZERO
  let after = ZERO
  return lots.map((lot) => {
    before = before.plus(lot.quantity)
    const sum = exact ? before.times(ended) : divide(before.times(numerator), denominator, places)
    const quantity = sum.minus(after)
    after = sum
    return quantity
  })
}

/**
 * Converts open lots to the shares after a split. Their quantities add up to the position's, even where a single lot has to
 * be rounded. Costs stay, and no lot with a cost ends with quantity 0 (P2).
 */
function splitLots(lots: readonly OpenLot[], split: AppliedSplit): void {
  const usual = quantitiesAfter(lots, split, PRICE_PLACES)
  const quantities = usual.some(isZero) ? quantitiesAfter(lots, split, EXACT_PLACES) : usual
  for (const [i, lot] of lots.entries()) {
    lot.quantity = quantities[i]!
    lot.unit = undefined
    lot.base = { quantity: lot.quantity, gross: lot.gross, fees: lot.fees }
  }
}

/** The lots of an asset during the derivation. */
type LotState = {
  all: OpenLot[]
  byId: Map<string, OpenLot>
  /** The index of the first lot that may be open. */
  first: number
  splits: number
}

function openLot(state: LotState, opened: Activity, quantity: Decimal, fees: Decimal): void {
  const unit = parseDecimal(opened.price)
  const base = { quantity, gross: unit.times(quantity), fees }
  const lot = { opened, splitsBefore: state.splits, opened_quantity: quantity, whole: true, ...base, base, unit }
  state.all.push(lot)
  state.byId.set(opened.id, lot)
}

type LotPart = { lot: OpenLot; quantity: Decimal }

/** The oldest lots of the other side, until `wanted` is reached or no lot is left (P4). */
function oldestLots(state: LotState, wanted: Decimal, side: 1 | -1): LotPart[] {
  const parts: LotPart[] = []
  let left = wanted
  for (let i = state.first; i < state.all.length && left.gt(ZERO); i++) {
    const lot = state.all[i]!
    const held = lot.quantity.abs()
    if (isZero(held)) {
      if (i === state.first) state.first++
      continue
    }
    // Long and short lots are never open at once.
    if (lot.quantity.s !== side) break
    const quantity = held.lt(left) ? held : left
    parts.push({ lot, quantity })
    left = left.minus(quantity)
  }
  return parts
}

const refusal = (activity: Activity, reason: LotRefusal['refused']['reason'], detail: string): LotRefusal => ({
  refused: { activity_id: activity.id, reason, detail },
})

/** The lots that a sale names, which must hold exactly what it takes. */
function namedLots(state: LotState, activity: Activity, names: readonly NamedLot[]): LotPart[] | LotRefusal {
  const parts = new Map<string, LotPart>()
  let sum = ZERO
  for (const { lot_id, quantity } of names) {
    const lot = state.byId.get(lot_id)
    if (!lot || lot.quantity.lt(ZERO)) return refusal(activity, 'unknown_lot', `This lot doesn't exist: ${lot_id}`)
    const part = { lot, quantity: parseDecimal(quantity).plus(parts.get(lot_id)?.quantity ?? ZERO) }
    if (part.quantity.gt(lot.quantity))
      return refusal(activity, 'insufficient_quantity', `This lot only has ${formatDecimal(lot.quantity)}.`)
    parts.set(lot_id, part)
    sum = sum.plus(quantity)
  }
  if (!sum.eq(activity.quantity))
    return refusal(
      activity,
      'insufficient_quantity',
      `The lots add up to ${formatDecimal(sum)}, not ${activity.quantity}.`,
    )
  return [...parts.values()].filter(({ quantity }) => quantity.gt(ZERO))
}

/**
 * Applies a purchase, sale or transfer: it closes lots of the other side, and opens one with the rest. Its fees are divided
 * by quantity. A transfer realises nothing; the fees of an outgoing one are an expense and belong to no lot.
 */
function applyTrade(state: LotState, activity: Activity, closures: LotClosure[]): LotRefusal | null {
  const quantity = parseDecimal(activity.quantity)
  if (isZero(quantity)) return null
  const buys = OPENING_KINDS.has(activity.kind)
  const transfer = activity.kind === 'transfer_in' || activity.kind === 'transfer_out'
  const parts =
    !buys && activity.lots ? namedLots(state, activity, activity.lots) : oldestLots(state, quantity, buys ? -1 : 1)
  if (!Array.isArray(parts)) return parts
  let left = parts.reduce((rest, part) => rest.minus(part.quantity), quantity)
  const opens = left.gt(ZERO)
  if (opens && !buys && !activity.short)
    return refusal(activity, 'insufficient_quantity', `You only hold ${formatDecimal(quantity.minus(left))}.`)

  const price = parseDecimal(activity.price)
  let fees = activity.kind === 'transfer_out' ? ZERO : parseDecimal(activity.fees)
  const allFees = fees
  left = quantity
  for (const part of parts) {
    left = left.minus(part.quantity)
    const feesLeft = transfer ? fees : isZero(left) ? ZERO : proportionalPart(allFees, left, quantity)
    const received = part.quantity.times(buys ? price.neg() : price).minus(fees.minus(feesLeft))
    fees = feesLeft
    closures.push({
      activity_id: activity.id,
      lot_id: part.lot.opened.id,
      asset_id: activity.asset_id ?? 0,
      quantity: formatDecimal(part.quantity),
      cost: formatDecimal(takeFromLot(part.lot, part.quantity)),
      proceeds: transfer ? null : formatDecimal(received),
      currency: activity.currency,
      traded_at: activity.traded_at,
    })
  }
  if (opens) openLot(state, activity, buys ? left : left.neg(), fees)
  return null
}

/** The shares that one share became through the splits since, by the number of splits before it. */
function splitFactors(splits: readonly AppliedSplit[]): { numerator: Decimal; denominator: Decimal }[] {
  let factor = { numerator: parseDecimal('1'), denominator: parseDecimal('1') }
  const since = [factor]
  for (const { numerator, denominator } of splits.toReversed()) {
    factor = { numerator: factor.numerator.times(numerator), denominator: factor.denominator.times(denominator) }
    since.unshift(factor)
  }
  return since
}

/**
 * Derives the lots and closures of ONE asset from all its activities, in any order. Kinds that touch no lot and activities
 * in the future are ignored. Exact: the costs of a lot's closures and of its open part add up to its whole cost.
 *
 * Activities apply by `traded_at`; at the same instant purchases first, then by id. A split changes the lots that are open at the
 * first instant of its day (UTC).
 * @param splits of the listed asset; see `splitsUntil`
 * @param now RFC 3339
 */
export function deriveLots(
  activities: readonly Activity[],
  splits: readonly Split[],
  now: string,
): DerivedLots | LotRefusal {
  const until = parseMicros(now)
  const applied = splitsUntil(activities, splits, until)
  const state: LotState = { all: [], byId: new Map(), first: 0, splits: 0 }
  const closures: LotClosure[] = []
  for (const event of eventsUntil(activities, applied, until)) {
    if ('split' in event) {
      splitLots(
        state.all.filter(({ quantity }) => !isZero(quantity)),
        event.split,
      )
      state.splits++
      continue
    }
    const refused = applyTrade(state, event.activity, closures)
    if (refused) return refused
  }
  const since = splitFactors(applied)
  const lots = state.all.map(({ opened, splitsBefore, ...lot }): Lot => {
    const split = splitsBefore < applied.length
    const { numerator, denominator } = since[splitsBefore]!
    const openedQuantity = split ? divide(lot.opened_quantity.times(numerator), denominator) : lot.opened_quantity
    const price = parseDecimal(opened.price)
    return {
      id: opened.id,
      asset_id: opened.asset_id ?? 0,
      currency: opened.currency,
      traded_at: opened.traded_at,
      quantity: formatDecimal(lot.quantity),
      opened_quantity: formatDecimal(lot.whole ? lot.quantity : openedQuantity),
      price: formatDecimal(split ? divideRounded(price.times(denominator), numerator, PRICE_PLACES) : price),
      fees: formatDecimal(lot.fees),
      cost: formatDecimal(lot.gross.plus(lot.fees)),
    }
  })
  return { lots, closures }
}
