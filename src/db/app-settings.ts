import type { RefreshSettings } from '../pricing/refresh-settings.ts'
import { liveQuery } from './client.ts'

/** The settings as they are now. @throws Error when there is one that the table lacks. */
export const readRefreshSettings = liveQuery(async (sql): Promise<RefreshSettings> => {
  const rows = await sql<{ name: string; value: string }[]>`SELECT name, value FROM app_settings`
  const values = new Map(rows.map(({ name, value }) => [name, Number(value)]))
  const setting = (name: keyof RefreshSettings): number => {
    const value = values.get(name)
    if (value === undefined) throw new Error(`app_settings has no ${name}`)
    return value
  }
  return {
    refresh_min_seconds: setting('refresh_min_seconds'),
    refresh_max_seconds: setting('refresh_max_seconds'),
    refresh_default_seconds: setting('refresh_default_seconds'),
    closed_refresh_seconds: setting('closed_refresh_seconds'),
    snapshot_seconds: setting('snapshot_seconds'),
    snapshot_days: setting('snapshot_days'),
    history_days: setting('history_days'),
    history_weeks: setting('history_weeks'),
  }
})
