import { env } from 'cloudflare:workers'
import { addAsset } from '../../../src/db/assets.ts'
import { upsertCandles } from '../../../src/db/candles.ts'
import { withLiveDatabase } from '../../../src/db/client.ts'
import { ensureHistoryPartitions, storeHistory } from '../../../src/db/price-history.ts'
import { upsertProducts } from '../../../src/db/products.ts'
import type { Asset } from '../../../src/protocol/asset.ts'
import type { Candle } from '../../../src/protocol/candle.ts'
import { createMember } from '../support/person.ts'
import { getWithEnv } from '../support/wire.ts'

export const SERVICE_KEY = 'service-key-of-the-contract'

const unlimited = { limit: async () => ({ success: true }) }

/** One environment for all requests, since the Worker caches by environment. It has no rate limits. */
export const here = {
  ...env,
  SUPABASE_SERVICE_ROLE_KEY: SERVICE_KEY,
  REQUEST_LIMIT: unlimited,
  SOCKET_LIMIT: unlimited,
  LOOKUP_LIMIT: unlimited,
  AUTH_LIMIT: unlimited,
  EMAIL_LIMIT: unlimited,
} as Env

export const ask = (path: string, init?: RequestInit): Promise<Response> => getWithEnv(here, path, init)

const listing = (symbol: string, more: Partial<Asset> = {}): Omit<Asset, 'asset_id'> => ({
  symbol,
  name: `Kerb Test ${symbol}`,
  type: 'stock',
  category: 'stock',
  code: symbol,
  provider: 'yahoo',
  provider_id: symbol,
  currency: 'USD',
  isin: null,
  ...more,
})

/** Start of the stored candles, unix seconds. */
export const CANDLES_FROM = Date.UTC(2021, 0, 4, 10) / 1_000

const candle = (minute: number, more: Partial<Candle>): Candle => ({
  exchange: 'simulated',
  product_id: 'TWO-USD',
  granularity: 'ONE_MINUTE',
  timestamp: CANDLES_FROM + 60 * minute,
  open: '1.5',
  high: '98765432109876543210.5',
  low: '0.1',
  close: '2.25',
  volume: '3.000000000000000001',
  is_complete: true,
  coverage: 'full',
  rev: 0,
  last_update: new Date((CANDLES_FROM + 60 * minute + 30) * 1_000).toISOString(),
  source: 'trades',
  ...more,
})

const product = (id: string, status: string) => {
  const [base_currency, quote_currency] = id.split('-') as [string, string]
  const [min_size, price, change_24h] = ['0.0001', '93500.25', '-1.5']
  const at = { price, price_at: '2021-01-04T10:00:00Z', change_24h }
  const pair = { product_id: id, base_currency, quote_currency, status, min_size, max_size: null, ...at }
  return { exchange: 'simulated', ...pair }
}

/** Sets the price that the fake provider returns. Kerb publishes it after the next refresh. */
async function setPrice(symbol: string, price: string): Promise<void> {
  const body = JSON.stringify({ provider: 'yahoo', id: symbol, price })
  const response = await fetch(`${env.PROVIDERS_URL}/_prices`, { method: 'POST', body })
  if (!response.ok) throw new Error(await response.text())
}

export const refreshPrices = (body: unknown): Promise<Response> =>
  ask('/refresh-prices', {
    method: 'POST',
    headers: { authorization: `Bearer ${SERVICE_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

/** Sets a price and refreshes it. */
export async function movePrice(symbol: string, price: string): Promise<void> {
  await setPrice(symbol, price)
  const answer = await refreshPrices({ symbols: [symbol] })
  const report = (await answer.json()) as { refreshed?: number }
  if (report.refreshed !== 1) throw new Error(`not refreshed: ${JSON.stringify(report)}`)
}

/** Stores assets, products, candles, a price history and an audit. */
export async function seed(): Promise<void> {
  const today = new Date().toISOString().slice(0, 10)
  const dayBefore = (days: number) => new Date(Date.parse(today) - days * 86_400_000).toISOString().slice(0, 10)
  await withLiveDatabase(env, async (sql) => {
    const asset = await addAsset(sql, listing('KRBA', { isin: 'US0000000001' }))
    await addAsset(sql, listing('KRBB'))
    await addAsset(sql, listing('KRBC.L', { code: 'KRBC', currency: 'GBP' }))
    await addAsset(sql, listing('KRBC.MI', { code: 'KRBC', currency: 'EUR' }))
    await addAsset(sql, listing('KRBM', { provider: 'manual' }))
    await upsertProducts(sql, [
      product('TWO-USD', 'online'),
      product('NU-USD', 'offline'),
      product('OLD-USD', 'online'),
    ])
    await upsertCandles(sql, [
      candle(0, {}),
      candle(1, { open: '0.12345678901234567890', close: '1.50', coverage: 'partial', rev: 2 }),
      candle(3, { source: 'exchange', coverage: 'gap', volume: '0' }),
    ])
    await ensureHistoryPartitions(sql, today)
    const days = Array.from({ length: 40 }, (_, i) => {
      const [open, high, close] = [`${100 + i}`, `${102 + i}.5`, `${101 + i}.25`]
      return { date: dayBefore(40 - i), open, high, low: '1.25', close, volume: '7' }
    })
    const actions = [{ kind: 'split', ex_date: dayBefore(3), numerator: '2', denominator: '1' } as const]
    const teller = { provider: 'simulated', today, now: Date.now() }
    await storeHistory(sql, { asset, from: null }, { currency: 'USD', days, actions }, teller)
    await sql`
      INSERT INTO candle_audits (exchange, product_id, day, granularity, status, compared, equal, repaired, missing_here,
        missing_there, attempts, attempted_at, done_at)
      VALUES ('simulated', 'TWO-USD', '2021-01-04', 'ONE_MINUTE', 'done', 1440, 1438, 2, 1, 1, 1,
        '2021-01-05T00:10:00Z', '2021-01-05T00:11:00Z')`
  })
  for (const symbol of ['KRBA', 'KRBB']) await setPrice(symbol, '100.5')
}

/** A signed-in user whose requests carry a bearer token. */
export async function user() {
  const me = await createMember()
  const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    ask(path, {
      method,
      headers: { authorization: `Bearer ${me.token}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  return { ...me, send }
}
