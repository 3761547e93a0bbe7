import type { QuoteCache } from '../../src/pricing/quote-cache.ts'
import { channelSymbols } from '../../src/protocol/channel.ts'
import { errorFrame, quoteSnapshotFrame, quoteUpdateFrame, unsubscribedFrame } from '../../src/protocol/messages.ts'
import { formatStreamPosition } from '../../src/protocol/stream-position.ts'
import type { Connection } from '../sockets/connection.ts'
import type { ChannelResult, ChannelSource, SubscriptionMessage } from '../sockets/source.ts'
import type { PublishedQuotes } from './published.ts'
import { difference, newQuoteSubscription, parseQuoteChannels, type QuoteSubscription, union } from './subscription.ts'
import type { SymbolResolver } from './symbol-resolver.ts'
import type { WatchCounts } from './watch-counts.ts'

type QuoteChannelsOptions = {
  /** See MAX_CHANNELS. */
  maxChannels: number
  watches: WatchCounts
  /** Publishes which quotes have become stale. */
  publishStale(): void
}

/** The board's engine, as its channels need it. */
type QuoteSource = {
  epoch: string
  cache: QuoteCache
  symbols: Pick<SymbolResolver, 'asset' | 'resolve' | 'resolveCached' | 'resolveLocally'>
}

/** The quote channels of a board. A quote is a state: a client that returns gets the latest of each. */
export class QuoteChannels implements ChannelSource<QuoteSubscription, true> {
  readonly #source: QuoteSource
  readonly #published: PublishedQuotes
  readonly #options: QuoteChannelsOptions
  /** Frames up to the present offset, by where they begin and subscription. */
  readonly #frames = new Map<string, string[]>()
  /** The assets of the newest update, and the offset before it: most connections lack just that. */
  // What changed before this object started is not known.
  #newest: { ids: readonly number[]; from: number } = { ids: [], from: Number.POSITIVE_INFINITY }
  readonly none = newQuoteSubscription(false, [])
  readonly isDurable = true

  constructor(source: QuoteSource, published: PublishedQuotes, options: QuoteChannelsOptions) {
    this.#source = source
    this.#published = published
    this.#options = options
  }

  get epoch(): string {
    return this.#source.epoch
  }

  get offset(): number {
    return this.#source.cache.lastBatch
  }

  #symbolOf(id: number): string {
    const { symbols, cache } = this.#source
    return symbols.asset(id)?.symbol ?? cache.quote(id)?.symbol ?? String(id)
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
      const symbol = this.#symbolOf(id)
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
    return all ? ['quotes.*'] : [...ids].map((id) => `quotes.${this.#symbolOf(id)}`)
  }

  prepare({ channels }: SubscriptionMessage): Promise<true> | undefined {
    const { symbols } = this.#source
    const unknown = channelSymbols(channels, 'quotes').filter((symbol) => symbols.resolveCached(symbol) === null)
    return unknown.length === 0 ? undefined : symbols.resolve(unknown).then(() => true)
  }

  subscribe(before: QuoteSubscription, channels: readonly string[]): ChannelResult<QuoteSubscription> {
    return this.#parse(channels, 'subscribe', before)
  }

  unsubscribe(before: QuoteSubscription, channels: readonly string[]): ChannelResult<QuoteSubscription> {
    const parsed = this.#parse(channels, 'unsubscribe', before)
    if ('error' in parsed) return parsed
    const { all, ids } = parsed.subscription
    return { subscription: newQuoteSubscription(before.all && !all, difference(before.ids, ids)) }
  }

  #parse(channels: readonly string[], op: 'subscribe' | 'unsubscribe', before: QuoteSubscription) {
    const resolve = (symbol: string) => this.#source.symbols.resolveLocally(symbol)
    return parseQuoteChannels(channels, op, before, this.#options.maxChannels, resolve)
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
    const { watches } = this.#options
    watches.allViewers += Number(after.all) - Number(before.all)
    watches.add(difference(after.ids, before.ids), subscribedAt)
    watches.remove(difference(before.ids, after.ids))
  }

  updates(subscription: QuoteSubscription, from: number): string[] | null {
    if (subscription.all && from < this.#source.cache.minResumableBatch) return null
    return this.#cached(`${from}/${subscription.key}`, () => {
      const texts = this.#texts(this.#changeCandidates(subscription, from), from)
      return texts.length === 0 ? [] : [quoteUpdateFrame(formatStreamPosition(this), texts)]
    })
  }

  /** The assets that may have changed after `from`. */
  #changeCandidates({ all, ids }: QuoteSubscription, from: number): Iterable<number> {
    if (from < this.#newest.from) return all ? this.#source.cache.ids() : ids
    return all ? this.#newest.ids : this.#newest.ids.filter((id) => ids.has(id))
  }

  #texts(ids: Iterable<number>, from: number): string[] {
    const texts: string[] = []
    for (const id of ids) {
      const quote = this.#published.get(id)
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

  /** An asset without a price is left out. */
  snapshot({ all, ids, key }: QuoteSubscription): string[] {
    return this.#cached(`/${key}`, () => [
      quoteSnapshotFrame(
        formatStreamPosition(this),
        this.#texts(all ? this.#source.cache.ids() : ids, Number.NEGATIVE_INFINITY),
      ),
    ])
  }

  encode({ all, ids }: QuoteSubscription): { all: boolean; ids: number[] } {
    return { all, ids: [...ids] }
  }

  decode({ all, ids }: { all: boolean; ids: number[] }): QuoteSubscription {
    return newQuoteSubscription(all, ids)
  }
}
