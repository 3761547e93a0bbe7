import type { Bar } from '../../src/market/bar.ts'
import type { FeedProcessor } from '../../src/market/feed-processor.ts'
import type { ObjectContext } from '../object-context.ts'
import type { CandleStore } from './store.ts'

/** Saves changed bars to SQLite: at once when one is complete (C12), otherwise now and then. */
export class Checkpoint {
  readonly #context: ObjectContext
  readonly #store: CandleStore
  readonly #feedProcessor: FeedProcessor
  readonly #unsaved = new Set<Bar>()
  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  dueAt = Number.POSITIVE_INFINITY

  constructor(context: ObjectContext, store: CandleStore, feedProcessor: FeedProcessor) {
    this.#context = context
    this.#store = store
    this.#feedProcessor = feedProcessor
  }

  /** Takes bars that changed. Larger bars that still form are not saved: they fold anew from their minutes. */
  add(bars: readonly Bar[]): void {
    for (const bar of bars) if (bar.granularity === 'ONE_MINUTE' || bar.complete) this.#unsaved.add(bar)
    if (bars.some((bar) => bar.complete)) this.#save()
    else this.dueAt = Math.min(this.dueAt, this.#context.now() + this.#context.settings.CHECKPOINT_INTERVAL_MS)
  }

  tick(): void {
    if (this.#context.now() >= this.dueAt) this.#save()
  }

  #save(): void {
    const { aggregator, lastGoodAt } = this.#feedProcessor
    const state = { coverage: aggregator.tradeCoverage.state(), lastGoodAt }
    this.#store.save(this.#unsaved, state, this.#context.now())
    this.#unsaved.clear()
    this.dueAt = Number.POSITIVE_INFINITY
  }
}
