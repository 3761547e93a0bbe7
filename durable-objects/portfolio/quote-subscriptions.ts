import type { LookupResult } from '../../src/objects.ts'
import { normalizeName, resolve, shardOf } from '../../src/pricing/symbol.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import type { PortfolioContext, PortfolioEngine } from './engine.ts'
import type { PortfolioStore, StoredSubscriptions } from './store.ts'
import type { AssetMatch } from './subscription.ts'

/** After this, boards are subscribed to again when they are needed: they may have dropped the subscription. */
const RESUBSCRIBE_AFTER_MS = 60_000

/** The delay before an unreachable board is tried again doubles from the first to the second. */
const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 60_000

/** The assets to subscribe to at a board. `watched` are those that only a connection needs. */
type ShardSubscription = { ids: number[]; watched: number[] }

const sameIds = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === a.length

/** Subscribes the user's object to prices at the quote boards, and asks them to resolve symbols. */
export class QuoteSubscriptions {
  readonly #context: PortfolioContext
  readonly #store: Pick<PortfolioStore, 'loadSubscriptions' | 'saveSubscriptions'>
  readonly #engine: Pick<PortfolioEngine, 'wantedAssets' | 'unheldAssets' | 'applyPrices' | 'markStale'>
  #subscriptions: StoredSubscriptions
  #syncing: Promise<void> | null = null
  /** Prices that boards sent while subscriptions were in flight: newer than the responses. */
  readonly #pricesWhileSyncing: PortfolioPrice[] = []
  /** When unreachable boards are tried again, and the delay after that. */
  #retryAt = Number.POSITIVE_INFINITY
  #retryDelayMs = RETRY_MIN_MS

  constructor(
    context: PortfolioContext,
    store: Pick<PortfolioStore, 'loadSubscriptions' | 'saveSubscriptions'>,
    engine: Pick<PortfolioEngine, 'wantedAssets' | 'unheldAssets' | 'applyPrices' | 'markStale'>,
  ) {
    this.#context = context
    this.#store = store
    this.#engine = engine
    this.#subscriptions = store.loadSubscriptions()
  }

  /** Applies prices that a board has published. */
  receivePrices(prices: PortfolioPrice[]): void {
    if (this.#syncing) this.#pricesWhileSyncing.push(...prices)
    else this.#engine.applyPrices(prices)
  }

  /** Drops all subscriptions; a board drops its side when it sends the next price. */
  clear(): void {
    if (Object.keys(this.#subscriptions).length > 0) this.#save({})
  }

  /** When `sync` is due because a board was unreachable; infinite when none was. */
  get dueAt(): number {
    return this.#syncing ? Number.POSITIVE_INFINITY : this.#retryAt
  }

  #save(subscriptions: StoredSubscriptions): void {
    this.#subscriptions = subscriptions
    this.#store.saveSubscriptions(subscriptions)
  }

  /** Subscribes to every needed asset, and applies the boards' current prices. Never rejects. */
  async sync(): Promise<void> {
    while (this.#syncing) await this.#syncing
    const due = this.#outdatedShards()
    if (due.size === 0) return
    this.#syncing = this.#subscribe(due).finally(() => {
      this.#syncing = null
      const prices = this.#pricesWhileSyncing.splice(0)
      if (prices.length > 0) this.#engine.applyPrices(prices)
    })
    await this.#syncing
  }

  /** The boards whose subscription is missing, different or old, each with the new one. */
  #outdatedShards(): Map<number, ShardSubscription> {
    const byShard = new Map<number, ShardSubscription>()
    const forShard = (shard: number): ShardSubscription => {
      const subscription = byShard.get(shard) ?? { ids: [], watched: [] }
      byShard.set(shard, subscription)
      return subscription
    }
    for (const shard of Object.keys(this.#subscriptions)) forShard(Number(shard))
    const unheld = this.#engine.unheldAssets()
    // An asset without a known symbol may be on any board.
    for (const [id, symbol] of this.#engine.wantedAssets())
      for (const shard of symbol === null
        ? Array(this.#context.settings.QUOTE_SHARDS).keys()
        : [shardOf(symbol, this.#context.settings.QUOTE_SHARDS)]) {
        const subscription = forShard(shard)
        subscription.ids.push(id)
        if (unheld.has(id)) subscription.watched.push(id)
      }
    for (const [shard, { ids, watched }] of byShard) {
      const before = this.#subscriptions[shard]
      const isSame = before && sameIds(before.ids, ids) && sameIds(before.watched ?? [], watched)
      if (isSame && this.#context.now() - before.at < RESUBSCRIBE_AFTER_MS) byShard.delete(shard)
    }
    return byShard
  }

  async #subscribe(due: ReadonlyMap<number, ShardSubscription>): Promise<void> {
    const at = this.#context.now()
    const requests = [...due]
    const responses = await Promise.allSettled(
      requests.map(([shard, { ids, watched }]) =>
        this.#context.board(shard).subscribe(this.#context.user, ids, watched),
      ),
    )
    const subscriptions = { ...this.#subscriptions }
    const prices: PortfolioPrice[] = []
    const unreachable = new Set<number>()
    for (const [i, response] of responses.entries()) {
      const [shard, { ids, watched }] = requests[i] as [number, ShardSubscription]
      delete subscriptions[shard]
      if (response.status === 'rejected') {
        this.#context.log('quote_board_unreachable', { shard, error: String(response.reason) })
        for (const id of ids) unreachable.add(id)
      } else {
        prices.push(...response.value)
        if (ids.length > 0) subscriptions[shard] = { ids, watched, at }
      }
    }
    this.#save(subscriptions)
    this.#scheduleRetry(unreachable.size > 0)
    // Without any response, the age of the prices stays the same.
    if (responses.some(({ status }) => status === 'fulfilled')) this.#engine.applyPrices(prices)
    this.#engine.markStale([...unreachable], 'unavailable')
    const priced = new Set(prices.map(({ asset_id }) => asset_id))
    const all = new Set(requests.flatMap(([, { ids }]) => ids))
    const unpriced = [...all].filter((id) => !priced.has(id) && !unreachable.has(id))
    this.#engine.markStale(unpriced, 'unknown')
    const symbols = this.#engine.wantedAssets()
    this.#requestPrices(unpriced.flatMap((id) => symbols.get(id) ?? []))
  }

  #scheduleRetry(isIncomplete: boolean): void {
    this.#retryAt = isIncomplete ? this.#context.now() + this.#retryDelayMs : Number.POSITIVE_INFINITY
    this.#retryDelayMs = isIncomplete ? Math.min(RETRY_MAX_MS, this.#retryDelayMs * 2) : RETRY_MIN_MS
  }

  /** Has the boards request unknown prices from the providers; they publish them when they have them. */
  #requestPrices(symbols: readonly string[]): void {
    const { board, track, log } = this.#context
    const byShard = Map.groupBy(symbols, (symbol) => shardOf(symbol, this.#context.settings.QUOTE_SHARDS))
    for (const [shard, names] of byShard)
      track(
        board(shard)
          .lookup(names)
          .catch((error: unknown) => log('quote_board_unreachable', { shard, error: String(error) })),
      )
  }

  /** The assets of symbols that no holding has. @throws when a board is unreachable */
  async resolve(symbols: readonly string[]): Promise<Map<string, AssetMatch>> {
    const found = new Map<string, AssetMatch>()
    const asked: string[] = []
    for (const symbol of new Set(symbols))
      if (normalizeName(symbol) === symbol) asked.push(symbol)
      else found.set(symbol, { kind: 'unknown' })
    const results = await this.#lookup(asked)
    const elsewhere = new Map(
      results.flatMap((result) => (result.kind === 'moved' ? [[result.symbol, result.name]] : [])),
    )
    const moved = await this.#lookup([...elsewhere.keys()])
    const followed = moved.map((result) => ({ ...result, name: elsewhere.get(result.name) as string }))
    const all = [...results.filter(({ kind }) => kind !== 'moved'), ...followed]
    // A board's result for an asset without a price lacks its id.
    const unpriced = all.flatMap(({ kind, name }) => (kind === 'unpriced' ? [name] : []))
    const assets = unpriced.length === 0 ? [] : await this.#context.database.findAssets(unpriced)
    for (const result of all) found.set(result.name, toAssetMatch(result, assets))
    return found
  }

  async #lookup(names: readonly string[]): Promise<LookupResult[]> {
    const byShard = Map.groupBy(names, (name) => shardOf(name, this.#context.settings.QUOTE_SHARDS))
    const results = await Promise.all([...byShard].map(([shard, asked]) => this.#context.board(shard).lookup(asked)))
    return results.flat()
  }
}

function toAssetMatch(result: LookupResult, assets: readonly Asset[]): AssetMatch {
  if (result.kind === 'quote') return { kind: 'asset', asset_id: result.quote.asset_id, symbol: result.quote.symbol }
  if (result.kind === 'ambiguous') return result
  if (result.kind !== 'unpriced') return { kind: 'unknown' }
  const found = resolve(result.name, assets)
  return found.kind === 'one'
    ? { kind: 'asset', ...found.asset }
    : { kind: found.kind === 'none' ? 'unknown' : 'unread' }
}
