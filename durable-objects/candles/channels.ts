import { getChannelNames, parseCandleChannels } from '../../src/delivery/candle-channels.ts'
import { skipTo } from '../../src/delivery/delivery-state.ts'
import { UpdateLog } from '../../src/delivery/update-log.ts'
import type { Candle, Gap } from '../../src/protocol/candle.ts'
import {
  type ClientMessage,
  candleSnapshotFrame,
  subscribedFrame,
  unsubscribedFrame,
} from '../../src/protocol/messages.ts'
import {
  type AttachmentCodec,
  type Connection,
  loadAttachment,
  newConnection,
  saveAttachment,
} from '../sockets/connection.ts'
import { Hub, type HubHost } from '../sockets/hub.ts'

/** What an audience needs of the object that holds it. */
export type CandleHubHost = HubHost & {
  product: string
  /** See RESUME_FRAMES. */
  resumeFrames: number
  /** The newest bars of the granularities in `mask`, and where trades are missing among them. */
  snapshot(mask: number): { candles: Candle[]; gaps: Gap[] }
  /** The frame that tells how the feed is. */
  feedFrame(): string
  /** Listeners were let go. */
  onDisconnect(): void
}

/** What a listener is here is its mask. */
const ATTACHMENTS: AttachmentCodec<Connection> = {
  create: newConnection,
  save: (socket, listener) => saveAttachment(socket, listener, { mask: listener.mask }),
  load(socket) {
    const was = loadAttachment<{ mask: number }>(socket)
    return was && { ...was.reader, mask: was.own.mask }
  },
}

/**
 * The sockets of one product: subscribes, sends one text to all who are in step (D1), the state of now to those who are
 * behind (D3), and what a returning one missed (D2).
 */
export class CandleHub extends Hub<Connection> {
  readonly #host: CandleHubHost
  readonly #log: UpdateLog
  /** Snapshot frames at the present offset, by mask: a thousand viewers that come at once cost one. */
  readonly #snapshotCache = new Map<number, string>()

  constructor(ctx: DurableObjectState, host: CandleHubHost, epoch: string) {
    super(ctx, host, ATTACHMENTS)
    this.#host = host
    this.#log = new UpdateLog(epoch, host.resumeFrames)
  }

  get position(): string {
    return this.#log.position
  }

  protected override drop(socket: WebSocket): void {
    super.drop(socket)
    this.#host.onDisconnect()
  }

  /** Sends changed candles to everybody who subscribes to one of them, in one frame each. */
  broadcast(candles: readonly Candle[]): void {
    if (candles.length === 0) return
    this.#log.append(candles)
    this.#snapshotCache.clear()
    const now = this.#host.now()
    for (const [socket, listener] of this.connections) if (listener.mask !== 0) this.sendOrDefer(socket, listener, now)
  }

  /** Sends a text that is no candle, such as the feed's state, to everybody. */
  broadcastText(frame: string): void {
    for (const [socket, { mask }] of this.connections) if (mask !== 0) this.send(socket, frame)
  }

  /** Sends all that a reader lacks in one frame, or a snapshot that says so if that is not known any more (D3). */
  protected override catchUp(socket: WebSocket, listener: Connection, now: number): void {
    const { sentOffset: sent, mask } = listener
    const { offset } = this.#log
    const frame = sent === null ? undefined : this.#log.conflatedFrame(sent, mask)
    if (frame === null) {
      skipTo(listener, offset)
      return
    }
    if (frame === undefined) {
      this.send(socket, subscribedFrame(getChannelNames(this.#host.product, mask), this.position, false, undefined))
      this.send(socket, this.#host.feedFrame())
      this.send(socket, this.#snapshot(mask))
    } else {
      if (sent !== offset - 1) this.conflations++
      this.send(socket, frame)
    }
    this.markSent(socket, listener, offset, now)
  }

  /** Handles one message of a client. */
  onMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    const listener = this.connections.get(socket)
    if (listener === undefined) return
    const message = this.readMessage(socket, listener, data)
    if (message !== null) this.handleMessage(socket, listener, message)
  }

  protected override offsetOf(position: string): number | null {
    return this.#log.offsetOf(position)
  }

  protected override subscribe(
    socket: WebSocket,
    listener: Connection,
    message: Extract<ClientMessage, { channels: string[] }>,
    now: number,
  ): void {
    const { op, channels, req_id } = message
    const asked = parseCandleChannels(this.#host.product, channels)
    if ('error' in asked) {
      this.sendError(socket, asked.error, req_id)
      return
    }
    if (op === 'unsubscribe') {
      listener.mask &= ~asked.mask
      if (listener.mask === 0) skipTo(listener, this.#log.offset)
      ATTACHMENTS.save(socket, listener)
      this.send(socket, unsubscribedFrame(channels, req_id))
      return
    }
    // The positions that it gets from here on say that it has all up to now, of what it had before too.
    if (listener.mask !== 0 && listener.sentOffset !== this.#log.offset) this.catchUp(socket, listener, now)
    listener.mask |= asked.mask
    ATTACHMENTS.save(socket, listener)
    this.#sendSubscribed(socket, channels, asked.mask, message.since, req_id)
    this.markSubscribed(listener, this.#log.offset)
  }

  /** Says where the stream stands, then what was missed, or a snapshot (D2). */
  #sendSubscribed(
    socket: WebSocket,
    channels: string[],
    mask: number,
    since: string | undefined,
    reqId: ClientMessage['req_id'],
  ): void {
    const missed = since === undefined ? null : this.#log.framesSince(since, mask)
    this.send(socket, subscribedFrame(channels, missed ? (since as string) : this.position, missed !== null, reqId))
    this.send(socket, this.#host.feedFrame())
    for (const frame of missed ?? [this.#snapshot(mask)]) this.send(socket, frame)
  }

  #snapshot(mask: number): string {
    let frame = this.#snapshotCache.get(mask)
    if (frame === undefined) {
      const { candles, gaps } = this.#host.snapshot(mask)
      frame = candleSnapshotFrame(this.position, candles, gaps)
      this.#snapshotCache.set(mask, frame)
    }
    return frame
  }
}
