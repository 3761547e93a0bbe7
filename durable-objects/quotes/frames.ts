import { quoteSnapshotFrame, quoteUpdateFrame } from '../../src/protocol/messages.ts'
import { parsePosition, positionText } from '../../src/protocol/stream-position.ts'
import type { Subscription } from './subscription.ts'

/** What frames need of the object that holds them. */
export type FramesHost = {
  epoch: string
  /** The last batch. */
  offset(): number
  /** Every asset that has a quote. */
  all(): Iterable<number>
  /** A quote as its clients are told, and the batch in which that has changed last; null where there is none. */
  told(id: number): { text: string; changed: number } | null
}

/** The frames up to the present offset, each made once for all who subscribe to the same and lack the same (D1). */
export class QuoteFrames {
  readonly #host: FramesHost
  /** By where they begin and what they are of. */
  readonly #made = new Map<string, string | null>()
  /** The assets of the newest update, and the offset before it: most readers lack just that. */
  #newest: { ids: readonly number[]; from: number } = { ids: [], from: 0 }

  constructor(host: FramesHost) {
    this.#host = host
    // Nothing is newer than what was there before this object woke up, as far as it knows.
    this.#newest.from = Number.POSITIVE_INFINITY
  }

  get position(): string {
    return positionText({ epoch: this.#host.epoch, offset: this.#host.offset() })
  }

  /** The offset that a position of this epoch names; null for any other text, and for what is not sent yet. */
  offsetOf(text: string): number | null {
    const position = parsePosition(text)
    return position?.epoch === this.#host.epoch && position.offset <= this.#host.offset() ? position.offset : null
  }

  /** A batch came after the offset `before`, in which clients see a change of `ids`. */
  advance(ids: readonly number[], before: number): void {
    this.#made.clear()
    this.#newest = { ids, from: before }
  }

  /** The state of now of everything that is subscribed to and has changed after `from`; null if nothing has. */
  update(what: Subscription, from: number): string | null {
    const name = `${from}/${what.key}`
    const made = this.#made.get(name)
    if (made !== undefined) return made
    const texts: string[] = []
    for (const id of this.#among(what, from)) {
      const told = this.#host.told(id)
      if (told && told.changed > from) texts.push(told.text)
    }
    const frame = texts.length === 0 ? null : quoteUpdateFrame(this.position, texts)
    this.#made.set(name, frame)
    return frame
  }

  /** The assets that may be news to who has all up to `from`. */
  #among({ all, ids }: Subscription, from: number): Iterable<number> {
    if (from < this.#newest.from) return all ? this.#host.all() : ids
    return all ? this.#newest.ids : this.#newest.ids.filter((id) => ids.has(id))
  }

  /** The state of now of everything that is subscribed to; what has no price is not in it. */
  snapshot({ all, ids, key }: Subscription): string {
    const made = this.#made.get(`/${key}`)
    if (made) return made
    const texts: string[] = []
    for (const id of all ? this.#host.all() : ids) {
      const told = this.#host.told(id)
      if (told) texts.push(told.text)
    }
    const frame = quoteSnapshotFrame(this.position, texts)
    this.#made.set(`/${key}`, frame)
    return frame
  }
}
