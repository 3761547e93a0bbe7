import type { MarketState } from '../protocol/quote.ts'
import type { RefreshSettings } from './refresh-settings.ts'

/** The shortest interval of a closed market's probe, seconds. */
const PROBE_INTERVAL_S = 60

/** The facts that decide when an asset is due. Times are unix milliseconds. */
export type RefreshCandidate = {
  asset_id: number
  /** Seconds, see `effectiveIntervalS`. */
  interval: number
  /** The last attempt; null: none. */
  triedAt: number | null
  /** Whether the last attempt failed, and when the next one may be made, where that is known. */
  failed: boolean
  retryAt: number | null
  /** Of the cached quote. */
  market: string | null
  market_state: MarketState | null
}

/** A due asset, and how long it has been due. */
export type DueAsset = { asset_id: number; lagMs: number }

const isClosed = (asset: RefreshCandidate): asset is RefreshCandidate & { market: string } =>
  asset.market !== null && asset.market_state === 'closed'

/** Whether `a` is a better probe than `b`: its last attempt succeeded, its interval is shorter, its id is smaller. */
function isBetterProbe(a: RefreshCandidate, b: RefreshCandidate): boolean {
  if (a.failed !== b.failed) return b.failed
  return a.interval === b.interval ? a.asset_id < b.asset_id : a.interval < b.interval
}

/** The probe of each closed market: the one asset that is refreshed to detect its opening. */
export function marketProbes(assets: Iterable<RefreshCandidate>): Map<string, number> {
  const best = new Map<string, RefreshCandidate>()
  for (const asset of assets) {
    if (!isClosed(asset)) continue
    const known = best.get(asset.market)
    if (known === undefined || isBetterProbe(asset, known)) best.set(asset.market, asset)
  }
  return new Map([...best].map(([market, { asset_id }]) => [market, asset_id]))
}

/** When an asset is due, unix milliseconds. */
function dueAt(
  asset: RefreshCandidate,
  isProbe: boolean,
  openedAt: number | undefined,
  { closed_refresh_seconds }: Pick<RefreshSettings, 'closed_refresh_seconds'>,
): number {
  const { triedAt, failed, retryAt, interval } = asset
  if (triedAt === null) return Number.NEGATIVE_INFINITY
  if (failed && retryAt !== null) return retryAt
  if (!isClosed(asset)) return triedAt + interval * 1_000
  if (openedAt !== undefined && openedAt > triedAt) return openedAt
  return triedAt + Math.max(interval, isProbe ? PROBE_INTERVAL_S : closed_refresh_seconds) * 1_000
}

/**
 * The assets that are due at `at` (unix milliseconds): by their interval since the last attempt, or, after a failure, when
 * the provider allows the next one. Of a closed market one asset, the probe, is refreshed often, and the others rarely
 * until it has detected the opening.
 * @param openedAt the last opening of each market, unix milliseconds
 */
export function dueAssets(
  assets: readonly RefreshCandidate[],
  at: number,
  openedAt: ReadonlyMap<string, number>,
  settings: Pick<RefreshSettings, 'closed_refresh_seconds'>,
): DueAsset[] {
  const probes = marketProbes(assets)
  const due: DueAsset[] = []
  for (const asset of assets) {
    const { asset_id, market } = asset
    const isProbe = market !== null && probes.get(market) === asset_id
    const since = dueAt(asset, isProbe, market === null ? undefined : openedAt.get(market), settings)
    if (since <= at) due.push({ asset_id, lagMs: since === Number.NEGATIVE_INFINITY ? 0 : at - since })
  }
  return due
}
