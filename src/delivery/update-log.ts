import { type Candle, formatCandle } from '../protocol/candle.ts'
import { GRANULARITIES } from '../protocol/granularity.ts'
import { candleUpdateFrame } from '../protocol/messages.ts'
import { formatStreamPosition, parseStreamPosition } from '../protocol/stream-position.ts'

/**
 * Candles whose last text is kept for readers that are behind. Eight form at a time; the rest is room for those that
 * close or are revised meanwhile. A reader that is behind by more gets a snapshot.
 */
const MAX_CANDLES = 512

/** A candle's text, written once for everybody (D1). `size` is the index of its granularity. */
type SerializedCandle = { key: number; size: number; text: string }

type LogEntry = { offset: number; candles: readonly SerializedCandle[] }

/**
 * What one object has sent, as far as somebody may still need it: the last `frames` updates one by one, for readers
 * that come back (D2), and the last text of each candle, for readers that are behind (D3). Its size depends on neither
 * how many readers there are nor how far behind they are.
 */
export class UpdateLog {
  readonly #epoch: string
  readonly #maxFrames: number
  readonly #maxCandles: number
  #offset = 0
  #entries: LogEntry[] = []
  #latestUpdate: readonly SerializedCandle[] = []
  /** By key, in the order of their last change. */
  readonly #latestByKey = new Map<number, { offset: number; written: SerializedCandle }>()
  /** Changes up to this offset may have been let go of. */
  #floor = 0
  /** Frames up to the present offset, by where they begin and by mask. */
  readonly #frameCache = new Map<number, string | null>()

  /** @param frames see RESUME_FRAMES */
  constructor(epoch: string, frames: number, keys = MAX_CANDLES) {
    this.#epoch = epoch
    this.#maxFrames = frames
    this.#maxCandles = keys
  }

  get offset(): number {
    return this.#offset
  }

  /** The position of everything that has been sent so far. */
  get position(): string {
    return this.positionAt(this.#offset)
  }

  positionAt(offset: number): string {
    return formatStreamPosition({ epoch: this.#epoch, offset })
  }

  /** Takes the candles of the next update in. */
  append(candles: readonly Candle[]): void {
    const offset = ++this.#offset
    const written = candles.map((candle): SerializedCandle => {
      const size = GRANULARITIES.indexOf(candle.granularity)
      return { key: candle.timestamp * GRANULARITIES.length + size, size, text: formatCandle(candle) }
    })
    this.#frameCache.clear()
    this.#latestUpdate = written
    this.#entries.push({ offset, candles: written })
    // Cut seldom: shifting the whole log for every update would cost more than the update.
    if (this.#entries.length > this.#maxFrames * 2)
      this.#entries = this.#maxFrames === 0 ? [] : this.#entries.slice(-this.#maxFrames)
    for (const one of written) {
      this.#latestByKey.delete(one.key)
      this.#latestByKey.set(one.key, { offset, written: one })
    }
    for (const [key, { offset: changedAt }] of this.#latestByKey) {
      if (this.#latestByKey.size <= this.#maxCandles) break
      this.#latestByKey.delete(key)
      this.#floor = changedAt
    }
  }

  /**
   * The state of now, in one frame, of everything of `mask` that has changed after `from`; null if nothing has,
   * undefined if that is not known any more.
   */
  conflatedFrame(from: number, mask: number): string | null | undefined {
    // Who lacks the newest update alone gets it whole, however many candles it has.
    const inStep = from === this.#offset - 1
    if ((from < this.#floor && !inStep) || from > this.#offset) return undefined
    const name = from * 2 ** GRANULARITIES.length + mask
    const made = this.#frameCache.get(name)
    if (made !== undefined) return made
    const changed = inStep ? this.#latestUpdate : this.#changedAfter(from)
    const frame = buildFrame(this.position, changed, mask)
    this.#frameCache.set(name, frame)
    return frame
  }

  #changedAfter(from: number): SerializedCandle[] {
    return [...this.#latestByKey.values()].filter(({ offset }) => offset > from).map(({ written }) => written)
  }

  /** The offset that a position of this epoch names; null for any other text, and for what is not sent yet. */
  offsetOf(text: string): number | null {
    const position = parseStreamPosition(text)
    return position?.epoch === this.#epoch && position.offset <= this.#offset ? position.offset : null
  }

  /** The frame of every update of `mask` after a position; null when they are not all there any more (D2). */
  framesSince(text: string, mask: number): string[] | null {
    const from = this.offsetOf(text)
    if (from === null || this.#offset - from > this.#maxFrames) return null
    const missed: string[] = []
    // Offsets rise by one an entry: the place is known.
    for (const { offset, candles } of this.#entries.slice(this.#entries.length - (this.#offset - from))) {
      const frame = buildFrame(this.positionAt(offset), candles, mask)
      if (frame !== null) missed.push(frame)
    }
    return missed
  }
}

/** An update of the candles that `mask` has, or null if it has none of them. */
function buildFrame(position: string, candles: readonly SerializedCandle[], mask: number): string | null {
  const texts = candles.filter(({ size }) => (mask & (1 << size)) !== 0).map(({ text }) => text)
  return texts.length === 0 ? null : candleUpdateFrame(position, texts)
}
