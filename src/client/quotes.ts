import type { StaleReason, WireQuote } from '../protocol/quote.ts'
import type { Exact } from './exact-json.ts'
import { openStream, type Stream, type StreamDeps, type StreamState } from './stream.ts'

/** A quote as it was sent; every number is the text in which it was written. */
export type LiveQuote = Exact<WireQuote>

/** Why a quote is not to be taken for the price of now; null: it may be. */
export type Doubt = StaleReason | 'connection' | null

/**
 * Follows the quotes of some symbols over `/ws`: gives the newest state of each at the start, whenever it changes, and
 * after a loss. Comes back by itself (see `openStream`).
 * @param url of the socket.
 */
export const connectQuotes = (
  options: { url: string; symbols: readonly string[] },
  handlers: { state(state: StreamState): void; quotes(quotes: LiveQuote[]): void },
  deps: StreamDeps,
): Stream =>
  openStream(
    { url: options.url, channels: options.symbols.map((symbol) => `quotes.${symbol}`), since: null },
    handlers,
    deps,
  )

/**
 * Whether a quote can be shown as the price of now. The server says when it cannot renew it; what the server cannot say
 * any more is found here: that the connection is lost, and that the time to live is over.
 * @param ttl how long a price holds, milliseconds
 * @param connected false from a loss on until the server has told the state of now
 * @param now of the server's clock, unix milliseconds
 */
export function doubtOf(
  quote: { updatedAt: string; stale: StaleReason | null },
  ttl: number,
  connected: boolean,
  now: number,
): Doubt {
  if (quote.stale !== null) return quote.stale
  if (!connected) return 'connection'
  return now > Date.parse(quote.updatedAt) + ttl ? 'expired' : null
}
