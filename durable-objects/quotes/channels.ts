import { channelSymbols } from '../../src/protocol/channel.ts'
import { errorFrame, quoteSnapshotFrame, quoteUpdateFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { formatStreamPosition, parseStreamPosition } from '../../src/protocol/stream-position.ts'
import type { Connection } from '../sockets/connection.ts'
import type { ChannelResult, ChannelSource, SubscriptionMessage } from '../sockets/source.ts'
import { WatchCounts } from '../sockets/watch-counts.ts'
import { difference, newQuoteSubscription, parseQuoteChannels, type QuoteSubscription, union } from './subscription.ts'
import type { SymbolMatch } from './symbol-resolver.ts'

type QuoteChannelsOptions = {
  epoch: string
  /** See MAX_CHANNELS. */
  maxChannels: number
  /** The last batch. */
  offset(): number
  /** A client that has all quotes up to an earlier batch gets a snapshot: assets have gone since. */
  minResumableOffset(): number
  /** Every asset that has a quote. */
  assetIds(): Iterable<number>
  symbolOf(id: number): string
  /** A quote as clients get it, and the batch in which that has changed last; null where there is none. */
  publishedQuote(id: number): { text: string; changed: number } | null
  /** Reads what these symbols mean; undefined: everything is in memory. Never rejects. */
  loadSymbols(symbols: readonly string[]): Promise<unknown> | undefined
  /** What a symbol means, after `loadSymbols`. */
  resolve(symbol: string): SymbolMatch
  /** Publishes which quotes have become stale. */
  publishStale(): void
}

/** The quote channels of a board. A quote is a state: a client that returns gets the latest of each. */
export class QuoteChannels implements ChannelSource<QuoteSubscription, true> {
  readonly #options: QuoteChannelsOptions
  readonly #watchCounts = new WatchCounts()
  /** Viewers that subscribe to everything. */
  #allViewers = 0
  /** Frames up to the present offset, by where they begin and subscription. */
  readonly #frames = new Map<string, string[]>()
  /** The assets of the newest update, and the offset before it: most connections lack just that. */
  // What changed before this object started is not known.
  #newest: { ids: readonly number[]; from: number } = { ids: [], from: Number.POSITIVE_INFINITY }
  readonly none = newQuoteSubscription(false, [])
  readonly isDurable = true

  constructor(options: QuoteChannelsOptions) {
    this.#options = options
  }

  get position(): string {
    return formatStreamPosition({ epoch: this.#options.epoch, offset: this.offset })
  }

  get offset(): number {
    return this.#options.offset()
  }

  offsetOf(text: string): number | null {
    const position = parseStreamPosition(text)
    return position?.epoch === this.#options.epoch && position.offset <= this.offset ? position.offset : null
  }

  /** True if a viewer subscribes to everything. */
  get isWatchingAll(): boolean {
    return this.#allViewers > 0
  }

  /** The assets that a viewer subscribes to by name. */
  watched(): Iterable<number> {
    return this.#watchCounts.ids()
  }

  /** Since when a viewer has subscribed to an asset by name, unix milliseconds; null: none does. */
  watchedSince(id: number): number | null {
    return this.#watchCounts.since(id)
  }

  /** A batch came after the offset `from`, in which the published quotes of `ids` change. */
  advance(ids: readonly number[], from: number): void {
    this.#frames.clear()
    this.#newest = { ids, from }
  }

  /** What is left of a subscription when assets are gone, and the frames that say so; null: it names none of them. */
  withoutAssets(
    { all, ids }: QuoteSubscription,
    gone: ReadonlySet<number>,
  ): { subscription: QuoteSubscription; frames: string[] } | null {
    const lost = [...ids].filter((id) => gone.has(id))
    if (lost.length === 0) return null
    const frames = lost.flatMap((id) => {
      const symbol = this.#options.symbolOf(id)
      const channel = `quotes.${symbol}`
      const message = `the asset ${symbol} no longer exists`
      return [errorFrame('unknown_symbol', message, channel), unsubscribedFrame([channel], undefined)]
    })
    return { subscription: newQuoteSubscription(all, difference(ids, gone)), frames }
  }

  isEmpty({ key }: QuoteSubscription): boolean {
    return key === ''
  }

  merge(a: QuoteSubscription, b: QuoteSubscription): QuoteSubscription {
    return newQuoteSubscription(a.all || b.all, union(a.ids, b.ids))
  }

  channelNames({ all, ids }: QuoteSubscription): string[] {
    return all ? ['quotes.*'] : [...ids].map((id) => `quotes.${this.#options.symbolOf(id)}`)
  }

  prepare({ channels }: SubscriptionMessage): Promise<true> | undefined {
    return this.#options.loadSymbols(channelSymbols(channels, 'quotes'))?.then(() => true)
  }

  subscribe(before: QuoteSubscription, channels: readonly string[]): ChannelResult<QuoteSubscription> {
    const { maxChannels, resolve } = this.#options
    return parseQuoteChannels(channels, 'subscribe', before, maxChannels, resolve)
  }

  unsubscribe(before: QuoteSubscription, channels: readonly string[]): ChannelResult<QuoteSubscription> {
    const { maxChannels, resolve } = this.#options
    const parsed = parseQuoteChannels(channels, 'unsubscribe', before, maxChannels, resolve)
    if ('error' in parsed) return parsed
    const { all, ids } = parsed.subscription
    return { subscription: newQuoteSubscription(before.all && !all, difference(before.ids, ids)) }
  }

  publishDue(): void {
    this.#options.publishStale()
  }

  onChange(
    before: QuoteSubscription,
    after: QuoteSubscription,
    { passive, subscribedAt }: Connection<QuoteSubscription>,
  ): void {
    if (passive) return
    this.#allViewers += Number(after.all) - Number(before.all)
    this.#watchCounts.add(difference(after.ids, before.ids), subscribedAt)
    this.#watchCounts.remove(difference(before.ids, after.ids))
  }

  updates(subscription: QuoteSubscription, from: number): string[] | null {
    if (subscription.all && from < this.#options.minResumableOffset()) return null
    return this.#cached(`${from}/${subscription.key}`, () => {
      const texts = this.#texts(this.#changeCandidates(subscription, from), from)
      return texts.length === 0 ? [] : [quoteUpdateFrame(this.position, texts)]
    })
  }

  /** The assets that may have changed after `from`. */
  #changeCandidates({ all, ids }: QuoteSubscription, from: number): Iterable<number> {
    if (from < this.#newest.from) return all ? this.#options.assetIds() : ids
    return all ? this.#newest.ids : this.#newest.ids.filter((id) => ids.has(id))
  }

  #texts(ids: Iterable<number>, from: number): string[] {
    const texts: string[] = []
    for (const id of ids) {
      const quote = this.#options.publishedQuote(id)
      if (quote && quote.changed > from) texts.push(quote.text)
    }
    return texts
  }

  #cached(key: string, make: () => string[]): string[] {
    const cached = this.#frames.get(key)
    if (cached) return cached
    const frames = make()
    this.#frames.set(key, frames)
    return frames
  }

  resume(subscription: QuoteSubscription, since: string): string[] | null {
    const from = this.offsetOf(since)
    return from === null ? null : this.updates(subscription, from)
  }

  /** What has no price is left out. */
  snapshot({ all, ids, key }: QuoteSubscription): string[] {
    return this.#cached(`/${key}`, () => [
      quoteSnapshotFrame(this.position, this.#texts(all ? this.#options.assetIds() : ids, Number.NEGATIVE_INFINITY)),
    ])
  }

  encode({ all, ids }: QuoteSubscription): { all: boolean; ids: number[] } {
    return { all, ids: [...ids] }
  }

  decode({ all, ids }: { all: boolean; ids: number[] }): QuoteSubscription {
    return newQuoteSubscription(all, ids)
  }
}
