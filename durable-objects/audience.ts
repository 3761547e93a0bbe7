import { type Candle, candleText, type Gap } from '../src/protocol/candle.ts'
import { parseChannel } from '../src/protocol/channel.ts'
import { GRANULARITIES, type Granularity, isGranularity } from '../src/protocol/granularity.ts'
import {
  type ClientMessage,
  errorFrame,
  pongFrame,
  readClientMessage,
  snapshotFrame,
  subscribedFrame,
  unsubscribedFrame,
  updateFrame,
} from '../src/protocol/messages.ts'
import { type Position, parsePosition, positionText } from '../src/protocol/position.ts'

/** One listener. `mask` has bit n set for the granularity of index n. Kept with the socket, so that it hibernates. */
type Listener = { mask: number; passive: boolean; client: string }

/** A candle's text and the index of its granularity: written once, sent to all (D1). */
export type Written = { size: number; text: string }

type LogEntry = { offset: number; candles: Written[] }

/** What an audience needs of the object that holds it. */
export type AudienceHost = {
  product: string
  /** See RESUME_FRAMES. */
  resumeFrames: number
  /** The newest bars of the granularities in `mask`, and where trades are missing among them. */
  snapshot(mask: number): { candles: Candle[]; gaps: Gap[] }
  /** The frame that tells how the feed is. */
  feedFrame(): string
}

const ALL = (1 << GRANULARITIES.length) - 1

/** The sockets of one object: accepts, subscribes, sends one text to all who want it, and what a returning one missed. */
export class Audience {
  readonly #ctx: DurableObjectState
  readonly #host: AudienceHost
  readonly #listeners = new Map<WebSocket, Listener>()
  readonly #position: Position
  #log: LogEntry[] = []
  /** Snapshot frames at the present offset, by mask: a thousand viewers that come at once cost one. */
  readonly #snapshots = new Map<number, string>()

  constructor(ctx: DurableObjectState, host: AudienceHost, epoch: string) {
    this.#ctx = ctx
    this.#host = host
    this.#position = { epoch, offset: 0 }
    for (const socket of ctx.getWebSockets()) this.#listeners.set(socket, socket.deserializeAttachment() as Listener)
  }

  get position(): string {
    return positionText(this.#position)
  }

  /** How many sockets count as viewers. */
  get viewers(): number {
    let viewers = 0
    for (const listener of this.#listeners.values()) if (!listener.passive) viewers++
    return viewers
  }

  /** How many sockets one client has open here. */
  socketsOf(client: string): number {
    let sockets = 0
    for (const listener of this.#listeners.values()) if (listener.client === client) sockets++
    return sockets
  }

  accept(socket: WebSocket, client: string, passive: boolean): void {
    this.#ctx.acceptWebSocket(socket)
    this.#keep(socket, { mask: 0, passive, client })
  }

  leave(socket: WebSocket): void {
    this.#listeners.delete(socket)
  }

  #keep(socket: WebSocket, listener: Listener): void {
    socket.serializeAttachment(listener)
    this.#listeners.set(socket, listener)
  }

  /** Sends changed candles to everybody who subscribes to one of them, in one frame each. */
  broadcast(candles: readonly Candle[]): void {
    if (candles.length === 0) return
    const written = candles.map((candle) => ({
      size: GRANULARITIES.indexOf(candle.granularity),
      text: candleText(candle),
    }))
    this.#position.offset++
    this.#snapshots.clear()
    this.#log.push({ offset: this.#position.offset, candles: written })
    // Cut seldom: shifting the whole log for every frame would cost more than the frame.
    if (this.#log.length > this.#host.resumeFrames * 2) this.#log = this.#log.slice(-this.#host.resumeFrames)
    const frames = new Map<number, string | null>()
    for (const [socket, { mask }] of this.#listeners) {
      let frame = frames.get(mask)
      if (frame === undefined) {
        frame = frameFor(this.position, written, mask)
        frames.set(mask, frame)
      }
      if (frame !== null) this.#send(socket, frame)
    }
  }

  /** Sends a text that is no candle, such as the feed's state, to everybody. */
  announce(frame: string): void {
    for (const [socket, { mask }] of this.#listeners) if (mask !== 0) this.#send(socket, frame)
  }

  /** Handles one message of a client. */
  receive(socket: WebSocket, data: string | ArrayBuffer): void {
    const read =
      typeof data === 'string'
        ? readClientMessage(data)
        : { error: errorFrame('invalid_message', 'messages are text, not binary', null) }
    if ('error' in read) this.#send(socket, read.error)
    else this.#answer(socket, read.message)
  }

  #answer(socket: WebSocket, message: ClientMessage): void {
    if (message.op === 'ping') this.#send(socket, pongFrame(message.req_id))
    if (message.op !== 'subscribe' && message.op !== 'unsubscribe') return
    const asked = this.#mask(message.channels)
    if ('error' in asked) {
      this.#send(socket, errorFrame(asked.error.code, asked.error.message, asked.error.field, message.req_id))
      return
    }
    const listener = this.#listeners.get(socket) ?? { mask: 0, passive: false, client: '' }
    if (message.op === 'unsubscribe') {
      this.#keep(socket, { ...listener, mask: listener.mask & ~asked.mask })
      this.#send(socket, unsubscribedFrame(message.channels, message.req_id))
      return
    }
    this.#keep(socket, { ...listener, mask: listener.mask | asked.mask })
    this.#welcome(socket, message.channels, asked.mask, message.since, message.req_id)
  }

  /** Says where the stream stands, then what was missed, or a snapshot (D2). */
  #welcome(
    socket: WebSocket,
    channels: string[],
    mask: number,
    since: string | undefined,
    reqId: ClientMessage['req_id'],
  ): void {
    const missed = since === undefined ? null : this.#since(since)
    this.#send(socket, subscribedFrame(channels, missed ? (since as string) : this.position, missed !== null, reqId))
    this.#send(socket, this.#host.feedFrame())
    if (missed === null) {
      let frame = this.#snapshots.get(mask)
      if (frame === undefined) {
        const { candles, gaps } = this.#host.snapshot(mask)
        frame = snapshotFrame(this.position, candles, gaps)
        this.#snapshots.set(mask, frame)
      }
      this.#send(socket, frame)
      return
    }
    for (const entry of missed) {
      const frame = frameFor(positionText({ ...this.#position, offset: entry.offset }), entry.candles, mask)
      if (frame !== null) this.#send(socket, frame)
    }
  }

  /** The frames after a position of this epoch; null when they are not all there any more. */
  #since(text: string): LogEntry[] | null {
    const position = parsePosition(text)
    if (!position || position.epoch !== this.#position.epoch || position.offset > this.#position.offset) return null
    if (this.#position.offset - position.offset > this.#host.resumeFrames) return null
    return this.#log.filter((entry) => entry.offset > position.offset)
  }

  #mask(channels: string[]):
    | { mask: number }
    | {
        error: { code: 'unknown_channel' | 'unknown_product' | 'unknown_granularity'; message: string; field: string }
      } {
    let mask = 0
    for (const [index, name] of channels.entries()) {
      const field = `channels/${index}`
      const channel = parseChannel(name)
      if (channel === null) {
        const granularity = name.split('.')[2]
        const unknown = granularity !== undefined && granularity !== '*' && !isGranularity(granularity)
        return unknown
          ? { error: { code: 'unknown_granularity', message: `no granularity ${granularity.slice(0, 40)}`, field } }
          : { error: { code: 'unknown_channel', message: 'a channel is candles.<product>.<granularity>', field } }
      }
      if (channel.product !== '*' && channel.product !== this.#host.product)
        return { error: { code: 'unknown_product', message: `this socket is of ${this.#host.product}`, field } }
      mask |= channel.granularity === '*' ? ALL : 1 << GRANULARITIES.indexOf(channel.granularity)
    }
    return { mask }
  }

  #send(socket: WebSocket, frame: string): void {
    try {
      socket.send(frame)
    } catch {
      // The socket is gone; its close event may come later or never.
      this.#listeners.delete(socket)
    }
  }
}

function frameFor(position: string, candles: readonly Written[], mask: number): string | null {
  const wanted = candles.filter((candle) => (mask & (1 << candle.size)) !== 0)
  return wanted.length === 0
    ? null
    : updateFrame(
        position,
        wanted.map((candle) => candle.text),
      )
}

/** The granularities of a mask, smallest first. */
export const granularitiesOf = (mask: number): Granularity[] =>
  GRANULARITIES.filter((_, index) => (mask & (1 << index)) !== 0)
