import type { Revaluation } from '../../portfolio/revalue.ts'
import { CLOSE_CODES } from '../../protocol/errors.ts'
import type { PortfolioMessage, Position, Totals } from '../../protocol/portfolio.ts'
import { pollPortfolio } from './poll.ts'
import { applyMessage, applyTicks, EMPTY_STATE, type PortfolioState, replacePortfolio } from './portfolio-state.ts'
import { createRestClient, type RestAccess } from './rest.ts'
import {
  browserDeps,
  type ClientDeps,
  type Frame,
  openStream,
  type Stream,
  type StreamState,
  socketUrl,
} from './stream.ts'
import { openTickStream, type TickStream } from './tick-stream.ts'

/**
 * The connection of a portfolio: the state of its stream; or `polling`, with the error of the last attempt (null if it
 * succeeded); or `signed_out`, which is final.
 */
export type PortfolioConnection = StreamState | { name: 'polling'; error: string | null } | { name: 'signed_out' }

/** `live`: a socket, or polling where sockets are blocked. `poll`: polling only. */
export type PortfolioMode = 'live' | 'poll'

export type PortfolioOptions = RestAccess & {
  /** `portfolio`, or `asset.AAPL` for an asset with its lots. By default `portfolio`. */
  channels?: readonly string[]
  mode?: PortfolioMode
  /** Milliseconds between two polls, by default 15,000. */
  intervalMs?: number
  /** Returns a ticket for each attempt to open the socket; null if nobody is signed in. By default the REST API issues it. */
  ticket?: () => Promise<string | null>
  /** A portfolio that the caller has already, as `portfolio-cache` returns it. */
  initial?: { portfolio: Totals; positions: readonly Position[] }
  /** Called when the state changes. @param message the message that changed it; null for a poll or a streamed price */
  onChange(state: PortfolioState, message: PortfolioMessage | null): void
  onState?(state: PortfolioConnection): void
}

/** A connected portfolio with its current state. */
export type Portfolio = Stream & { readonly state: PortfolioState }

const POLL_INTERVAL_MS = 15_000
/** Failures in a row that mean that sockets are blocked, or the server is down. */
const MAX_FAILED_ATTEMPTS = 3
/** Longest time between two attempts to open a socket while polling. The shortest is half of it, to spread clients. */
const SOCKET_RETRY_MS = 120_000

const MESSAGE_TYPES: ReadonlySet<string> = new Set<PortfolioMessage['type']>([
  'snapshot',
  'price_update',
  'position_update',
  'lot_update',
])

/**
 * Streams a user's portfolio over `/ws/portfolio`: holds its state, applies each message to it, and continues where it was
 * after a loss. Where sockets are blocked it polls the cached portfolio every `intervalMs` instead, and tries a socket again
 * from time to time. Between two messages, streamed crypto prices move the portfolio (see `applyTicks`).
 */
export function connectPortfolio(options: PortfolioOptions, deps: ClientDeps = browserDeps): Portfolio {
  const { channels = ['portfolio'], mode = 'live', intervalMs = POLL_INTERVAL_MS } = options
  const request = createRestClient(options, deps)
  /** The state from the server; `shown` adds the prices that have moved since. */
  let server: PortfolioState = options.initial
    ? replacePortfolio(EMPTY_STATE, options.initial.portfolio, options.initial.positions)
    : EMPTY_STATE
  let shown = server
  const prices = new Map<string, Revaluation>()
  let connection: PortfolioConnection = { name: 'connecting' }
  let stream: Stream | null = null
  let poll: Stream | null = null
  let ticks: TickStream | null = null
  let cancelSocketRetry: (() => void) | null = null
  let failures = 0
  let signedOut = false

  function showConnection(next: PortfolioConnection): void {
    const before = connection
    connection = next
    if (next.name === before.name && next.name !== 'reconnecting' && pollError(next) === pollError(before)) return
    options.onState?.(next)
  }

  function change(next: PortfolioState, message: PortfolioMessage | null): void {
    const before = shown
    server = next
    shown = applyTicks(server, prices, shown)
    ticks?.setPositions(server.positions)
    if (message !== null || shown !== before) options.onChange(shown, message)
  }

  function readFrame({ type, body }: Frame): string | null {
    if (!MESSAGE_TYPES.has(type) || typeof body.position !== 'string') return null
    const message = body as PortfolioMessage
    change(applyMessage(server, message), message)
    return message.position
  }

  const getTicket = async (): Promise<string | null> => {
    if (options.ticket) return options.ticket()
    const { status, body } = await request('/api/v1/auth/ticket', 'POST')
    if (status === 401) return null
    if (status !== 200) throw new Error(`the ticket request failed with status ${status}`)
    return (body as { ticket: string }).ticket
  }

  const findUrl = async (): Promise<string | null> => {
    const ticket = await getTicket()
    signedOut = ticket === null
    return ticket === null ? null : socketUrl(options.url, `/ws/portfolio?ticket=${encodeURIComponent(ticket)}`)
  }

  function openSocket(): void {
    cancelSocketRetry?.()
    cancelSocketRetry = null
    stream = openStream({ url: findUrl, channels, since: null }, { state: onStreamState, frame: readFrame }, deps)
  }

  function onStreamState(state: StreamState): void {
    if (state.name === 'reconnecting' && (poll !== null || ++failures >= MAX_FAILED_ATTEMPTS)) {
      pollInstead()
      return
    }
    if (state.name === 'live') {
      failures = 0
      poll?.close()
      poll = null
      ticks ??= openTickStream({ url: options.url, request, onTick: applyTick }, deps)
    }
    const stopped = state.name === 'stopped'
    if (stopped) end()
    showConnection(stopped && (signedOut || state.code === CLOSE_CODES.signed_out) ? { name: 'signed_out' } : state)
  }

  function applyTick(product: string, tick: Revaluation): void {
    prices.set(product, tick)
    change(server, null)
  }

  /** Polls in place of a socket, and schedules another attempt to open one. */
  function pollInstead(): void {
    stream?.close()
    stream = null
    ticks?.close()
    ticks = null
    cancelSocketRetry = deps.later(openSocket, SOCKET_RETRY_MS * (0.5 + deps.random() / 2))
    if (poll === null) startPolling()
  }

  /** Makes the scheduled attempt to open a socket now. */
  function trySocket(): void {
    if (cancelSocketRetry !== null) openSocket()
  }

  function startPolling(): void {
    poll = pollPortfolio(
      request,
      intervalMs,
      {
        onPortfolio: ({ portfolio, positions }) => change(replacePortfolio(server, portfolio, positions), null),
        onAttempt(error) {
          // The server is back, and so its sockets may be.
          if (error === null && pollError(connection) !== null) trySocket()
          showConnection({ name: 'polling', error })
        },
        onSignedOut() {
          end()
          showConnection({ name: 'signed_out' })
        },
      },
      deps,
    )
  }

  function end(): void {
    stopWatching()
    cancelSocketRetry?.()
    cancelSocketRetry = null
    stream?.close()
    poll?.close()
    ticks?.close()
  }

  const stopWatching = deps.returned(trySocket)
  if (mode === 'poll') startPolling()
  else openSocket()
  return {
    close: end,
    check() {
      trySocket()
      stream?.check()
      poll?.check()
    },
    get state() {
      return shown
    },
  }
}

const pollError = (state: PortfolioConnection): string | null => (state.name === 'polling' ? state.error : null)
