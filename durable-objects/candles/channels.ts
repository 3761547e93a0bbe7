import { UpdateLog } from '../../src/delivery/update-log.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import { formatCandleChannel, parseChannel } from '../../src/protocol/channel.ts'
import { GRANULARITIES, type Granularity } from '../../src/protocol/granularity.ts'
import { candleSnapshotFrame } from '../../src/protocol/messages.ts'
import { formatStreamPosition } from '../../src/protocol/stream-position.ts'
import type { ChannelResult, ChannelSource } from '../sockets/source.ts'

const ALL_GRANULARITIES = (1 << GRANULARITIES.length) - 1

/** The granularities of a mask, smallest first. */
const getGranularities = (mask: number): Granularity[] =>
  GRANULARITIES.filter((_, index) => (mask & (1 << index)) !== 0)

type CandleChannelsOptions = {
  product: string
  epoch: string
  /** See RESUME_FRAMES. */
  resumeFrames: number
  /** The newest candles of these granularities, and where trades are missing among them. */
  snapshot(granularities: readonly Granularity[]): { candles: Candle[]; gaps: Gap[] }
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
    const { product } = this.#options
    return getGranularities(mask).map((granularity) => formatCandleChannel({ product, granularity }))
  }

  subscribe(_before: number, channels: readonly string[]): ChannelResult<number> {
    return this.#parse(channels)
  }

  unsubscribe(before: number, channels: readonly string[]): ChannelResult<number> {
    const parsed = this.#parse(channels)
    return 'error' in parsed ? parsed : { subscription: before & ~parsed.subscription }
  }

  /** The mask of these channels. The first one of another form or product is the error. */
  #parse(channels: readonly string[]): ChannelResult<number> {
    const { product } = this.#options
    let mask = 0
    for (const [index, name] of channels.entries()) {
      const field = `channels/${index}`
      const channel = parseChannel(name)
      if (!('kind' in channel)) return { error: { ...channel, field } }
      if (channel.kind !== 'candles') {
        const message = `must be of the form candles.${product}.<granularity>`
        return { error: { code: 'unknown_channel', message, field } }
      }
      if (channel.product !== '*' && channel.product !== product)
        return { error: { code: 'unknown_product', message: `this connection is for ${product} only`, field } }
      mask |= channel.granularity === '*' ? ALL_GRANULARITIES : 1 << GRANULARITIES.indexOf(channel.granularity)
    }
    return { subscription: mask }
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
      const { candles, gaps } = this.#options.snapshot(getGranularities(mask))
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
