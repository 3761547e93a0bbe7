import { DurableObject } from 'cloudflare:workers'
import type { MeterObject, RouteCount } from '../src/objects.ts'
import { type Migration, migrateStorage } from './store-schema.ts'

/** Routes are patterns and statuses are classes, so that there are a few hundred keys. Keys beyond this count as `other`. */
const MAX_COUNTERS = 2_000
const OTHER = { route: 'other', method: 'other', status: 'other' }

/** All counts are one stored value: a few hundred keys take about 30 KB. */
const COUNTS_KEY = 'counts'

/** Version 1 has no table: `COUNTS_KEY` holds everything. */
const MIGRATIONS: readonly Migration[] = [() => {}]

/**
 * Adds up the request counts of all isolates until cron takes them. They are stored in SQLite: an object without requests
 * is evicted after ten seconds, and with little traffic that is between any two of them.
 */
export class Meter extends DurableObject<Env> implements MeterObject {
  #counts: Map<string, RouteCount>

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    migrateStorage(ctx.storage, MIGRATIONS)
    const stored = ctx.storage.kv.get<RouteCount[]>(COUNTS_KEY) ?? []
    this.#counts = new Map(stored.map((count) => [keyOf(count), count]))
  }

  /** Adds counts by route, method and status class; `max_ms` is the maximum. */
  async add(counts: RouteCount[]): Promise<void> {
    for (const count of counts) {
      const isFull = this.#counts.size >= MAX_COUNTERS && !this.#counts.has(keyOf(count))
      const counted = isFull ? { ...count, ...OTHER } : count
      const sum = this.#counts.get(keyOf(counted))
      if (sum) {
        sum.count += counted.count
        sum.ms += counted.ms
        sum.max_ms = Math.max(sum.max_ms, counted.max_ms)
      } else this.#counts.set(keyOf(counted), { ...counted })
    }
    this.ctx.storage.kv.put(COUNTS_KEY, [...this.#counts.values()])
  }

  /** Returns all counts and starts again at zero. */
  async drain(): Promise<RouteCount[]> {
    const counts = [...this.#counts.values()]
    this.#counts = new Map()
    this.ctx.storage.kv.delete(COUNTS_KEY)
    return counts
  }
}

const keyOf = ({ route, method, status }: RouteCount): string => JSON.stringify([route, method, status])
