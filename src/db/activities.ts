import type { Activity } from '../portfolio/activity.ts'
import { firstRow, runPipelined, singleValue, type UserSql, userQuery } from './client.ts'
import { type DerivationRefusal, type LotPlan, planLots, writeLots } from './derivation.ts'

/** Most activities of one user: their lots are derived while a request waits. */
export const MAX_ACTIVITIES = 50_000

/** An activity to insert; the database refuses a second one with the same `fingerprint`. */
export type NewActivity = Activity & { fingerprint: string | null }

/** Activities to write. `version` of an update is the version that was read: any other is a conflict. */
export type ActivitiesChange = {
  insert?: readonly NewActivity[]
  update?: readonly (Activity & { version: number })[]
  remove?: readonly string[]
}

/** Why nothing was written: the activity and the reason; where lots cannot be derived, also the asset. */
export type ActivityRefusal =
  | (DerivationRefusal & { asset_id: number })
  | { activity_id: string; reason: 'unknown_activity' | 'version_conflict' | 'too_many_activities'; detail: string }

/**
 * The portfolio's version before and after a change, the ids of changed assets (0 for activities without one; null for
 * all assets), of changed lots, and of removed lots.
 */
export type PortfolioChange = {
  before: number
  version: number
  asset_ids: number[] | null
  lots: string[]
  removed_lots: string[]
}

/** The ids of custom assets by symbol and currency; those that do not exist are added. */
export const addCustomAssets = userQuery(
  async (
    sql,
    userId: string,
    own: readonly { symbol: string; name: string; currency: string }[],
  ): Promise<number[]> => {
    await lockPortfolio(sql, userId)
    await sql`
      INSERT INTO own_assets (user_id, symbol, name, currency)
      SELECT ${userId}::uuid, symbol, name, currency
      FROM json_to_recordset(${JSON.stringify(own)}::text::json) AS given (symbol text, name text, currency text)
      ON CONFLICT DO NOTHING`
    const stored = await sql<{ asset_id: number; symbol: string; currency: string }[]>`
      SELECT asset_id, symbol, currency FROM own_assets WHERE user_id = ${userId}`
    const key = ({ symbol, currency }: { symbol: string; currency: string }) => `${currency} ${symbol}`
    const numbers = new Map(stored.map((asset) => [key(asset), asset.asset_id]))
    return own.map((asset) => numbers.get(key(asset)) as number)
  },
)

/**
 * Locks the user's portfolio until the transaction ends, and returns its version; creates it the first time. The profile
 * must exist.
 */
export const lockPortfolio = userQuery(async (sql, userId: string): Promise<number> => {
  const [, [row]] = await Promise.all([
    sql`INSERT INTO portfolios (user_id) VALUES (${userId}) ON CONFLICT DO NOTHING`.execute(),
    sql<{ version: string }[]>`SELECT version FROM portfolios WHERE user_id = ${userId} FOR UPDATE`.execute(),
  ])
  return Number(row!.version)
})

/** The portfolio's version; 0 for none. */
export const readPortfolioVersion = userQuery(async (sql, userId: string): Promise<number> => {
  const row = await firstRow(sql<{ version: string }[]>`SELECT version FROM portfolios WHERE user_id = ${userId}`)
  return Number(row?.version ?? 0)
})

/** A time as Postgres returns it: in UTC, to the microsecond, without trailing zeros. */
function toPostgresTime(time: string): string {
  const fraction = /\.(\d{1,6})/.exec(time)?.[1]?.replace(/0+$/, '') ?? ''
  return `${new Date(time).toISOString().slice(0, 19)}${fraction && `.${fraction}`}Z`
}

const withPostgresTime = <A extends Activity>(activity: A): A => ({
  ...activity,
  traded_at: toPostgresTime(activity.traded_at),
})

/** One JSON text whose decimals are strings: they become NUMERIC without passing through a float (P1). */
const activityRows = (activities: readonly Activity[]): string =>
  JSON.stringify(
    activities.map(({ split, lots, ...activity }) => ({
      ...activity,
      split_numerator: split?.numerator ?? null,
      split_denominator: split?.denominator ?? null,
      named_lots: lots,
    })),
  )

const ACTIVITY_COLUMNS = `(id uuid, kind text, asset_id integer, quantity numeric, price numeric, fees numeric, currency text,
  traded_at timestamptz, split_numerator numeric, split_denominator numeric, named_lots jsonb, note text, short boolean,
  fingerprint text)`

/**
 * Deletes, inserts and updates activities, in pipelined statements. `kerb.derived` keeps the triggers from queueing them:
 * their lots follow in this transaction.
 */
function writeActivities(sql: UserSql, userId: string, change: Required<ActivitiesChange>): Promise<void> {
  const { insert, update, remove } = change
  return runPipelined([
    sql`SELECT set_config('kerb.derived', 'yes', TRUE)`,
    remove.length > 0 &&
      sql`
        DELETE FROM activities WHERE user_id = ${userId}
          AND id IN (SELECT value::uuid FROM json_array_elements_text(${JSON.stringify(remove)}::text::json))`,
    insert.length > 0 &&
      sql`
        INSERT INTO activities (id, user_id, kind, asset_id, quantity, price, fees, currency, traded_at, split_numerator,
          split_denominator, named_lots, note, short, fingerprint)
        SELECT id, ${userId}::uuid, kind, asset_id, quantity, price, fees, currency, traded_at, split_numerator,
          split_denominator, named_lots, note, short, fingerprint
        FROM json_to_recordset(${activityRows(insert)}::text::json) AS given ${sql.unsafe(ACTIVITY_COLUMNS)}`,
    update.length > 0 &&
      sql`
        UPDATE activities a SET kind = given.kind, asset_id = given.asset_id, quantity = given.quantity,
          price = given.price, fees = given.fees, currency = given.currency, traded_at = given.traded_at,
          split_numerator = given.split_numerator, split_denominator = given.split_denominator,
          named_lots = given.named_lots, note = given.note, short = given.short, version = a.version + 1,
          updated_at = NOW()
        FROM json_to_recordset(${activityRows(update)}::text::json) AS given ${sql.unsafe(ACTIVITY_COLUMNS)}
        WHERE a.user_id = ${userId} AND a.id = given.id`,
  ])
}

type StoredVersion = { id: string; asset_id: number | null; version: number }

/** The stored activities among those to be changed, by id. */
async function readStoredVersions(
  sql: UserSql,
  userId: string,
  ids: readonly string[],
): Promise<Map<string, StoredVersion>> {
  if (ids.length === 0) return new Map()
  const rows = await sql<StoredVersion[]>`
    SELECT id, asset_id, version FROM activities WHERE user_id = ${userId}
      AND id IN (SELECT value::uuid FROM json_array_elements_text(${JSON.stringify(ids)}::text::json))`
  return new Map(rows.map((row) => [row.id, row]))
}

/** Why a change is refused before lots are derived; null when it is not. */
async function findConflict(
  sql: UserSql,
  userId: string,
  change: Required<ActivitiesChange>,
  known: ReadonlyMap<string, StoredVersion>,
): Promise<ActivityRefusal | null> {
  const expected = [...change.update, ...change.remove.map((id) => ({ id, version: null }))]
  for (const { id, version } of expected) {
    const found = known.get(id)
    if (!found) return { activity_id: id, reason: 'unknown_activity', detail: "This activity doesn't exist." }
    if (version === null || found.version === version) continue
    const detail = `it is at version ${found.version}, not ${version}`
    return { activity_id: id, reason: 'version_conflict', detail }
  }
  const [first] = change.insert
  if (first === undefined) return null
  const count: number = await singleValue(sql`SELECT count(*)::integer FROM activities WHERE user_id = ${userId}`)
  if (count - change.remove.length + change.insert.length <= MAX_ACTIVITIES) return null
  const detail = `a portfolio has ${MAX_ACTIVITIES} activities at most, and this one has ${count}`
  return { activity_id: first.id, reason: 'too_many_activities', detail }
}

/** The ids of lots to publish: changed ones, and those whose activity was updated. */
const changedLotIds = (plan: LotPlan, updated: readonly Activity[]): string[] => [
  ...new Set([...plan.lots, ...updated.filter(({ id }) => plan.lotIds.has(id))].map(({ id }) => id)),
]

/**
 * Writes activities and the lots derived from them (only rows that differ), all or nothing. Other writes of the user wait
 * until the transaction ends. The profile must exist.
 * @param now activities after it have no effect yet
 */
export const changeActivities = userQuery(
  async (
    sql,
    userId: string,
    now: Date,
    given: ActivitiesChange,
  ): Promise<{ ok: true; change: PortfolioChange } | { ok: false; refused: ActivityRefusal }> => {
    const before = await lockPortfolio(sql, userId)
    const change = {
      insert: (given.insert ?? []).map(withPostgresTime),
      update: (given.update ?? []).map(withPostgresTime),
      remove: given.remove ?? [],
    }
    const changed = [...change.update.map(({ id }) => id), ...change.remove]
    const known = await readStoredVersions(sql, userId, changed)
    const refused = await findConflict(sql, userId, change, known)
    if (refused) return { ok: false, refused }
    const touched = [...known.values(), ...change.insert, ...change.update].map(({ asset_id }) => asset_id ?? 0)
    const assetIds = [...new Set(touched)].sort((a, b) => a - b)
    const input = { assetIds, without: new Set(changed), with: [...change.insert, ...change.update] }
    const derived = await planLots(sql, userId, now, input)
    if (!derived.ok) return derived
    const { plan } = derived
    await writeActivities(sql, userId, change)
    await writeLots(sql, userId, plan)
    const version = await readPortfolioVersion(sql, userId)
    return {
      ok: true,
      change: {
        before,
        version,
        asset_ids: assetIds,
        lots: changedLotIds(plan, change.update),
        removed_lots: plan.removedLots,
      },
    }
  },
)

/** Makes an impossible sale possible, as an import would: it may go short, or loses the lots that it names. */
async function relaxSale(
  sql: UserSql,
  userId: string,
  refused: DerivationRefusal & { asset_id: number },
): Promise<void> {
  if (refused.reason === 'unknown_lot')
    await sql`UPDATE activities SET named_lots = NULL WHERE user_id = ${userId} AND id = ${refused.activity_id}`
  // Together with later sales, each of which would be refused next.
  else
    await sql`
      UPDATE activities SET short = TRUE, named_lots = CASE WHEN id = ${refused.activity_id} THEN NULL ELSE named_lots END
      WHERE user_id = ${userId} AND asset_id = ${refused.asset_id} AND kind IN ('sell', 'transfer_out')
        AND traded_at >= (SELECT traded_at FROM activities WHERE user_id = ${userId} AND id = ${refused.activity_id})`
}

/**
 * Derives the lots of these assets (null: of all) again, after writes by other programs, or once activities of the future
 * have become due. It never refuses: a sale of more than is held opens a short lot. Does nothing without a portfolio.
 */
export const deriveAssets = userQuery(
  async (sql, userId: string, now: Date, assetIds: readonly number[] | null): Promise<PortfolioChange> => {
    const [portfolio] = await sql<{ version: string }[]>`
      SELECT version FROM portfolios WHERE user_id = ${userId} FOR UPDATE`
    if (!portfolio) return { before: 0, version: 0, asset_ids: [], lots: [], removed_lots: [] }
    await sql`SELECT set_config('kerb.derived', 'yes', TRUE)`
    const all = await sql<{ asset_id: number }[]>`
      SELECT asset_id FROM activities WHERE user_id = ${userId} AND asset_id IS NOT NULL
      UNION SELECT asset_id FROM lots WHERE user_id = ${userId}`
    const asked = assetIds ?? all.map(({ asset_id }) => asset_id)
    const input = { assetIds: asked, without: new Set<string>(), with: [] }
    for (;;) {
      const derived = await planLots(sql, userId, now, input)
      if (!derived.ok) {
        await relaxSale(sql, userId, derived.refused)
        continue
      }
      await writeLots(sql, userId, derived.plan)
      return {
        before: Number(portfolio.version),
        version: await readPortfolioVersion(sql, userId),
        asset_ids: assetIds === null ? null : [...assetIds],
        lots: derived.plan.lots.map(({ id }) => id),
        removed_lots: derived.plan.removedLots,
      }
    }
  },
)
