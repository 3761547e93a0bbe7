/** Assets that are watched by name: by how many, and since when. */
export class WatchCounts {
  readonly #counts = new Map<number, { watchers: number; since: number }>()

  ids(): Iterable<number> {
    return this.#counts.keys()
  }

  /** Unix milliseconds; null: nobody watches it. */
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
