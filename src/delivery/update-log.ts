import { type Candle, formatCandle } from '../protocol/candle.ts'
import { GRANULARITIES } from '../protocol/granularity.ts'
import { candleUpdateFrame } from '../protocol/messages.ts'
import { formatStreamPosition } from '../protocol/stream-position.ts'

/**
 * Candles whose latest text is stored for connections that are behind. Eight form at a time; the rest is room for candles
 * that close or are revised meanwhile. A connection that is behind by more gets a snapshot.
 */
const MAX_CANDLES = 512

/** A candle's text, serialised once for everybody (D1). `granularity` is an index of GRANULARITIES. */
type SerializedCandle = { key: number; granularity: number; text: string }

type LogEntry = { offset: number; candles: readonly SerializedCandle[] }

/**
 * The recent updates of one object: the last `maxFrames` one by one, for clients that return (D2), and the latest text of
 * each candle, for connections that are behind (D3). Its size depends neither on the number of connections nor on how far
 * they are behind.
 */
export class UpdateLog {
  readonly #epoch: string
  readonly #maxFrames: number
  readonly #maxCandles: number
  /** The offset of the newest update. */
  offset = 0
  #entries: LogEntry[] = []
  #latestUpdate: readonly SerializedCandle[] = []
  /** By key, in the order of their last change. */
  readonly #latestByKey = new Map<number, { offset: number; candle: SerializedCandle }>()
  /** Changes up to this offset may have been dropped. */
  #floor = 0
  /** Conflated frames up to the present offset, by the offset they begin after and by mask. */
  readonly #frameCache = new Map<number, string | null>()

  /** @param maxFrames see RESUME_FRAMES */
  constructor(epoch: string, maxFrames: number, maxCandles = MAX_CANDLES) {
    this.#epoch = epoch
    this.#maxFrames = maxFrames
    this.#maxCandles = maxCandles
  }

  #positionAt(offset: number): string {
    return formatStreamPosition({ epoch: this.#epoch, offset })
  }

  /** Adds the candles of the next update. */
  append(candles: readonly Candle[]): void {
    const offset = ++this.offset
    const update = candles.map((candle): SerializedCandle => {
      const granularity = GRANULARITIES.indexOf(candle.granularity)
      const key = candle.timestamp * GRANULARITIES.length + granularity
      return { key, granularity, text: formatCandle(candle) }
    })
    this.#frameCache.clear()
    this.#latestUpdate = update
    this.#entries.push({ offset, candles: update })
    // Cut seldom: to shift the whole log for every update would cost more than the update.
    if (this.#entries.length > this.#maxFrames * 2)
      this.#entries = this.#maxFrames === 0 ? [] : this.#entries.slice(-this.#maxFrames)
    for (const candle of update) {
      this.#latestByKey.delete(candle.key)
      this.#latestByKey.set(candle.key, { offset, candle })
    }
    for (const [key, { offset: changedAt }] of this.#latestByKey) {
      if (this.#latestByKey.size <= this.#maxCandles) break
      this.#latestByKey.delete(key)
      this.#floor = changedAt
    }
  }

  /**
   * One frame with the latest state of every candle of `mask` that has changed after `from`; null if none has, undefined
   * if that is not known any more.
   */
  conflatedFrame(from: number, mask: number): string | null | undefined {
    // A connection that lacks only the newest update gets all of it, however many candles it has.
    const lacksNewest = from === this.offset - 1
    if ((from < this.#floor && !lacksNewest) || from > this.offset) return undefined
    const cacheKey = from * 2 ** GRANULARITIES.length + mask
    const cached = this.#frameCache.get(cacheKey)
    if (cached !== undefined) return cached
    const changed = lacksNewest ? this.#latestUpdate : this.#changedAfter(from)
    const frame = buildFrame(this.#positionAt(this.offset), changed, mask)
    this.#frameCache.set(cacheKey, frame)
    return frame
  }

  #changedAfter(from: number): SerializedCandle[] {
    return [...this.#latestByKey.values()].filter(({ offset }) => offset > from).map(({ candle }) => candle)
  }

  /** The frame of every update of `mask` after an offset; null when some of them were dropped (D2). */
  framesSince(from: number, mask: number): string[] | null {
    if (this.offset - from > this.#maxFrames) return null
    const missed: string[] = []
    // Offsets rise by one with each entry.
    for (const { offset, candles } of this.#entries.slice(this.#entries.length - (this.offset - from))) {
      const frame = buildFrame(this.#positionAt(offset), candles, mask)
      if (frame !== null) missed.push(frame)
    }
    return missed
  }
}

/** An update with the candles of `mask`, or null if there are none. */
function buildFrame(position: string, candles: readonly SerializedCandle[], mask: number): string | null {
  const texts = candles.filter(({ granularity }) => (mask & (1 << granularity)) !== 0).map(({ text }) => text)
  return texts.length === 0 ? null : candleUpdateFrame(position, texts)
}
