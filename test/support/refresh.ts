import { openDatabase } from '../../src/db/client.ts'
import type { KerbServer } from './server.ts'

/** Sets the refresh interval of pages' prices to a second, so that no test waits for 15 seconds. */
export async function refreshEverySecond({ url, databaseUrl }: Pick<KerbServer, 'url' | 'databaseUrl'>): Promise<void> {
  const sql = openDatabase('live', databaseUrl)
  await sql`UPDATE app_settings SET value = 1 WHERE name = 'refresh_min_seconds'`
  await sql.end()
  const fired = await fetch(`${url}/cdn-cgi/local/scheduled?cron=*+*+*+*+*`)
  if (!fired.ok) throw new Error(`cron: ${fired.status} ${await fired.text()}`)
}

/** Refreshes the prices of these symbols at once, before they are due. @param key the service key that the server was started with */
export async function refreshPrices(
  { url }: Pick<KerbServer, 'url'>,
  key: string,
  symbols: readonly string[],
): Promise<void> {
  const answer = await fetch(`${url}/refresh-prices`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ symbols }),
  })
  if (!answer.ok) throw new Error(`refresh: ${answer.status} ${await answer.text()}`)
}
