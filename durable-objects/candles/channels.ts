import { channelMask, channelsOf } from '../../src/delivery/channel-mask.ts'
import { passed } from '../../src/delivery/reader.ts'
import { UpdateLog } from '../../src/delivery/update-log.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import { type ClientMessage, snapshotFrame, subscribedFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { type Keeping, keep, kept, newSocketReader, type SocketReader } from '../sockets/connection.ts'
import { ReaderSockets, type ReaderSocketsHost } from '../sockets/hub.ts'

/** What an audience needs of the object that holds it. */
export type AudienceHost = ReaderSocketsHost & {
  product: string
  /** See RESUME_FRAMES. */
  resumeFrames: number
  /** The newest bars of the granularities in `mask`, and where trades are missing among them. */
  snapshot(mask: number): { candles: Candle[]; gaps: Gap[] }
  /** The frame that tells how the feed is. */
  feedFrame(): string
  /** Listeners were let go. */
  left(): void
}

/** What a listener is here is its mask. */
const KEEPING: Keeping<SocketReader> = {
  newListener: newSocketReader,
  note: (socket, listener) => keep(socket, listener, { mask: listener.mask }),
  restored(socket) {
    const was = kept<{ mask: number }>(socket)
    return was && { ...was.reader, mask: was.own.mask }
  },
}

/**
 * The sockets of one product: subscribes, sends one text to all who are in step (D1), the state of now to those who are
 * behind (D3), and what a returning one missed (D2).
 */
export class Audience extends ReaderSockets<SocketReader> {
  readonly #host: AudienceHost
  readonly #log: UpdateLog
  /** Snapshot frames at the present offset, by mask: a thousand viewers that come at once cost one. */
  readonly #snapshots = new Map<number, string>()

  constructor(ctx: DurableObjectState, host: AudienceHost, epoch: string) {
    super(ctx, host, KEEPING)
    this.#host = host
    this.#log = new UpdateLog(epoch, host.resumeFrames)
  }

  get position(): string {
    return this.#log.position
  }

  protected override drop(socket: WebSocket): void {
    super.drop(socket)
    this.#host.left()
  }

  /** Sends changed candles to everybody who subscribes to one of them, in one frame each. */
  broadcast(candles: readonly Candle[]): void {
    if (candles.length === 0) return
    this.#log.append(candles)
    this.#snapshots.clear()
    const now = this.#host.now()
    for (const [socket, listener] of this.listeners) if (listener.mask !== 0) this.serve(socket, listener, now)
  }

  /** Sends a text that is no candle, such as the feed's state, to everybody. */
  announce(frame: string): void {
    for (const [socket, { mask }] of this.listeners) if (mask !== 0) this.send(socket, frame)
  }

  /** Sends all that a reader lacks in one frame, or a snapshot that says so if that is not known any more (D3). */
  protected override catchUp(socket: WebSocket, listener: SocketReader, now: number): void {
    const { sent, mask } = listener
    const { offset } = this.#log
    const frame = sent === null ? undefined : this.#log.frame(sent, mask)
    if (frame === null) {
      passed(listener, offset)
      return
    }
    if (frame === undefined) {
      this.send(socket, subscribedFrame(channelsOf(this.#host.product, mask), this.position, false, undefined))
      this.send(socket, this.#host.feedFrame())
      this.send(socket, this.#snapshot(mask))
    } else {
      if (sent !== offset - 1) this.conflations++
      this.send(socket, frame)
    }
    this.served(socket, listener, offset, now)
  }

  /** Handles one message of a client. */
  receive(socket: WebSocket, data: string | ArrayBuffer): void {
    const listener = this.listeners.get(socket)
    if (listener === undefined) return
    const message = this.hear(socket, listener, data)
    if (message !== null) this.answer(socket, listener, message)
  }

  protected override offsetOf(position: string): number | null {
    return this.#log.offsetOf(position)
  }

  protected override subscribe(
    socket: WebSocket,
    listener: SocketReader,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void {
    const { op, channels, req_id } = message
    const asked = channelMask(this.#host.product, channels)
    if ('error' in asked) {
      this.refuse(socket, asked.error, req_id)
      return
    }
    if (op === 'unsubscribe') {
      listener.mask &= ~asked.mask
      if (listener.mask === 0) passed(listener, this.#log.offset)
      KEEPING.note(socket, listener)
      this.send(socket, unsubscribedFrame(channels, req_id))
      return
    }
    // The positions that it gets from here on say that it has all up to now, of what it had before too.
    if (listener.mask !== 0 && listener.sent !== this.#log.offset) this.catchUp(socket, listener, now)
    listener.mask |= asked.mask
    KEEPING.note(socket, listener)
    this.#welcome(socket, channels, asked.mask, message.since, req_id)
    this.welcomed(listener, this.#log.offset)
  }

  /** Says where the stream stands, then what was missed, or a snapshot (D2). */
  #welcome(
    socket: WebSocket,
    channels: string[],
    mask: number,
    since: string | undefined,
    reqId: ClientMessage['req_id'],
  ): void {
    const missed = since === undefined ? null : this.#log.since(since, mask)
    this.send(socket, subscribedFrame(channels, missed ? (since as string) : this.position, missed !== null, reqId))
    this.send(socket, this.#host.feedFrame())
    for (const frame of missed ?? [this.#snapshot(mask)]) this.send(socket, frame)
  }

  #snapshot(mask: number): string {
    let frame = this.#snapshots.get(mask)
    if (frame === undefined) {
      const { candles, gaps } = this.#host.snapshot(mask)
      frame = snapshotFrame(this.position, candles, gaps)
      this.#snapshots.set(mask, frame)
    }
    return frame
  }
}
