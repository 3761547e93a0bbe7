import { formatAge, formatAgo } from '../../pricing/format.ts'
import type { ProductStatus } from '../../protocol/product.ts'

/** The state of a feed for people. `tone` is its colour, and adds nothing to `title`. */
export type FeedText = { tone: 'good' | 'quiet' | 'warn' | 'bad'; title: string; detail: string }

/** A market without a trade for this long is quiet: an active pair trades every few seconds. */
const QUIET_MS = 60_000

/**
 * Describes a product's feed at `now` (unix milliseconds). C8 distinguishes a quiet market, whose feed works without
 * trades, from a dead feed, which sends nothing.
 */
export function feedText({ feed, last }: ProductStatus, now: number): FeedText {
  const activity =
    feed.lastMessageAt === null ? 'no messages yet' : `last message ${formatAgo(now - feed.lastMessageAt)}`
  const reason = feed.reason === null ? '' : ` (${feed.reason})`
  switch (feed.state) {
    case 'live': {
      const tradeAgeMs = last === null ? null : now - Date.parse(last.time)
      if (tradeAgeMs !== null && tradeAgeMs < QUIET_MS) return { tone: 'good', title: 'Live', detail: activity }
      const detail = `feed OK, no trades ${tradeAgeMs === null ? 'yet' : `for ${formatAge(tradeAgeMs)}`}`
      return { tone: 'quiet', title: 'Quiet market', detail }
    }
    case 'silent':
      return { tone: 'bad', title: 'No data', detail: `connected, but ${activity}` }
    case 'connecting':
      return { tone: 'warn', title: 'Connecting', detail: `to the exchange; ${activity}` }
    case 'waiting':
      return { tone: 'bad', title: 'Feed disconnected', detail: `waiting to reconnect${reason}; ${activity}` }
    case 'refused':
      return { tone: 'bad', title: 'Feed unavailable', detail: feed.reason ?? 'the connection was refused' }
    case 'closed':
      return { tone: 'quiet', title: 'Feed closed', detail: 'opens when someone watches' }
  }
}
