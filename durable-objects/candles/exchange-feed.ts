import type { FeedState } from '../../src/protocol/product.ts'

/** A feed that says nothing for this long, three heartbeats, is told to be silent. Milliseconds. */
const SILENT_AFTER_MS = 3_000

type ConnectionState =
  | { kind: 'closed'; since: number }
  | { kind: 'connecting'; since: number; abort: AbortController }
  | { kind: 'live'; since: number; socket: WebSocket; lastMessageAt: number }
  | { kind: 'waiting'; since: number; until: number }

/** Why a connection ended or was not made: a closed set, to count by. */
export type DisconnectReason = 'closed' | 'error' | 'silence' | 'timeout' | 'unreachable'

/** What a feed needs of the object that holds it. Times are unix milliseconds. */
export type FeedHost = {
  url: string
  product: string
  /** See FEED_SILENCE_TIMEOUT_MS, FEED_CONNECT_TIMEOUT_MS, RECONNECT_MIN_MS and RECONNECT_MAX_MS. */
  silenceTimeoutMs: number
  connectTimeoutMs: number
  reconnectMinMs: number
  reconnectMaxMs: number
  now(): number
  /** Evenly in [0, 1). */
  random(): number
  /** The token of a subscribe message, where there are keys. */
  sign(): Promise<string | null>
  /** Work that goes on after the call that began it. */
  track(work: Promise<unknown>): void
  onOpen(): void
  onMessage(text: string): void
  onDisconnect(reason: string): void
  /** The state has changed outside of `tick`: it is to be told, and what is due is another. */
  onStateChange(): void
}

/** The outgoing socket to the exchange: dials, subscribes, watches for silence, dials again. It sets no timers. */
export class ExchangeFeed {
  readonly #host: FeedHost
  #state: ConnectionState
  #failures = 0
  reconnects = 0
  /** The reconnects by reason. */
  readonly reconnectsByReason: Partial<Record<DisconnectReason, number>> = {}
  /** Why the last connection ended or could not be made. */
  reason: string | null = null

  constructor(host: FeedHost) {
    this.#host = host
    this.#state = { kind: 'closed', since: host.now() }
  }

  /** The state as it is told to clients, since when, and when something was last heard (unix milliseconds). */
  getStatus(): { state: FeedState; since: number; lastMessageAt: number | null } {
    const state = this.#state
    if (state.kind !== 'live') return { state: state.kind, since: state.since, lastMessageAt: null }
    const silent = this.#host.now() - state.lastMessageAt > SILENT_AFTER_MS
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

  /** Opens the feed; without effect when it is open or on its way. */
  open(): void {
    if (this.#state.kind === 'closed') this.#connect()
  }

  /** Dials now instead of at the end of the pause. */
  reconnectNow(): void {
    if (this.#state.kind === 'waiting' || this.#state.kind === 'closed') this.#connect()
  }

  /** Closes the feed for good, until `open`. */
  close(reason: string): void {
    if (this.#state.kind === 'closed') return
    this.#disconnect(reason)
    this.#state = { kind: 'closed', since: this.#host.now() }
    this.#failures = 0
  }

  /** Something was heard: the connection is alive, and once it has lasted, the next pause is short again. */
  recordMessage(): void {
    if (this.#state.kind !== 'live') return
    this.#state.lastMessageAt = this.#host.now()
    if (this.#state.lastMessageAt - this.#state.since > this.#host.silenceTimeoutMs) this.#failures = 0
  }

  /** When the feed wants to be looked at again, unix milliseconds; infinite when nothing is to come. */
  get dueAt(): number {
    const state = this.#state
    if (state.kind === 'connecting') return state.since + this.#host.connectTimeoutMs
    if (state.kind === 'waiting') return state.until
    if (state.kind === 'live') {
      // First the silence is told, then it is the end of the connection.
      const quiet = state.lastMessageAt + SILENT_AFTER_MS
      return this.#host.now() > quiet ? state.lastMessageAt + this.#host.silenceTimeoutMs : quiet + 1
    }
    return Number.POSITIVE_INFINITY
  }

  /** Does what is due: gives up a dead connection, dials again. */
  tick(): void {
    const state = this.#state
    if (state.kind === 'closed' || this.#host.now() < this.dueAt) return
    if (state.kind === 'waiting') this.#connect()
    else if (state.kind === 'connecting') this.#scheduleReconnect('timeout', 'connecting took too long')
    else if (this.#host.now() >= state.lastMessageAt + this.#host.silenceTimeoutMs)
      this.#scheduleReconnect('silence', 'silence')
  }

  #connect(): void {
    const abort = new AbortController()
    const state: ConnectionState = { kind: 'connecting', since: this.#host.now(), abort }
    this.#state = state
    this.#host.track(
      this.#openSocket(abort.signal).then(
        (socket) => {
          if (this.#state === state) this.#attach(socket)
          else socket.close(1000)
        },
        (error: unknown) => {
          if (this.#state === state)
            this.#scheduleReconnect('unreachable', error instanceof Error ? error.message : String(error))
        },
      ),
    )
  }

  async #openSocket(signal: AbortSignal): Promise<WebSocket> {
    const response = await fetch(this.#host.url.replace(/^ws/, 'http'), { headers: { Upgrade: 'websocket' }, signal })
    const socket = response.webSocket
    if (!socket) throw new Error(`the exchange answered ${response.status} instead of a socket`)
    socket.accept()
    try {
      // A token is made anew for each message: Coinbase takes each only once.
      for (const channel of ['market_trades', 'heartbeats']) {
        const jwt = await this.#host.sign()
        const token = jwt === null ? {} : { jwt }
        socket.send(JSON.stringify({ type: 'subscribe', product_ids: [this.#host.product], channel, ...token }))
      }
    } catch (error) {
      socket.close(1000)
      throw error
    }
    return socket
  }

  #attach(socket: WebSocket): void {
    const now = this.#host.now()
    const state: ConnectionState = { kind: 'live', since: now, socket, lastMessageAt: now }
    this.#state = state
    this.reason = null
    socket.addEventListener('message', (event) => {
      if (this.#state !== state) return
      this.#host.onMessage(typeof event.data === 'string' ? event.data : '')
    })
    socket.addEventListener('close', (event) => {
      if (this.#state === state) this.#scheduleReconnect('closed', `closed by the exchange with ${event.code}`)
    })
    socket.addEventListener('error', () => {
      if (this.#state === state) this.#scheduleReconnect('error', 'socket error')
    })
    this.#host.onOpen()
    this.#host.onStateChange()
  }

  /** Lets go of the connection and dials again after a pause that doubles, with full jitter. */
  #scheduleReconnect(loss: DisconnectReason, reason: string): void {
    this.#disconnect(reason)
    const now = this.#host.now()
    const ceiling = Math.min(this.#host.reconnectMaxMs, this.#host.reconnectMinMs * 2 ** Math.min(this.#failures, 20))
    this.#failures++
    this.reconnects++
    this.reconnectsByReason[loss] = (this.reconnectsByReason[loss] ?? 0) + 1
    this.#state = { kind: 'waiting', since: now, until: now + this.#host.random() * ceiling }
    this.#host.onStateChange()
  }

  #disconnect(reason: string): void {
    const state = this.#state
    this.reason = reason
    if (state.kind === 'connecting') state.abort.abort()
    if (state.kind !== 'live') return
    // First another state, so that this socket's own events are nobody's any more.
    this.#state = { kind: 'closed', since: this.#host.now() }
    try {
      state.socket.close(1000)
    } catch {
      // It was closed from the other side: that is what we leave it for.
    }
    this.#host.onDisconnect(reason)
  }
}
