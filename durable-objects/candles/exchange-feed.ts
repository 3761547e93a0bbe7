import { readCoinbaseKey } from '../../src/auth/coinbase-jwt.ts'
import { backoffMs } from '../../src/backoff.ts'
import { errorText } from '../../src/log.ts'
import type { FeedProcessor } from '../../src/market/feed-processor.ts'
import type { FeedState } from '../../src/protocol/product.ts'
import type { ObjectContext } from '../object-context.ts'

/** A feed without a message for this long, three heartbeats, is `silent`. */
const SILENT_AFTER_MS = 3_000

type ConnectionState =
  | { kind: 'closed'; since: number }
  | { kind: 'connecting'; since: number; abort: AbortController }
  | { kind: 'live'; since: number; socket: WebSocket; lastMessageAt: number }
  | { kind: 'waiting'; since: number; until: number }

/** Why a connection ended or failed, as metrics count it. */
type DisconnectReason = 'closed' | 'error' | 'silence' | 'timeout' | 'unreachable'

type FeedListener = {
  onMessage(text: string): void
  /** The state, and with it `dueAt`, changed outside of `tick`. */
  onStateChange(): void
}

/** The outgoing socket to the exchange. Connects, subscribes, and reconnects when it breaks or is silent. Sets no timer. */
export class ExchangeFeed {
  readonly #context: ObjectContext
  readonly #processor: FeedProcessor
  readonly #listener: FeedListener
  #state: ConnectionState
  #failures = 0
  reconnects = 0
  /** The reconnects by reason. */
  readonly reconnectsByReason: Partial<Record<DisconnectReason, number>> = {}
  /** Why the last connection ended or could not be made. */
  reason: string | null = null

  constructor(context: ObjectContext, processor: FeedProcessor, listener: FeedListener) {
    this.#context = context
    this.#processor = processor
    this.#listener = listener
    this.#state = { kind: 'closed', since: context.now() }
  }

  /** The state for clients, since when, and the time of the last message. Unix milliseconds. */
  getStatus(): { state: FeedState; since: number; lastMessageAt: number | null } {
    const state = this.#state
    if (state.kind !== 'live') return { state: state.kind, since: state.since, lastMessageAt: null }
    const silent = this.#context.now() - state.lastMessageAt > SILENT_AFTER_MS
    return {
      state: silent ? 'silent' : 'live',
      since: silent ? state.lastMessageAt : state.since,
      lastMessageAt: state.lastMessageAt,
    }
  }

  get isClosed(): boolean {
    return this.#state.kind === 'closed'
  }

  get isLive(): boolean {
    return this.#state.kind === 'live'
  }

  /** Opens the feed if it is closed. */
  open(): void {
    if (this.#state.kind === 'closed') this.#connect()
  }

  /** Connects now instead of at the end of the pause. */
  reconnectNow(): void {
    if (this.#state.kind === 'waiting' || this.#state.kind === 'closed') this.#connect()
  }

  /** Closes the feed until `open`. */
  close(reason: string): void {
    if (this.#state.kind === 'closed') return
    this.#disconnect(reason)
    this.#state = { kind: 'closed', since: this.#context.now() }
    this.#failures = 0
  }

  /** Notes a message. Once the connection has lasted, the next pause before a reconnect is short again. */
  recordMessage(): void {
    if (this.#state.kind !== 'live') return
    this.#state.lastMessageAt = this.#context.now()
    if (this.#state.lastMessageAt - this.#state.since > this.#context.settings.FEED_SILENCE_TIMEOUT_MS)
      this.#failures = 0
  }

  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  get dueAt(): number {
    const state = this.#state
    const { FEED_CONNECT_TIMEOUT_MS, FEED_SILENCE_TIMEOUT_MS } = this.#context.settings
    if (state.kind === 'connecting') return state.since + FEED_CONNECT_TIMEOUT_MS
    if (state.kind === 'waiting') return state.until
    if (state.kind === 'live') {
      // A silent connection changes its state first and is closed later.
      const silentAt = state.lastMessageAt + SILENT_AFTER_MS
      return this.#context.now() > silentAt ? state.lastMessageAt + FEED_SILENCE_TIMEOUT_MS : silentAt + 1
    }
    return Number.POSITIVE_INFINITY
  }

  /** Closes a dead connection or reconnects, whichever is due. */
  tick(): void {
    const state = this.#state
    if (state.kind === 'closed' || this.#context.now() < this.dueAt) return
    if (state.kind === 'waiting') this.#connect()
    else if (state.kind === 'connecting') this.#scheduleReconnect('timeout', 'connecting took too long')
    else if (this.#context.now() >= state.lastMessageAt + this.#context.settings.FEED_SILENCE_TIMEOUT_MS)
      this.#scheduleReconnect('silence', 'silence')
  }

  #connect(): void {
    const abort = new AbortController()
    const state: ConnectionState = { kind: 'connecting', since: this.#context.now(), abort }
    this.#state = state
    this.#context.track(
      this.#openSocket(abort.signal).then(
        (socket) => {
          if (this.#state === state) this.#attach(socket)
          else socket.close(1000)
        },
        (error: unknown) => {
          if (this.#state === state) this.#scheduleReconnect('unreachable', errorText(error))
        },
      ),
    )
  }

  async #openSocket(signal: AbortSignal): Promise<WebSocket> {
    const response = await fetch(this.#context.settings.COINBASE_WS_URL.replace(/^ws/, 'http'), {
      headers: { Upgrade: 'websocket' },
      signal,
    })
    const socket = response.webSocket
    if (!socket) throw new Error(`the exchange answered the upgrade with ${response.status}`)
    socket.accept()
    try {
      // Coinbase accepts each token once.
      for (const channel of ['market_trades', 'heartbeats']) {
        const jwt = await this.#sign()
        const token = jwt === null ? {} : { jwt }
        socket.send(
          JSON.stringify({ type: 'subscribe', product_ids: [this.#processor.aggregator.product], channel, ...token }),
        )
      }
    } catch (error) {
      socket.close(1000)
      throw error
    }
    return socket
  }

  /** The token of one subscribe message; null without keys, as market data needs no token. */
  async #sign(): Promise<string | null> {
    const { COINBASE_API_KEY, COINBASE_PRIVATE_KEY } = this.#context.settings
    if (COINBASE_API_KEY === undefined || COINBASE_PRIVATE_KEY === undefined) return null
    const key = await readCoinbaseKey(COINBASE_API_KEY, COINBASE_PRIVATE_KEY)
    if (key.ok) return key.sign(this.#context.now())
    this.#context.log('feed_key_invalid', { detail: key.message })
    return null
  }

  #attach(socket: WebSocket): void {
    const now = this.#context.now()
    const state: ConnectionState = { kind: 'live', since: now, socket, lastMessageAt: now }
    this.#state = state
    this.reason = null
    socket.addEventListener('message', (event) => {
      if (this.#state !== state) return
      this.#listener.onMessage(typeof event.data === 'string' ? event.data : '')
    })
    socket.addEventListener('close', (event) => {
      if (this.#state === state) this.#scheduleReconnect('closed', `closed by the exchange with ${event.code}`)
    })
    socket.addEventListener('error', () => {
      if (this.#state === state) this.#scheduleReconnect('error', 'socket error')
    })
    this.#processor.onOpen()
    this.#listener.onStateChange()
  }

  /** Closes the connection and reconnects after a pause. */
  #scheduleReconnect(cause: DisconnectReason, reason: string): void {
    this.#disconnect(reason)
    const now = this.#context.now()
    const { RECONNECT_MIN_MS, RECONNECT_MAX_MS } = this.#context.settings
    const until = now + backoffMs(this.#failures++, RECONNECT_MIN_MS, RECONNECT_MAX_MS, Math.random())
    this.reconnects++
    this.reconnectsByReason[cause] = (this.reconnectsByReason[cause] ?? 0) + 1
    this.#state = { kind: 'waiting', since: now, until }
    this.#listener.onStateChange()
  }

  #disconnect(reason: string): void {
    const state = this.#state
    this.reason = reason
    if (state.kind === 'connecting') state.abort.abort()
    if (state.kind !== 'live') return
    // In another state, this socket's own events are ignored.
    this.#state = { kind: 'closed', since: this.#context.now() }
    try {
      state.socket.close(1000)
    } catch {
      // The exchange closed it already.
    }
    this.#context.log('feed_disconnected', { reason })
    this.#processor.onClose()
  }
}
