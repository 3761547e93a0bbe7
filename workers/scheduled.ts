/** Runs what is due by the cron expression that fired. */
export async function scheduled(_event: ScheduledController, _env: Env): Promise<void> {}
