import type { FeedSlotsObject, ProductObject } from '../../src/objects.ts'
import type { FeedPrice } from '../../src/pricing/quote.ts'
import type { Asset } from '../../src/protocol/asset.ts'

/** Which feeds are open is asked this often at most, milliseconds. */
const OPEN_MS = 5_000

/** A feed that has said nothing for so long has not the price of now: then REST has it. Milliseconds. */
const LIVE_MS = 10_000

/** What feeds need of the object that holds them. Times are unix milliseconds. */
export type FeedsHost = {
  products: ReadonlySet<string>
  /** See STREAMED_MS. */
  every: number
  now(): number
  slots(): Pick<FeedSlotsObject, 'open'>
  product(id: string): Pick<ProductObject, 'status'>
  /** What open feeds say. */
  told(prices: { asset: Asset; price: FeedPrice }[]): void
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

/** Prices of the products whose feed is open, asked for while somebody wants them. Opens no feed, and wakes none up. */
export class QuoteFeeds {
  readonly #host: FeedsHost
  #open: ReadonlySet<string> = new Set()
  #openAt = Number.NEGATIVE_INFINITY
  /** By product: not to be asked before. */
  readonly #nextAt = new Map<string, number>()
  readonly #heardAt = new Map<string, number>()
  #busy: Promise<void> | null = null

  constructor(host: FeedsHost) {
    this.#host = host
  }

  /** Whether an asset has a feed here, open or not. */
  has(asset: Asset): boolean {
    return asset.provider === 'coinbase' && this.#host.products.has(asset.provider_id)
  }

  /** Whether its feed has told its price lately. */
  isLive(asset: Asset): boolean {
    return this.has(asset) && this.#host.now() - (this.#heardAt.get(asset.provider_id) ?? 0) < LIVE_MS
  }

  /** When assets that somebody wants are to be asked for, unix milliseconds; infinite while they are being asked. */
  dueOf(assets: Iterable<Asset>): number {
    let due = Number.POSITIVE_INFINITY
    if (this.#busy === null)
      for (const { provider_id } of assets)
        due = Math.min(due, this.#nextAt.get(provider_id) ?? Number.NEGATIVE_INFINITY)
    return due
  }

  /** Somebody wants these, which have feeds: asks for those whose time has come. Null when none is being asked. */
  want(assets: Iterable<Asset>): Promise<void> | null {
    const now = this.#host.now()
    const due = [...assets].filter(({ provider_id }) => (this.#nextAt.get(provider_id) ?? 0) <= now)
    if (this.#busy === null && due.length > 0) {
      this.#busy = this.#ask(due).finally(() => {
        this.#busy = null
      })
      this.#host.track(this.#busy)
    }
    return this.#busy
  }

  async #ask(assets: readonly Asset[]): Promise<void> {
    const { now, every } = this.#host
    const began = now()
    for (const { provider_id } of assets) this.#nextAt.set(provider_id, began + every)
    if (began - this.#openAt >= OPEN_MS) await this.#readOpen(began)
    const open = assets.filter(({ provider_id }) => this.#open.has(provider_id))
    for (const { provider_id } of assets)
      if (!this.#open.has(provider_id)) this.#nextAt.set(provider_id, this.#openAt + OPEN_MS)
    const answers = await Promise.allSettled(open.map(({ provider_id }) => this.#host.product(provider_id).status()))
    const prices: { asset: Asset; price: FeedPrice }[] = []
    for (const [i, answer] of answers.entries()) {
      const asset = open[i] as Asset
      if (answer.status === 'rejected') {
        this.#host.log('feed_unread', { product: asset.provider_id, error: String(answer.reason) })
        continue
      }
      const { feed, last } = answer.value
      if (last === null || feed.state === 'closed' || feed.lastMessageAt === null) continue
      this.#heardAt.set(asset.provider_id, feed.lastMessageAt)
      prices.push({ asset, price: { ...last, heardAt: feed.lastMessageAt } })
    }
    if (prices.length > 0) this.#host.told(prices)
  }

  async #readOpen(now: number): Promise<void> {
    this.#openAt = now
    try {
      this.#open = new Set((await this.#host.slots().open(now)).map(({ product }) => product))
    } catch (error) {
      this.#host.log('feeds_unread', { error: String(error) })
    }
  }
}
