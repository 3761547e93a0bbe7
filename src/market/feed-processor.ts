import type { CandleBook } from './aggregator.ts'
import { type Message, type Rejection, readMessage } from './coinbase.ts'

const minuteOf = (milliseconds: number): number => Math.floor(milliseconds / 60_000) * 60

/** No late message is this many messages late: hours, at what one product's feed sends. */
const FAR = 10_000

/** Counts of what a feed brought, for operators. */
export type IntakeCounts = { messages: number; trades: number; holes: number; dropped: Record<string, number> }

/**
 * Takes one product's feed, text by text, into its book: drops what is not valid (C4), and keeps from the sequence and
 * the connection's life what the coverage needs (C8).
 */
export class Intake {
  readonly book: CandleBook
  readonly counts: IntakeCounts = { messages: 0, trades: 0, holes: 0, dropped: {} }
  /** A trade is sent this long after it was made, at the most: what a break leaves uncertain. Milliseconds. */
  readonly #latency: number
  /** The next sequence number; null while no connection is open. */
  #expected: number | null = null
  /** The exchange's clock at its last message in order, unix milliseconds; 0 before the first. */
  lastGoodAt: number

  constructor(book: CandleBook, latency: number, lastGoodAt = 0) {
    this.book = book
    this.#latency = latency
    this.lastGoodAt = lastGoodAt
  }

  /** A new connection: its sequence begins at 0. */
  opened(): void {
    this.#expected = 0
  }

  /** The connection is gone, or the object was: since the last good message trades may have been missed. */
  closed(): void {
    this.#expected = null
    if (this.lastGoodAt > 0) this.book.ledger.suspect(minuteOf(this.lastGoodAt - this.#latency), null)
  }

  /**
   * One text of the feed at `now` (unix milliseconds).
   * @returns what it was; `rejected` and `refused` have changed nothing but the counts.
   */
  receive(text: string, now: number): Message {
    const message = readMessage(text)
    this.counts.messages++
    if (message.kind === 'rejected') this.drop(message.reason)
    else if (message.kind !== 'refused') this.#inSequence(message, now)
    return message
  }

  #inSequence(message: Exclude<Message, { kind: 'rejected' | 'refused' }>, now: number): void {
    const { sequence, at } = message
    const { ledger } = this.book
    const expected = this.#expected ?? sequence
    // A newer message whose number is far lower is not late: the one before it had a number that was none.
    const late = sequence < expected && (at <= this.lastGoodAt || expected - sequence < FAR)
    if (this.lastGoodAt === 0) ledger.begin(minuteOf(at), now)
    ledger.resume(minuteOf(at))
    if (!late && sequence !== expected) {
      this.counts.holes++
      ledger.suspect(minuteOf((this.lastGoodAt || at) - this.#latency), minuteOf(at))
    }
    if (!late) {
      this.#expected = sequence + 1
      if (at > this.lastGoodAt) this.lastGoodAt = at
    }
    if (message.kind !== 'trades') return
    const last = ledger.last
    this.counts.trades += this.book.apply(message.trades, now)
    let ours = 0
    for (const trade of message.trades) if (trade.product === this.book.product) ours++
    if (ours < message.trades.length) this.drop('unknown_product', message.trades.length - ours)
    // A snapshot holds the newest trades: either it joins what we have, or the hole is known now.
    if (!late && (ledger.last > last || (message.snapshot && ours > 0))) ledger.settle()
  }

  /** Counts something that was left out. */
  drop(reason: Rejection | 'unknown_product', times = 1): void {
    this.counts.dropped[reason] = (this.counts.dropped[reason] ?? 0) + times
  }
}
