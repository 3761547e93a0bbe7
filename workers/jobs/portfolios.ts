import pMap from 'p-map'
import pTimeout from 'p-timeout'
import { deriveAssets, readPortfolioVersion } from '../../src/db/activities.ts'
import { withLiveDatabase, withUserDatabase } from '../../src/db/client.ts'
import { readLastSuccess } from '../../src/db/jobs.ts'
import {
  claimOutbox,
  deleteFromOutbox,
  type PendingChange,
  queueDueActivities,
  readPortfoliosOfMinute,
  releaseOutbox,
} from '../../src/db/portfolio-outbox.ts'
import { hasProfile } from '../../src/db/profiles.ts'
import { log } from '../../src/log.ts'
import { userPortfolio } from '../../src/objects.ts'
import type { RefreshJob } from '../refresh-queue.ts'

/** Users notified at once: each takes a connection to the database here, and one in the object. */
const CONCURRENCY = 4
/** No batch begins after this, because the next run comes a minute after this one. */
const DRAIN_TIMEOUT_MS = 40_000
/** A user whose lots and object take longer is left to the next run: others wait behind. */
const NOTIFY_TIMEOUT_MS = 15_000
/** Rows of a run that broke off are free again when the next run comes. */
const CLAIM_MS = 55_000
/** What a queue takes at once. */
const QUEUE_BATCH_SIZE = 100
/** Runs and clocks differ: an activity may be queued twice, but never missed. */
const OVERLAP_MS = 300_000

/**
 * Derives lots as far as necessary, and notifies the user's object. The object reads everything where it is unknown which
 * lots have changed: after other writes, and after a run that derived them but did not reach the object. A deleted user is
 * forgotten.
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
  await userPortfolio(env, userId).applyChange({ ...change, asset_ids: known ? derive : null })
}

/** Notifies a user's object; returns whether that succeeded in time. What takes longer goes on. */
async function tryNotify(env: Env, change: PendingChange, now: number): Promise<boolean> {
  try {
    await pTimeout(notifyPortfolio(env, change, now), { milliseconds: NOTIFY_TIMEOUT_MS })
    return true
  } catch (error) {
    log('portfolio_notify_failed', { user_id: change.userId, error: String(error) })
    return false
  }
}

/**
 * Notifies users' objects of what the outbox holds: writes by other programs, and those of Kerb that did not reach the
 * object. A user whose object fails is left to the next run; the others go on.
 * @throws Error when users were left to the next run
 */
export async function drainPortfolios(env: Env, now: number): Promise<Record<string, unknown>> {
  const deadline = Date.now() + DRAIN_TIMEOUT_MS
  const failed: PendingChange[] = []
  let notified = 0
  await withLiveDatabase(env, async (sql) => {
    do {
      const changes = await claimOutbox(sql, new Date(now), new Date(now + CLAIM_MS))
      if (changes.length === 0) break
      const outcomes = await pMap(changes, (change) => tryNotify(env, change, now), { concurrency: CONCURRENCY })
      const done = changes.filter((_, i) => outcomes[i])
      await deleteFromOutbox(sql, done)
      notified += done.length
      failed.push(...changes.filter((_, i) => !outcomes[i]))
    } while (Date.now() < deadline)
    await releaseOutbox(sql, failed)
  })
  if (failed.length > 0) throw new Error(`${failed.length} users could not be notified, ${notified} were`)
  return { notified }
}

/** The name of the job below, whose last run says since when activities are due. */
export const DUE_JOB = 'portfolio_due'

/** Queues activities that were entered ahead of their time, once it has come: the outbox derives their lots. */
export async function queueDuePortfolios(env: Env, now: number): Promise<Record<string, unknown>> {
  return withLiveDatabase(env, async (sql) => {
    const last = await readLastSuccess(sql, DUE_JOB)
    const since = last && new Date(last.getTime() - OVERLAP_MS)
    return { due: await queueDueActivities(sql, since, new Date(now)) }
  })
}

/** Queues every portfolio once an hour, each at its minute. One that a socket watches is skipped: it is up to date. */
export async function queueHourlyRefresh(env: Env, now: number): Promise<Record<string, unknown>> {
  const users = await withLiveDatabase(env, (sql) => readPortfoliosOfMinute(sql, new Date(now).getUTCMinutes()))
  for (let i = 0; i < users.length; i += QUEUE_BATCH_SIZE) {
    const jobs = users.slice(i, i + QUEUE_BATCH_SIZE).map((user_id): RefreshJob => ({ user_id, unless_active: true }))
    await env.REFRESH_QUEUE.sendBatch(jobs.map((body) => ({ body })))
  }
  return { queued: users.length }
}
