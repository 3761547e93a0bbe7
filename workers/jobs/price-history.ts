import pMap from 'p-map'
import { readSettings } from '../../src/config.ts'
import { readCandles } from '../../src/db/candles.ts'
import { type LiveSql, withLiveDatabase } from '../../src/db/client.ts'
import { claimHistory, type HistoryClaim, recordHistoryFailure, storeHistory } from '../../src/db/price-history.ts'
import { providerGate } from '../../src/objects.ts'
import type { DailyBar, DailyHistory } from '../../src/pricing/provider-quote.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import { availableProviders, providersFor } from '../../src/providers/registry.ts'
import { DAY_S, formatDate } from '../../src/time.ts'

/** Assets that are loaded at once: the providers' rate limits are shared with the quotes. */
const CONCURRENCY = 4
/** The most days of our own candles for one asset. */
const MAX_OWN_DAYS = 1_000

/**
 * Loads the history of assets that have none, and updates that of others: HISTORY_PER_MINUTE assets in all. Those of a
 * run that died are claimed again when its lease has expired.
 * @returns fields for the log
 * @throws Error naming the assets that could not be loaded
 */
export async function loadHistory(env: Env, now: number): Promise<Record<string, unknown>> {
  const { EXCHANGE, HISTORY_PER_MINUTE } = readSettings(env)
  const simulated = EXCHANGE === 'simulated'
  const today = formatDate(now)
  const claims = await withLiveDatabase(env, (sql) =>
    claimHistory(sql, { limit: HISTORY_PER_MINUTE, now, today, simulated }),
  )
  const counts = { assets: claims.length, stored: 0, failed: 0 }
  const errors: string[] = []
  const update = async (claim: HistoryClaim): Promise<void> => {
    try {
      if (await updateHistory(env, claim, now)) counts.stored++
      else counts.failed++
    } catch (error) {
      // The asset is claimed again when its lease has expired; the others are loaded all the same.
      errors.push(`${claim.asset.symbol}: ${String(error)}`)
    }
  }
  await pMap(claims, update, { concurrency: CONCURRENCY })
  if (errors.length > 0) throw new Error(`${errors.length} of ${claims.length} not loaded: ${errors.join('; ')}`)
  return counts
}

/** Stores the history of one asset; false: no provider has it. */
async function updateHistory(env: Env, claim: HistoryClaim, now: number): Promise<boolean> {
  const settings = readSettings(env)
  const { EXCHANGE } = settings
  const { asset, from } = claim
  const sources = providersFor(asset, availableProviders(settings))
  const outcome = await providerGate(env).daily(sources, from)
  return withLiveDatabase(env, async (sql) => {
    const own = await readOwnDays(sql, env, asset, from, now)
    if (!outcome.ok && (from === null || own.length === 0)) {
      const { reason, detail, retryAt, asked } = outcome
      await recordHistoryFailure(sql, asset.asset_id, { error: `${reason}: ${detail}`, retryAt, asked })
      return false
    }
    const history: DailyHistory = outcome.ok ? outcome.history : { currency: asset.currency, days: [], actions: [] }
    const provider = EXCHANGE === 'simulated' ? EXCHANGE : outcome.ok ? outcome.provider : asset.provider
    await storeHistory(sql, claim, mergeOwnDays(history, own), { provider, today: formatDate(now), now })
    return true
  })
}

/** Our own days replace the provider's: they are equal to the product's candles. */
function mergeOwnDays(history: DailyHistory, own: readonly DailyBar[]): DailyHistory {
  const days = new Map([...history.days, ...own].map((day) => [day.date, day]))
  return { ...history, days: [...days.values()].sort((a, b) => (a.date < b.date ? -1 : 1)) }
}

/** The complete daily candles of a streamed product, with no trade missing. */
async function readOwnDays(
  sql: LiveSql,
  env: Env,
  asset: Asset,
  from: string | null,
  now: number,
): Promise<DailyBar[]> {
  const { EXCHANGE, PRODUCTS } = readSettings(env)
  if (asset.provider !== 'coinbase' || !PRODUCTS.includes(asset.provider_id)) return []
  const candles = await readCandles(sql, {
    exchange: EXCHANGE,
    product: asset.provider_id,
    granularity: 'ONE_DAY',
    start: from === null ? 0 : Date.parse(from) / 1_000,
    end: Math.floor(now / 1_000 / DAY_S) * DAY_S,
    limit: MAX_OWN_DAYS,
  })
  return candles
    .filter(({ is_complete, coverage }) => is_complete && coverage === 'full')
    .map(({ timestamp, open, high, low, close, volume }) => {
      return { date: formatDate(timestamp * 1_000), open, high, low, close, volume }
    })
}
