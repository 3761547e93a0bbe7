import type { StaleReason, WireQuote } from '../../protocol/quote.ts'
import { type Exact, parseExact } from './exact-json.ts'
import { browserDeps, openStream, type Stream, type StreamDeps, type StreamState, socketUrl } from './stream.ts'

type Amount = 'price' | 'change24h' | 'previous_close' | 'open' | 'high' | 'low' | 'volume' | 'eps' | 'pe_ratio'
const AMOUNTS: ReadonlySet<string> = new Set<Amount>([
  'price',
  'change24h',
  'previous_close',
  'open',
  'high',
  'low',
  'volume',
  'eps',
  'pe_ratio',
])

/** A quote as it was sent; every amount is the text in which it was written. */
export type LiveQuote = Exact<WireQuote, Amount>

export type QuoteOptions = {
  /** Of the Kerb, such as `https://kerb.example`; in a page of it, nothing. */
  url?: string
  symbols: readonly string[]
  /** The newest state of each: at the start, whenever it changes, and after a loss. */
  onQuotes(quotes: LiveQuote[]): void
  onState?(state: StreamState): void
}

/** Why a quote is not to be taken for the price of now; null: it may be. */
export type StaleCause = StaleReason | 'connection' | null

/** Follows the quotes of some symbols over `/ws`. Comes back by itself (see `openStream`). */
export const connectQuotes = (options: QuoteOptions, deps: StreamDeps = browserDeps): Stream =>
  openStream(
    {
      url: socketUrl(options.url, '/ws'),
      channels: options.symbols.map((symbol) => `quotes.${symbol}`),
      since: null,
    },
    {
      state: (state) => options.onState?.(state),
      frame({ type, text, body: { position, quotes } }) {
        if ((type !== 'snapshot' && type !== 'update') || typeof position !== 'string' || !Array.isArray(quotes))
          return null
        options.onQuotes((parseExact(text, AMOUNTS) as { quotes: LiveQuote[] }).quotes)
        return position
      },
    },
    deps,
  )

/**
 * Whether a quote can be shown as the price of now. The server says when it cannot renew it; what the server cannot say
 * any more is found here: that the connection is lost, and that the time to live is over.
 * @param ttl how long a price holds, milliseconds
 * @param connected false from a loss on until the server has told the state of now
 * @param now of the server's clock, unix milliseconds
 */
export function staleCause(
  quote: { updatedAt: string; stale: StaleReason | null },
  ttl: number,
  connected: boolean,
  now: number,
): StaleCause {
  if (quote.stale !== null) return quote.stale
  if (!connected) return 'connection'
  return now > Date.parse(quote.updatedAt) + ttl ? 'expired' : null
}
