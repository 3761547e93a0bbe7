import { readSettings } from '../../src/config.ts'
import { readCandles } from '../../src/db/candles.ts'
import { type LiveSql, withLiveDatabase } from '../../src/db/client.ts'
import { claimHistory, type HistoryClaim, recordHistoryFailure, storeHistory } from '../../src/db/price-history.ts'
import { providerGate } from '../../src/objects.ts'
import type { DailyBar, DailyHistory } from '../../src/pricing/provider-quote.ts'
import { availableProviders, providersFor } from '../../src/pricing/quote-providers.ts'
import type { Asset } from '../../src/protocol/asset.ts'

/** Assets that are asked for at once: the providers' budgets are shared with the quotes. */
const CONCURRENCY = 4
/** Days of our own candles that are looked at when nothing is known yet. */
const MAX_OWN_DAYS = 1_000
const DAY_S = 86_400

const formatDate = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/**
 * Loads the whole history of assets that have none, and brings others up to date: HISTORY_PER_MINUTE of them. What a
 * dead run has begun, a later one takes again.
 */
export async function loadHistory(env: Env, now: number): Promise<Record<string, unknown>> {
  const { EXCHANGE, HISTORY_PER_MINUTE } = readSettings(env)
  const simulated = EXCHANGE === 'simulated'
  const today = formatDate(now)
  const claims = await withLiveDatabase(env, (sql) =>
    claimHistory(sql, { limit: HISTORY_PER_MINUTE, now, today, simulated }),
  )
  const told = { assets: claims.length, stored: 0, failed: 0 }
  const waiting = [...claims]
  const errors: string[] = []
  const work = async (): Promise<void> => {
    for (let claim = waiting.shift(); claim !== undefined; claim = waiting.shift())
      try {
        if (await updateHistory(env, claim, now)) told.stored++
        else told.failed++
      } catch (error) {
        // It is taken again when its lease is over; the others are loaded all the same.
        errors.push(`${claim.asset.symbol}: ${String(error)}`)
      }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  if (errors.length > 0) throw new Error(`${errors.length} of ${claims.length} not loaded: ${errors.join('; ')}`)
  return told
}

async function updateHistory(env: Env, claim: HistoryClaim, now: number): Promise<boolean> {
  const { EXCHANGE } = readSettings(env)
  const { asset, from } = claim
  const sources = providersFor(asset, availableProviders(readSettings(env)))
  const answer = await providerGate(env).daily(sources, from)
  return withLiveDatabase(env, async (sql) => {
    const own = await readOwnDays(sql, env, asset, from, now)
    if (!answer.ok && (from === null || own.length === 0)) {
      const { reason, detail, retryAt, asked } = answer
      await recordHistoryFailure(sql, asset.asset_id, { error: `${reason}: ${detail}`, retryAt, asked })
      return false
    }
    const told: DailyHistory = answer.ok ? answer.history : { currency: asset.currency, days: [], actions: [] }
    const provider = EXCHANGE === 'simulated' ? EXCHANGE : answer.ok ? answer.provider : asset.provider
    await storeHistory(sql, claim, mergeOwnDays(told, own), { provider, today: formatDate(now), now })
    return true
  })
}

/** Our days win: they are what the page of the product shows. */
function mergeOwnDays(told: DailyHistory, own: readonly DailyBar[]): DailyHistory {
  const days = new Map([...told.days, ...own].map((day) => [day.date, day]))
  return { ...told, days: [...days.values()].sort((a, b) => (a.date < b.date ? -1 : 1)) }
}

/** The finished days of a product that we stream, of which no trade is missing. */
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
