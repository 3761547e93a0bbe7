import { type Exact, parseExact } from '../../protocol/exact-json.ts'
import type { StaleReason, WireQuote } from '../../protocol/quote.ts'
import { browserDeps, openStream, type Stream, type StreamDeps, type StreamState, socketUrl } from './stream.ts'

const AMOUNTS = ['price', 'change24h', 'previous_close', 'open', 'high', 'low', 'volume', 'eps', 'pe_ratio'] as const
const AMOUNT_NAMES: ReadonlySet<string> = new Set(AMOUNTS)

/** A quote as the server sent it. Amounts are text, with every digit. */
export type LiveQuote = Exact<WireQuote, (typeof AMOUNTS)[number]>

export type QuoteOptions = {
  /** Base URL of the Kerb, such as `https://kerb.example`. Not needed in a page that the Kerb serves. */
  url?: string
  symbols: readonly string[]
  /** Called with the current quotes at the start and after a loss, and with each quote that changes. */
  onQuotes(quotes: LiveQuote[]): void
  onState?(state: StreamState): void
}

/** Why a quote is not current; null if it is. */
export type StaleCause = StaleReason | 'connection' | null

/** Streams the quotes of some symbols over `/ws`. Reconnects by itself (see `openStream`). */
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
        options.onQuotes((parseExact(text, AMOUNT_NAMES) as { quotes: LiveQuote[] }).quotes)
        return position
      },
    },
    deps,
  )

/**
 * Returns why a quote cannot be shown as the current price. The server marks quotes that it cannot refresh; a lost
 * connection and an expired quote are recognised here.
 * @param ttl how long a price is valid, milliseconds
 * @param connected false from a loss until the server has sent the current state
 * @param now time of the server's clock, unix milliseconds
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
