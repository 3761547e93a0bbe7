import {
  type Activity,
  fromSplitColumns,
  type Lot,
  type LotClosure,
  type Split,
  type SplitColumns,
} from '../portfolio/activity.ts'
import { deriveLots } from '../portfolio/lots.ts'
import { runPipelined, type UserSql, userQuery } from './client.ts'

/** Why lots cannot be derived: the activity that is at fault, and the reason. */
export type DerivationRefusal = {
  activity_id: string
  reason: 'insufficient_quantity' | 'unknown_lot'
  detail: string
}

/** The assets whose lots to derive (0, no asset, has none), and the change of their activities. */
export type DerivationInput = {
  assetIds: readonly number[]
  /** Stored activities to leave out: they will be deleted or replaced. */
  without: ReadonlySet<string>
  with: readonly Activity[]
}

/** The rows that differ from the stored ones: to be written, and to be deleted. */
export type LotPlan = {
  lots: Lot[]
  removedLots: string[]
  closures: LotClosure[]
  removedClosures: { activity_id: string; lot_id: string }[]
  /** All lots of these assets after the change. */
  lotIds: ReadonlySet<string>
}

/** Columns of a lot and of a closure, which a write compares with the stored ones. */
const LOT_COLUMNS = [
  'asset_id',
  'currency',
  'traded_at',
  'quantity',
  'opened_quantity',
  'price',
  'fees',
  'cost',
] as const
const CLOSURE_COLUMNS = ['asset_id', 'quantity', 'cost', 'proceeds', 'currency', 'traded_at'] as const

const serializeLot = (lot: Lot): string => JSON.stringify(LOT_COLUMNS.map((column) => lot[column]))
const serializeClosure = (closure: LotClosure): string =>
  JSON.stringify(CLOSURE_COLUMNS.map((column) => closure[column]))

const closureKey = ({ activity_id, lot_id }: { activity_id: string; lot_id: string }) => `${activity_id} ${lot_id}`

/** The stored activities, splits, lots and closures of these assets. */
async function readStoredRows(sql: UserSql, userId: string, assetIds: readonly number[]) {
  const asked = sql`(SELECT value::integer FROM json_array_elements_text(${JSON.stringify(assetIds)}::text::json))`
  const [activities, splits, lots, closures] = await Promise.all([
    sql<SplitColumns<Activity>[]>`
      SELECT id, kind, asset_id, quantity, price, fees, currency, traded_at, split_numerator, split_denominator,
        named_lots AS lots, note, short
      FROM activities WHERE user_id = ${userId} AND asset_id IN ${asked}`,
    sql<(Split & { asset_id: number })[]>`
      SELECT asset_id, ex_date, numerator, denominator
      FROM corporate_actions WHERE kind = 'split' AND asset_id IN ${asked}`,
    sql<Lot[]>`
      SELECT id, ${sql(LOT_COLUMNS)} FROM lots WHERE user_id = ${userId} AND asset_id IN ${asked}`,
    sql<LotClosure[]>`
      SELECT activity_id, lot_id, ${sql(CLOSURE_COLUMNS)} FROM lot_closures
      WHERE user_id = ${userId} AND asset_id IN ${asked}`,
  ])
  return { activities: activities.map((row) => fromSplitColumns(row)), splits, lots, closures }
}

/**
 * Derives the lots and closures of these assets, and compares them with the stored ones; or the reason why it cannot. Only
 * reads.
 * @param now activities after it have no effect yet
 */
export const planLots = userQuery(
  async (
    sql,
    userId: string,
    now: Date,
    input: DerivationInput,
  ): Promise<{ ok: true; plan: LotPlan } | { ok: false; refused: DerivationRefusal & { asset_id: number } }> => {
    const assetIds = input.assetIds.filter((id) => id !== 0)
    const plan: LotPlan = { lots: [], removedLots: [], closures: [], removedClosures: [], lotIds: new Set() }
    if (assetIds.length === 0) return { ok: true, plan }
    const stored = await readStoredRows(sql, userId, assetIds)
    const activities = [...stored.activities.filter(({ id }) => !input.without.has(id)), ...input.with]
    const byAsset = Map.groupBy(activities, ({ asset_id }) => asset_id)
    const splits = Map.groupBy(stored.splits, ({ asset_id }) => asset_id)
    const lots: Lot[] = []
    const closures: LotClosure[] = []
    for (const assetId of assetIds) {
      const derived = deriveLots(byAsset.get(assetId) ?? [], splits.get(assetId) ?? [], now.toISOString())
      if ('refused' in derived) return { ok: false, refused: { ...derived.refused, asset_id: assetId } }
      lots.push(...derived.lots)
      closures.push(...derived.closures)
    }
    const lotIds = new Set(lots.map(({ id }) => id))
    const closureKeys = new Set(closures.map(closureKey))
    const storedLots = new Map(stored.lots.map((lot) => [lot.id, serializeLot(lot)]))
    const storedClosures = new Map(stored.closures.map((closure) => [closureKey(closure), serializeClosure(closure)]))
    return {
      ok: true,
      plan: {
        lots: lots.filter((lot) => storedLots.get(lot.id) !== serializeLot(lot)),
        removedLots: stored.lots.map(({ id }) => id).filter((id) => !lotIds.has(id)),
        closures: closures.filter((closure) => storedClosures.get(closureKey(closure)) !== serializeClosure(closure)),
        removedClosures: stored.closures.filter((closure) => !closureKeys.has(closureKey(closure))),
        lotIds,
      },
    }
  },
)

/** Writes a plan in pipelined statements, in the transaction that made it. */
export const writeLots = userQuery((sql, userId: string, plan: LotPlan): Promise<void> => {
  // As JSON text, whose decimals are strings: they become NUMERIC without passing through a float (P1).
  const rows = (of: readonly unknown[]) => sql`${JSON.stringify(of)}::text::json`
  return runPipelined([
    plan.removedClosures.length > 0 &&
      sql`
        DELETE FROM lot_closures c
        USING json_to_recordset(${rows(plan.removedClosures)}) AS gone (activity_id uuid, lot_id uuid)
        WHERE c.user_id = ${userId} AND c.activity_id = gone.activity_id AND c.lot_id = gone.lot_id`,
    plan.removedLots.length > 0 &&
      sql`
        DELETE FROM lots WHERE user_id = ${userId}
          AND id IN (SELECT value::uuid FROM json_array_elements_text(${rows(plan.removedLots)}))`,
    plan.lots.length > 0 &&
      sql`
        INSERT INTO lots AS stored (id, user_id, asset_id, currency, traded_at, quantity, opened_quantity, price, fees,
          cost)
        SELECT id, ${userId}::uuid, asset_id, currency, traded_at, quantity, opened_quantity, price, fees, cost
        FROM json_to_recordset(${rows(plan.lots)}) AS given (id uuid, asset_id integer, currency text,
          traded_at timestamptz, quantity numeric, opened_quantity numeric, price numeric, fees numeric, cost numeric)
        ON CONFLICT (id) DO UPDATE SET asset_id = excluded.asset_id, currency = excluded.currency,
          traded_at = excluded.traded_at, quantity = excluded.quantity, opened_quantity = excluded.opened_quantity,
          price = excluded.price, fees = excluded.fees, cost = excluded.cost
        WHERE stored.user_id = excluded.user_id`,
    plan.closures.length > 0 &&
      sql`
        INSERT INTO lot_closures AS stored (activity_id, lot_id, user_id, asset_id, quantity, cost, proceeds, currency,
          traded_at)
        SELECT activity_id, lot_id, ${userId}::uuid, asset_id, quantity, cost, proceeds, currency, traded_at
        FROM json_to_recordset(${rows(plan.closures)}) AS given (activity_id uuid, lot_id uuid, asset_id integer,
          quantity numeric, cost numeric, proceeds numeric, currency text, traded_at timestamptz)
        ON CONFLICT (activity_id, lot_id) DO UPDATE SET asset_id = excluded.asset_id, quantity = excluded.quantity,
          cost = excluded.cost, proceeds = excluded.proceeds, currency = excluded.currency,
          traded_at = excluded.traded_at
        WHERE stored.user_id = excluded.user_id`,
    sql`SELECT portfolio_derived(${userId}::uuid)`,
  ])
})
