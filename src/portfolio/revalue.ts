import type { LotView, Position } from '../protocol/portfolio.ts'
import { decimal, percent, text, textOrNull } from './decimal.ts'

/** A newer price of the same asset: decimal text, and the market's time of it (RFC 3339). */
export type Revaluation = { price: string; as_of: string }

/**
 * A position at another price of the same UTC day: what `valuePosition` gives for it, to the last digit, without the lots
 * that the position is made of. A day's change rises by quantity × rate for each unit of price, whenever a lot was
 * traded (P5); on another day other lots are of the day, against another close: that is for those who have them. What is
 * null for want of a price or a rate stays null (P3).
 */
export function revalued(position: Position, { price, as_of }: Revaluation): Position {
  if (position.cmp === null) return position
  const stale = position.stale === 'no_rate' ? position.stale : null
  const moved = { ...position, cmp: price, as_of, updated_at: as_of, stale }
  const figures = figuresAt(position, position, price)
  if (figures === null) return moved
  const { present_value, day_change } = figures
  const change = day_change === null ? null : decimal(day_change)
  return {
    ...moved,
    ...figures,
    day_change_percent: change && textOrNull(percent(change, decimal(present_value).minus(change))),
  }
}

/** A lot of a position at another price than the position's: as `revalued`. */
export const revaluedLot = (lot: LotView, position: Position, { price }: Revaluation): LotView => ({
  ...lot,
  ...figuresAt(lot, position, price),
})

type Held = Pick<LotView, 'quantity' | 'invested' | 'day_change'>

/** What moves with the price, of a position or a lot; null where it has no value. */
function figuresAt(
  { quantity, invested, day_change }: Held,
  { cmp, rate }: Pick<Position, 'cmp' | 'rate'>,
  price: string,
) {
  if (cmp === null || rate === null) return null
  const held = decimal(quantity).times(decimal(rate))
  const value = held.times(decimal(price))
  const gain = invested === null ? null : value.minus(decimal(invested))
  const change = day_change === null ? null : decimal(day_change).plus(held.times(decimal(price).minus(decimal(cmp))))
  return {
    present_value: text(value),
    gain_loss: textOrNull(gain),
    gain_loss_percent: gain === null || invested === null ? null : textOrNull(percent(gain, decimal(invested))),
    day_change: textOrNull(change),
  }
}
