import Big from 'big.js'
import type { Activity, Split } from '../../src/portfolio/activity.ts'
import { type DerivedLots, deriveLots } from '../../src/portfolio/lots.ts'
import { exchangeRate } from '../../src/portfolio/rates.ts'
import type { LotBase, PositionBase } from '../../src/portfolio/valuation.ts'

/** The name and currency of an asset; '' for entries without an asset. */
export type AssetLabel = { symbol: string; name: string; type: string; currency: string }

/** The rate of a currency to US dollars on a day; null: unknown. */
export type DayUsd = (currency: string, day: string) => string | null

const NO_ASSET: AssetLabel = { symbol: '', name: '', type: '', currency: '' }
const day = (time: string): string => time.slice(0, 10)

/** The lots of all assets. @throws Error when something cannot be derived */
export function deriveAll(
  activities: readonly Activity[],
  splits: (assetId: number) => readonly Split[],
  now: string,
): DerivedLots {
  const all: DerivedLots = { lots: [], closures: [] }
  for (const id of new Set(activities.map(({ asset_id }) => asset_id))) {
    if (id === null) continue
    const derived = deriveLots(
      activities.filter(({ asset_id }) => asset_id === id),
      splits(id),
      now,
    )
    if ('refused' in derived) throw new Error(JSON.stringify(derived))
    all.lots.push(...derived.lots)
    all.closures.push(...derived.closures)
  }
  return all
}

/**
 * Positions and lots without current prices, in a portfolio's currency: an independent calculation of the database's views,
 * in the simplest way.
 */
export function computeBases(
  given: { activities: readonly Activity[]; currency: string; now: string; named: (assetId: number) => AssetLabel },
  { lots, closures }: DerivedLots,
  usd: DayUsd,
): { positions: PositionBase[]; lots: (LotBase & { paid: string | null })[] } {
  const { activities, currency, now, named } = given
  const at = (amount: Big, from: string, time: string): Big | null => {
    if (amount.eq(0)) return new Big(0)
    const rates = new Map([from, currency].map((one) => [one, usd(one, day(time))]))
    const fx = exchangeRate({ now: rates }, from, currency)
    return fx === null ? null : amount.times(fx)
  }
  const sum = (amounts: (Big | null)[]): string | null =>
    amounts.some((amount) => amount === null) ? null : amounts.reduce((a, b) => a!.plus(b!), new Big(0))!.toFixed()

  const byId = new Map(activities.map((activity) => [activity.id, activity]))
  const lotById = new Map(lots.map((lot) => [lot.id, lot]))
  const lotBases = lots.map((lot) => ({
    ...lot,
    symbol: named(lot.asset_id).symbol,
    note: byId.get(lot.id)!.note,
    version: 1,
    invested: sum([at(new Big(lot.cost), lot.currency, lot.traded_at)]),
    paid: sum([at(new Big(lot.cost).minus(lot.fees), lot.currency, lot.traded_at)]),
  }))
  const flows = activities.filter(({ id, kind, traded_at }) => {
    const inLot = kind !== 'transfer_in' || lotById.has(id)
    return (!inLot || ['dividend', 'interest', 'fee', 'tax', 'transfer_out'].includes(kind)) && traded_at <= now
  })
  const ids = new Set([...lots.map(({ asset_id }) => asset_id), ...flows.map(({ asset_id }) => asset_id ?? 0)])

  const positions = [...ids]
    .sort((a, b) => a - b)
    .map((asset_id): PositionBase => {
      const own = lotBases.filter((lot) => lot.asset_id === asset_id)
      const open = own.filter(({ quantity }) => quantity !== '0')
      const flow = flows.filter((activity) => (activity.asset_id ?? 0) === asset_id)
      const amount = ({ quantity, price }: Activity) => new Big(quantity).times(price)
      const days = [...new Set(open.map((lot) => day(lot.traded_at)))].sort()
      const named_ = asset_id === 0 ? { ...NO_ASSET, currency } : named(asset_id)
      return {
        asset_id,
        symbol: named_.symbol,
        name: named_.name,
        type: named_.type,
        cmp_currency: named_.currency,
        quantity: sum(own.map(({ quantity }) => new Big(quantity)))!,
        lots: open.length,
        invested: sum(open.map(({ invested }) => (invested === null ? null : new Big(invested)))),
        realised_gain: sum(
          closures.flatMap((closure) => {
            if (closure.asset_id !== asset_id || closure.proceeds === null) return []
            const lot = lotById.get(closure.lot_id)!
            return [
              at(new Big(closure.proceeds), closure.currency, closure.traded_at),
              at(new Big(closure.cost).neg(), lot.currency, lot.traded_at),
            ]
          }),
        ),
        income: sum(
          flow
            .filter(({ kind }) => kind === 'dividend' || kind === 'interest')
            .map((activity) => at(amount(activity), activity.currency, activity.traded_at)),
        ),
        expenses: sum(
          flow.flatMap((activity) => {
            const fees = at(new Big(activity.fees), activity.currency, activity.traded_at)
            const paid = activity.kind === 'fee' || activity.kind === 'tax' ? amount(activity) : new Big(0)
            return [fees, at(paid, activity.currency, activity.traded_at)]
          }),
        ),
        recent:
          asset_id <= 0
            ? []
            : days.map((one) => {
                const then = open.filter((lot) => day(lot.traded_at) === one)
                return {
                  day: one,
                  quantity: sum(then.map(({ quantity }) => new Big(quantity)))!,
                  paid: sum(then.map(({ paid }) => (paid === null ? null : new Big(paid)))),
                }
              }),
      }
    })
  return { positions, lots: lotBases }
}
