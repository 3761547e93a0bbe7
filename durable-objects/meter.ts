import { DurableObject } from 'cloudflare:workers'
import type { MeterObject, RouteCount } from './stubs.ts'

/** Routes are patterns and statuses classes, so that there are some hundred keys; what goes beyond this is `other`. */
const MAX_KEYS = 2_000
const OTHER = { route: 'other', method: 'other', status: 'other' }

/**
 * Gathers what isolates count of the routes, until cron stores it. In memory alone: what an eviction or a deploy takes
 * with it is the counts since the last minute, and those are measurements, not records.
 */
export class Meter extends DurableObject<Env> implements MeterObject {
  #counts = new Map<string, RouteCount>()

  /** Adds up by route, method and status class; `max_ms` is the greatest of all. */
  async add(counts: RouteCount[]): Promise<void> {
    for (const one of counts) {
      const key = keyOf(one)
      const full = this.#counts.size >= MAX_KEYS && !this.#counts.has(key)
      const counted = full ? { ...one, ...OTHER } : one
      const sum = this.#counts.get(keyOf(counted))
      if (sum) {
        sum.count += counted.count
        sum.ms += counted.ms
        sum.max_ms = Math.max(sum.max_ms, counted.max_ms)
      } else this.#counts.set(keyOf(counted), { ...counted })
    }
  }

  async drain(): Promise<RouteCount[]> {
    const gathered = [...this.#counts.values()]
    this.#counts = new Map()
    return gathered
  }
}

const keyOf = ({ route, method, status }: RouteCount): string => JSON.stringify([route, method, status])
