import type { Asset } from '../protocol/asset.ts'

/** What operators set without a deploy: `app_settings`. Seconds, days and weeks as the names say. */
export type RefreshSettings = {
  /** No asset is refreshed more often, whoever asks. */
  refresh_min_seconds: number
  /** No asset is refreshed less often, whoever watches. */
  refresh_max_seconds: number
  /** The interval of a user who has chosen none. */
  refresh_default_seconds: number
  /** While an asset's market is closed. */
  closed_refresh_seconds: number
  /** Snapshots of one asset are at least so far apart. */
  snapshot_seconds: number
  snapshot_days: number
  history_days: number
  history_weeks: number
}

/** An asset, and how often it is to be refreshed (Q2), seconds. */
export type PlannedAsset = Asset & { interval: number }

/** What cron tells a board each minute. `at` is unix milliseconds. */
export type QuotePlan = { at: number; settings: RefreshSettings; assets: PlannedAsset[] }
