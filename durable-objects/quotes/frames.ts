import { quoteSnapshotFrame, quoteUpdateFrame } from '../../src/protocol/messages.ts'
import { formatStreamPosition, parseStreamPosition } from '../../src/protocol/stream-position.ts'
import type { QuoteSubscription } from './subscription.ts'

/** What frames need of the object that holds them. */
export type QuoteFramesHost = {
  epoch: string
  /** The last batch. */
  offset(): number
  /** Every asset that has a quote. */
  assetIds(): Iterable<number>
  /** A quote as its clients are told, and the batch in which that has changed last; null where there is none. */
  publishedQuote(id: number): { text: string; changed: number } | null
}

/** The frames up to the present offset, each made once for all who subscribe to the same and lack the same (D1). */
export class QuoteFrames {
  readonly #host: QuoteFramesHost
  /** By where they begin and what they are of. */
  readonly #frameCache = new Map<string, string | null>()
  /** The assets of the newest update, and the offset before it: most readers lack just that. */
  #latestUpdate: { ids: readonly number[]; from: number } = { ids: [], from: 0 }

  constructor(host: QuoteFramesHost) {
    this.#host = host
    // Nothing is newer than what was there before this object woke up, as far as it knows.
    this.#latestUpdate.from = Number.POSITIVE_INFINITY
  }

  get position(): string {
    return formatStreamPosition({ epoch: this.#host.epoch, offset: this.#host.offset() })
  }

  /** The offset that a position of this epoch names; null for any other text, and for what is not sent yet. */
  offsetOf(text: string): number | null {
    const position = parseStreamPosition(text)
    return position?.epoch === this.#host.epoch && position.offset <= this.#host.offset() ? position.offset : null
  }

  /** A batch came after the offset `before`, in which clients see a change of `ids`. */
  advance(ids: readonly number[], before: number): void {
    this.#frameCache.clear()
    this.#latestUpdate = { ids, from: before }
  }

  /** The state of now of everything that is subscribed to and has changed after `from`; null if nothing has. */
  update(what: QuoteSubscription, from: number): string | null {
    const name = `${from}/${what.key}`
    const made = this.#frameCache.get(name)
    if (made !== undefined) return made
    const texts: string[] = []
    for (const id of this.#changeCandidates(what, from)) {
      const told = this.#host.publishedQuote(id)
      if (told && told.changed > from) texts.push(told.text)
    }
    const frame = texts.length === 0 ? null : quoteUpdateFrame(this.position, texts)
    this.#frameCache.set(name, frame)
    return frame
  }

  /** The assets that may be news to who has all up to `from`. */
  #changeCandidates({ all, ids }: QuoteSubscription, from: number): Iterable<number> {
    if (from < this.#latestUpdate.from) return all ? this.#host.assetIds() : ids
    return all ? this.#latestUpdate.ids : this.#latestUpdate.ids.filter((id) => ids.has(id))
  }

  /** The state of now of everything that is subscribed to; what has no price is not in it. */
  snapshot({ all, ids, key }: QuoteSubscription): string {
    const made = this.#frameCache.get(`/${key}`)
    if (made) return made
    const texts: string[] = []
    for (const id of all ? this.#host.assetIds() : ids) {
      const told = this.#host.publishedQuote(id)
      if (told) texts.push(told.text)
    }
    const frame = quoteSnapshotFrame(this.position, texts)
    this.#frameCache.set(`/${key}`, frame)
    return frame
  }
}
