import { deriveAssets, readPortfolioVersion } from '../../src/db/activities.ts'
import { withLiveDatabase, withUserDatabase } from '../../src/db/client.ts'
import { deleteOldKeys } from '../../src/db/idempotency.ts'
import { readLastSuccess } from '../../src/db/jobs.ts'
import {
  drainOutbox,
  fillFxRates,
  type PendingChange,
  queueDueActivities,
  readPortfoliosOfMinute,
} from '../../src/db/portfolio-outbox.ts'
import { hasProfile } from '../../src/db/profiles.ts'
import { log } from '../../src/log.ts'
import { userPortfolio } from '../../src/objects.ts'
import type { RefreshJob } from '../refresh-queue.ts'

/** Users who are told at once: each takes a connection to the database here, and one in the object. */
const CONCURRENCY = 4
/** No further batch is begun after so long: the next run is a minute after this one. Milliseconds. */
const DRAIN_TIMEOUT_MS = 40_000
/** One whose lots and object take longer is left for the next run: the others wait behind it. Milliseconds. */
const NOTIFY_TIMEOUT_MS = 15_000
/** What a queue takes at once. */
const QUEUE_BATCH_SIZE = 100
/** What came meanwhile is looked at twice rather than never: runs and clocks differ. Milliseconds. */
const OVERLAP_MS = 300_000
/** An answer is given again for so long. Milliseconds. */
const IDEMPOTENCY_KEY_TTL_MS = 86_400_000

/**
 * Makes the lots that are to be made, and tells the user's object. It reads everything where it is not known which lots
 * have changed: what was written before, and what an earlier run has made and could not tell. Who is deleted is forgotten.
 * @throws when lots cannot be made, or the object cannot be told
 */
async function notifyPortfolio(env: Env, { userId, derive, written }: PendingChange, now: number): Promise<void> {
  const nothing = derive !== null && derive.length === 0
  const { isUser, change } = await withUserDatabase(env, { id: userId }, async (sql) => ({
    isUser: await hasProfile(sql, userId),
    change: nothing
      ? { version: await readPortfolioVersion(sql, userId), lots: [], removed_lots: [] }
      : await deriveAssets(sql, userId, new Date(now), derive),
  }))
  if (!isUser) return userPortfolio(env, userId).forget()
  const known = !written && change.lots.length + change.removed_lots.length > 0
  await userPortfolio(env, userId).changed({ ...change, asset_ids: known ? derive : null })
}

/** @throws Error when it takes longer than so many milliseconds; what it does goes on */
async function withTimeout<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Tells users' objects what the outbox holds: what was written past Kerb, and what Kerb could not tell. Whose object
 * fails is left for the next run; the others go on.
 */
export async function drainPortfolios(env: Env, now: number): Promise<Record<string, unknown>> {
  const until = Date.now() + DRAIN_TIMEOUT_MS
  const failed: string[] = []
  let told = 0
  const deliver = async (untold: readonly PendingChange[]): Promise<boolean[]> => {
    const outcomes = untold.map(() => false)
    const waiting = [...untold.entries()]
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const [index, of] = next
        try {
          await withTimeout(NOTIFY_TIMEOUT_MS, notifyPortfolio(env, of, now))
          outcomes[index] = true
        } catch (error) {
          log('portfolio_notify_failed', { user_id: of.userId, error: String(error) })
        }
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work))
    return outcomes
  }
  await withLiveDatabase(env, async (sql) => {
    for (;;) {
      const batch = await drainOutbox(sql, failed, deliver)
      told += batch.told.length
      failed.push(...batch.failed)
      if (batch.told.length + batch.failed.length === 0 || Date.now() > until) return
    }
  })
  if (failed.length > 0) throw new Error(`${failed.length} users could not be told, ${told} were`)
  return { told }
}

/** Fills the rates of days that can be known by now. */
export async function fillPortfolioRates(env: Env): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, async (sql) => ({ filled: await fillFxRates(sql) }))
}

/** The name of the job that has what was entered ahead of its time take effect: its last run says since when. */
export const DUE_JOB = 'portfolio_due'

/** Has what was entered ahead of its time take effect: the outbox's next run makes the lots of it. */
export async function queueDuePortfolios(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, async (sql) => {
    const last = await readLastSuccess(sql, DUE_JOB)
    const since = last && new Date(last.getTime() - OVERLAP_MS)
    return { due: await queueDueActivities(sql, since, new Date(now)) }
  })
}

/** Queues every portfolio once an hour, each at its minute; who looks at one has it up to date anyway. */
export async function queueHourlyRefresh(env: Env, now: number): Promise<Record<string, unknown>> {
  const users = await withLiveDatabase(env, (sql) => readPortfoliosOfMinute(sql, new Date(now).getUTCMinutes()))
  for (let i = 0; i < users.length; i += QUEUE_BATCH_SIZE) {
    const jobs = users.slice(i, i + QUEUE_BATCH_SIZE).map((user_id): RefreshJob => ({ user_id, unless_active: true }))
    await env.REFRESH_QUEUE.sendBatch(jobs.map((body) => ({ body })))
  }
  return { queued: users.length }
}

/** Forgets answers that are not given again. */
export async function deleteExpiredKeys(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, async (sql) => ({
    keys: await deleteOldKeys(sql, new Date(now - IDEMPOTENCY_KEY_TTL_MS)),
  }))
}
