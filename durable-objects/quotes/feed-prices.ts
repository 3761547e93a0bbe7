import type { FeedPrice } from '../../src/pricing/quote.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { QuoteContext } from './remotes.ts'

/** The list of open feeds is read at most this often. */
const OPEN_FEEDS_TTL_MS = 5_000

/** A feed that was silent for this long does not have the current price; REST has it then. */
const LIVE_WITHIN_MS = 10_000

/** The price of an asset's feed. */
export type AssetFeedPrice = { asset: Asset; price: FeedPrice }

/** Reads prices of the products whose feed is open, while a client wants them. Opens no feed, and wakes no object up. */
export class FeedPrices {
  readonly #context: QuoteContext
  readonly #products: ReadonlySet<string>
  readonly #onPrices: (prices: AssetFeedPrice[]) => void
  #openFeeds: ReadonlySet<string> = new Set()
  #openFeedsAt = Number.NEGATIVE_INFINITY
  /** By product: when its price may be read next. */
  readonly #nextAt = new Map<string, number>()
  readonly #lastMessageAt = new Map<string, number>()
  #fetching: Promise<void> | null = null

  constructor(context: QuoteContext, onPrices: (prices: AssetFeedPrice[]) => void) {
    this.#context = context
    this.#products = new Set(context.settings.PRODUCTS)
    this.#onPrices = onPrices
  }

  /** Whether an asset has a feed here, open or not. */
  hasFeed(asset: Asset): boolean {
    return asset.provider === 'coinbase' && this.#products.has(asset.provider_id)
  }

  /** Whether its feed has sent something lately. */
  isLive(asset: Asset): boolean {
    const lastMessageAt = this.#lastMessageAt.get(asset.provider_id) ?? 0
    return this.hasFeed(asset) && this.#context.now() - lastMessageAt < LIVE_WITHIN_MS
  }

  /** When the prices of these assets are to be read, unix milliseconds; infinite while a read is in flight. */
  getDueAt(assets: Iterable<Asset>): number {
    let due = Number.POSITIVE_INFINITY
    if (this.#fetching === null)
      for (const { provider_id } of assets)
        due = Math.min(due, this.#nextAt.get(provider_id) ?? Number.NEGATIVE_INFINITY)
    return due
  }

  /** Reads the prices that are due of these assets, which have feeds. Null when no read is in flight. */
  request(assets: Iterable<Asset>): Promise<void> | null {
    const now = this.#context.now()
    const due = [...assets].filter(({ provider_id }) => (this.#nextAt.get(provider_id) ?? 0) <= now)
    if (this.#fetching === null && due.length > 0) {
      this.#fetching = this.#fetchPrices(due).finally(() => {
        this.#fetching = null
      })
      this.#context.track(this.#fetching)
    }
    return this.#fetching
  }

  async #fetchPrices(assets: readonly Asset[]): Promise<void> {
    const began = this.#context.now()
    for (const { provider_id } of assets)
      this.#nextAt.set(provider_id, began + this.#context.settings.FEED_PRICE_INTERVAL_MS)
    if (began - this.#openFeedsAt >= OPEN_FEEDS_TTL_MS) await this.#loadOpenFeeds(began)
    const open = assets.filter(({ provider_id }) => this.#openFeeds.has(provider_id))
    for (const { provider_id } of assets)
      if (!this.#openFeeds.has(provider_id)) this.#nextAt.set(provider_id, this.#openFeedsAt + OPEN_FEEDS_TTL_MS)
    const statuses = await Promise.allSettled(
      open.map(({ provider_id }) => this.#context.product(provider_id).status()),
    )
    const prices: AssetFeedPrice[] = []
    for (const [i, status] of statuses.entries()) {
      const asset = open[i] as Asset
      if (status.status === 'rejected') {
        this.#context.log('feed_read_failed', { product: asset.provider_id, error: String(status.reason) })
        continue
      }
      const { feed, last } = status.value
      if (last === null || feed.state === 'closed' || feed.lastMessageAt === null) continue
      this.#lastMessageAt.set(asset.provider_id, feed.lastMessageAt)
      prices.push({ asset, price: { ...last, heardAt: feed.lastMessageAt } })
    }
    if (prices.length > 0) this.#onPrices(prices)
  }

  async #loadOpenFeeds(now: number): Promise<void> {
    this.#openFeedsAt = now
    try {
      this.#openFeeds = new Set((await this.#context.slots().open(now)).map(({ product }) => product))
    } catch (error) {
      this.#context.log('feeds_read_failed', { error: String(error) })
    }
  }
}
