import type { UserSql } from '../../db/client.ts'
import { type DayRate, readDayRates, readSoldParts, type SoldPart } from '../../db/read-activities.ts'
import { type Decimal, formatDecimalOrNull, parseDecimal, ZERO } from '../../portfolio/decimal.ts'
import { exchangeRate } from '../../portfolio/rates.ts'
import { utcDay } from '../../portfolio/time.ts'
import type { ActivityView, Sale } from '../../protocol/activity.ts'

/** Converts an amount at the rate of a day; null where a rate is missing (P3). */
type Convert = (amount: string | null, from: string, to: string, day: string) => Decimal | null

function createConverter(known: readonly DayRate[]): Convert {
  const byDay = new Map<string, Map<string, string | null>>()
  for (const { currency, day, usd } of known) byDay.set(day, (byDay.get(day) ?? new Map()).set(currency, usd))
  return (amount, from, to, day) => {
    const found = exchangeRate({ now: byDay.get(day) ?? new Map() }, from, to)
    return amount === null || found === null ? null : parseDecimal(amount).times(found)
  }
}

type Gain = { cost: Decimal | null; proceeds: Decimal | null }

const formatGain = ({ cost, proceeds }: Gain) => ({
  cost: formatDecimalOrNull(cost),
  proceeds: formatDecimalOrNull(proceeds),
  realised_gain: formatDecimalOrNull(cost && proceeds ? proceeds.minus(cost) : null),
})

const addOrNull = (a: Decimal | null, b: Decimal | null): Decimal | null => (a && b ? a.plus(b) : null)

const sumGains = (gains: readonly Gain[]): Gain =>
  gains.reduce(
    (all, { cost, proceeds }) => ({ cost: addOrNull(all.cost, cost), proceeds: addOrNull(all.proceeds, proceeds) }),
    { cost: ZERO, proceeds: ZERO },
  )

/**
 * The result of a stored sale. Costs are converted at the rate of the day of purchase, proceeds at the rate of the day of
 * sale.
 * @param currency the portfolio's
 */
export async function readSale(sql: UserSql, userId: string, sold: ActivityView, currency: string): Promise<Sale> {
  const parts = await readSoldParts(sql, userId, sold.id)
  const currencies = [...new Set([currency, sold.currency, ...parts.map(({ lot_currency }) => lot_currency)])]
  const day = utcDay(sold.traded_at)
  const days = [...new Set([day, ...parts.map(({ traded_at }) => utcDay(traded_at))])]
  const convert = createConverter(await readDayRates(sql, currencies, days))
  const gainIn = (to: string, part: SoldPart): Gain => ({
    cost: convert(part.lot_cost, part.lot_currency, to, utcDay(part.traded_at)),
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
    ...formatGain(sumGains(own)),
    portfolio: { currency, ...formatGain(sumGains(portfolio)) },
    lots: parts.map(({ proceeds: _, ...part }, i) => ({
      ...part,
      ...formatGain(own[i]!),
      portfolio: formatGain(portfolio[i]!),
    })),
  }
}
