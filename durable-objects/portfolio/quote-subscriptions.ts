import type { LookupResult, QuoteBoardObject } from '../../src/objects.ts'
import { normalizeName, resolve, shardOf } from '../../src/pricing/symbol.ts'
import type { Asset } from '../../src/protocol/asset.ts'
import type { PortfolioPrice } from '../../src/protocol/portfolio.ts'
import type { StaleReason } from '../../src/protocol/quote.ts'
import type { AssetMatch } from './subscription.ts'

/** Boards that were asked so long ago are asked again when somebody comes: they may have given us up since. Milliseconds. */
const RESUBSCRIBE_AFTER_MS = 60_000

/** Pause before boards that could not be reached are asked again: doubles from the first to the last, milliseconds. */
const RETRY_MIN_MS = 1_000
const RETRY_MAX_MS = 60_000

/** What boards have said that they tell, by shard, and when each was asked, unix milliseconds. */
export type StoredSubscriptions = { [shard: string]: { ids: number[]; watched?: number[]; at: number } }

/** What a board is asked to tell; `watched` are those that a page has open, though nothing of them is held. */
type ShardSubscription = { ids: number[]; watched: number[] }

/** What following needs of the object that holds it. Times are unix milliseconds. */
export type QuoteSubscriptionsHost = {
  user: string
  shards: number
  subscriptions: StoredSubscriptions
  now(): number
  board(shard: number): Pick<QuoteBoardObject, 'subscribe' | 'lookup'>
  /** Keeps what boards tell. */
  save(following: StoredSubscriptions): void
  /** The assets whose prices are wanted, with their symbols where those are known. */
  wanted(): ReadonlyMap<number, string | null>
  /** Those among them that a page has open though nothing of them is held. */
  watched(): ReadonlySet<number>
  /** Prices of now. */
  applyPrices(prices: PortfolioPrice[]): void
  /** What is known of these assets cannot be told as fresh: boards cannot be reached, or know nothing of them. */
  markStale(ids: readonly number[], stale: StaleReason): void
  findAssets(names: string[]): Promise<Asset[]>
  track(work: Promise<unknown>): void
  log(event: string, fields: Record<string, unknown>): void
}

const sameIds = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && new Set([...a, ...b]).size === a.length

/** Has the boards tell this user's object of the prices that it wants, and asks them what symbols mean. */
export class QuoteSubscriptions {
  readonly #host: QuoteSubscriptionsHost
  #subscriptions: StoredSubscriptions
  #syncing: Promise<void> | null = null
  /** What boards have told while they were being asked: it is newer than their answers. */
  readonly #pricesWhileSyncing: PortfolioPrice[] = []
  /** When boards that could not be reached are asked again, and the pause after that. */
  #retryAt = Number.POSITIVE_INFINITY
  #retryDelayMs = RETRY_MIN_MS

  constructor(host: QuoteSubscriptionsHost) {
    this.#host = host
    this.#subscriptions = host.subscriptions
  }

  /** Prices that a board has told by itself. */
  receivePrices(prices: PortfolioPrice[]): void {
    if (this.#syncing) this.#pricesWhileSyncing.push(...prices)
    else this.#host.applyPrices(prices)
  }

  /** Nobody looks any more: the boards are told so when they tell something. */
  clear(): void {
    if (Object.keys(this.#subscriptions).length > 0) this.#save({})
  }

  /** When `follow` is to be called, as boards could not be reached; infinite when they could. */
  get dueAt(): number {
    return this.#syncing ? Number.POSITIVE_INFINITY : this.#retryAt
  }

  #save(following: StoredSubscriptions): void {
    this.#subscriptions = following
    this.#host.save(following)
  }

  /** Sees to it that the boards tell what is wanted, and takes in what they know of it now. Never rejects. */
  async sync(): Promise<void> {
    while (this.#syncing) await this.#syncing
    const due = this.#outdatedShards()
    if (due.size === 0) return
    this.#syncing = this.#subscribe(due).finally(() => {
      this.#syncing = null
      const early = this.#pricesWhileSyncing.splice(0)
      if (early.length > 0) this.#host.applyPrices(early)
    })
    await this.#syncing
  }

  /** The boards that are to be asked, and for what. */
  #outdatedShards(): Map<number, ShardSubscription> {
    const { shards, wanted, watched, now } = this.#host
    const byShard = new Map<number, ShardSubscription>()
    const askedOf = (shard: number): ShardSubscription => {
      const asked = byShard.get(shard) ?? { ids: [], watched: [] }
      byShard.set(shard, asked)
      return asked
    }
    for (const shard of Object.keys(this.#subscriptions)) askedOf(Number(shard))
    const open = watched()
    for (const [id, symbol] of wanted())
      for (const shard of symbol === null ? Array(shards).keys() : [shardOf(symbol, shards)]) {
        const asked = askedOf(shard)
        asked.ids.push(id)
        if (open.has(id)) asked.watched.push(id)
      }
    for (const [shard, asked] of byShard) {
      const before = this.#subscriptions[shard]
      const isSame = before && sameIds(before.ids, asked.ids) && sameIds(before.watched ?? [], asked.watched)
      if (isSame && now() - before.at < RESUBSCRIBE_AFTER_MS) byShard.delete(shard)
    }
    return byShard
  }

  async #subscribe(due: ReadonlyMap<number, ShardSubscription>): Promise<void> {
    const { user, board, now, log, applyPrices: learn, markStale: lost, wanted } = this.#host
    const at = now()
    const asked = [...due]
    const answers = await Promise.allSettled(
      asked.map(([shard, { ids, watched }]) => board(shard).subscribe(user, ids, watched)),
    )
    const following = { ...this.#subscriptions }
    const prices: PortfolioPrice[] = []
    const unreached = new Set<number>()
    for (const [i, answer] of answers.entries()) {
      const [shard, { ids, watched }] = asked[i] as [number, ShardSubscription]
      delete following[shard]
      if (answer.status === 'rejected') {
        log('quote_board_unreachable', { shard, error: String(answer.reason) })
        for (const id of ids) unreached.add(id)
      } else {
        prices.push(...answer.value)
        if (ids.length > 0) following[shard] = { ids, watched, at }
      }
    }
    this.#save(following)
    this.#scheduleRetry(unreached.size > 0)
    // Where no board has answered, nothing was heard.
    if (answers.some(({ status }) => status === 'fulfilled')) learn(prices)
    lost([...unreached], 'unavailable')
    const told = new Set(prices.map(({ asset_id }) => asset_id))
    const all = new Set(asked.flatMap(([, { ids }]) => ids))
    const unpriced = [...all].filter((id) => !told.has(id) && !unreached.has(id))
    lost(unpriced, 'unknown')
    const symbols = wanted()
    this.#requestPrices(unpriced.flatMap((id) => symbols.get(id) ?? []))
  }

  #scheduleRetry(isBehind: boolean): void {
    this.#retryAt = isBehind ? this.#host.now() + this.#retryDelayMs : Number.POSITIVE_INFINITY
    this.#retryDelayMs = isBehind ? Math.min(RETRY_MAX_MS, this.#retryDelayMs * 2) : RETRY_MIN_MS
  }

  /** Has the boards ask for prices that nobody knows yet; they come when they are there. */
  #requestPrices(symbols: readonly string[]): void {
    const { shards, board, track, log } = this.#host
    const byShard = Map.groupBy(symbols, (symbol) => shardOf(symbol, shards))
    for (const [shard, names] of byShard) {
      const looked = board(shard).lookup(names)
      track(looked.catch((error: unknown) => log('quote_board_unreachable', { shard, error: String(error) })))
    }
  }

  /** What symbols mean that nothing is held under. Rejects when a board cannot be reached. */
  async resolve(symbols: readonly string[]): Promise<Map<string, AssetMatch>> {
    const found = new Map<string, AssetMatch>()
    const asked: string[] = []
    for (const symbol of new Set(symbols))
      if (normalizeName(symbol) === symbol) asked.push(symbol)
      else found.set(symbol, { kind: 'unknown' })
    const looks = await this.#lookup(asked)
    const elsewhere = new Map(looks.flatMap((look) => (look.kind === 'moved' ? [[look.symbol, look.name]] : [])))
    const moved = await this.#lookup([...elsewhere.keys()])
    const names = moved.map((look) => ({ ...look, name: elsewhere.get(look.name) as string }))
    const all = [...looks.filter(({ kind }) => kind !== 'moved'), ...names]
    // Of what has no price a board tells no number.
    const unpriced = all.flatMap((look) => (look.kind === 'unpriced' ? [look.name] : []))
    const assets = unpriced.length === 0 ? [] : await this.#host.findAssets(unpriced)
    for (const look of all) found.set(look.name, toAssetMatch(look, assets))
    return found
  }

  async #lookup(names: readonly string[]): Promise<LookupResult[]> {
    const byShard = Map.groupBy(names, (name) => shardOf(name, this.#host.shards))
    const looks = await Promise.all([...byShard].map(([shard, asked]) => this.#host.board(shard).lookup(asked)))
    return looks.flat()
  }
}

function toAssetMatch(look: LookupResult, assets: readonly Asset[]): AssetMatch {
  if (look.kind === 'quote') return { kind: 'asset', asset_id: look.quote.asset_id, symbol: look.quote.symbol }
  if (look.kind === 'ambiguous') return look
  if (look.kind !== 'unpriced') return { kind: 'unknown' }
  const found = resolve(look.name, assets)
  return found.kind === 'one'
    ? { kind: 'asset', ...found.asset }
    : { kind: found.kind === 'none' ? 'unknown' : 'unread' }
}
