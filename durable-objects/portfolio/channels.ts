import { sentOffset } from '../../src/delivery/delivery-state.ts'
import { channelSymbols } from '../../src/protocol/channel.ts'
import { offsetInStream } from '../../src/protocol/stream-position.ts'
import type { ObjectContext } from '../object-context.ts'
import type { Connection } from '../sockets/connection.ts'
import type { ChannelResult, ChannelSource, SubscriptionMessage } from '../sockets/source.ts'
import type { PortfolioEngine } from './engine.ts'
import type { OpenLots, PortfolioFrames } from './frames.ts'
import {
  type AssetChannel,
  type AssetMatch,
  mergeSubscriptions,
  NO_SUBSCRIPTION,
  newSubscription,
  type PortfolioSubscription,
  parsePortfolioChannels,
} from './subscription.ts'

type PortfolioChannelsOptions = {
  /** Resolves symbols, and reads the portfolio if it was never read. @throws when it cannot be read */
  resolve(symbols: readonly string[]): Promise<ReadonlyMap<string, AssetMatch>>
  /** Subscribes to quotes of these assets, besides those of the portfolio. Never rejects. */
  subscribeQuotes(assets: ReadonlyMap<number, AssetChannel>): Promise<void>
  /** Called when a connection unsubscribes from assets. */
  onUnsubscribe(): void
}

/** The matches of symbols, and the open lots that a snapshot needs. */
export type PreparedChannels = { matches: ReadonlyMap<string, AssetMatch>; lots: OpenLots }

const NO_LOTS: OpenLots = { lotsAt: 0, byAsset: new Map() }

/** The channels of one user: the portfolio, and single assets. Snapshots of assets need lots, which are in Postgres. */
export class PortfolioChannels implements ChannelSource<PortfolioSubscription, PreparedChannels> {
  readonly #context: ObjectContext
  readonly #engine: PortfolioEngine
  readonly #options: PortfolioChannelsOptions
  readonly none = NO_SUBSCRIPTION
  readonly isDurable = true

  constructor(context: ObjectContext, engine: PortfolioEngine, options: PortfolioChannelsOptions) {
    this.#context = context
    this.#engine = engine
    this.#options = options
  }

  get #frames(): PortfolioFrames {
    const { frames } = this.#engine
    if (frames === null) throw new Error('a connection subscribes to a portfolio that was never read')
    return frames
  }

  get epoch(): string {
    return this.#engine.state?.head.epoch ?? ''
  }

  get offset(): number {
    return this.#engine.state?.offset ?? 0
  }

  isEmpty({ key }: PortfolioSubscription): boolean {
    return key === ''
  }

  merge(a: PortfolioSubscription, b: PortfolioSubscription): PortfolioSubscription {
    return mergeSubscriptions(a, b)
  }

  channelNames({ portfolio, assets }: PortfolioSubscription): string[] {
    return [...(portfolio ? ['portfolio'] : []), ...[...assets.values()].map(({ channel }) => channel)]
  }

  prepare(
    message: SubscriptionMessage,
    connection: Connection<PortfolioSubscription>,
  ): Promise<PreparedChannels | null> | undefined {
    if (message.op === 'unsubscribe') return undefined
    return this.#prepare(message, connection).catch((error: unknown) => {
      this.#context.log('portfolio_read_failed', { error: String(error) })
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
    // The snapshot has the new channels, unless they are resumed, and the earlier ones if the connection is owed them.
    const { subscription } = connection
    const sent = sentOffset(connection)
    const owed = sent === null || !this.#frames.canResumeFrom(sent) ? subscription : NO_SUBSCRIPTION
    const from = since === undefined ? null : offsetInStream(since, this)
    const isResumed = from !== null && this.#frames.canResumeFrom(from)
    const scope = isResumed ? owed : mergeSubscriptions(owed, asked.subscription)
    return { matches, lots: await this.#readLots(scope) }
  }

  subscribe(
    before: PortfolioSubscription,
    channels: readonly string[],
    prepared: PreparedChannels | undefined,
  ): ChannelResult<PortfolioSubscription> {
    return parsePortfolioChannels(channels, before, prepared?.matches ?? new Map(), this.#context.settings.MAX_CHANNELS)
  }

  unsubscribe(before: PortfolioSubscription, channels: readonly string[]): ChannelResult<PortfolioSubscription> {
    const gone = new Set(channels)
    const left = [...before.assets].filter(
      ([, { channel, symbol }]) => !gone.has(channel) && !gone.has(`asset.${symbol}`),
    )
    return { subscription: newSubscription(before.portfolio && !gone.has('portfolio'), new Map(left)) }
  }

  onChange(before: PortfolioSubscription, after: PortfolioSubscription): void {
    if (after.assets.size < before.assets.size) this.#options.onUnsubscribe()
  }

  updates(subscription: PortfolioSubscription, from: number): string[] | null {
    return this.#frames.canResumeFrom(from) ? this.#frames.updates(subscription, from) : null
  }

  snapshot(subscription: PortfolioSubscription, prepared: PreparedChannels | undefined): string[] | null {
    const lots = prepared?.lots ?? NO_LOTS
    const needed = this.#frames.assetsWithLots(subscription)
    const hasLots = lots.lotsAt === this.#engine.state?.head.lotsAt && needed.every((id) => lots.byAsset.has(id))
    return needed.length === 0 || hasLots ? this.#frames.snapshots(subscription, lots) : null
  }

  async prepareSnapshot(subscription: PortfolioSubscription): Promise<PreparedChannels> {
    return { matches: new Map(), lots: await this.#readLots(subscription) }
  }

  async #readLots(subscription: PortfolioSubscription): Promise<OpenLots> {
    const needed = this.#frames.assetsWithLots(subscription)
    return needed.length === 0 ? NO_LOTS : this.#engine.readLots(needed)
  }

  encode({ portfolio, assets }: PortfolioSubscription): { portfolio: boolean; assets: [number, AssetChannel][] } {
    return { portfolio, assets: [...assets] }
  }

  decode({ portfolio, assets }: { portfolio: boolean; assets: [number, AssetChannel][] }): PortfolioSubscription {
    return newSubscription(portfolio, new Map(assets))
  }
}
