import { DEFAULT_REFRESH_SETTINGS, type RefreshSettings } from '../pricing/refresh-settings.ts'
import { liveQuery } from './client.ts'

/** The settings as they are now. @throws Error when there is one that the table lacks. */
export const readRefreshSettings = liveQuery(async (sql): Promise<RefreshSettings> => {
  const rows = await sql<{ name: string; value: string }[]>`SELECT name, value FROM app_settings`
  const values = new Map(rows.map(({ name, value }) => [name, Number(value)]))
  const settings = { ...DEFAULT_REFRESH_SETTINGS }
  for (const name of Object.keys(settings) as (keyof RefreshSettings)[]) {
    const value = values.get(name)
    if (value === undefined) throw new Error(`app_settings has no ${name}`)
    settings[name] = value
  }
  return settings
})
