import { readSettings } from '../../src/config.ts'
import { readRefreshSettings } from '../../src/db/app-settings.ts'
import { readPlannedAssets } from '../../src/db/assets.ts'
import { withLiveDatabase } from '../../src/db/client.ts'
import { writeProviderLimits } from '../../src/db/prices.ts'
import { providerGate, quoteBoard } from '../../src/objects.ts'
import type { PlannedAsset } from '../../src/pricing/refresh-settings.ts'
import { shardOf } from '../../src/pricing/symbol.ts'

/** Sends each board its assets, their refresh intervals, and the settings (Q2); the board then refreshes by itself. */
export async function sendRefreshPlans(env: Env, now: number): Promise<Record<string, unknown>> {
  const { QUOTE_SHARDS } = readSettings(env)
  const { refresh, assets } = await withLiveDatabase(env, async (sql) => {
    const [refresh, assets] = await Promise.all([readRefreshSettings(sql), readPlannedAssets(sql)])
    return { refresh, assets }
  })
  const shards = Array.from({ length: QUOTE_SHARDS }, (): PlannedAsset[] => [])
  for (const asset of assets) shards[shardOf(asset.symbol, QUOTE_SHARDS)]?.push(asset)
  const plans = shards.map((planned, shard) =>
    quoteBoard(env, shard).setPlan({ at: now, settings: refresh, assets: planned }),
  )
  for (const outcome of await Promise.allSettled(plans)) if (outcome.status === 'rejected') throw outcome.reason
  return { assets: assets.length, shards: QUOTE_SHARDS }
}

/** Writes the state of the providers' rate limits to `provider_rate_limits`. */
export async function recordProviderLimits(env: Env, now: number): Promise<Record<string, unknown>> {
  const limits = await providerGate(env).limits()
  await withLiveDatabase(env, (sql) => writeProviderLimits(sql, limits, now))
  return { providers: limits.length }
}
