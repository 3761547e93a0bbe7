import type { LotView, Position } from '../protocol/portfolio.ts'
import { formatDecimal, formatDecimalOrNull, parseDecimal, percent } from './decimal.ts'

/** A newer price of the same asset: decimal text, and the market's time of it (RFC 3339). */
export type Revaluation = { price: string; as_of: string }

/**
 * A position at another price of the same UTC day: equal to `valuePosition` to the last digit, without the position's
 * lots. The day change rises by quantity × rate for each unit of price, whenever a lot was traded (P5). For another day,
 * with other recent lots and another close, the lots are needed. Figures without a price or a rate stay null (P3).
 */
export function revaluePosition(position: Position, { price, as_of }: Revaluation): Position {
  if (position.cmp === null) return position
  const stale = position.stale === 'no_rate' ? position.stale : null
  const moved = { ...position, cmp: price, as_of, updated_at: as_of, stale }
  const figures = figuresAt(position, position, price)
  if (figures === null) return moved
  const { present_value, day_change } = figures
  const change = day_change === null ? null : parseDecimal(day_change)
  return {
    ...moved,
    ...figures,
    day_change_percent: change && formatDecimalOrNull(percent(change, parseDecimal(present_value).minus(change))),
  }
}

/** A lot at another price of the same UTC day. */
export const revalueLot = (lot: LotView, position: Position, { price }: Revaluation): LotView => ({
  ...lot,
  ...figuresAt(lot, position, price),
})

type Held = Pick<LotView, 'quantity' | 'invested' | 'day_change'>

/** The figures of a position or a lot that depend on the price; null where it has no value. */
function figuresAt(
  { quantity, invested, day_change }: Held,
  { cmp, rate }: Pick<Position, 'cmp' | 'rate'>,
  price: string,
) {
  if (cmp === null || rate === null) return null
  const held = parseDecimal(quantity).times(parseDecimal(rate))
  const value = held.times(parseDecimal(price))
  const gain = invested === null ? null : value.minus(parseDecimal(invested))
  const change =
    day_change === null ? null : parseDecimal(day_change).plus(held.times(parseDecimal(price).minus(parseDecimal(cmp))))
  return {
    present_value: formatDecimal(value),
    gain_loss: formatDecimalOrNull(gain),
    gain_loss_percent:
      gain === null || invested === null ? null : formatDecimalOrNull(percent(gain, parseDecimal(invested))),
    day_change: formatDecimalOrNull(change),
  }
}
