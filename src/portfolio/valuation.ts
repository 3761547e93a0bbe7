import type { LotView, PortfolioPrice, Position, PositionStaleReason } from '../protocol/portfolio.ts'
import type { StaleReason } from '../protocol/quote.ts'
import {
  type Decimal,
  divideRounded,
  formatDecimal,
  formatDecimalOrNull,
  isZero,
  PRICE_PLACES,
  parseDecimal,
  percent,
  RATE_PLACES,
  ZERO,
} from './decimal.ts'
import { exchangeRate, type Rates, staleRate } from './rates.ts'
import { utcDay } from './time.ts'

/**
 * What a position is without prices of now. `invested` and what follows are in the portfolio's currency; null: a rate of
 * some day is not known. `recent` has what of the open lots was traded on late days (UTC): of the last 31, and of all since
 * the day of the price; `paid` is what they cost without fees, at the rate of their day.
 */
export type PositionBase = {
  asset_id: number
  symbol: string
  name: string
  type: string
  cmp_currency: string
  quantity: string
  /** How many are open. */
  lots: number
  invested: string | null
  realised_gain: string | null
  income: string | null
  expenses: string | null
  recent: readonly { day: string; quantity: string; paid: string | null }[]
}

/** What of a lot no price changes. */
export type LotBase = Omit<LotView, 'present_value' | 'gain_loss' | 'gain_loss_percent' | 'day_change'>

/** Everything that is known of what a share is worth now, in the portfolio's currency. */
type ShareValue = { share: Decimal; close: Decimal | null; day: string }

function shareValue(price: PortfolioPrice | null, fx: string | null): ShareValue | null {
  if (price === null || fx === null) return null
  const { previous_close, as_of } = price
  const close = previous_close === null ? null : parseDecimal(previous_close).times(fx)
  return { share: parseDecimal(price.price).times(fx), close, day: utcDay(as_of) }
}

/** What was bought on the day of the price, or later, against what was paid; all else against the previous close (P5). */
function dayChange(
  { share, close }: ShareValue,
  recent: { quantity: Decimal; paid: Decimal | null },
  rest: Decimal,
): Decimal | null {
  if (recent.paid === null) return null
  const bought = recent.quantity.times(share).minus(recent.paid)
  if (isZero(rest)) return bought
  return close && bought.plus(rest.times(share.minus(close)))
}

const parseOrNull = (amount: string | null): Decimal | null => (amount === null ? null : parseDecimal(amount))

/** Why its value is not one of now (Q1): of the price before that of the rate. */
const positionStaleReason = (
  base: PositionBase,
  price: PortfolioPrice | null,
  fx: string | null,
  ofRate: StaleReason | null,
): PositionStaleReason | null => {
  if (base.lots === 0) return null
  if (price === null) return 'unpriced'
  return fx === null ? 'no_rate' : (price.stale ?? ofRate)
}

function recentTrades({ recent }: PositionBase, day: string): { quantity: Decimal; paid: Decimal | null } {
  let quantity = ZERO
  let paid: Decimal | null = ZERO
  for (const one of recent) {
    if (one.day < day) continue
    quantity = quantity.plus(one.quantity)
    paid = one.paid === null || paid === null ? null : paid.plus(one.paid)
  }
  return { quantity, paid }
}

/**
 * A position as of now; `positions_view` of the database gives the same, to the last digit. One that is closed, and what
 * belongs to no asset, has no price; an asset of the user's own is kept at cost.
 * @param price of the asset; null: there is none
 * @param currency the portfolio's
 */
export function valuePosition(
  base: PositionBase,
  price: PortfolioPrice | null,
  rates: Rates,
  currency: string,
): Position {
  const held = base.lots > 0
  const own = base.asset_id < 0
  const quoted = held && base.asset_id > 0 ? price : null
  const cmp_currency = quoted?.currency ?? base.cmp_currency
  const fx = held && base.asset_id > 0 ? exchangeRate(rates, cmp_currency, currency) : null
  const now = shareValue(quoted, fx)

  const quantity = parseDecimal(base.quantity)
  const invested = parseOrNull(base.invested)
  const present = !held ? ZERO : own ? invested : now && quantity.times(now.share)
  const gain = !held ? ZERO : own ? null : present && invested && present.minus(invested)
  let day: Decimal | null = held ? null : ZERO
  if (now) {
    const recent = recentTrades(base, now.day)
    day = dayChange(now, recent, quantity.minus(recent.quantity))
  }
  const earns = quoted?.eps == null || parseDecimal(quoted.eps).gt(ZERO)
  const pe_ratio = earns ? (quoted?.pe_ratio ?? null) : null

  return {
    asset_id: base.asset_id,
    symbol: base.symbol,
    name: base.name,
    type: base.type,
    quantity: base.quantity,
    lots: base.lots,
    currency,
    cmp: quoted?.price ?? null,
    cmp_currency,
    rate: fx,
    average_cost: invested && !isZero(quantity) ? formatDecimal(divideRounded(invested, quantity, PRICE_PLACES)) : null,
    invested: base.invested,
    present_value: formatDecimalOrNull(present),
    gain_loss: formatDecimalOrNull(gain),
    gain_loss_percent: gain && invested && formatDecimalOrNull(percent(gain, invested)),
    day_change: formatDecimalOrNull(day),
    day_change_percent: day && present && formatDecimalOrNull(percent(day, present.minus(day))),
    realised_gain: base.realised_gain,
    income: base.income,
    expenses: base.expenses,
    pe_ratio,
    pe_as_of: pe_ratio === null ? null : (quoted?.pe_as_of ?? null),
    market_state: quoted?.market_state ?? null,
    as_of: quoted?.as_of ?? null,
    updated_at: quoted?.updated_at ?? null,
    stale: positionStaleReason(base, quoted, fx, staleRate(rates, cmp_currency, currency)),
  }
}

/**
 * What a lot cost without its fees, in the portfolio's currency: by the rate that `invested` was made with. Null where
 * fees below 0 have cancelled the price: 0 tells no rate.
 */
function lotPaid({ cost, fees, invested }: LotBase): Decimal | null {
  if (invested === null) return null
  if (isZero(parseDecimal(cost))) return isZero(parseDecimal(fees)) ? ZERO : null
  return parseDecimal(cost)
    .minus(fees)
    .times(divideRounded(parseDecimal(invested), parseDecimal(cost), RATE_PLACES))
}

/**
 * A lot as of now; `lot_performance_view` gives the same. The figures of an asset's lots sum to those of its position (P2).
 * @param price of the lot's asset; null: there is none
 */
export function valueLot(lot: LotBase, price: PortfolioPrice | null, rates: Rates, currency: string): LotView {
  const quantity = parseDecimal(lot.quantity)
  const held = !isZero(quantity)
  const own = lot.asset_id < 0
  const quoted = held && !own ? price : null
  const now = shareValue(quoted, quoted && exchangeRate(rates, quoted.currency, currency))
  const invested = parseOrNull(lot.invested)
  const present = !held ? ZERO : own ? invested : now && quantity.times(now.share)
  const gain = !held ? ZERO : own ? null : present && invested && present.minus(invested)
  let day: Decimal | null = held ? null : ZERO
  if (now) {
    const recent = utcDay(lot.traded_at) >= now.day
    day = dayChange(
      now,
      recent ? { quantity, paid: lotPaid(lot) } : { quantity: ZERO, paid: ZERO },
      recent ? ZERO : quantity,
    )
  }
  return {
    ...lot,
    present_value: formatDecimalOrNull(present),
    gain_loss: formatDecimalOrNull(gain),
    gain_loss_percent: gain && invested && formatDecimalOrNull(percent(gain, invested)),
    day_change: formatDecimalOrNull(day),
  }
}
