import { MINUTE_MS, MINUTE_S } from '../time.ts'
import type { CandleAggregator } from './aggregator.ts'
import { type FeedMessage, parseFeedMessage, type RejectReason } from './coinbase.ts'

/** The start of the minute of a time in unix milliseconds, in unix seconds. */
const startOfMinute = (ms: number): number => Math.floor(ms / MINUTE_MS) * MINUTE_S

/** A message whose sequence number is this much too low is not late: one product's feed takes hours for so many. */
const MAX_LATE_MESSAGES = 10_000

/** Counters of one feed, for operators. */
export type FeedCounts = { messages: number; trades: number; sequenceGaps: number; dropped: Record<string, number> }

/**
 * Adds one product's feed to its aggregator, text by text. Drops messages that are not valid (C4), and marks in the
 * coverage where the sequence or the connection broke (C8).
 */
export class FeedProcessor {
  readonly aggregator: CandleAggregator
  readonly counts: FeedCounts = { messages: 0, trades: 0, sequenceGaps: 0, dropped: {} }
  /** The longest time between a trade and its message: a break leaves this much uncertain. */
  readonly #maxLatencyMs: number
  /** The next sequence number; null while no connection is open. */
  #expectedSequence: number | null = null
  /** The exchange's clock at the last message in sequence, unix milliseconds; 0 before the first. */
  lastGoodAt: number

  constructor(aggregator: CandleAggregator, maxLatencyMs: number, lastGoodAt = 0) {
    this.aggregator = aggregator
    this.#maxLatencyMs = maxLatencyMs
    this.lastGoodAt = lastGoodAt
  }

  /** Call for a new connection: its sequence begins at 0. */
  onOpen(): void {
    this.#expectedSequence = 0
  }

  /** Call when the connection broke or the object restarted: since the last good message trades may be missing. */
  onClose(): void {
    this.#expectedSequence = null
    if (this.lastGoodAt > 0)
      this.aggregator.tradeCoverage.markUncertain(startOfMinute(this.lastGoodAt - this.#maxLatencyMs), null)
  }

  /**
   * Processes one text of the feed at `now` (unix milliseconds).
   * @returns the parsed message; `rejected` and `refused` ones changed nothing but the counters
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
    const { tradeCoverage } = this.aggregator
    const expected = this.#expectedSequence ?? sequence
    // A newer message with a far lower number is not late: the number before it was wrong.
    const late = sequence < expected && (at <= this.lastGoodAt || expected - sequence < MAX_LATE_MESSAGES)
    if (this.lastGoodAt === 0) tradeCoverage.start(startOfMinute(at), now)
    tradeCoverage.endUncertain(startOfMinute(at))
    if (!late && sequence !== expected) {
      this.counts.sequenceGaps++
      tradeCoverage.markUncertain(startOfMinute((this.lastGoodAt || at) - this.#maxLatencyMs), startOfMinute(at))
    }
    if (!late) {
      this.#expectedSequence = sequence + 1
      if (at > this.lastGoodAt) this.lastGoodAt = at
    }
    if (message.kind !== 'trades') return
    const last = tradeCoverage.lastTradeId
    this.counts.trades += this.aggregator.addTrades(message.trades, now)
    let ours = 0
    for (const trade of message.trades) if (trade.product === this.aggregator.product) ours++
    if (ours < message.trades.length) this.countDropped('unknown_product', message.trades.length - ours)
    // A snapshot has the newest trades: either they join the known ones, or the missing ids are known now.
    if (!late && (tradeCoverage.lastTradeId > last || (message.snapshot && ours > 0))) tradeCoverage.resolveUncertain()
  }

  /** Counts messages or trades that were dropped. */
  countDropped(reason: RejectReason | 'unknown_product', times = 1): void {
    this.counts.dropped[reason] = (this.counts.dropped[reason] ?? 0) + times
  }
}
