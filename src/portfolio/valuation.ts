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
 * A position without current prices. `invested` and the figures after it are in the portfolio's currency; null where the
 * rate of a day is not known. `recent` has the trades of open lots by day (UTC), for the last 31 days and for all days since
 * that of the price; `paid` is their cost without fees, at the rate of their day.
 */
export type PositionBase = {
  asset_id: number
  symbol: string
  name: string
  type: string
  cmp_currency: string
  quantity: string
  /** The number of open lots. */
  lots: number
  invested: string | null
  realised_gain: string | null
  income: string | null
  expenses: string | null
  recent: readonly { day: string; quantity: string; paid: string | null }[]
}

/** A lot without the figures that depend on prices. */
export type LotBase = Omit<LotView, 'present_value' | 'gain_loss' | 'gain_loss_percent' | 'day_change'>

/** The current value of a share in the portfolio's currency, its previous close, and the day of the price. */
type ShareValue = { share: Decimal; close: Decimal | null; day: string }

function shareValue(price: PortfolioPrice | null, fx: string | null): ShareValue | null {
  if (price === null || fx === null) return null
  const { previous_close, as_of } = price
  const close = previous_close === null ? null : parseDecimal(previous_close).times(fx)
  return { share: parseDecimal(price.price).times(fx), close, day: utcDay(as_of) }
}

/** Recent trades count against their cost, the rest against the previous close (P5). */
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

/** Why the value is stale (Q1): the price's reason comes before the rate's. */
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

/** The value and the gain of a position or a lot. Custom assets are valued at cost, and have no gain. */
function valueFigures(
  { asset_id, quantity, invested: cost }: Pick<LotBase, 'asset_id' | 'quantity' | 'invested'>,
  held: boolean,
  now: ShareValue | null,
  day: Decimal | null,
) {
  const own = asset_id < 0
  const invested = parseOrNull(cost)
  const present = !held ? ZERO : own ? invested : now && parseDecimal(quantity).times(now.share)
  const gain = !held ? ZERO : own ? null : present && invested && present.minus(invested)
  const figures = {
    present_value: formatDecimalOrNull(present),
    gain_loss: formatDecimalOrNull(gain),
    gain_loss_percent: gain && invested && formatDecimalOrNull(percent(gain, invested)),
    day_change: formatDecimalOrNull(day),
  }
  return { present, figures }
}

/**
 * A position at current prices; `positions_view` in the database gives the same, to the last digit. A closed position, and
 * the one without an asset, has no price; a custom asset is valued at cost.
 * @param price the asset's; null for none
 * @param currency the portfolio's
 */
export function valuePosition(
  base: PositionBase,
  price: PortfolioPrice | null,
  rates: Rates,
  currency: string,
): Position {
  const held = base.lots > 0
  const quoted = held && base.asset_id > 0 ? price : null
  const cmp_currency = quoted?.currency ?? base.cmp_currency
  const fx = held && base.asset_id > 0 ? exchangeRate(rates, cmp_currency, currency) : null
  const now = shareValue(quoted, fx)

  const quantity = parseDecimal(base.quantity)
  const invested = parseOrNull(base.invested)
  const recent = now && recentTrades(base, now.day)
  const day = recent ? dayChange(now, recent, quantity.minus(recent.quantity)) : held ? null : ZERO
  const { present, figures } = valueFigures(base, held, now, day)
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
    ...figures,
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
 * The cost of a lot without fees, in the portfolio's currency, at the rate of `invested`. Null where fees below 0 cancel
 * the price, because a cost of 0 gives no rate.
 */
function lotPaid({ cost, fees, invested }: LotBase): Decimal | null {
  if (invested === null) return null
  if (isZero(parseDecimal(cost))) return isZero(parseDecimal(fees)) ? ZERO : null
  return parseDecimal(cost)
    .minus(fees)
    .times(divideRounded(parseDecimal(invested), parseDecimal(cost), RATE_PLACES))
}

/**
 * A lot at current prices; `lot_performance_view` gives the same. The figures of an asset's lots sum to its position's (P2).
 * @param price the asset's; null for none
 */
export function valueLot(lot: LotBase, price: PortfolioPrice | null, rates: Rates, currency: string): LotView {
  const quantity = parseDecimal(lot.quantity)
  const held = !isZero(quantity)
  const quoted = held && lot.asset_id > 0 ? price : null
  const now = shareValue(quoted, quoted && exchangeRate(rates, quoted.currency, currency))
  let day: Decimal | null = held ? null : ZERO
  if (now && utcDay(lot.traded_at) >= now.day) day = dayChange(now, { quantity, paid: lotPaid(lot) }, ZERO)
  else if (now) day = dayChange(now, { quantity: ZERO, paid: ZERO }, quantity)
  return { ...lot, ...valueFigures(lot, held, now, day).figures }
}
