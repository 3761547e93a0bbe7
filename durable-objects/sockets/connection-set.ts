import { PING_TEXT } from '../../src/protocol/client-messages.ts'
import { CLOSE_CODES } from '../../src/protocol/errors.ts'
import { pongFrame } from '../../src/protocol/messages.ts'
import { type Connection, loadAttachment, newConnection, type SocketOptions, saveAttachment } from './connection.ts'
import type { ChannelSource } from './source.ts'

type SubscriptionSource<S> = Pick<ChannelSource<S>, 'none' | 'onChange' | 'isDurable' | 'encode' | 'decode'>

type ConnectionSetOptions = {
  now(): number
  /** Called after a connection was removed. */
  onRemove?(): void
}

/** The open connections of one object. They outlive its sleep (D5): each is stored in the attachment of its socket. */
export class ConnectionSet<S> {
  readonly #ctx: DurableObjectState
  readonly #source: SubscriptionSource<S>
  readonly #options: ConnectionSetOptions
  readonly #connections = new Map<WebSocket, Connection<S>>()
  /** No connection's authorization ends before this. */
  #expiresAt = Number.POSITIVE_INFINITY

  constructor(ctx: DurableObjectState, source: SubscriptionSource<S>, options: ConnectionSetOptions) {
    this.#ctx = ctx
    this.#source = source
    this.#options = options
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING_TEXT, pongFrame(undefined)))
    for (const socket of ctx.getWebSockets()) {
      const connection = loadAttachment(socket, source)
      if (connection === null) continue
      this.#add(socket, connection)
      source.onChange?.(source.none, connection.subscription, connection)
    }
  }

  [Symbol.iterator](): Iterator<[WebSocket, Connection<S>]> {
    return this.#connections.entries()
  }

  get(socket: WebSocket): Connection<S> | undefined {
    return this.#connections.get(socket)
  }

  has(socket: WebSocket): boolean {
    return this.#connections.has(socket)
  }

  get size(): number {
    return this.#connections.size
  }

  /** Connections that are not passive. */
  get viewers(): number {
    let viewers = 0
    for (const { passive } of this.#connections.values()) if (!passive) viewers++
    return viewers
  }

  get subscriptions(): S[] {
    return [...this.#connections.values()].map(({ subscription }) => subscription)
  }

  countOf(client: string): number {
    let count = 0
    for (const connection of this.#connections.values()) if (connection.client === client) count++
    return count
  }

  accept(socket: WebSocket, options: SocketOptions): Connection<S> {
    this.#ctx.acceptWebSocket(socket)
    const connection = newConnection(options, this.#source.none, this.#options.now())
    this.#add(socket, connection)
    this.save(socket, connection)
    return connection
  }

  #add(socket: WebSocket, connection: Connection<S>): void {
    this.#connections.set(socket, connection)
    this.#expiresAt = Math.min(this.#expiresAt, connection.authorizedUntil)
  }

  save(socket: WebSocket, connection: Connection<S>): void {
    if (this.#connections.has(socket)) saveAttachment(socket, connection, this.#source)
  }

  remove(socket: WebSocket): void {
    const connection = this.#connections.get(socket)
    if (!connection) return
    this.#connections.delete(socket)
    this.#source.onChange?.(connection.subscription, this.#source.none, connection)
    this.#options.onRemove?.()
  }

  close(socket: WebSocket, code: number, reason: string): void {
    this.remove(socket)
    socket.serializeAttachment(null)
    socket.close(code, reason)
  }

  closeAll(code: number, reason: string): void {
    for (const socket of this.#connections.keys()) this.close(socket, code, reason)
  }

  /** Closes connections whose authorization has ended: with a new ticket they can connect again. */
  closeExpired(): void {
    const now = this.#options.now()
    if (now < this.#expiresAt) return
    this.#expiresAt = Number.POSITIVE_INFINITY
    for (const [socket, { authorizedUntil }] of this.#connections)
      if (authorizedUntil <= now) this.close(socket, CLOSE_CODES.session_expired, 'come back with a new ticket')
      else this.#expiresAt = Math.min(this.#expiresAt, authorizedUntil)
  }

  /**
   * When the runtime answered a ping without waking the object, if it did since the last call: unix milliseconds by its
   * own clock, which need not be the object's.
   */
  takeNewPing(socket: WebSocket, connection: Connection<S>): number | null {
    const pingedAt = this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0
    if (pingedAt === connection.pingedAt) return null
    connection.pingedAt = pingedAt
    return pingedAt
  }

  send(socket: WebSocket, frames: readonly string[]): void {
    try {
      for (const frame of frames) socket.send(frame)
    } catch {
      // The socket is gone; its close event may come later or never.
      this.remove(socket)
    }
  }
}
