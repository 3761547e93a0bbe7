import type { Position, Totals } from '../protocol/portfolio.ts'
import { type Decimal, formatDecimal, formatDecimalOrNull, parseDecimal, percent, ZERO } from './decimal.ts'

const SUMMED = ['invested', 'present_value', 'gain_loss', 'day_change', 'realised_gain', 'income', 'expenses'] as const

/** The sums behind the totals. One changed position changes them, however many there are. */
export type TotalSums = {
  /** The number of open positions. */
  readonly positions: number
  /** The sums of known figures. */
  readonly known: Readonly<Record<(typeof SUMMED)[number], Decimal>>
  /** The sum invested in positions with a known gain, and the previous value of positions with a known day change. */
  readonly gainBase: Decimal
  readonly dayBase: Decimal
  /** The number of positions that lack a figure, by symbol. */
  readonly missing: ReadonlyMap<string, number>
}

const ZERO_SUMS: TotalSums = {
  positions: 0,
  known: Object.fromEntries(SUMMED.map((key) => [key, ZERO])) as TotalSums['known'],
  gainBase: ZERO,
  dayBase: ZERO,
  missing: new Map(),
}

/** True if a figure is not known. A custom asset, which is valued at cost, needs no gain. */
const hasMissingFigure = (position: Position): boolean =>
  SUMMED.some(
    (key) => position[key] === null && !(position.asset_id < 0 && (key === 'gain_loss' || key === 'day_change')),
  )

function countMissing(missing: ReadonlyMap<string, number>, symbol: string, by: 1 | -1): ReadonlyMap<string, number> {
  const counts = new Map(missing)
  const count = (counts.get(symbol) ?? 0) + by
  if (count === 0) counts.delete(symbol)
  else counts.set(symbol, count)
  return counts
}

function addPosition(sums: TotalSums, position: Position, by: 1 | -1): TotalSums {
  const plus = (sum: Decimal, amount: string | null): Decimal =>
    amount === null ? sum : by === 1 ? sum.plus(amount) : sum.minus(amount)
  const { invested, present_value, gain_loss, day_change } = position
  const known = { ...sums.known }
  for (const key of SUMMED) known[key] = plus(known[key], position[key])
  const dayBase =
    present_value === null || day_change === null ? null : formatDecimal(parseDecimal(present_value).minus(day_change))
  return {
    positions: sums.positions + (position.lots > 0 ? by : 0),
    known,
    gainBase: plus(sums.gainBase, gain_loss === null ? null : invested),
    dayBase: plus(sums.dayBase, dayBase),
    missing: hasMissingFigure(position) ? countMissing(sums.missing, position.symbol, by) : sums.missing,
  }
}

/** The sums of all positions, open and closed. */
export function sumPositions(positions: Iterable<Position>): TotalSums {
  let sums = ZERO_SUMS
  for (const position of positions) sums = addPosition(sums, position, 1)
  return sums
}

/** The sums after a position has changed. @param before null for a new position @param after null for a removed one */
export function replacePosition(sums: TotalSums, before: Position | null, after: Position | null): TotalSums {
  const without = before ? addPosition(sums, before, -1) : sums
  return after ? addPosition(without, after, 1) : without
}

/** The totals of a portfolio; `portfolio_totals_view` in the database gives the same. */
export function computeTotals(
  { positions, known, gainBase, dayBase, missing }: TotalSums,
  { currency, version }: Pick<Totals, 'currency' | 'version'>,
): Totals {
  return {
    currency,
    version,
    positions,
    invested: formatDecimal(known.invested),
    present_value: formatDecimal(known.present_value),
    gain_loss: formatDecimal(known.gain_loss),
    gain_loss_percent: formatDecimalOrNull(percent(known.gain_loss, gainBase)),
    day_change: formatDecimal(known.day_change),
    day_change_percent: formatDecimalOrNull(percent(known.day_change, dayBase)),
    realised_gain: formatDecimal(known.realised_gain),
    income: formatDecimal(known.income),
    expenses: formatDecimal(known.expenses),
    incomplete: missing.size > 0,
    missing: [...missing.keys()].sort(),
  }
}

/** The totals of these positions, which are all of a portfolio's. */
export const totalsOf = (positions: Iterable<Position>, of: Pick<Totals, 'currency' | 'version'>): Totals =>
  computeTotals(sumPositions(positions), of)
