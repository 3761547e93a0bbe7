import { liveQuery } from './client.ts'

/** A completed run of a cron job. Times are unix milliseconds. */
export type JobRun = {
  job: string
  /** The scheduled interval. */
  period_seconds: number
  started_at: number
  ended_at: number
  outcome: 'ok' | 'failed'
  /** Why it failed; null for a success. */
  error: string | null
}

/** The last run of a job as it is stored. Times are RFC 3339. */
export type StoredJobRun = Omit<JobRun, 'started_at' | 'ended_at'> & {
  started_at: string
  ended_at: string
  ms: number
  /** The time of the last success; null for none. */
  ok_at: string | null
}

/** Records the result of a run, unless a run that started later has been recorded. */
export const recordJobRun = liveQuery(async (sql, run: JobRun): Promise<void> => {
  const started = new Date(run.started_at)
  const ended = new Date(run.ended_at)
  await sql`
    INSERT INTO job_runs AS known (job, period_seconds, started_at, ended_at, outcome, error, ms, ok_at)
    VALUES (${run.job}, ${run.period_seconds}, ${started}, ${ended}, ${run.outcome}, ${run.error},
      ${run.ended_at - run.started_at}, ${run.outcome === 'ok' ? ended : null})
    ON CONFLICT (job) DO UPDATE SET
      period_seconds = excluded.period_seconds, started_at = excluded.started_at, ended_at = excluded.ended_at,
      outcome = excluded.outcome, error = excluded.error, ms = excluded.ms,
      ok_at = coalesce(excluded.ok_at, known.ok_at)
    WHERE excluded.started_at >= known.started_at`
})

/** The last run of each job, by name. */
export const readJobRuns = liveQuery(
  (sql): Promise<StoredJobRun[]> =>
    sql<StoredJobRun[]>`
    SELECT job, period_seconds, started_at, ended_at, outcome, error, ms, ok_at FROM job_runs ORDER BY job`,
)

/** The time of a job's last success; null for none on record. */
export const readLastSuccess = liveQuery(async (sql, job: string): Promise<Date | null> => {
  const [row] = await sql<{ ok_at: string | null }[]>`SELECT ok_at FROM job_runs WHERE job = ${job}`
  return row?.ok_at ? new Date(row.ok_at) : null
})
