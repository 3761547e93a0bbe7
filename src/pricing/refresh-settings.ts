import type { Asset } from '../protocol/asset.ts'

/**
 * What operators set without a deploy, in `app_settings`: its initial row, and the settings of a board without a plan.
 * Seconds, days and weeks as the names say.
 */
export const DEFAULT_REFRESH_SETTINGS = {
  /** No asset is refreshed more often. */
  refresh_min_seconds: 15,
  /** No asset is refreshed less often. */
  refresh_max_seconds: 300,
  /** The interval of a user who has chosen none. */
  refresh_default_seconds: 60,
  /** While an asset's market is closed. */
  closed_refresh_seconds: 900,
  /** Snapshots of one asset are at least so far apart. */
  snapshot_seconds: 300,
  snapshot_days: 8,
  history_days: 365,
  history_weeks: 157,
}
export type RefreshSettings = typeof DEFAULT_REFRESH_SETTINGS

/** An asset and its refresh interval (Q2), seconds. */
export type PlannedAsset = Asset & { interval: number }

/** The plan that cron sends to a board each minute. `at` is unix milliseconds. */
export type QuotePlan = { at: number; settings: RefreshSettings; assets: PlannedAsset[] }
