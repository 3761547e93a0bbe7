import { getChannelNames, parseCandleChannels } from '../../src/delivery/candle-channels.ts'
import { UpdateLog } from '../../src/delivery/update-log.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import { candleSnapshotFrame } from '../../src/protocol/messages.ts'
import { formatStreamPosition } from '../../src/protocol/stream-position.ts'
import type { ChannelResult, ChannelSource } from '../sockets/source.ts'

type CandleChannelsOptions = {
  product: string
  epoch: string
  /** See RESUME_FRAMES. */
  resumeFrames: number
  /** The newest candles of the granularities in `mask`, and where trades are missing among them. */
  snapshot(mask: number): { candles: Candle[]; gaps: Gap[] }
  feedFrame(): string
}

/** The candle channels of one product. A subscription is a mask: bit n for the granularity of index n. */
export class CandleChannels implements ChannelSource<number> {
  readonly #options: CandleChannelsOptions
  readonly #log: UpdateLog
  /** Snapshot frames at the present offset, by mask: a thousand viewers that come at once cost one. */
  readonly #snapshots = new Map<number, string>()
  readonly none = 0
  readonly isDurable = false

  constructor(options: CandleChannelsOptions) {
    this.#options = options
    this.#log = new UpdateLog(options.epoch, options.resumeFrames)
  }

  get epoch(): string {
    return this.#options.epoch
  }

  get offset(): number {
    return this.#log.offset
  }

  /** Adds the candles of the next update. */
  append(candles: readonly Candle[]): void {
    this.#log.append(candles)
    this.#snapshots.clear()
  }

  isEmpty(mask: number): boolean {
    return mask === 0
  }

  merge(a: number, b: number): number {
    return a | b
  }

  channelNames(mask: number): string[] {
    return getChannelNames(this.#options.product, mask)
  }

  subscribe(_before: number, channels: readonly string[]): ChannelResult<number> {
    const parsed = parseCandleChannels(this.#options.product, channels)
    return 'error' in parsed ? parsed : { subscription: parsed.mask }
  }

  unsubscribe(before: number, channels: readonly string[]): ChannelResult<number> {
    const parsed = parseCandleChannels(this.#options.product, channels)
    return 'error' in parsed ? parsed : { subscription: before & ~parsed.mask }
  }

  updates(mask: number, from: number): string[] | null {
    const frame = this.#log.conflatedFrame(from, mask)
    if (frame === undefined) return null
    return frame === null ? [] : [frame]
  }

  resume(mask: number, from: number): string[] | null {
    return this.#log.framesSince(from, mask)
  }

  snapshot(mask: number): string[] {
    let frame = this.#snapshots.get(mask)
    if (frame === undefined) {
      const { candles, gaps } = this.#options.snapshot(mask)
      frame = candleSnapshotFrame(formatStreamPosition(this), candles, gaps)
      this.#snapshots.set(mask, frame)
    }
    return [frame]
  }

  statusFrame(): string {
    return this.#options.feedFrame()
  }

  encode(mask: number): { mask: number } {
    return { mask }
  }

  decode(stored: { mask: number }): number {
    return stored.mask
  }
}
