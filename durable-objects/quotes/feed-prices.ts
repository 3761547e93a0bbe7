import type { FeedSlotsObject, ProductObject } from '../../src/objects.ts'
import type { FeedPrice } from '../../src/pricing/quote.ts'
import type { Asset } from '../../src/protocol/asset.ts'

/** Which feeds are open is asked this often at most, milliseconds. */
const OPEN_FEEDS_TTL_MS = 5_000

/** A feed that has said nothing for so long has not the price of now: then REST has it. Milliseconds. */
const LIVE_WITHIN_MS = 10_000

/** What feeds need of the object that holds them. Times are unix milliseconds. */
export type FeedPricesHost = {
  products: ReadonlySet<string>
  /** See FEED_PRICE_INTERVAL_MS. */
  intervalMs: number
  now(): number
  slots(): Pick<FeedSlotsObject, 'open'>
  product(id: string): Pick<ProductObject, 'status'>
  /** What open feeds say. */
  onPrices(prices: { asset: Asset; price: FeedPrice }[]): void
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Prices of the products whose feed is open, asked for while somebody wants them. Opens no feed, and wakes none up. */
export class FeedPrices {
  readonly #host: FeedPricesHost
  #openFeeds: ReadonlySet<string> = new Set()
  #openFeedsAt = Number.NEGATIVE_INFINITY
  /** By product: not to be asked before. */
  readonly #nextAt = new Map<string, number>()
  readonly #lastMessageAt = new Map<string, number>()
  #fetching: Promise<void> | null = null

  constructor(host: FeedPricesHost) {
    this.#host = host
  }

  /** Whether an asset has a feed here, open or not. */
  hasFeed(asset: Asset): boolean {
    return asset.provider === 'coinbase' && this.#host.products.has(asset.provider_id)
  }

  /** Whether its feed has told its price lately. */
  isLive(asset: Asset): boolean {
    return this.hasFeed(asset) && this.#host.now() - (this.#lastMessageAt.get(asset.provider_id) ?? 0) < LIVE_WITHIN_MS
  }

  /** When assets that somebody wants are to be asked for, unix milliseconds; infinite while they are being asked. */
  getDueAt(assets: Iterable<Asset>): number {
    let due = Number.POSITIVE_INFINITY
    if (this.#fetching === null)
      for (const { provider_id } of assets)
        due = Math.min(due, this.#nextAt.get(provider_id) ?? Number.NEGATIVE_INFINITY)
    return due
  }

  /** Somebody wants these, which have feeds: asks for those whose time has come. Null when none is being asked. */
  request(assets: Iterable<Asset>): Promise<void> | null {
    const now = this.#host.now()
    const due = [...assets].filter(({ provider_id }) => (this.#nextAt.get(provider_id) ?? 0) <= now)
    if (this.#fetching === null && due.length > 0) {
      this.#fetching = this.#fetchPrices(due).finally(() => {
        this.#fetching = null
      })
      this.#host.track(this.#fetching)
    }
    return this.#fetching
  }

  async #fetchPrices(assets: readonly Asset[]): Promise<void> {
    const { now, intervalMs: every } = this.#host
    const began = now()
    for (const { provider_id } of assets) this.#nextAt.set(provider_id, began + every)
    if (began - this.#openFeedsAt >= OPEN_FEEDS_TTL_MS) await this.#loadOpenFeeds(began)
    const open = assets.filter(({ provider_id }) => this.#openFeeds.has(provider_id))
    for (const { provider_id } of assets)
      if (!this.#openFeeds.has(provider_id)) this.#nextAt.set(provider_id, this.#openFeedsAt + OPEN_FEEDS_TTL_MS)
    const answers = await Promise.allSettled(open.map(({ provider_id }) => this.#host.product(provider_id).status()))
    const prices: { asset: Asset; price: FeedPrice }[] = []
    for (const [i, answer] of answers.entries()) {
      const asset = open[i] as Asset
      if (answer.status === 'rejected') {
        this.#host.log('feed_read_failed', { product: asset.provider_id, error: String(answer.reason) })
        continue
      }
      const { feed, last } = answer.value
      if (last === null || feed.state === 'closed' || feed.lastMessageAt === null) continue
      this.#lastMessageAt.set(asset.provider_id, feed.lastMessageAt)
      prices.push({ asset, price: { ...last, heardAt: feed.lastMessageAt } })
    }
    if (prices.length > 0) this.#host.onPrices(prices)
  }

  async #loadOpenFeeds(now: number): Promise<void> {
    this.#openFeedsAt = now
    try {
      this.#openFeeds = new Set((await this.#host.slots().open(now)).map(({ product }) => product))
    } catch (error) {
      this.#host.log('feeds_read_failed', { error: String(error) })
    }
  }
}
