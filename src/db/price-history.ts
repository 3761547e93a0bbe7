import { addDays, startOfPeriod } from '../pricing/history-range.ts'
import type { DailyHistory } from '../pricing/provider-quote.ts'
import type { Asset } from '../protocol/asset.ts'
import type { CorporateAction, HistoryInterval, PriceBar } from '../protocol/price-history.ts'
import { cachedQuery, firstRow, liveQuery, singleValue, writeWithPartitions } from './client.ts'

/** After this, a claim without a result expires and another run may claim the asset. */
const CLAIM_LEASE = '10 minutes'
/** The last known days are fetched again, because providers correct them. */
const CORRECTED_DAYS = 7
/** Days before a new year on which its partition is created. */
const AHEAD_DAYS = 31
/** Assets per statement of the nightly run: keeps it well under the 60 s that Hyperdrive gives a query. */
const ASSETS_PER_STATEMENT = 100
/** Batches of one nightly run; the next run does the rest. */
const MAX_STATEMENTS = 500

/** An asset to load the history of: the days from `from` (`2025-12-03`) on, or all (null). */
export type HistoryClaim = { asset: Asset; from: string | null }

/** The provider of a history, and the time: `today` is the UTC date, `now` unix milliseconds. */
export type HistoryOrigin = { provider: string; today: string; now: number }

/** The numbers of new and changed rows. */
export type HistoryChanges = { days: number; weeks: number; months: number; actions: number }

/** The state of an asset's history. Dates are `2025-12-03`, or null. */
export type HistoryState = {
  /** The provider, or `simulated`. */
  provider: string | null
  currency: string | null
  /** `pending` before the first attempt to load the whole history, `failed` while every attempt has failed. */
  state: 'pending' | 'loading' | 'whole' | 'failed'
  first_date: string | null
  last_date: string | null
  /** Every day from here on is stored. */
  days_from: string | null
  /** Rises whenever the corporate actions change. */
  actions_version: number
  /** Why the last attempt failed. */
  error: string | null
}

/** The intervals that are stored, each in a table of its own. */
export type StoredInterval = Extract<HistoryInterval, 'ONE_DAY' | 'ONE_WEEK' | 'ONE_MONTH'>

export const HISTORY_TABLES = {
  ONE_DAY: { table: 'price_history_daily', column: 'date' },
  ONE_WEEK: { table: 'price_history_weekly', column: 'week' },
  ONE_MONTH: { table: 'price_history_monthly', column: 'month' },
} as const satisfies Record<StoredInterval, unknown>

/**
 * Claims at most `limit` assets whose history has to be loaded or updated, and records the attempt, so that no other run
 * claims them within ten minutes. First come assets that were never requested from a provider (those that a reader waits
 * for, then the newest), then assets that lack a past day, then failed ones. Each is tried once a day, and after a failure
 * when its pause has passed. A simulated history is replaced where the market is real, and the other way round.
 */
export const claimHistory = liveQuery(
  async (
    sql,
    { limit, now, today, simulated }: { limit: number; now: number; today: string; simulated: boolean },
  ): Promise<HistoryClaim[]> => {
    const at = new Date(now)
    const rows = await sql<(Asset & { from: string | null })[]>`
      WITH due AS (
        SELECT a.asset_id, h.state IS NOT DISTINCT FROM 'whole' AND (h.provider = 'simulated') = ${simulated} AS whole,
          coalesce(h.attempts, 0) AS attempts, h.next_attempt_at, a.created_at,
          -- One that could not be asked for keeps its time to be tried again.
          h.state = 'pending' AND h.attempted_at IS NOT NULL AND h.next_attempt_at IS NOT NULL AS refused
        FROM assets a LEFT JOIN asset_history h ON h.asset_id = a.asset_id
        WHERE a.active AND a.provider <> 'manual'
          AND (h.state IS DISTINCT FROM 'whole' OR h.last_date IS NULL
            OR h.last_date < ${today}::text::date - 1 OR (h.provider = 'simulated') <> ${simulated})
      ), first AS (
        SELECT asset_id, whole FROM due
        WHERE NOT whole AND attempts = 0 AND refused IS NOT TRUE OR next_attempt_at <= ${at}
        -- Who waits has a time to be tried at; the others have none, and come after.
        ORDER BY CASE WHEN attempts = 0 AND NOT whole AND refused IS NOT TRUE THEN 0 WHEN whole THEN 1 ELSE 2 END, next_attempt_at NULLS LAST,
          created_at DESC, asset_id
        LIMIT ${limit}
      ), claimed AS (
        INSERT INTO asset_history AS h (asset_id, state, attempted_at, attempts, next_attempt_at)
        SELECT asset_id, 'loading', ${at}::timestamptz, 1, ${at}::timestamptz + ${CLAIM_LEASE}::text::interval FROM first
        ORDER BY asset_id
        ON CONFLICT (asset_id) DO UPDATE SET
          state = CASE h.state WHEN 'whole' THEN 'whole' ELSE 'loading' END,
          attempted_at = excluded.attempted_at, attempts = h.attempts + 1, next_attempt_at = excluded.next_attempt_at
        -- Of two runs the second waits for the first one's row, and then sees that it is taken.
        WHERE h.next_attempt_at <= excluded.attempted_at
          OR h.attempts = 0 AND (h.state <> 'whole' OR (h.provider = 'simulated') <> ${simulated})
            AND NOT (h.state = 'pending' AND h.attempted_at IS NOT NULL AND h.next_attempt_at IS NOT NULL)
        RETURNING h.asset_id, CASE
          WHEN h.state = 'whole' AND (h.provider = 'simulated') = ${simulated}
            -- One whose days would no longer meet those that are stored is loaded anew.
            AND h.last_date - ${CORRECTED_DAYS}::integer >= (SELECT days_from FROM price_history_kept(${today}::text::date))
          THEN h.last_date - ${CORRECTED_DAYS}::integer END AS "from"
      )
      SELECT a.asset_id, a.symbol, a.name, a.type, a.category, a.code, a.provider, a.provider_id, a.currency, a.isin,
        claimed."from"
      FROM claimed JOIN assets a ON a.asset_id = claimed.asset_id
      ORDER BY a.asset_id`
    return rows.map(({ from, ...asset }) => ({ asset, from }))
  },
)

/**
 * Records that a reader waits for the history of an asset that no run has claimed or could request yet: the next run
 * claims it first.
 */
export const requestHistory = liveQuery(async (sql, assetId: number, now: number): Promise<void> => {
  await sql`
    INSERT INTO asset_history (asset_id, next_attempt_at) VALUES (${assetId}, ${new Date(now)})
    ON CONFLICT (asset_id) DO UPDATE SET attempted_at = NULL, next_attempt_at = excluded.next_attempt_at
    WHERE asset_history.state = 'pending' AND asset_history.attempted_at IS NOT NULL`
})

/** Dividends with the close of the day before, where the provider left it out and the day is known. */
function withReferenceClose({ days, actions }: DailyHistory): CorporateAction[] {
  return actions.map((action) => {
    if (action.kind !== 'dividend' || action.reference_close !== null) return action
    return { ...action, reference_close: days.findLast(({ date }) => date < action.ex_date)?.close ?? null }
  })
}

/**
 * Stores the history of a claimed asset in one transaction: the days within the retention, their weeks and months, splits
 * and dividends, and the new state. Days after `today` are ignored. Stored rows that the history lacks stay, so a shorter or
 * repeated history is safe.
 *
 * Rows of a simulated market, or in another currency, are never mixed with real ones: a whole history replaces them; for a
 * part nothing is stored, and the next claim requests the whole.
 * @param history days ascending, raw
 */
export const storeHistory = liveQuery(
  async (sql, claim: HistoryClaim, history: DailyHistory, origin: HistoryOrigin): Promise<HistoryChanges> => {
    const { provider, today } = origin
    // JSON text whose decimals are strings: they become NUMERIC without passing through a float.
    const days = JSON.stringify(history.days.filter(({ date }) => date <= today))
    const actions = JSON.stringify(withReferenceClose(history))
    const store = () => sql<HistoryChanges[]>`
      SELECT days, weeks, months, actions
      FROM store_price_history(${claim.asset.asset_id}, ${provider}, ${history.currency}, ${days}::text::jsonb,
        ${actions}::text::jsonb, ${claim.from}::text::date, ${today}::text::date)`
    const addPartitions = () => sql`
      SELECT ensure_price_history_partitions((price_history_kept(${today}::text::date)).days_from, ${today}::text::date)`
    const [changes] = await writeWithPartitions(store, addPartitions)
    return changes!
  },
)

/**
 * Records why a claimed asset was not loaded. It is claimed again at `retryAt` (unix milliseconds), but not before a pause
 * that doubles with each failure, from ten minutes to a day. Without a request to a provider (`asked` is false) it has not
 * failed, and is claimed again after a minute.
 */
export const recordHistoryFailure = liveQuery(
  async (
    sql,
    assetId: number,
    { error, retryAt, asked }: { error: string; retryAt: number | null; asked: boolean },
  ): Promise<void> => {
    const at = retryAt === null ? null : new Date(retryAt)
    await sql`
      UPDATE asset_history SET
        state = CASE WHEN state = 'whole' THEN 'whole' WHEN ${asked} THEN 'failed' ELSE 'pending' END,
        error = ${error},
        attempts = CASE WHEN ${asked} THEN attempts ELSE GREATEST(attempts - 1, 0) END,
        next_attempt_at = GREATEST(${at}::timestamptz, attempted_at + CASE WHEN ${asked}
          THEN LEAST(INTERVAL '10 minutes' * power(2, LEAST(attempts, 10) - 1), INTERVAL '1 day')
          ELSE INTERVAL '1 minute' END)
      WHERE asset_id = ${assetId}`
  },
)

/**
 * The raw bars of an asset that start at `from` or later and end before `to` (`2025-12-03`), ascending. They may be 75 s
 * old. `to` is today at the latest, so that all of them are closed; ends that recur let the cache answer.
 */
export const readBars = cachedQuery(
  async (sql, assetId: number, interval: StoredInterval, { from, to }: { from: string; to: string }) => {
    const { table, column } = HISTORY_TABLES[interval]
    // The period of `to` is still running.
    return sql<PriceBar[]>`
      SELECT ${sql(column)} AS date, open, high, low, close, volume, TRUE AS is_complete FROM ${sql(table)}
      WHERE asset_id = ${assetId} AND ${sql(column)} >= ${from} AND ${sql(column)} < ${startOfPeriod(to, interval)}
      ORDER BY ${sql(column)}`
  },
)

/** The raw bar of the current week or month, from its known days; null for none. */
export const readRunningBar = liveQuery(
  async (sql, assetId: number, interval: Exclude<StoredInterval, 'ONE_DAY'>, today: string) => {
    const { table, column } = HISTORY_TABLES[interval]
    return firstRow(sql<PriceBar[]>`
      SELECT ${sql(column)} AS date, open, high, low, close, volume, FALSE AS is_complete FROM ${sql(table)}
      WHERE asset_id = ${assetId} AND ${sql(column)} = ${startOfPeriod(today, interval)}`)
  },
)

/** The splits and dividends of an asset, ascending. */
export const readCorporateActions = liveQuery(async (sql, assetId: number): Promise<CorporateAction[]> => {
  type Row = Pick<CorporateAction, 'kind' | 'ex_date'> &
    Record<'numerator' | 'denominator' | 'amount', string> & {
      reference_close: string | null
    }
  const rows = await sql<Row[]>`
    SELECT ex_date, kind, numerator, denominator, amount, reference_close FROM corporate_actions
    WHERE asset_id = ${assetId} ORDER BY ex_date, kind`
  return rows.map(({ kind, ex_date, numerator, denominator, amount, reference_close }) =>
    kind === 'split' ? { kind, ex_date, numerator, denominator } : { kind, ex_date, amount, reference_close },
  )
})

/** The state of an asset's history; null when it was never requested. */
export const readHistoryState = liveQuery(
  (sql, assetId: number): Promise<HistoryState | null> =>
    firstRow(sql<HistoryState[]>`
    SELECT provider, currency, state, first_date, last_date, days_from, actions_version, error
    FROM asset_history WHERE asset_id = ${assetId}`),
)

/** The result of a nightly run; `done` is false when the next run has work left. */
export type HistoryMaintenance = { folded: number; days: number; weeks: number; partitions: number; done: boolean }

/**
 * The nightly run: folds the stored days again, so that rows added by hand reach the weeks and months, deletes days and
 * weeks past their retention, and drops empty partitions of past years. A statement covers a hundred assets: after an
 * interruption, the next run does the rest.
 * @param today in UTC, `2025-12-03`
 */
export const maintainHistory = liveQuery(async (sql, today: string): Promise<HistoryMaintenance> => {
  const done: HistoryMaintenance = { folded: 0, days: 0, weeks: 0, partitions: 0, done: false }
  let after = 0
  for (let batch = 0; batch < MAX_STATEMENTS && !done.done; batch++) {
    const rows = await sql<{ asset_id: number; folded: number }[]>`
      SELECT asset_id, aggregate_daily_to_weekly(asset_id, '-infinity')
        + aggregate_daily_to_monthly(asset_id, '-infinity') AS folded
      FROM (SELECT asset_id FROM assets WHERE asset_id > ${after} ORDER BY asset_id LIMIT ${ASSETS_PER_STATEMENT}) AS batch`
    for (const { folded } of rows) done.folded += folded
    after = rows.at(-1)?.asset_id ?? after
    done.done = rows.length < ASSETS_PER_STATEMENT
  }
  let assets = ASSETS_PER_STATEMENT
  for (let batch = 0; batch < MAX_STATEMENTS && assets > 0; batch++) {
    const [pruned] = await sql<{ assets: number; days: number; weeks: number }[]>`
      SELECT assets, days, weeks FROM prune_price_history(${today}::text::date, ${ASSETS_PER_STATEMENT})`
    assets = pruned!.assets
    done.days += pruned!.days
    done.weeks += pruned!.weeks
  }
  done.done &&= assets === 0
  done.partitions = await singleValue(sql`
    SELECT drop_empty_price_history_partitions((price_history_kept(${today}::text::date)).days_from)`)
  return done
})

/**
 * Creates the partition of today's year, and the next year's within 31 days of it. Returns how many were missing. @param today in UTC, `2025-12-03`
 */
export const ensureHistoryPartitions = liveQuery(
  (sql, today: string): Promise<number> =>
    singleValue(sql`
    SELECT ensure_price_history_partitions(${today}::text::date, ${addDays(today, AHEAD_DAYS)}::text::date)`),
)
