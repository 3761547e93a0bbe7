import { DurableObject } from 'cloudflare:workers'
import type { MeterObject, RouteCount } from '../src/objects.ts'

/** Routes are patterns and statuses classes, so that there are some hundred keys; what goes beyond this is `other`. */
const MAX_COUNTERS = 2_000
const OTHER = { route: 'other', method: 'other', status: 'other' }

/** Where the counts are kept, as one value: a few hundred keys are some 30 KB. */
const COUNTS_KEY = 'counts'

/**
 * Gathers what isolates count of the routes, until cron stores it. Kept in SQLite: an object that nobody asks for ten
 * seconds is put to sleep, and where there are few requests, that is between any two of them.
 */
export class Meter extends DurableObject<Env> implements MeterObject {
  #counts: Map<string, RouteCount>

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const kept = ctx.storage.kv.get<RouteCount[]>(COUNTS_KEY) ?? []
    this.#counts = new Map(kept.map((count) => [keyOf(count), count]))
  }

  /** Adds up by route, method and status class; `max_ms` is the greatest of all. */
  async add(counts: RouteCount[]): Promise<void> {
    for (const one of counts) {
      const key = keyOf(one)
      const full = this.#counts.size >= MAX_COUNTERS && !this.#counts.has(key)
      const counted = full ? { ...one, ...OTHER } : one
      const sum = this.#counts.get(keyOf(counted))
      if (sum) {
        sum.count += counted.count
        sum.ms += counted.ms
        sum.max_ms = Math.max(sum.max_ms, counted.max_ms)
      } else this.#counts.set(keyOf(counted), { ...counted })
    }
    this.ctx.storage.kv.put(COUNTS_KEY, [...this.#counts.values()])
  }

  async drain(): Promise<RouteCount[]> {
    const gathered = [...this.#counts.values()]
    this.#counts = new Map()
    this.ctx.storage.kv.delete(COUNTS_KEY)
    return gathered
  }
}

const keyOf = ({ route, method, status }: RouteCount): string => JSON.stringify([route, method, status])
