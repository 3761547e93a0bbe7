import type { UserSql } from '../../db/client.ts'
import { type DayRate, readDayRates, readSoldParts, type SoldPart } from '../../db/read-activities.ts'
import { type Decimal, decimal, textOrNull, ZERO } from '../../portfolio/decimal.ts'
import { rate } from '../../portfolio/rates.ts'
import { dayOf } from '../../portfolio/time.ts'
import type { ActivityView, Sale } from '../../protocol/activity.ts'

/** What something was in a currency, on its day; null where a rate is missing (P3). */
type Converted = (amount: string | null, from: string, to: string, day: string) => Decimal | null

function converter(known: readonly DayRate[]): Converted {
  const byDay = new Map<string, Map<string, string | null>>()
  for (const { currency, day, usd } of known) byDay.set(day, (byDay.get(day) ?? new Map()).set(currency, usd))
  return (amount, from, to, day) => {
    const found = rate({ now: byDay.get(day) ?? new Map() }, from, to)
    return amount === null || found === null ? null : decimal(amount).times(found)
  }
}

type Gain = { cost: Decimal | null; proceeds: Decimal | null }

const gainText = ({ cost, proceeds }: Gain) => ({
  cost: textOrNull(cost),
  proceeds: textOrNull(proceeds),
  realised_gain: textOrNull(cost && proceeds ? proceeds.minus(cost) : null),
})

const plus = (a: Decimal | null, b: Decimal | null): Decimal | null => (a && b ? a.plus(b) : null)

const sumOf = (gains: readonly Gain[]): Gain =>
  gains.reduce((all, { cost, proceeds }) => ({ cost: plus(all.cost, cost), proceeds: plus(all.proceeds, proceeds) }), {
    cost: ZERO,
    proceeds: ZERO,
  })

/**
 * What a sale that is written took and realised. A lot's cost counts at the rate of the day of its purchase, what it
 * brought at that of the sale.
 * @param currency the portfolio's
 */
export async function saleOf(sql: UserSql, userId: string, sold: ActivityView, currency: string): Promise<Sale> {
  const parts = await readSoldParts(sql, userId, sold.id)
  const currencies = [...new Set([currency, sold.currency, ...parts.map(({ lot_currency }) => lot_currency)])]
  const day = dayOf(sold.traded_at)
  const days = [...new Set([day, ...parts.map(({ traded_at }) => dayOf(traded_at))])]
  const convert = converter(await readDayRates(sql, currencies, days))
  const gainIn = (to: string, part: SoldPart): Gain => ({
    cost: convert(part.lot_cost, part.lot_currency, to, dayOf(part.traded_at)),
    proceeds: convert(part.proceeds, sold.currency, to, day),
  })
  const own = parts.map((part) => gainIn(sold.currency, part))
  const portfolio = parts.map((part) => gainIn(currency, part))
  return {
    activity_id: sold.id,
    asset_id: sold.asset_id ?? 0,
    symbol: sold.symbol ?? '',
    quantity: sold.quantity,
    price: sold.price,
    fees: sold.fees,
    currency: sold.currency,
    traded_at: sold.traded_at,
    ...gainText(sumOf(own)),
    portfolio: { currency, ...gainText(sumOf(portfolio)) },
    lots: parts.map(({ proceeds: _, ...part }, i) => ({
      ...part,
      ...gainText(own[i]!),
      portfolio: gainText(portfolio[i]!),
    })),
  }
}
