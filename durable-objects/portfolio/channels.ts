import { sentOffset } from '../../src/delivery/delivery-state.ts'
import { channelSymbols } from '../../src/protocol/channel.ts'
import type { Connection } from '../sockets/connection.ts'
import type { ChannelResult, ChannelSource, SubscriptionMessage } from '../sockets/source.ts'
import type { OpenLots, PortfolioFrames } from './frames.ts'
import {
  type AssetChannel,
  type AssetMatch,
  getChannelNames,
  mergeSubscriptions,
  NO_SUBSCRIPTION,
  newSubscription,
  type PortfolioSubscription,
  parsePortfolioChannels,
  removeChannels,
} from './subscription.ts'

type PortfolioChannelsOptions = {
  /** See MAX_CHANNELS. */
  maxChannels: number
  /** Null: the portfolio was never read; then no connection subscribes to anything. */
  frames(): PortfolioFrames | null
  /** The last change. */
  offset(): number
  /** Reads the portfolio if it was never read, and says what symbols mean. @throws when it cannot be read */
  resolve(symbols: readonly string[]): Promise<ReadonlyMap<string, AssetMatch>>
  /** Subscribes to quotes of these assets, besides those of the portfolio. Never rejects. */
  subscribeQuotes(assets: ReadonlyMap<number, AssetChannel>): Promise<void>
  /** Called when a connection gives up assets. */
  onUnsubscribe(): void
  /** The open lots of these assets. @throws when they cannot be read */
  readLots(ids: readonly number[]): Promise<OpenLots>
  /** The change that wrote lots last. */
  lotsAt(): number
  log(event: string, fields: Record<string, unknown>): void
}

/** What symbols mean, and the open lots that a snapshot needs. */
export type PreparedChannels = { matches: ReadonlyMap<string, AssetMatch>; lots: OpenLots }

const NO_LOTS: OpenLots = { lotsAt: 0, byAsset: new Map() }

/** The channels of one user: the portfolio, and single assets. Snapshots of assets need lots, which are in Postgres. */
export class PortfolioChannels implements ChannelSource<PortfolioSubscription, PreparedChannels> {
  readonly #options: PortfolioChannelsOptions
  readonly none = NO_SUBSCRIPTION
  readonly isDurable = true

  constructor(options: PortfolioChannelsOptions) {
    this.#options = options
  }

  get #frames(): PortfolioFrames {
    const frames = this.#options.frames()
    if (frames === null) throw new Error('a connection subscribes to a portfolio that was never read')
    return frames
  }

  get position(): string {
    return this.#frames.position
  }

  get offset(): number {
    return this.#options.offset()
  }

  offsetOf(position: string): number | null {
    return this.#options.frames()?.offsetOf(position) ?? null
  }

  isEmpty({ key }: PortfolioSubscription): boolean {
    return key === ''
  }

  merge(a: PortfolioSubscription, b: PortfolioSubscription): PortfolioSubscription {
    return mergeSubscriptions(a, b)
  }

  channelNames(subscription: PortfolioSubscription): string[] {
    return getChannelNames(subscription)
  }

  prepare(
    message: SubscriptionMessage,
    connection: Connection<PortfolioSubscription>,
  ): Promise<PreparedChannels | null> | undefined {
    if (message.op === 'unsubscribe') return undefined
    return this.#prepare(message, connection).catch((error: unknown) => {
      this.#options.log('portfolio_read_failed', { error: String(error) })
      return null
    })
  }

  async #prepare(
    { channels, since }: Extract<SubscriptionMessage, { op: 'subscribe' }>,
    connection: Connection<PortfolioSubscription>,
  ): Promise<PreparedChannels> {
    const matches = await this.#options.resolve(channelSymbols(channels, 'asset'))
    const asked = this.subscribe(connection.subscription, channels, { matches, lots: NO_LOTS })
    if ('error' in asked) return { matches, lots: NO_LOTS }
    await this.#options.subscribeQuotes(asked.subscription.assets)
    // A snapshot is made of what is asked for, unless it is resumed, and of what the connection had, if that is due.
    const { subscription } = connection
    const sent = sentOffset(connection)
    const owed = sent === null || !this.#frames.canResumeFrom(sent) ? subscription : NO_SUBSCRIPTION
    const from = since === undefined ? null : this.offsetOf(since)
    const isResumed = from !== null && this.#frames.canResumeFrom(from)
    const scope = isResumed ? owed : mergeSubscriptions(owed, asked.subscription)
    return { matches, lots: await this.#readLots(scope) }
  }

  subscribe(
    before: PortfolioSubscription,
    channels: readonly string[],
    prepared: PreparedChannels | undefined,
  ): ChannelResult<PortfolioSubscription> {
    return parsePortfolioChannels(channels, before, prepared?.matches ?? new Map(), this.#options.maxChannels)
  }

  unsubscribe(before: PortfolioSubscription, channels: readonly string[]): ChannelResult<PortfolioSubscription> {
    return { subscription: removeChannels(before, channels) }
  }

  onChange(before: PortfolioSubscription, after: PortfolioSubscription): void {
    if (after.assets.size < before.assets.size) this.#options.onUnsubscribe()
  }

  updates(subscription: PortfolioSubscription, from: number): string[] | null {
    return this.#frames.canResumeFrom(from) ? this.#frames.updates(subscription, from) : null
  }

  resume(subscription: PortfolioSubscription, since: string): string[] | null {
    const from = this.offsetOf(since)
    return from === null ? null : this.updates(subscription, from)
  }

  snapshot(subscription: PortfolioSubscription, prepared: PreparedChannels | undefined): string[] | null {
    const lots = prepared?.lots ?? NO_LOTS
    const needed = this.#frames.assetsWithLots(subscription)
    const hasLots = lots.lotsAt === this.#options.lotsAt() && needed.every((id) => lots.byAsset.has(id))
    return needed.length === 0 || hasLots ? this.#frames.snapshots(subscription, lots) : null
  }

  async prepareSnapshot(subscription: PortfolioSubscription): Promise<PreparedChannels> {
    return { matches: new Map(), lots: await this.#readLots(subscription) }
  }

  async #readLots(subscription: PortfolioSubscription): Promise<OpenLots> {
    const needed = this.#frames.assetsWithLots(subscription)
    return needed.length === 0 ? NO_LOTS : this.#options.readLots(needed)
  }

  encode({ portfolio, assets }: PortfolioSubscription): { portfolio: boolean; assets: [number, AssetChannel][] } {
    return { portfolio, assets: [...assets] }
  }

  decode({ portfolio, assets }: { portfolio: boolean; assets: [number, AssetChannel][] }): PortfolioSubscription {
    return newSubscription(portfolio, new Map(assets))
  }
}
