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
 * How a portfolio is connected: as a stream is; or `polling`, with what was wrong with the last attempt (null: nothing); or
 * `signed_out`, after which nothing more comes.
 */
export type PortfolioConnection = StreamState | { name: 'polling'; error: string | null } | { name: 'signed_out' }

/** `live`: by a socket, and by polls where sockets are blocked. `poll`: by polls alone. */
export type PortfolioMode = 'live' | 'poll'

export type PortfolioOptions = RestAccess & {
  /** `portfolio`, and `asset.AAPL` for the lots of an asset. By default `portfolio`. */
  channels?: readonly string[]
  mode?: PortfolioMode
  /** Between two polls, milliseconds; by default 15,000. */
  intervalMs?: number
  /** Gives a ticket for each opening of the socket; null: nobody is signed in. By default it is asked for by REST. */
  ticket?: () => Promise<string | null>
  /** What is known already, as `portfolio-cache` tells it. */
  initial?: { portfolio: Totals; positions: readonly Position[] }
  /** The state, whenever it changes. @param message what has changed it; null: a poll, or a price that moved. */
  onChange(state: PortfolioState, message: PortfolioMessage | null): void
  onState?(state: PortfolioConnection): void
}

/** `state` is the newest. */
export type Portfolio = Stream & { readonly state: PortfolioState }

const POLL_INTERVAL_MS = 15_000
/** So many attempts that failed one after the other mean that sockets are blocked, or the server is away. */
const MAX_FAILED_ATTEMPTS = 3
/** While it polls it tries a socket this often; half of it at least, so that clients spread. */
const SOCKET_RETRY_MS = 120_000

const MESSAGE_TYPES: ReadonlySet<string> = new Set<PortfolioMessage['type']>([
  'snapshot',
  'price_update',
  'position_update',
  'lot_update',
])

/**
 * Follows a person's portfolio over `/ws/portfolio`: holds its state, folds what comes into it, and goes on where it was
 * after a loss. Where no socket can be had it reads the cached portfolio every `intervalMs` instead, and tries a socket
 * again now and then. Crypto that is streamed moves with the market in between; what the server says of the same instant
 * or a later one stands (see `ticked`).
 */
export function connectPortfolio(options: PortfolioOptions, deps: ClientDeps = browserDeps): Portfolio {
  const { channels = ['portfolio'], mode = 'live', intervalMs = POLL_INTERVAL_MS } = options
  const ask = createRestClient(options, deps)
  /** As the server told it, and with the prices that have moved since. */
  let server: PortfolioState = options.initial
    ? replacePortfolio(EMPTY_STATE, options.initial.portfolio, options.initial.positions)
    : EMPTY_STATE
  let shown = server
  const prices = new Map<string, Revaluation>()
  let connection: PortfolioConnection = { name: 'connecting' }
  let stream: Stream | null = null
  let poll: Stream | null = null
  let ticks: TickStream | null = null
  let socketLater: (() => void) | null = null
  let failures = 0
  let signedOut = false

  function tell(next: PortfolioConnection): void {
    const told = connection
    connection = next
    if (next.name === told.name && next.name !== 'reconnecting' && pollError(next) === pollError(told)) return
    options.onState?.(next)
  }

  function change(next: PortfolioState, message: PortfolioMessage | null): void {
    const before = shown
    server = next
    shown = applyTicks(server, prices, shown)
    ticks?.setPositions(server.positions)
    if (message !== null || shown !== before) options.onChange(shown, message)
  }

  function take({ type, body }: Frame): string | null {
    if (!MESSAGE_TYPES.has(type) || typeof body.position !== 'string') return null
    const message = body as PortfolioMessage
    change(applyMessage(server, message), message)
    return message.position
  }

  const ticketOf = async (): Promise<string | null> => {
    if (options.ticket) return options.ticket()
    const { status, body } = await ask('/api/v1/auth/ticket', 'POST')
    if (status === 401) return null
    if (status !== 200) throw new Error(`the ticket answered ${status}`)
    return (body as { ticket: string }).ticket
  }

  const address = async (): Promise<string | null> => {
    const ticket = await ticketOf()
    signedOut = ticket === null
    return ticket === null ? null : socketUrl(options.url, `/ws/portfolio?ticket=${encodeURIComponent(ticket)}`)
  }

  function openSocket(): void {
    socketLater?.()
    socketLater = null
    stream = openStream({ url: address, channels, since: null }, { state: streamed, frame: take }, deps)
  }

  function streamed(state: StreamState): void {
    if (state.name === 'reconnecting' && (poll !== null || ++failures >= MAX_FAILED_ATTEMPTS)) {
      pollInstead()
      return
    }
    if (state.name === 'live') {
      failures = 0
      poll?.close()
      poll = null
      ticks ??= openTickStream({ url: options.url, ask, onTick: moved }, deps)
    }
    const stopped = state.name === 'stopped'
    if (stopped) end()
    tell(stopped && (signedOut || state.code === CLOSE_CODES.signed_out) ? { name: 'signed_out' } : state)
  }

  function moved(product: string, tick: Revaluation): void {
    prices.set(product, tick)
    change(server, null)
  }

  /** No socket for now: polls, and a socket is tried again later. */
  function pollInstead(): void {
    stream?.close()
    stream = null
    ticks?.close()
    ticks = null
    socketLater = deps.later(openSocket, SOCKET_RETRY_MS * (0.5 + deps.random() / 2))
    if (poll === null) startPolling()
  }

  /** Now instead of later, where one is waited for. */
  function trySocket(): void {
    if (socketLater !== null) openSocket()
  }

  function startPolling(): void {
    poll = pollPortfolio(
      ask,
      intervalMs,
      {
        onPortfolio: ({ portfolio, positions }) => change(replacePortfolio(server, portfolio, positions), null),
        onAttempt(error) {
          // The server is back: so may be its sockets.
          if (error === null && pollError(connection) !== null) trySocket()
          tell({ name: 'polling', error })
        },
        onSignedOut() {
          end()
          tell({ name: 'signed_out' })
        },
      },
      deps,
    )
  }

  function end(): void {
    notReturned()
    socketLater?.()
    socketLater = null
    stream?.close()
    poll?.close()
    ticks?.close()
  }

  const notReturned = deps.returned(trySocket)
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
