/** The assets that clients watch by name: how many, and since when. Connections and users' objects add to the same counts. */
export class WatchCounts {
  readonly #counts = new Map<number, { watchers: number; since: number }>()
  /** Viewers that subscribe to every asset. */
  allViewers = 0

  ids(): Iterable<number> {
    return this.#counts.keys()
  }

  /** Unix milliseconds; null: no client watches it. */
  since(id: number): number | null {
    return this.#counts.get(id)?.since ?? null
  }

  add(ids: Iterable<number>, since: number): void {
    for (const id of ids) {
      const count = this.#counts.get(id)
      if (count) {
        count.watchers++
        count.since = Math.min(count.since, since)
      } else this.#counts.set(id, { watchers: 1, since })
    }
  }

  remove(ids: Iterable<number>): void {
    for (const id of ids) {
      const count = this.#counts.get(id)
      if (count && --count.watchers === 0) this.#counts.delete(id)
    }
  }
}
