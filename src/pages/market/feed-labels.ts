import { formatAge, formatAgo } from '../../pricing/format.ts'
import type { ProductStatus } from '../../protocol/product.ts'

/** What a feed's state means to a reader. `tone` colours it; it never says anything that `title` does not. */
export type FeedText = { tone: 'good' | 'quiet' | 'warn' | 'bad'; title: string; detail: string }

/** Without a trade for this long a market is called quiet; trades of an active pair come every few seconds. */
const QUIET_MS = 60_000

/**
 * Says how a product's feed is at `now` (unix milliseconds). A quiet market, whose feed is alive and brings no trades,
 * and a dead feed, which brings nothing at all, are told apart (C8).
 */
export function feedText(status: ProductStatus, now: number): FeedText {
  const { feed, last } = status
  const heard = feed.lastMessageAt === null ? 'nothing heard yet' : `last heard ${formatAgo(now - feed.lastMessageAt)}`
  switch (feed.state) {
    case 'live': {
      const tradeAge = last === null ? null : now - Date.parse(last.time)
      if (tradeAge !== null && tradeAge < QUIET_MS) return { tone: 'good', title: 'Live', detail: heard }
      const since = tradeAge === null ? 'no trade seen yet' : `no trade for ${formatAge(tradeAge)}`
      return { tone: 'quiet', title: 'Quiet market', detail: `the feed is alive, ${since}` }
    }
    case 'silent':
      return { tone: 'bad', title: 'Dead feed', detail: `connected, but ${heard}` }
    case 'connecting':
      return { tone: 'warn', title: 'Connecting', detail: `to the exchange; ${heard}` }
    case 'waiting':
      return { tone: 'bad', title: 'Feed lost', detail: `waiting to reconnect${reason(feed.reason)}; ${heard}` }
    case 'refused':
      return { tone: 'bad', title: 'No feed', detail: feed.reason ?? 'opening it was refused' }
    case 'closed':
      return { tone: 'quiet', title: 'Feed closed', detail: 'it opens when somebody watches' }
  }
}

const reason = (text: string | null): string => (text === null ? '' : ` (${text})`)
