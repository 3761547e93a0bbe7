import { mapProviders, PROVIDER_NAMES, type SimulatedProviderName } from './provider-market.ts'

/** One request that a provider got. `status` 0 was never answered; `ids` as the provider names them. */
export type ProviderRequest = {
  provider: SimulatedProviderName
  /** Unix milliseconds. */
  at: number
  path: string
  ids: string[]
  status: number
  weight: number
}

/** `peak`: the most that were under way at once. */
export type RequestCounts = {
  requests: number
  weight: number
  ids: number
  inFlight: number
  peak: number
  statuses: Record<string, number>
}

/** Selects requests to a provider, at or after a time (unix ms), with a path that contains a text. */
export type RequestFilter = { provider?: SimulatedProviderName; since?: number; path?: string }

/** The most records; the counts continue. */
const MAX_RECORDS = 20_000

const emptyCounts = (): RequestCounts => ({ requests: 0, weight: 0, ids: 0, inFlight: 0, peak: 0, statuses: {} })

/** The requests to the providers. */
export function createRequestLog() {
  let kept: ProviderRequest[] = []
  let counts = mapProviders(emptyCounts)

  return {
    open(
      provider: SimulatedProviderName,
      { at, path, ids }: Pick<ProviderRequest, 'at' | 'path' | 'ids'>,
    ): ProviderRequest {
      const record = { provider, at, path, ids, status: 0, weight: 0 }
      kept.push(record)
      if (kept.length > 2 * MAX_RECORDS) kept = kept.slice(-MAX_RECORDS)
      const count = counts[provider]
      count.requests++
      count.ids += ids.length
      count.inFlight++
      count.peak = Math.max(count.peak, count.inFlight)
      return record
    },
    /** When the answer is out or the connection is gone. */
    close(provider: SimulatedProviderName, { status, weight }: ProviderRequest): void {
      const count = counts[provider]
      count.inFlight = Math.max(0, count.inFlight - 1)
      count.weight += weight
      count.statuses[status] = (count.statuses[status] ?? 0) + 1
    },
    list: ({ provider, since = 0, path = '' }: RequestFilter = {}): ProviderRequest[] =>
      kept.filter((r) => (provider === undefined || r.provider === provider) && r.at >= since && r.path.includes(path)),
    counts: () => counts,
    clear(): void {
      kept = []
      const before = counts
      counts = mapProviders(emptyCounts)
      for (const name of PROVIDER_NAMES) counts[name].inFlight = before[name].inFlight
    },
  }
}
