import type { CandleAggregator } from './aggregator.ts'
import { type FeedMessage, parseFeedMessage, type RejectReason } from './coinbase.ts'

const startOfMinute = (milliseconds: number): number => Math.floor(milliseconds / 60_000) * 60

/** No late message is this many messages late: hours, at what one product's feed sends. */
const MAX_LATE_MESSAGES = 10_000

/** Counts of what a feed brought, for operators. */
export type FeedCounts = { messages: number; trades: number; sequenceGaps: number; dropped: Record<string, number> }

/**
 * Takes one product's feed, text by text, into its book: drops what is not valid (C4), and keeps from the sequence and
 * the connection's life what the coverage needs (C8).
 */
export class FeedProcessor {
  readonly aggregator: CandleAggregator
  readonly counts: FeedCounts = { messages: 0, trades: 0, sequenceGaps: 0, dropped: {} }
  /** A trade is sent this long after it was made, at the most: what a break leaves uncertain. Milliseconds. */
  readonly #maxLatencyMs: number
  /** The next sequence number; null while no connection is open. */
  #expectedSequence: number | null = null
  /** The exchange's clock at its last message in order, unix milliseconds; 0 before the first. */
  lastGoodAt: number

  constructor(book: CandleAggregator, latency: number, lastGoodAt = 0) {
    this.aggregator = book
    this.#maxLatencyMs = latency
    this.lastGoodAt = lastGoodAt
  }

  /** A new connection: its sequence begins at 0. */
  onOpen(): void {
    this.#expectedSequence = 0
  }

  /** The connection is gone, or the object was: since the last good message trades may have been missed. */
  onClose(): void {
    this.#expectedSequence = null
    if (this.lastGoodAt > 0)
      this.aggregator.tradeCoverage.markUncertain(startOfMinute(this.lastGoodAt - this.#maxLatencyMs), null)
  }

  /**
   * One text of the feed at `now` (unix milliseconds).
   * @returns what it was; `rejected` and `refused` have changed nothing but the counts.
   */
  processMessage(text: string, now: number): FeedMessage {
    const message = parseFeedMessage(text)
    this.counts.messages++
    if (message.kind === 'rejected') this.countDropped(message.reason)
    else if (message.kind !== 'refused') this.#processInSequence(message, now)
    return message
  }

  #processInSequence(message: Exclude<FeedMessage, { kind: 'rejected' | 'refused' }>, now: number): void {
    const { sequence, at } = message
    const { tradeCoverage: ledger } = this.aggregator
    const expected = this.#expectedSequence ?? sequence
    // A newer message whose number is far lower is not late: the one before it had a number that was none.
    const late = sequence < expected && (at <= this.lastGoodAt || expected - sequence < MAX_LATE_MESSAGES)
    if (this.lastGoodAt === 0) ledger.start(startOfMinute(at), now)
    ledger.endUncertain(startOfMinute(at))
    if (!late && sequence !== expected) {
      this.counts.sequenceGaps++
      ledger.markUncertain(startOfMinute((this.lastGoodAt || at) - this.#maxLatencyMs), startOfMinute(at))
    }
    if (!late) {
      this.#expectedSequence = sequence + 1
      if (at > this.lastGoodAt) this.lastGoodAt = at
    }
    if (message.kind !== 'trades') return
    const last = ledger.lastTradeId
    this.counts.trades += this.aggregator.addTrades(message.trades, now)
    let ours = 0
    for (const trade of message.trades) if (trade.product === this.aggregator.product) ours++
    if (ours < message.trades.length) this.countDropped('unknown_product', message.trades.length - ours)
    // A snapshot holds the newest trades: either it joins what we have, or the hole is known now.
    if (!late && (ledger.lastTradeId > last || (message.snapshot && ours > 0))) ledger.resolveUncertain()
  }

  /** Counts something that was left out. */
  countDropped(reason: RejectReason | 'unknown_product', times = 1): void {
    this.counts.dropped[reason] = (this.counts.dropped[reason] ?? 0) + times
  }
}
