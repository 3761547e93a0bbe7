import type { WorkContext } from '../object-context.ts'

/** After a failed read the database is not asked again for this long. */
const DATABASE_RETRY_MS = 2_000

/** Reads of the database by key: callers that want the same key share one read. */
export class SharedReads<K> {
  readonly #context: WorkContext
  readonly #read: (keys: K[]) => Promise<void>
  readonly #failure: { event: string; unit: string }
  readonly #inFlight = new Map<K, Promise<void>>()
  #retryAt = 0

  /**
   * @param read reads these keys; rejects when the database is unreachable
   * @param failure the log event of a failed read, and its field with the number of keys
   */
  constructor(context: WorkContext, read: (keys: K[]) => Promise<void>, failure: { event: string; unit: string }) {
    this.#context = context
    this.#read = read
    this.#failure = failure
  }

  isReading(key: K): boolean {
    return this.#inFlight.has(key)
  }

  /** Reads these keys, or joins the reads in flight. Never rejects. */
  async load(keys: readonly K[]): Promise<void> {
    const reads = new Set(keys.flatMap((key) => this.#inFlight.get(key) ?? []))
    const missing = keys.filter((key) => !this.#inFlight.has(key))
    if (missing.length > 0 && this.#context.now() >= this.#retryAt) {
      const reading = this.#readAll(missing)
      for (const key of missing) this.#inFlight.set(key, reading)
      reads.add(reading)
    }
    await Promise.all(reads)
  }

  async #readAll(keys: K[]): Promise<void> {
    try {
      await this.#read(keys)
    } catch (error) {
      this.#retryAt = this.#context.now() + DATABASE_RETRY_MS
      this.#context.log(this.#failure.event, { [this.#failure.unit]: keys.length, error: String(error) })
    } finally {
      for (const key of keys) this.#inFlight.delete(key)
    }
  }
}
